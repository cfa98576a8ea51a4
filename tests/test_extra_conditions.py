"""Conditions that need more than a run: its first stage, an LLM that is told titles; and the folder of the results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fake_endpoint import serving
from linear_world import Blind, Oracle
from vectalk.errors import EvaluationError, RunError, TeacherError
from vectalk.evaluation import ClientChat, evaluate
from vectalk.evaluation.probes.facts import Facts
from vectalk.llm import open_chat
from vectalk.model.run import Run
from vectalk.talk import ELM
from vectalk.tasks import Corpus


@pytest.fixture
def linear(linear_corpus: Corpus) -> Corpus:
    return linear_corpus


@pytest.fixture
def quick(linear_facts: Facts) -> dict[str, Any]:
    return {"tasks": ["summary"], "limit": 20, "facts": linear_facts}


def config(out: Path) -> dict[str, Any]:
    return json.loads((out / "config.json").read_text())


def values(rows: list[dict[str, Any]], metric: str) -> dict[str, float]:
    return {r["condition"]: r["value"] for r in rows if r["metric"] == metric}


# ---- the first stage


def test_a_run_opens_as_its_first_stage_left_it(run: Run, base_llm: Path) -> None:
    model, _ = run.model("cpu", stage=1)
    saved = load_file(run.path / "checkpoints" / "best-stage1.safetensors")
    adapters = {name: p for name, p in model.named_parameters() if name.startswith("adapters.")}
    assert saved.keys() == adapters.keys()
    assert all(torch.equal(saved[name], p) for name, p in adapters.items())
    base = load_file(base_llm / "model.safetensors")
    final, _ = run.model("cpu")
    for name in ("model.layers.0.mlp.up_proj.weight", "model.norm.weight"):
        assert torch.equal(model.llm.state_dict()[name], base[name])
        assert not torch.equal(final.llm.state_dict()[name], base[name])


def test_a_run_without_a_first_stage_says_so(run: Run, tmp_path: Path) -> None:
    bare = Run(tmp_path, run.card)
    with pytest.raises(RunError, match="has no weights of stage 1"):
        bare.model("cpu", stage=1)
    frozen = run.card.model_copy(update={"llm": run.card.llm.model_copy(update={"trained": "frozen"})})
    with pytest.raises(RunError, match="has no stage 2"):
        Run(run.path, frozen).model("cpu", stage=1)


def test_the_first_stage_takes_part(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    elm = ELM.from_pretrained(run.path, device="cpu")
    first = ELM.from_pretrained(run.path, device="cpu", stage=1)
    rows = evaluate(
        elm,
        corpus,
        tmp_path,
        stage1=lambda: first,
        conditions=["stage1"],
        limit=8,
        max_new_tokens=24,
        tasks=["summary"],
    )
    assert set(values(rows, "distinct")) == {"elm", "shuffled", "own_text", "stage1"}
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    by = {c: [a["answer"] for a in answers if a["condition"] == c] for c in ("elm", "stage1")}
    assert by["elm"] != by["stage1"]
    question = {"max_new_tokens": 24}
    slots = [{"island": ("island", corpus.spaces["island"].vectors[a["slots"]["island"]["row"]])} for a in answers[:8]]
    assert by["stage1"] == first.generate([a["prompt"] for a in answers[:8]], slots, **question)  # type: ignore[arg-type]


def test_a_first_stage_that_is_missing_is_not_run(linear: Corpus, quick: dict[str, Any], tmp_path: Path) -> None:
    def missing() -> Oracle:
        raise RunError("the run has no weights of stage 1")

    rows = evaluate(Oracle(linear), linear, tmp_path, stage1=missing, conditions=["stage1"], **quick)
    assert "stage1" not in values(rows, "distinct")
    assert config(tmp_path)["not_run"]["stage1"] == "the run has no weights of stage 1"


# ---- told titles


class Reader:
    """An LLM that knows all films by title, and keeps what it was told."""

    name = "reader"

    def __init__(self, corpus: Corpus, task: str) -> None:
        space = corpus.spaces["film"]
        self.known = {
            tuple(space.title(row) for _, row in e.slots.values()): e.target for e in corpus.examples("test", task)
        }
        self.heard: list[list[dict[str, str]]] = []

    def __call__(self, conversations: Sequence[list[dict[str, str]]]) -> list[str]:
        self.heard += conversations
        asked = [c[-1]["content"] for c in conversations]
        return [next(t for titles, t in self.known.items() if all(f"“{n}”" in q for n in titles)) for q in asked]


@pytest.mark.parametrize("task", ["summary", "both"])
def test_an_llm_is_told_titles_and_shown_training_examples(
    linear: Corpus, quick: dict[str, Any], tmp_path: Path, task: str
) -> None:
    reader = Reader(linear, task)
    rows = evaluate(Blind(linear), linear, tmp_path, chat=reader, conditions=["text_llm"], **{**quick, "tasks": [task]})
    assert values(rows, "sc")["text_llm"] == pytest.approx(values(rows, "sc")["own_text"], abs=0.01)
    assert len(reader.heard) == 20
    train = {linear.spaces["film"].title(int(row)) for row in linear.spaces["film"].rows("train")}
    references = {e.target for e in linear.examples("train", task)}
    *shots, question = reader.heard[0]
    assert [turn["role"] for turn in reader.heard[0]] == ["user", "assistant"] * 3 + ["user"]
    assert all(turn["content"] in references for turn in shots[1::2])
    assert all(any(f"“{title}”" in turn["content"] for title in train) for turn in shots[::2])
    assert question["role"] == "user"
    assert "{" not in question["content"]


def test_without_an_llm_it_is_not_run(linear: Corpus, quick: dict[str, Any], tmp_path: Path) -> None:
    rows = evaluate(Oracle(linear), linear, tmp_path, conditions=["text_llm"], **quick)
    assert "text_llm" not in values(rows, "distinct")
    assert "no LLM" in config(tmp_path)["not_run"]["text_llm"]


# ---- the folder of the results


def test_an_older_evaluation_is_replaced_when_told_so_alone(
    linear: Corpus, quick: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate(Oracle(linear), linear, out, **quick)
    before = (out / "metrics.jsonl").read_text()
    oracle = Oracle(linear)
    with pytest.raises(EvaluationError, match="holds an evaluation; name another folder"):
        evaluate(oracle, linear, out, **quick)
    assert (oracle.asked, (out / "metrics.jsonl").read_text()) == (0, before)
    (out / "report.html").write_text("of the old one")
    evaluate(Blind(linear), linear, out, overwrite=True, **quick)
    assert (out / "metrics.jsonl").read_text() != before
    assert "of the old one" not in (out / "report.html").read_text()


def test_an_interrupted_evaluation_of_another_run_is_in_the_way(
    linear: Corpus, quick: dict[str, Any], tmp_path: Path
) -> None:
    class Fragile(Oracle):
        fingerprint = "one run"

        def generate(self, prompts: Sequence[str], slots: Sequence[dict], **settings: Any) -> list[str]:
            if self.asked >= 20:
                raise KeyboardInterrupt
            return super().generate(prompts, slots, **settings)

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate(Fragile(linear), linear, out, **quick)
    other = Oracle(linear)
    other.fingerprint = "another run"  # type: ignore[attr-defined]
    with pytest.raises(EvaluationError, match="interrupted evaluation of another run or corpus"):
        evaluate(other, linear, out, **quick)
    same = Oracle(linear)
    same.fingerprint = "one run"  # type: ignore[attr-defined]
    evaluate(same, linear, out, **quick)
    assert same.asked == 21  # the mean and the random vectors; the films were asked about


def test_what_is_no_evaluation_is_never_replaced(linear: Corpus, quick: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(EvaluationError, match=r"is not the folder of an evaluation \(it holds thesis.txt\)"):
            evaluate(Oracle(linear), linear, tmp_path, overwrite=overwrite, **quick)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_endpoint_is_asked_greedily_and_once(
    linear: Corpus, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai")
    monkeypatch.setenv("VECTALK_CACHE", str(tmp_path / "cache"))
    progress: list[tuple[int, int]] = []
    with serving("Comedy of the 1990s.") as fake:
        for name in ("one", "two"):
            with open_chat("openai:some-model", {"base_url": fake.url}, greedy=True) as client:
                chat = ClientChat(client, lambda what, done, total: progress.append((done, total)))
                rows = evaluate(Blind(linear), linear, tmp_path / name, chat=chat, conditions=["text_llm"], **quick)
        assert len(fake.requests) == 20
    assert progress == [(done, 20) for done in range(21)] * 2
    assert all(request["temperature"] == 0 for request in fake.requests)
    assert fake.requests[0]["model"] == "some-model"
    assert values(rows, "distinct")["text_llm"] == 1 / 20
    with pytest.raises(TeacherError, match=r"openai:MODEL .* or hf:FOLDER .*, not 'gpt'"), open_chat("gpt"):
        pass
