"""Files of lines: only a line feed ends a line, whatever signs a title or an answer holds."""

import csv
import json
from pathlib import Path

import pytest

from vectalk.errors import VectalkError
from vectalk.evaluation.answers import AnswerCache
from vectalk.evaluation.judges import QUESTIONS, Sheet, score, write_sheet
from vectalk.evaluation.report import write_report
from vectalk.files import read_json, read_jsonl, write_json, write_jsonl
from vectalk.training.folder import RunFolder
from vectalk.training.stage import Progress

# Every sign at which `str.splitlines` parts a text.
BREAKS = "\n\r\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
TITLE = f"A{BREAKS}film"


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [{"title": TITLE, "n": 1}, {"title": "\u2028", "n": 2}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
    write_json(tmp_path / "row.json", rows[0])
    assert read_json(tmp_path / "row.json") == rows[0]


def test_lines_of_another_system_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"n": 1}\r\n\r\n{"n": 2}')
    assert read_jsonl(tmp_path / "rows.jsonl") == [{"n": 1}, {"n": 2}]


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"n": "\u2028"}\n{"n": \n')
    with pytest.raises(VectalkError, match=r"rows\.jsonl is not valid JSON, a value a line: line 2"):
        read_jsonl(tmp_path / "rows.jsonl")


def test_kept_answers_are_not_asked_for_again(tmp_path: Path) -> None:
    asked: list[int] = []

    def answer(places, progress) -> list[str]:
        asked.extend(places)
        return [TITLE for _ in places]

    for _ in range(2):
        kept = AnswerCache(tmp_path / "answers.partial.jsonl", lambda what, done, total: None)
        assert kept(["one", "two"], "questions", answer) == [TITLE, TITLE]
    assert asked == [0, 1]


def test_an_answer_torn_within_a_letter_costs_that_answer_alone(tmp_path: Path) -> None:
    path = tmp_path / "answers.partial.jsonl"
    kept = AnswerCache(path, lambda what, done, total: None)
    kept(["one", "two"], "questions", lambda places, progress: ["whole", "Amélie"][: len(places)])
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex("é".encode()) + 1])
    again = AnswerCache(path, lambda what, done, total: None)
    asked: list[int] = []
    said = again(["one", "two"], "questions", lambda places, progress: asked.extend(places) or ["again"])
    assert (said, asked) == (["whole", "again"], [1])


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """An evaluation whose title and texts hold every sign that ends a line somewhere."""
    slots = {"film": {"space": "film", "row": 0, "title": TITLE}}
    row = {"task": "summary", "prompt": "Summarise {film}.", "slots": slots, "answer": TITLE, "reference": TITLE}
    write_jsonl(tmp_path / "answers.jsonl", [{**row, "condition": "elm", "sc": 0.5}])
    figure = {"space": "film", "task": "summary", "metric": "sc", "condition": "elm"}
    write_jsonl(tmp_path / "metrics.jsonl", [{**figure, "value": 0.5, "low": 0.4, "high": 0.6, "n": 2}])
    space = {"path": "films", "fingerprint": "f" * 64, "split_hash": "5" * 64, "dim": 4}
    corpus = {"path": "corpus", "suite": "s", "teacher": "facts", "counts": {"test": 2}, "spaces": {"film": space}}
    write_json(tmp_path / "config.json", {"vectalk": "0.1.0", "python": "3.11", "corpus": corpus, "tasks": ["summary"]})
    return tmp_path


def test_a_report_is_made_of_any_text(evaluation: Path) -> None:
    assert "\u2028" in write_report(evaluation).read_text(encoding="utf-8")


def test_a_rating_sheet_is_made_of_any_text_and_read_back(evaluation: Path, tmp_path: Path) -> None:
    sheet = write_sheet(evaluation, tmp_path / "sheet", facts=False)
    assert [item.text for item in Sheet.load(tmp_path / "sheet").items] == [TITLE]
    with (tmp_path / "sheet" / "sheet" / "sheet.csv").open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert line["text"] == TITLE
    filled = tmp_path / "ann.csv"
    with filled.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rater", "item", "remark", *QUESTIONS])
        writer.writerow([TITLE, "1", TITLE, *(3 for _ in QUESTIONS)])
    assert score(sheet, [filled])["n"] == len(QUESTIONS)


def test_a_training_log_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    folder = object.__new__(RunFolder)  # no corpus and no LLM are needed for the log alone
    folder.log_path = tmp_path / "training.jsonl"
    row = {"stage": 1, "validation_loss": 1.0, "task_losses": {TITLE: 1.0}}
    write_jsonl(folder.log_path, [{**row, "step": 1}, {**row, "step": 2}])
    with folder.log_path.open("a") as log:
        log.write(json.dumps({**row, "step": 3})[:-1])  # ends with a bracket, as a whole line does
    assert [found["step"] for found in folder.evaluations(1)] == [1, 2]
    folder.truncate_log(Progress(stage=1, step=1, total=9))
    assert [found["task_losses"] for found in read_jsonl(folder.log_path)] == [{TITLE: 1.0}]
