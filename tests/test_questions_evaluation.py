"""`evaluate --questions`: free questions about islands, asked of a small trained run and of its base LLM."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vectalk.errors import EvaluationError
from vectalk.evaluation import evaluate_questions
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.questions.conditions import QuestionConditions
from vectalk.evaluation.questions.evaluate import SHARED
from vectalk.evaluation.records import card_of, rows_of
from vectalk.evaluation.report import write_report
from vectalk.model.run import Run
from vectalk.talk import ELM
from vectalk.tasks import Corpus
from vectalk.tasks.questions import FreeQuestion
from vectalk.tasks.teachers.told import FactPhrases
from worlds import call

FILE = """
- {text: "What can be found on {island}?", form: direct, attribute: riches}
- {text: "Would a merchant like {island}?", form: indirect}
- {text: "How old is {island}?", form: direct, attribute: decade}
"""
CONDITIONS = {"elm", "shuffled", "told", "told_shuffled", "copy_told", "probe_told"}


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return ELM.from_pretrained(run.path, device="cpu")


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "mine.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def out(elm: ELM, corpus: Corpus, questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an evaluation with ten test entities."""
    folder = tmp_path_factory.mktemp("evaluation") / "questions"
    evaluate_questions(elm, corpus, folder, questions, limit=10, max_new_tokens=12)
    return folder


def figures(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["metric"], row["condition"]): row for row in rows_of(folder, "metrics.jsonl")}


def test_each_condition_has_scores_of_each_attribute(out: Path) -> None:
    rows = figures(out)
    for metric in ("score/riches", "score/decade", "distinct"):
        assert {condition for name, condition in rows if name == metric} == CONDITIONS
        assert all(0 <= rows[metric, condition]["value"] <= 1 for condition in CONDITIONS)
    assert {(row["space"], row["task"], row["n"]) for row in rows.values()} == {("island", "questions", 10)}
    assert ("unseen_ratio/riches", "elm") in rows
    assert {condition for name, condition in rows if name == "kl_kept"} == {"elm", "copy_told", "probe_told"}
    assert all(rows["kl_kept", condition]["value"] <= 1 for condition in ("elm", "copy_told", "probe_told"))
    assert rows["trained_score/riches", "elm"]["value"] > rows["trained_score/riches", "shuffled"]["value"]


def test_answers_are_scored_for_what_their_question_asks(out: Path, corpus: Corpus) -> None:
    rows = rows_of(out, "answers.jsonl")
    assert len(rows) == len(CONDITIONS) * 3 * 10
    asked = {row["prompt"]: set(row["scores"]) for row in rows}
    assert asked == {
        "What can be found on {island}?": {"riches"},
        "Would a merchant like {island}?": {"riches", "decade"},
        "How old is {island}?": {"decade"},
    }
    split = corpus.spaces["island"].column("split").to_pylist()
    assert {split[row["slots"]["island"]["row"]] for row in rows} == {"test"}
    assert all(row["reference"].startswith("an island (riches: ") for row in rows)


def test_a_score_is_the_mean_over_the_answers(out: Path) -> None:
    rows = [row for row in rows_of(out, "answers.jsonl") if row["condition"] == "elm" and "riches" in row["scores"]]
    mean = sum(row["scores"]["riches"] for row in rows) / len(rows)
    assert figures(out)["score/riches", "elm"]["value"] == pytest.approx(mean, abs=1e-3)


def test_the_shuffled_answers_are_those_of_other_entities(out: Path) -> None:
    rows = rows_of(out, "answers.jsonl")
    for one, other in (("elm", "shuffled"), ("told", "told_shuffled")):
        texts = {c: [r["answer"] for r in rows if r["condition"] == c] for c in (one, other)}
        for place in range(0, 30, 10):
            right, shuffled = (texts[c][place : place + 10] for c in (one, other))
            assert sorted(right) == sorted(shuffled)


def test_the_card_lists_the_questions_and_what_they_depend_on(out: Path, corpus: Corpus) -> None:
    card = card_of(out, "config.json")["questions"]
    assert [asked["attribute"] for asked in card["list"]] == ["riches", None, "decade"]
    assert set(card["list"][1]["told_gap"]) == {"riches", "decade"}
    assert all(asked["told_gap"][name] >= 0.1 for asked in card["list"] for name in asked["in_told_ratio"])
    assert {*card["trained"]["riches"]} <= {p for task in corpus.suite.tasks for p in task.prompts}
    assert "Describe {island}." in card["trained"]["decade"]
    assert not any("visitor" in note for note in card["notes"])  # its texts are read by the rules
    assert any("told_ratio/riches" in note and "10 or more" in note for note in card["notes"])


def test_the_report_shows_each_question_side_by_side(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<details><summary>What can be found on") == 1
    assert "told other facts" in page
    assert "KL kept" in page
    assert 'id="failures"' not in page  # there are no tasks whose failures it could show


def without_answers(corpus: Corpus, folder: Path) -> Corpus:
    """Return a copy of a corpus, beside which the base LLM has not answered yet."""
    shutil.copytree(corpus.path, folder, ignore=shutil.ignore_patterns(SHARED))
    return Corpus.load(folder, {"island": corpus.spaces["island"].path})


def test_an_interrupted_evaluation_asks_only_what_is_missing(
    elm: ELM, corpus: Corpus, questions: Path, out: Path, tmp_path: Path
) -> None:
    corpus = without_answers(corpus, tmp_path / "corpus")

    class InterruptedError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if what == "questions: told" and done:
            raise InterruptedError

    settings: dict[str, Any] = {"limit": 10, "max_new_tokens": 12}
    with pytest.raises(InterruptedError):
        evaluate_questions(elm, corpus, tmp_path / "new", questions, progress=stop, **settings)
    assert not (tmp_path / "new" / "metrics.jsonl").exists()
    totals: dict[str, int] = {}
    evaluate_questions(
        elm, corpus, tmp_path / "new", questions, progress=lambda what, _, n: totals.update({what: n}), **settings
    )
    assert totals["questions: elm"] == 0
    assert totals["questions: copy_told"] > 0
    assert rows_of(tmp_path / "new", "metrics.jsonl") == rows_of(out, "metrics.jsonl")
    assert not (tmp_path / "new" / "questions.partial.jsonl").exists()


def test_runs_on_the_same_llm_share_the_answers_of_the_base_llm(
    elm: ELM, corpus: Corpus, questions: Path, out: Path, tmp_path: Path
) -> None:
    place = elm.run.path.with_name("run-with-shared-answers")  # beside the run, for the relative paths of its card
    other = shutil.copytree(elm.run.path, place, dirs_exist_ok=True)
    (other / "elm.json").write_text((other / "elm.json").read_text() + "\n")  # another run, as its identity says
    settings: dict[str, Any] = {"limit": 10, "max_new_tokens": 12}
    asked: dict[str, int] = {}
    another = ELM.from_pretrained(other, device="cpu")
    evaluate_questions(
        another, corpus, tmp_path / "new", questions, progress=lambda what, _, n: asked.update({what: n}), **settings
    )
    told = [n for what, n in asked.items() if what.endswith(("told", "told_shuffled", "other words"))]
    assert len(told) == 7
    assert sum(told) == 0
    assert asked["questions: elm"] == 30
    assert rows_of(tmp_path / "new", "metrics.jsonl") == rows_of(out, "metrics.jsonl")


def test_the_base_llm_reads_what_probes_predict(linear_corpus: Corpus) -> None:
    (name, space), *_ = linear_corpus.spaces.items()
    rows, facts = np.asarray(space.rows("test"))[:40], Facts(linear_corpus, 0)

    def unused(*_: Any) -> list[str]:
        raise AssertionError

    phrases = FactPhrases.of(linear_corpus.suite, name, space)
    conditions = QuestionConditions(phrases, space, rows, unused, unused, 0, facts)
    true, probed, other = (conditions.phrases_of(c) for c in ("told", "probe_told", "told_shuffled"))
    # A number is predicted almost, and so never the same in words.
    true, probed, other = ([re.sub(r"rating: [-.\d]+; ", "", text) for text in one] for one in (true, probed, other))
    assert np.mean([a == b for a, b in zip(true, probed, strict=True)]) > 0.7  # the attributes are linear
    assert np.mean([a == b for a, b in zip(true, other, strict=True)]) < 0.3
    without = QuestionConditions(phrases, space, rows, unused, unused, 0)
    with pytest.raises(NotRunError, match="no attribute has a probe"):
        without.phrases_of("probe_told")


def test_a_corpus_that_is_read_only_is_left_as_it_is(
    elm: ELM, corpus: Corpus, questions: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = without_answers(corpus, tmp_path / "corpus")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may write everywhere
    evaluate_questions(elm, corpus, tmp_path / "new", questions, limit=10, max_new_tokens=12)
    assert not (corpus.path / SHARED).exists()
    assert rows_of(tmp_path / "new", "metrics.jsonl") == rows_of(out, "metrics.jsonl")


def test_questions_are_added_to_an_evaluation_of_the_run(
    elm: ELM, corpus: Corpus, questions: Path, out: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(out, tmp_path / "evaluation")
    task = {**rows_of(out, "metrics.jsonl")[0], "task": "summary"}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(task) + "\n")
    with pytest.raises(EvaluationError, match="already holds free questions; replace them with --overwrite"):
        evaluate_questions(elm, corpus, folder, questions, limit=2, max_new_tokens=2)
    rows = evaluate_questions(elm, corpus, folder, questions, limit=2, max_new_tokens=2, overwrite=True)
    assert rows_of(folder, "metrics.jsonl") == [task, *rows]
    assert len(rows_of(folder, "answers.jsonl")) == len(CONDITIONS) * 3 * 2
    write_report(folder)


def test_the_folder_of_something_else_is_refused(
    elm: ELM, corpus: Corpus, questions: Path, out: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(out, tmp_path / "other")
    card = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**card, "run": {"path": None, "identity": "x"}}))
    with pytest.raises(EvaluationError, match="holds the evaluation of another run"):
        evaluate_questions(elm, corpus, folder, questions, overwrite=True)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(EvaluationError, match=r"is not the folder of an evaluation \(it holds notes\.txt\)"):
        evaluate_questions(elm, corpus, tmp_path, questions)


def test_questions_that_do_not_fit_are_refused(elm: ELM, corpus: Corpus, tmp_path: Path) -> None:
    pair = FreeQuestion("Is {a} like {b}?", {"a": "island", "b": "island"}, "two")
    unknown = FreeQuestion("Is {island} big?", {"island": "island"}, "question", "size")
    for asked, message in (
        ("unseen", "the questions are about space 'film', the corpus has island"),
        ([pair], "with one slot in each question"),
        ([unknown], "asks for the attribute 'size', the suite has riches, decade"),
    ):
        with pytest.raises(EvaluationError, match=message):
            evaluate_questions(elm, corpus, tmp_path / "new", asked)
    with pytest.raises(EvaluationError, match="limit must be at least 2"):
        evaluate_questions(elm, corpus, tmp_path / "new", [replace(unknown, attribute=None)], limit=1)


# ---- command line


def test_the_verb_prints_rows_as_json(
    run: Run, corpus: Corpus, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--questions", str(questions), "--limit", "2", "--max-new-tokens", "2", "--device", "cpu"]
    place = ["--out", str(tmp_path / "out"), "--corpus", str(corpus.path)]
    code, out, err = call(["evaluate", str(run.path), *place, *options, "--json"], capsys)
    assert code == 0, err
    assert json.loads(out) == rows_of(tmp_path / "out", "metrics.jsonl")
    code, out, err = call(["evaluate", str(run.path), *place, *options, "--overwrite", "--quiet"], capsys)
    assert code == 0, err
    assert "told_shuffled" in out
    assert "KL kept" in out


def test_options_without_effect_are_refused(
    run: Run, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--condition", "mean"], ["--encoder", "tfidf"], ["--task", "summary"], ["--trust-encoder"]):
        arguments = ["evaluate", str(run.path), "--out", str(tmp_path / "out"), "--questions", str(questions)]
        code, out, err = call([*arguments, *option], capsys)
        assert (code, out) == (2, "")
        assert f"{option[0]} has no effect with --questions" in " ".join(err.split())
    code, _, err = call(["evaluate", str(run.path), "--out", str(tmp_path / "o"), "--questions", "none.yaml"], capsys)
    assert code == 2
    assert "none.yaml does not exist" in " ".join(err.split())
