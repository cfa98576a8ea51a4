"""Recovery where an attribute is pure noise: it is shown, and does not move the mean."""

from typing import Any

import numpy as np
import pytest

from linear_world import truth
from vectalk.evaluation import table
from vectalk.evaluation.metrics.recovery import recovery
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.report.figures import Figures
from vectalk.evaluation.report.panels import panels
from vectalk.evaluation.texts import TaskTexts
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus

MOODS = ("calm", "tense", "wild")
SUITE = """
name: moody
attributes:
  film:
    genres: {kind: list}
    mood: {kind: category}
tasks:
  - name: both
    slots: {film: film}
    states: [genres, mood]
    prompts: ["What is {film}?"]
    facts:
      - ["{{ film.genres | listed | capital }}."]
      - ["The mood is {{ film.mood }}."]
  - name: mood
    slots: {film: film}
    states: [mood]
    prompts: ["How does {film} feel?"]
    facts:
      - ["The mood is {{ film.mood }}."]
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Genres are linear in the vector; moods were drawn by lot."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("moody")
    vectors = rng.standard_normal((500, 6)).astype(np.float32)
    entities = {
        "id": [f"f{i}" for i in range(len(vectors))],
        "title": [f"Film {i}" for i in range(len(vectors))],
        "genres": [truth(vector)["genres"] for vector in vectors],
        "mood": rng.choice(MOODS, len(vectors)).tolist(),
    }
    suite = Suite.parse(SUITE, "moody")
    spaces = {"film": VectorSpace.create("film", vectors, entities).save(folder / "space")}
    return build_corpus(spaces, suite, FactsTeacher(suite, spaces), folder / "corpus", variants=1)


@pytest.fixture(scope="module")
def facts(corpus: Corpus) -> Facts:
    return Facts(corpus, 0)


def measured(corpus: Corpus, facts: Facts, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of a generator that knows the genres and guesses the moods worse than chance."""
    task, notes = corpus.suite.task(name), []
    examples = list(corpus.examples("test", name))
    texts = {"elm": [], "own_text": [example.target for example in examples]}
    for example in examples:
        row = example.slots["film"][1]
        genres = corpus.spaces["film"].column("genres")[row].as_py()
        mood = corpus.spaces["film"].column("mood")[row].as_py()
        wrong = MOODS[(MOODS.index(mood) + 1) % 3]
        texts["elm"].append(f"{', '.join(genres)}. The mood is {wrong}.")
    given = TaskTexts(corpus, task, examples, texts)
    rows = [
        {"space": "film", "task": name, "metric": metric, "condition": condition, **found._asdict()}
        for metric, condition, found in recovery(given, facts, notes)
    ]
    return rows, notes


def of(rows: list[dict[str, Any]], metric: str, condition: str = "elm") -> dict[str, Any]:
    (row,) = [r for r in rows if (r["metric"], r["condition"]) == (metric, condition)]
    return row


def test_noise_is_shown_and_left_out_of_the_mean(corpus: Corpus, facts: Facts) -> None:
    rows, notes = measured(corpus, facts, "both")
    gaps = {name: of(rows, f"score_minus_majority/{name}", "probe") for name in ("genres", "mood")}
    assert gaps["genres"]["low"] > 0.1
    assert gaps["mood"]["low"] is None or gaps["mood"]["low"] <= 0
    assert of(rows, "score/mood")["value"] == 0.0
    assert any(r["metric"] == "recovery/mood" for r in rows)
    assert of(rows, "recovery/genres")["value"] > 0.95
    for condition in ("elm", "own_text"):
        assert of(rows, "recovery", condition)["value"] == of(rows, "recovery/genres", condition)["value"]
    assert of(rows, "recovery")["low"] is not None
    (note,) = notes
    assert "'mood': not in the mean of recovery" in note
    assert table.left_out(rows) == ["mood"]
    text = table.markdown(rows)
    assert "|  | genres | mood* | all |" in text
    assert table.NOTE in text
    assert {r["metric"] for r in table.shown(rows)} > {"score_minus_majority/mood", "recovery"}


def test_of_noise_alone_there_is_no_recovery(corpus: Corpus, facts: Facts) -> None:
    rows, notes = measured(corpus, facts, "mood")
    assert [r for r in rows if r["metric"] == "recovery"] == []
    assert len(notes) == 1
    assert "| mood* |" in table.markdown(rows)


def test_the_report_says_what_was_left_out(corpus: Corpus, facts: Facts) -> None:
    rows, _ = measured(corpus, facts, "both")
    (panel,) = [p for p in panels(Figures(rows)) if p["metric"] == "recovery"]
    assert "both: mood" in panel["note"]
