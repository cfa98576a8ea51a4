"""Consistency in training: measured on validation questions, in spaces that a text encoder made, and only there."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from vectalk.errors import TrainingError
from vectalk.readback import SentenceEncoder, encoder
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus
from vectalk.training import TrainConfig
from vectalk.training.answers import Consistency
from vectalk.training.trainer import make_trainer, train
from worlds import SHORT, log_of

WORDS = ("sea", "love", "war", "dog")
SUITE = """
name: words
attributes: {film: {word: {kind: category}}}
tasks:
  - {name: summary, slots: {film: film}, about: film, prompts: ["What of {film}?"], facts: ["{{ film.word }}"]}
"""


class Counts(SentenceEncoder):
    """Counts four words."""

    def __init__(self) -> None:
        super().__init__("counts")

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        return encoder.unit(np.array([[text.lower().count(word) for word in WORDS] for text in texts]) + 1e-3)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Each film is one word."""
    monkeypatch.setattr("vectalk.training.answers.get_encoder", lambda name: Counts())
    words = [WORDS[n % 4] for n in range(200)]
    vectors = Counts().compute(words).astype(np.float32)
    entities = {"id": [str(n) for n in range(200)], "word": words}
    space = VectorSpace.create("film", vectors, entities, encoder="counts").save(tmp_path / "film")
    suite = Suite.parse(SUITE, "words")
    teacher = FactsTeacher(suite, {"film": space})
    return build_corpus({"film": space}, suite, teacher, tmp_path / "corpus", variants=1)


def test_right_answers_are_consistent(
    made: Corpus, random_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = TrainConfig.load(None, {**SHORT, "eval_answers": 8})
    trainer = make_trainer(made, str(random_llm), tmp_path / "run", settings, device="cpu", trust_encoder=True)
    consistency = Consistency(trainer.model, trainer.validation_set, 8, 5, trust_encoder=True)
    numbers = np.arange(len(trainer.validation_set))
    assert set(consistency.measure(numbers)) == {"sc", "sc_shuffled", "nsc"}  # the untrained model runs
    monkeypatch.setattr(
        consistency, "_answers", lambda asked, vectors, progress: [WORDS[int(np.argmax(vector))] for vector in vectors]
    )
    found = consistency.measure(numbers)
    assert found["sc"] == pytest.approx(1.0, abs=1e-4)
    assert found["sc_shuffled"] < 0.8
    assert found["nsc"] == pytest.approx(1.0, abs=1e-3)


def test_the_log_says_it(made: Corpus, random_llm: Path, tmp_path: Path) -> None:
    settings = TrainConfig.load(None, {**SHORT, "eval_answers": 4})
    run = train(made, str(random_llm), tmp_path / "run", settings, device="cpu", trust_encoder=True)
    rows = [row for row in log_of(run.path) if "validation_loss" in row]
    assert rows
    assert all({"sc", "sc_shuffled", "nsc"} <= set(row) for row in rows)


def test_other_spaces_are_refused(corpus: Corpus, random_llm: Path, tmp_path: Path) -> None:
    settings = TrainConfig.load(None, {**SHORT, "eval_answers": 4})
    with pytest.raises(TrainingError, match="spaces of one text encoder"):
        train(corpus, str(random_llm), tmp_path / "run", settings, device="cpu")
    assert not (tmp_path / "run").exists()
