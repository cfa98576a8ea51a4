"""Rating sheets: blind, readable back, and figures that follow from what was rated; a judge on a fake endpoint."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_endpoint import Answer, serving
from vectalk.cli.main import main
from vectalk.errors import BudgetError, EvaluationError
from vectalk.evaluation.judges import QUESTIONS, Judge, Sheet, score, write_sheet
from vectalk.evaluation.judges.judge import messages, read
from vectalk.evaluation.judges.scores import alpha
from vectalk.llm import open_chat

WORTH = {"elm": 4, "shuffled": 2, "copy_text": 3, "own_text": 5}


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation")
    rows = []
    for condition, worth in WORTH.items():
        for i in range(12):
            slots = {"film": {"space": "film", "row": i, "title": f"Film {i}"}}
            row = {"task": "summary", "condition": condition, "prompt": "Summarise {film}.", "slots": slots}
            said = f"={condition[:2]}-{i}" if i == 0 else f"Text {worth * 100 + i} <b>of one</b>."
            rows.append({**row, "answer": said, "reference": f"reference {i}", "sc": 0.1 * worth + 0.001 * i})
    (out / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out


def fill(sheet: Sheet, path: Path, rater: str, rate: Any) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rater", "item", *QUESTIONS])
        for item in sheet.items:
            writer.writerow([rater, item.item.lstrip("0"), *(rate(item) for _ in QUESTIONS)])
    return path


# ---- the sheet


def test_a_sheet_is_blind(evaluation: Path, tmp_path: Path) -> None:
    sheet = write_sheet(evaluation, tmp_path / "s", each=5)
    assert {item.condition for item in sheet.items} == {"elm", "shuffled", "copy_text"}
    assert len(sheet.items) == 15
    given = [path.read_text() for path in (tmp_path / "s" / "sheet").iterdir()]
    assert len(given) == 2
    for text in given:
        assert not re.search(r"elm|shuffled|copy_text|0\.4", re.sub(r"<style>.*</style>", "", text, flags=re.S))
        assert "Summarise “Film" in text
        assert "reference" in text
    order = [item.condition for item in sheet.items]
    assert order != sorted(order)
    assert Sheet.load(tmp_path / "s") == sheet


def test_the_page_shows_texts_as_text_and_needs_nothing(evaluation: Path, tmp_path: Path) -> None:
    write_sheet(evaluation, tmp_path / "s")
    page = (tmp_path / "s" / "sheet" / "sheet.html").read_text()
    assert "&lt;b&gt;of one" in page
    assert "<b>of one" not in page
    assert not re.search(r"https?://|src=", page)
    assert page.count('type="radio"') == 3 * 5 * 3 * 10


def test_no_text_is_a_formula(evaluation: Path, tmp_path: Path) -> None:
    write_sheet(evaluation, tmp_path / "s", each=12)
    with (tmp_path / "s" / "sheet" / "sheet.csv").open(newline="") as file:
        texts = [line["text"] for line in csv.DictReader(file)]
    assert sorted(text[:2] for text in texts if not text.startswith("Text")) == ["'="] * 3


def test_without_facts_the_reference_is_rated_too(evaluation: Path, tmp_path: Path) -> None:
    sheet = write_sheet(evaluation, tmp_path / "s", facts=False, each=2)
    assert {item.condition for item in sheet.items} == set(WORTH)
    assert {item.known for item in sheet.items} == {""}


def test_an_unknown_task_is_named(evaluation: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="unknown task 'poem'; the evaluation has summary"):
        write_sheet(evaluation, tmp_path / "s", tasks=["poem"])
    with pytest.raises(EvaluationError, match="holds no evaluation"):
        write_sheet(tmp_path, tmp_path / "s")


# ---- figures


def test_ratings_become_figures(evaluation: Path, tmp_path: Path) -> None:
    sheet = write_sheet(evaluation, tmp_path / "s", facts=False, each=12)
    files = [fill(sheet, tmp_path / f"{name}.csv", name, lambda item: WORTH[item.condition]) for name in ("ann", "bob")]
    found = score(sheet, files)
    assert found["raters"] == ["ann", "bob"]
    assert found["n"] == 2 * 48 * 3
    for question in found["questions"]:
        assert {c: f["value"] for c, f in question["means"].items()} == WORTH
        assert question["elm_minus"]["shuffled"]["low"] == 2
        assert question["alpha"] == pytest.approx(1)
        assert question["sc"]["value"] > 0.9


def test_a_rater_who_says_anything_agrees_with_nobody(evaluation: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sheet = write_sheet(evaluation, tmp_path / "s", facts=False, each=12)
    sure = fill(sheet, tmp_path / "a.csv", "a", lambda item: WORTH[item.condition])
    odd = fill(sheet, tmp_path / "b.csv", "b", lambda item: rng.integers(1, 6))
    assert abs(score(sheet, [sure, odd])["questions"][0]["alpha"]) < 0.3
    assert abs(score(sheet, [odd])["questions"][0]["sc"]["value"]) < 0.35


def test_alpha_of_a_worked_example() -> None:
    # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), example C: alpha for interval data is 0.849.
    _ = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
            [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
        ]
    )
    assert alpha(table) == pytest.approx(0.849, abs=5e-4)
    assert alpha(np.full((2, 3), 4.0)) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ann,999,3,3,3", "item '999' is not on the sheet"),
        ("ann,1,6,3,3", "a rating must be a whole number from 1 to 5, not '6'"),
        ("ann,1,good,3,3", "not 'good'"),
        ("ann,1,3,3,3\nann,1,3,3,3", "'ann' rated item 01 twice"),
        ("ann,1,,,", "there are no ratings"),
    ],
)
def test_what_cannot_be_right_is_refused(evaluation: Path, tmp_path: Path, line: str, message: str) -> None:
    sheet = write_sheet(evaluation, tmp_path / "s", each=12)
    path = tmp_path / "r.csv"
    path.write_text(f"rater,item,{','.join(QUESTIONS)}\n{line}\n")
    with pytest.raises(EvaluationError, match=re.escape(message)):
        score(sheet, [path])
    path.write_text("item,consistency\n1,3\n")
    with pytest.raises(EvaluationError, match="has no column 'comprehensiveness'"):
        score(sheet, [path])


@pytest.mark.parametrize(
    ("separator", "encoding", "end"),
    [(";", "utf-8-sig", "\r\n"), (";", "cp1252", "\r\n"), ("\t", "utf-16", "\r\n"), (",", "utf-8", "\r")],
)
def test_a_sheet_that_a_spreadsheet_saved_is_read_as_the_page_saves_it(
    evaluation: Path, tmp_path: Path, separator: str, encoding: str, end: str
) -> None:
    """Semicolons, a byte order mark, Windows' encoding, numbers with commas, rows cut short, empty rows at the end."""
    sheet = write_sheet(evaluation, tmp_path / "s", each=5)
    plain = fill(sheet, tmp_path / "ann.csv", "ann", lambda item: WORTH[item.condition])
    rows = [["item", "text", *QUESTIONS, "rater"]]
    for item in sheet.items:
        ratings = [f"{WORTH[item.condition]},0" if separator == ";" else str(WORTH[item.condition])] * len(QUESTIONS)
        rows.append([item.item.lstrip("0"), "déjà vu – “so”,\nand; so", *ratings, "ann"])
    with (tmp_path / "saved.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator=end)
        writer.writerows([*rows, [""] * len(rows[0])])
    assert score(sheet, [tmp_path / "saved.csv"]) == score(sheet, [plain])


def test_a_row_whose_end_a_spreadsheet_left_out_is_not_rated_there(evaluation: Path, tmp_path: Path) -> None:
    sheet = write_sheet(evaluation, tmp_path / "s", each=5)
    lines = [f"item;{';'.join(QUESTIONS)}", *(f"{item.item};4" for item in sheet.items)]
    (tmp_path / "ann.csv").write_text("\n".join(lines))
    found = {
        question["name"]: question["means"]["elm"]["value"]
        for question in score(sheet, [tmp_path / "ann.csv"])["questions"]
    }
    assert found == {"consistency": 4.0, "comprehensiveness": None, "quality": None}


# ---- a language model


def test_a_reply_is_read_or_not() -> None:
    good = '{"consistency": 4, "comprehensiveness": 2, "quality": 5}'
    assert read(f"```json\n{good}\n```") == {"consistency": 4, "comprehensiveness": 2, "quality": 5}
    for bad in ("4, 2, 5", good.replace("4", "4.5"), good.replace("4", "0"), good.replace("4", "true"), "{}", "{{}"):
        assert read(bad) is None


def test_a_judge_fills_in_a_sheet_and_pays_once(
    evaluation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("VECTALK_CACHE", str(tmp_path / "cache"))
    sheet = write_sheet(evaluation, tmp_path / "s", each=4)

    def rate(request: dict[str, Any], number: int) -> Answer:
        text = request["messages"][-1]["content"]
        worth = int(found[1]) if (found := re.search(r"Text (\d)\d\d", text)) else 1
        known = "I cannot say." if "Film 3" in text else json.dumps(dict.fromkeys(QUESTIONS, worth))
        return Answer(known)

    with serving(rate) as fake:
        for _ in range(2):
            with open_chat("openai:some-model", {"base_url": fake.url}, greedy=True) as client:
                judge = Judge(client)
                rated = judge.fill_in(sheet, tmp_path / "ratings.csv")
        unread = {item.item for item in sheet.items if "Film 3" in item.question}
        assert len(fake.requests) == len(sheet.items) + len(unread)  # what could not be read was asked twice
        assert all(request["temperature"] == 0 for request in fake.requests)
        with (
            open_chat("openai:other", {"base_url": fake.url}, greedy=True, max_tokens=10) as client,
            pytest.raises(BudgetError),
        ):
            Judge(client).fill_in(sheet, tmp_path / "poor.csv")
    assert not (tmp_path / "poor.csv").exists()
    assert (rated, set(judge.unread)) == (len(sheet.items) - len(unread), unread)
    found = score(sheet, [tmp_path / "ratings.csv"])
    assert found["raters"] == ["openai:some-model"]
    means = {c: f["value"] for c, f in found["questions"][0]["means"].items()}
    assert means["elm"] > means["copy_text"] > means["shuffled"]


def test_a_judge_is_blind(evaluation: Path, tmp_path: Path) -> None:
    for item in write_sheet(evaluation, tmp_path / "s").items:
        said = json.dumps(messages(item)).replace(item.text, "")
        assert item.condition not in said


def test_the_verb(evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "s"
    with pytest.raises(SystemExit):
        main(["judge", "sheet", str(evaluation), "--out", str(out), "--each", "3", "--json"])
    assert json.loads(capsys.readouterr().out)["items"] == 9
    path = fill(Sheet.load(out), tmp_path / "ann.csv", "ann", lambda item: WORTH[item.condition])
    with pytest.raises(SystemExit) as ended:
        main(["judge", "score", str(out), str(path), "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "ratings.json").read_text())
