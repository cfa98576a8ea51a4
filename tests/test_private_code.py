"""No text that a model wrote enters the read-back, so a code that only the model knows is worth nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linear_world import Oracle
from vectalk.evaluation import evaluate
from vectalk.evaluation.probes.facts import Facts
from vectalk.readback import TfidfEncoder, readback
from vectalk.tasks import Corpus


class Coder(Oracle):
    """Writes the vector down to the last digit, in words of its own: a judge fitted on them would read them all."""

    def generate(
        self, prompts: Sequence[str], slots: Sequence[dict], *, max_new_tokens: int, progress: Any
    ) -> list[str]:
        (named,) = {tuple(s) for s in slots}
        return [
            " ".join(f"{slot}zaq{i}x{round(x * 2) + 20}" for slot in named for i, x in enumerate(s[slot][1]))
            for s in slots
        ]


class Mixed(Coder):
    """Writes the truth, and the code behind it."""

    def generate(self, prompts: Sequence[str], slots: Sequence[dict], **settings: Any) -> list[str]:
        true, code = Oracle.generate(self, prompts, slots, **settings), super().generate(prompts, slots, **settings)
        return [f"{a} {b}" for a, b in zip(true, code, strict=True)]


@pytest.fixture
def corpus(linear_corpus: Corpus) -> Corpus:
    return linear_corpus


def rows_of(corpus: Corpus, generator: type[Oracle], out: Path, facts: Facts) -> dict[tuple[str, str], dict[str, Any]]:
    quick: dict[str, Any] = {"tasks": ["summary"], "conditions": ["elm"], "facts": facts}
    return {(r["metric"], r["condition"]): r for r in evaluate(generator(corpus), corpus, out, **quick)}


def test_a_private_code_gains_nothing(corpus: Corpus, linear_facts: Facts, tmp_path: Path) -> None:
    # The code tells the vector: no two films have the same.
    space, rows = corpus.spaces["film"], corpus.spaces["film"].rows("test")
    asked = [{"film": ("film", space.vectors[row])} for row in rows]
    code = Coder(corpus).generate([""] * len(rows), asked, max_new_tokens=99, progress=None)
    assert len(set(code)) == len(rows)
    coded, told, both = (rows_of(corpus, g, tmp_path / g.__name__, linear_facts) for g in (Coder, Oracle, Mixed))
    assert abs(coded["sc", "elm"]["value"]) < 0.15
    gap = coded["sc_minus_shuffled", "elm"]
    assert gap["low"] <= 0 <= gap["high"]
    assert coded["recall@10", "elm"]["value"] < 0.25
    assert told["sc", "elm"]["value"] > 0.4
    assert both["sc", "elm"]["value"] <= told["sc", "elm"]["value"] + 0.02


def test_encoder_and_ridge_see_training_references_alone(
    corpus: Corpus, linear_facts: Facts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[str] = []
    encoded: list[list[str]] = []
    seen: list[list[str]] = []
    fit, encode, ridge = TfidfEncoder.fit, TfidfEncoder.encode, readback.fit_ridge

    def recording_fit(self: TfidfEncoder, texts: Sequence[str], **settings: Any) -> TfidfEncoder:
        fitted.extend(texts)
        return fit(self, texts, **settings)

    def recording_encode(self: TfidfEncoder, texts: Sequence[str]) -> np.ndarray:
        encoded.append(list(texts))
        return encode(self, texts)

    def recording_ridge(x: np.ndarray, *arguments: Any, **settings: Any) -> Any:
        assert len(x) == len(encoded[-1])
        seen.append(encoded[-1])
        return ridge(x, *arguments, **settings)

    monkeypatch.setattr(TfidfEncoder, "fit", recording_fit)
    monkeypatch.setattr(TfidfEncoder, "encode", recording_encode)
    monkeypatch.setattr(readback, "fit_ridge", recording_ridge)
    evaluate(Mixed(corpus), corpus, tmp_path / "out", limit=30, facts=linear_facts)
    references = {task: {e.target for e in corpus.examples("train", task)} for task in ("summary", "both")}
    assert len(seen) == 2
    for texts, task in zip(seen, references, strict=True):
        assert set(texts) <= references[task]
        assert len(texts) > 100
    assert set(fitted) <= references["summary"] | references["both"]
    assert any("zaq" in text for texts in encoded for text in texts)  # generated texts are read, and only read
