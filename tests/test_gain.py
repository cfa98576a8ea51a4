"""The adapter alone makes a frozen LLM use the vector, in a world whose facts are linear in it."""

from pathlib import Path

import pytest

from linear_world import make_space
from vectalk.tasks import FactsTeacher, Suite, build_corpus
from vectalk.training import TrainConfig, train
from vectalk.training.base_llm import make_base_llm
from worlds import log_of

# Nothing but what the vector says, so that most of the loss is about it.
SUITE = """
name: terse
attributes:
  film:
    genres: {kind: list}
    decade: {kind: decade, column: year}
tasks:
  - name: summary
    slots: {film: film}
    about: film
    prompts: ["What is {film}?"]
    facts: [["{{ film.genres | listed | capital }} of the {{ film.decade }}."]]
"""


@pytest.mark.slow
def test_a_frozen_llm_comes_to_use_the_vector(tmp_path: Path) -> None:
    suite, space = Suite.parse(SUITE, "terse"), make_space(600).save(tmp_path / "space")
    corpus = build_corpus({"film": space}, suite, FactsTeacher(suite, {"film": space}), tmp_path / "corpus", variants=2)
    # It has learned to say what a question tells it in words.
    shape = {"hidden": 64, "layers": 2, "vocabulary": 512}
    llm = make_base_llm(corpus, tmp_path / "llm", **shape, steps=500, batch_size=32, lr=5e-3)
    settings = {
        "adapter.width": 64,
        "stage1.steps": 150,
        "stage1.lr_adapter": 2e-2,
        "stage2.steps": 0,
        "eval_every": 150,
        "eval_examples": 64,
    }
    run = train(corpus, str(llm), tmp_path / "run", TrainConfig.load(None, settings), device="cpu")
    first, last = (row for row in log_of(run.path) if "vector_gain" in row)
    assert last["vector_gain"] > 0.2
    assert last["vector_gain"] > first["vector_gain"] + 0.2
    assert last["validation_loss"] < first["validation_loss"] - 0.2
    assert run.card.llm.trained == "frozen"
