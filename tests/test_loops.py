"""Which texts loop, and how evaluation reports them."""

import json
from pathlib import Path
from typing import Any

import pytest

import vectalk as vt
from vectalk.decoding.defaults import write_defaults
from vectalk.decoding.repetition import loops
from vectalk.evaluation import evaluate
from vectalk.evaluation.answers import AnswerCache, Answers
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from worlds import call

LOOPING = [
    "hot, hot, hot",
    "Hot. HOT! hot?",
    "ha ha ha",
    "It is a film of drama, of love, of love, of love",
    "hot and cold and hot and cold and hot and cold and",
    "one two three four five six one two three four five six one two three four five six",
    "It was made - it was made - it was made",
    "The island is old. It has salt. The island is old.",
    "The island is old. the island, is OLD!",
    "Salt and honey and more\nSalt and honey and more",
    "哈哈哈",
    "这是一部电影。很好。这是一部电影。",
    "घर घर घर",
]
CLEAN = [
    "",
    "...",
    "hot, hot",
    "hot and cold and hot and cold",
    "ha ha",
    "It is drama, comedy, romance, thriller, crime, western.",
    "drama, comedy, drama, romance, drama",
    "It is a comedy, a drama and a romance, a film of the 1990s.",
    "New York, New York, a wonderful town, so good they named it twice",
    "one two three four five six one two three four five six",
    # A phrase of seven words is longer than what counts.
    "a b c d e f g a b c d e f g a b c d e f g",
    "The score is 8.5. The score is 8.7.",
    "Yes. No. Yes.",
    "Written by J. R. R. Tolkien and J. R. Smith.",
    "The first film is a comedy. The second film is a comedy.",
    "hothothot",
    "很好很好",
]


@pytest.mark.parametrize("text", LOOPING)
def test_a_text_that_loops(text: str) -> None:
    assert loops(text)
    assert loops(f"At first something else.\n{text}\nAnd then something new.")


@pytest.mark.parametrize("text", CLEAN)
def test_a_text_that_does_not_loop(text: str) -> None:
    assert not loops(text)


class Stutterer:
    """Answers every other question with a loop."""

    def __init__(self, corpus: Corpus) -> None:
        self.spaces, self.asked = corpus.spaces, 0

    def generate(self, prompts: Any, slots: Any, *, max_new_tokens: int, progress: Any) -> list[str]:
        texts = []
        for _ in prompts:
            self.asked += 1
            texts.append("hot, hot, hot" if self.asked % 2 else f"A film of number {self.asked}.")
        return texts


def test_evaluation_reports_the_share_of_each_condition(linear_corpus: Corpus, tmp_path: Path) -> None:
    generator = Stutterer(linear_corpus)
    conditions = ["copy_text", "gaussian"]
    rows = evaluate(generator, linear_corpus, tmp_path, tasks=["summary"], limit=20, conditions=conditions)
    of_loops = [row for row in rows if row["metric"] == "loops"]
    assert [row["condition"] for row in of_loops] == ["elm", "shuffled", "gaussian", "copy_text", "own_text"]
    figures = {row["condition"]: row for row in of_loops}
    assert {figures[name]["value"] for name in ("elm", "shuffled", "gaussian")} == {0.5}
    assert {figures[name]["value"] for name in ("copy_text", "own_text")} == {0.0}
    assert figures["elm"]["low"] < 0.5 < figures["elm"]["high"]
    assert {row["n"] for row in of_loops} == {20}
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert all(row["loops"] == float(row["answer"] == "hot, hot, hot") for row in answers)
    assert "Looping answers" in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["decoding"] == {"max_new_tokens": 160}


# ---- the settings of the answers


def test_answers_of_other_penalties_are_other_answers(run: Run, tmp_path: Path) -> None:
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    cache = AnswerCache(tmp_path / "answers", lambda what, done, total: None)
    keys = [
        Answers(elm, cache, identity="x", max_new_tokens=9, **settings).mark
        for settings in ({}, {"repetition_penalty": 1.0}, {"repetition_penalty": 1.2}, {"no_repeat_ngram_size": 3})
    ]
    assert keys[0] == keys[1] == "x\x009"
    assert len(set(keys)) == 3
    write_defaults(elm.save_pretrained(tmp_path / "run"), {"repetition_penalty": 1.2})
    other = vt.ELM.from_pretrained(tmp_path / "run", device="cpu")
    assert Answers(other, cache, identity="x", max_new_tokens=9).mark == keys[2]


def test_evaluate_takes_penalties_and_names_them(run: Run, tmp_path: Path, capsys) -> None:
    words = ["evaluate", str(run.path), "--out", str(tmp_path / "out"), "--limit", "4", "--max-new-tokens", "12"]
    words += ["--task", "summary", "--condition", "elm", "--device", "cpu", "--json", "--quiet"]
    code, out, _ = call([*words, "--no-repeat-ngram-size", "1"], capsys)
    assert code == 0
    assert "loops" in {row["metric"] for row in json.loads(out)}
    used = json.loads((tmp_path / "out" / "config.json").read_text())["decoding"]
    assert (used["max_new_tokens"], used["no_repeat_ngram_size"], used["repetition_penalty"]) == (12, 1, 1.0)
    tokenizer = run.model("cpu")[1].tokenizer
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    for row in rows:
        if row["condition"] == "elm":
            ids = tokenizer(row["answer"], add_special_tokens=False).input_ids
            assert len(ids) <= 12
            assert not row["loops"]
    code, out, err = call([*words, "--repetition-penalty", "0", "--overwrite"], capsys)
    assert (code, out) == (2, "")
    assert "repetition_penalty is 0.0; allowed is above 0" in err
