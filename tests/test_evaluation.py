"""The evaluation of generators whose worth is known: one that reads the vector, one that never looks."""

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from linear_world import SUITE, Blind, Oracle
from vectalk.cli.main import main
from vectalk.errors import EvaluationError, SuiteError
from vectalk.evaluation import evaluate
from vectalk.evaluation.answers import AnswerCache, Answers
from vectalk.evaluation.conditions import Conditions, derangement, gaussian
from vectalk.evaluation.probes.facts import Facts
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, Suite

SUMMARY = ["summary"]


@pytest.fixture(scope="module")
def corpus(linear_corpus: Corpus) -> Corpus:
    return linear_corpus


@pytest.fixture(scope="module", autouse=True)
def probes_are_fitted_once(linear_facts: Facts) -> Iterator[None]:
    """The probes depend on corpus and seed alone, so that the tests may share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("vectalk.evaluation.evaluate"), "Facts", lambda *_: linear_facts)
        yield


@pytest.fixture(scope="module")
def oracle_rows(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    out = tmp_path_factory.mktemp("oracle")
    return evaluate(Oracle(corpus), corpus, out), out


def figure(rows: list[dict[str, Any]], metric: str, condition: str = "elm", task: str = "summary") -> dict[str, Any]:
    (row,) = [r for r in rows if (r["task"], r["metric"], r["condition"]) == (task, metric, condition)]
    return row


def value(*arguments: Any) -> float:
    return figure(*arguments)["value"]


# ---- what the figures mean


@pytest.mark.parametrize("attribute", ["genres", "decade", "rating"])
def test_a_perfect_generator_recovers_everything(oracle_rows: tuple, attribute: str) -> None:
    rows, _ = oracle_rows
    assert value(rows, f"score/{attribute}") > 0.99
    found = figure(rows, f"recovery/{attribute}")
    assert 0.99 <= found["value"] <= 1.2
    assert 0.97 <= found["low"] <= found["value"] <= found["high"]
    assert value(rows, f"recovery/{attribute}", "probe_text") == pytest.approx(1, abs=1e-6)
    assert value(rows, f"recovery/{attribute}", "majority") == pytest.approx(0, abs=1e-6)
    assert 0.3 < value(rows, f"recovery/{attribute}", "copy_text") < 0.95


def test_recovery_of_all_attributes_is_their_mean(oracle_rows: tuple) -> None:
    rows, _ = oracle_rows
    for condition in ("elm", "shuffled", "own_text"):
        each = [value(rows, f"recovery/{name}", condition) for name in ("genres", "decade", "rating")]
        assert value(rows, "recovery", condition) == pytest.approx(np.mean(each))
    gap = figure(rows, "recovery_minus_shuffled")
    assert gap["value"] == pytest.approx(value(rows, "recovery") - value(rows, "recovery", "shuffled"))
    assert 0.3 < gap["low"] < gap["value"] < gap["high"]
    wanted = value(rows, "recovery/genres") - value(rows, "recovery/genres", "copy_text")
    assert value(rows, "recovery_minus_copy_text/genres") == pytest.approx(wanted)


def test_a_perfect_generator_says_nothing_false(oracle_rows: tuple) -> None:
    rows, _ = oracle_rows
    assert value(rows, "claims_precision") == value(rows, "claims_recall") == 1.0
    assert value(rows, "claims_precision", "shuffled") < 0.8
    assert value(rows, "self_bleu") == pytest.approx(value(rows, "self_bleu", "shuffled"))  # summed in another order


def test_controls_that_lost_the_vector_recover_nothing(oracle_rows: tuple) -> None:
    rows, _ = oracle_rows
    for control in ("shuffled", "mean", "gaussian"):
        for attribute in ("genres", "decade", "rating"):
            assert value(rows, f"recovery/{attribute}", control) < 0.35
        assert abs(value(rows, "sc", control)) < 0.25
        assert value(rows, "recall@10", control) < 0.3


def test_a_blind_generator_recovers_nothing(corpus: Corpus, tmp_path: Path) -> None:
    rows = evaluate(Blind(corpus), corpus, tmp_path, tasks=SUMMARY)
    for attribute in ("genres", "decade", "rating"):
        assert value(rows, f"recovery/{attribute}") < 0.15
        assert value(rows, f"score/{attribute}") == value(rows, f"score/{attribute}", "shuffled")
    n = figure(rows, "distinct")["n"]
    assert value(rows, "distinct") == 1 / n
    assert abs(value(rows, "nsc")) < 0.2
    assert value(rows, "mrr") < 0.15


def test_consistency_ranks_the_conditions(oracle_rows: tuple) -> None:
    rows, _ = oracle_rows
    for task in ("summary", "both"):
        own, right, wrong = (value(rows, "sc", c, task) for c in ("own_text", "elm", "shuffled"))
        assert right > wrong + 0.4
        assert own > wrong + 0.4
        assert value(rows, "nsc", "own_text", task) == pytest.approx(1)
        assert value(rows, "nsc", "shuffled", task) == pytest.approx(0)
        assert value(rows, "nsc", "elm", task) == pytest.approx((right - wrong) / (own - wrong))
        assert value(rows, "recall@10", "elm", task) > value(rows, "recall@10", "shuffled", task) + 0.2
        for rival in ("shuffled", "copy_text", "probe_text"):
            gap = figure(rows, f"sc_minus_{rival}", "elm", task)
            assert gap["value"] == pytest.approx(right - value(rows, "sc", rival, task))
            assert gap["low"] < gap["value"] < gap["high"]


def test_what_has_no_place_is_not_measured(oracle_rows: tuple) -> None:
    rows, out = oracle_rows
    # `improve` is about no vector: no consistency. `hidden` is stated by no text: no recovery, and a note.
    found = {r["metric"].partition("_minus_")[0] for r in rows if r["task"] == "improve"}
    assert found == {"claims_precision", "claims_recall", "distinct", "self_bleu", "loops"}
    assert not [r for r in rows if "hidden" in r["metric"]]
    notes = json.loads((out / "config.json").read_text())["notes"]
    assert [note for note in notes if "'hidden': not readable, the extractor scores 0.00" in note]


def test_files(corpus: Corpus, oracle_rows: tuple) -> None:
    rows, out = oracle_rows
    written = ["answers.jsonl", "config.json", "map.json", "metrics.jsonl", "report.html"]
    assert sorted(f.name for f in out.iterdir()) == written
    assert [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()] == rows
    assert set(rows[0]) == {"space", "task", "metric", "condition", "value", "low", "high", "n"}
    config = json.loads((out / "config.json").read_text())
    assert {"elm", "shuffled", "mean", "majority", "probe_text", "own_text"} <= set(config["conditions"])
    assert set(config["probes"]) == {"film/genres", "film/decade", "film/rating"}  # no sentence says `hidden`
    assert set(config["readback"]) == {"summary", "both"}
    assert config["not_run"] == {"stage1": "not requested", "text_llm": "not requested"}
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    shown = next(a for a in answers if a["task"] == "summary" and a["condition"] == "own_text")
    assert shown["answer"] == shown["reference"]
    assert shown["slots"]["film"]["title"] == corpus.spaces["film"].title(shown["slots"]["film"]["row"])
    tests = set(corpus.spaces["film"].rows("test").tolist())
    assert all(slot["row"] in tests for a in answers for slot in a["slots"].values())


# ---- generation


def test_each_question_is_asked_once(corpus: Corpus, tmp_path: Path) -> None:
    """Shuffled vectors are those of other test entities, and the mean is one vector."""
    oracle, told = Oracle(corpus), []
    rows = evaluate(oracle, corpus, tmp_path, tasks=SUMMARY, limit=20, progress=lambda *news: told.append(news))
    assert oracle.asked == 20 + 1 + 20  # the films, the mean, random vectors
    assert ("summary: elm", 0, 20) in told
    assert told.index(("summary: elm", 20, 20)) > told.index(("summary: elm", 0, 20))
    assert figure(rows, "sc")["n"] == 20


def test_headline_conditions_alone(corpus: Corpus, tmp_path: Path) -> None:
    oracle = Oracle(corpus)
    rows = evaluate(oracle, corpus, tmp_path, tasks=SUMMARY, limit=20, conditions=["copy_text"])
    assert oracle.asked == 20
    assert {r["condition"] for r in rows} == {"elm", "shuffled", "copy_text", "own_text", "probe"}
    assert figure(rows, "recovery/genres")["value"] > 0.9  # what it is relative to needs no texts


def test_random_vectors_are_shared_by_examples_where_there_are_many(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("conditions", "metrics.distinctness"):
        monkeypatch.setattr(importlib.import_module(f"vectalk.evaluation.{module}"), "GAUSSIANS", 5)
    oracle = Oracle(corpus)
    rows = evaluate(oracle, corpus, tmp_path, tasks=["both"], limit=20, conditions=["gaussian"])
    assert oracle.asked == 20 + 5
    assert figure(rows, "distinct", "gaussian", "both")["n"] == 5
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    drawn = [a["answer"] for a in answers if a["condition"] == "gaussian"]
    assert drawn[:5] * 4 == drawn
    assert len(set(drawn)) > 3
    # The two vectors of a pair are not the same one.
    first, second = zip(*(text.removeprefix("The first is ").split(", the second ") for text in drawn), strict=True)
    assert [a.rstrip(".") for a in first] != [b.rstrip(".") for b in second]


def test_an_interrupted_evaluation_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    class Fragile(Oracle):
        def generate(self, prompts: Sequence[str], slots: Sequence[dict], **settings: Any) -> list[str]:
            if self.asked >= 40:
                raise KeyboardInterrupt
            return super().generate(prompts, slots, **settings)

        fingerprint = "the same weights"

    class Whole(Oracle):
        fingerprint = "the same weights"

    wanted = evaluate(Oracle(corpus), corpus, tmp_path / "whole", tasks=["summary", "both"], limit=30)
    fragile, whole = Fragile(corpus), Whole(corpus)
    with pytest.raises(KeyboardInterrupt):
        evaluate(fragile, corpus, tmp_path / "out", tasks=["summary", "both"], limit=30)
    kept = tmp_path / "out" / "answers.partial.jsonl"
    kept.write_text(kept.read_text() + '\n{"key": "torn')
    assert not (tmp_path / "out" / "metrics.jsonl").exists()
    assert evaluate(whole, corpus, tmp_path / "out", tasks=["summary", "both"], limit=30) == wanted
    assert fragile.asked + whole.asked == 2 * (30 + 1 + 30)
    assert not kept.exists()


def test_answers_of_another_run_are_not_reused(corpus: Corpus, tmp_path: Path) -> None:
    question = [("What is {film}?", {"film": ("film", corpus.spaces["film"].vectors[0])})]
    for number, (identity, tokens) in enumerate([("a", 9), ("b", 9), ("a", 8), ("a", 9)]):
        oracle, kept = Oracle(corpus), AnswerCache(tmp_path / "kept.jsonl", lambda *_: None)
        Answers(oracle, kept, identity=identity, max_new_tokens=tokens)(question, "film")
        assert oracle.asked == (number < 3)


def test_a_generator_must_answer_each_question(corpus: Corpus, tmp_path: Path) -> None:
    class Short(Oracle):
        def generate(self, prompts: Sequence[str], slots: Sequence[dict], **settings: Any) -> list[str]:
            return ["one"]

    with pytest.raises(EvaluationError, match="1 answers to 20 questions"):
        evaluate(Short(corpus), corpus, tmp_path, tasks=SUMMARY, limit=20)


# ---- conditions


def test_derangement_leaves_nothing_in_place() -> None:
    for n in (2, 3, 10, 101):
        for seed in range(10):
            order = derangement(n, seed)
            assert sorted(order) == list(range(n))
            assert not (order == np.arange(n)).any()
    with pytest.raises(EvaluationError, match="at least 2"):
        derangement(1, 0)


def test_gaussian_has_the_moments_of_the_space() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((4000, 3)) @ [[2, 1, 0], [0, 1, 0], [0, 0, 0.1]] + [5, 0, -1]).astype(np.float32)
    space = VectorSpace.create("s", vectors, {"id": [str(i) for i in range(4000)]})
    drawn = gaussian(space, 20_000, 0)
    np.testing.assert_allclose(drawn.mean(0), vectors.mean(0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(vectors.T), atol=0.25)
    assert not (drawn[:, None] == vectors[None, :200]).all(-1).any()


def test_rivals_see_training_entities_only(corpus: Corpus) -> None:
    space, task = corpus.spaces["film"], corpus.suite.task("summary")
    examples, references = list(corpus.examples("test", "summary")), list(corpus.examples("train", "summary"))
    conditions = Conditions(corpus, task, examples, references, Facts(corpus, 0), None, 0)  # type: ignore[arg-type]
    known = {reference.target: reference.slots["film"][1] for reference in references}
    near, _ = space.neighbors(space.vectors[[e.slots["film"][1] for e in examples]], 1, split_name="train")
    assert [known[text] for text in conditions.texts("copy_text")] == near[:, 0].tolist()
    pairs = list(corpus.examples("test", "both"))
    both = Conditions(corpus, corpus.suite.task("both"), pairs, [], Facts(corpus, 0), None, 0)  # type: ignore[arg-type]
    a, b = (
        space.metadata(int(space.neighbors(space[pairs[0].slots[s][1]], 1, split_name="train")[0][0])) for s in "ab"
    )
    text = both.texts("copy_text")[0]
    assert f"of the {a['year']}s, the second" in text
    assert text.endswith(f"of the {b['year']}s.")


def test_a_task_without_grammar_leaves_spelled_conditions_out(corpus: Corpus, tmp_path: Path) -> None:
    tasks = [t.model_copy(update={"facts": []}) for t in corpus.suite.tasks if t.name in ("summary", "both")]
    bare = Corpus(corpus.path, corpus.card, corpus.suite.model_copy(update={"tasks": tasks}), corpus.spaces)
    rows = evaluate(Oracle(corpus), bare, tmp_path, limit=20)
    ran = {task: {r["condition"] for r in rows if r["task"] == task} - {"probe"} for task in ("summary", "both")}
    assert ran["summary"] == {"elm", "shuffled", "mean", "gaussian", "copy_text", "own_text"}
    assert ran["both"] == ran["summary"] - {"copy_text"}
    assert value(rows, "recovery/decade") > 0.95  # scores need no spelled text
    notes = json.loads((tmp_path / "config.json").read_text())["notes"]
    assert [n for n in notes if n.startswith("probe_text not run: task 'summary'")]


# ---- bad input


def test_bad_input_is_named(corpus: Corpus, tmp_path: Path) -> None:
    oracle = Oracle(corpus)
    with pytest.raises(EvaluationError, match="unknown conditions guess; allowed are elm, shuffled"):
        evaluate(oracle, corpus, tmp_path, conditions=("guess",))
    with pytest.raises(EvaluationError, match="unknown setting 'limits'; allowed are tasks, limit, encoder"):
        evaluate(oracle, corpus, tmp_path, limits=3)
    with pytest.raises(EvaluationError, match="limit must be at least 2"):
        evaluate(oracle, corpus, tmp_path, limit=1)
    with pytest.raises(SuiteError, match="no task 'nothing'"):
        evaluate(oracle, corpus, tmp_path, tasks=["nothing"])
    oracle.spaces = {}
    with pytest.raises(EvaluationError, match="asks about space 'film'; the run was trained on none"):
        evaluate(oracle, corpus, tmp_path)
    space = corpus.spaces["film"]
    other = VectorSpace.create("film", np.asarray(space.vectors) + 1, {"id": [str(i) for i in range(len(space))]})
    oracle.spaces = {"film": other}
    with pytest.raises(EvaluationError, match="has fingerprint"):
        evaluate(oracle, corpus, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_task_without_test_examples_is_named(corpus: Corpus, tmp_path: Path) -> None:
    suite = Suite.parse(SUITE.replace("name: improve", "name: other"), "linear")
    renamed = Corpus(corpus.path, corpus.card, suite, corpus.spaces)
    with pytest.raises(EvaluationError, match="0 test examples of task 'other'"):
        evaluate(Oracle(corpus), renamed, tmp_path, tasks=["other"])


# ---- the verb


@pytest.fixture
def fake_talk(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = SimpleNamespace(from_pretrained=lambda run, *, spaces, llm, device: Oracle(corpus))
    monkeypatch.setitem(sys.modules, "vectalk.talk", SimpleNamespace(ELM=loads))


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *arguments])
    output = capsys.readouterr()
    return int(exit_.value.code or 0), output.out, output.err


@pytest.mark.usefixtures("fake_talk")
def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("run", "--out", str(tmp_path / "out"), "--task", "summary", "--task", "both", "--limit", "20")
    code, out, err = call(capsys, *options, "--json", "--quiet")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert {r["task"] for r in rows} == {"summary", "both"}
    assert [json.loads(s) for s in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()] == rows
    code, out, err = call(capsys, *options)
    assert (code, out) == (2, "")
    assert "holds an evaluation" in err
    assert "--overwrite" in err
    code, out, err = call(capsys, *options, "--overwrite")
    assert code == 0
    assert "text_llm: not measured (not requested)" in err
    assert "summary (20 test examples)" in out
    assert f"written to {tmp_path / 'out'}" in err
    code, out, err = call(capsys, *options, "--task", "nothing", "--overwrite")
    assert (code, out) == (2, "")
    assert err.startswith("vectalk: error: suite 'linear' has no task 'nothing'")


def test_an_encoder_that_cannot_be_loaded_is_named_before_any_question_is_asked(corpus: Corpus, tmp_path: Path) -> None:
    oracle = Oracle(corpus)
    with pytest.raises(EvaluationError, match=r"cannot be loaded|needs sentence-transformers"):
        evaluate(oracle, corpus, tmp_path / "out", encoder=str(tmp_path / "no-such-encoder"), limit=10)
    assert not (tmp_path / "out").exists()
