"""A world in which every attribute is linear in the vector, so that the right answer to any question is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus

DIM = 6
GENRES = ("Comedy", "Drama", "Horror")
SUITE = """
name: linear
attributes:
  film:
    genres: {kind: list}
    decade: {kind: decade, column: year}
    rating: {kind: number, within: 'rated (-?[0-9.]+)'}
    hidden: {kind: category}
    similar: {kind: neighbors, count: 2}
tasks:
  - name: summary
    slots: {film: film}
    about: film
    states: [genres, decade, rating, hidden]
    prompts: ["Summarise {film}.", "What is {film}?"]
    facts:
      - - "{{ film.genres | listed | capital }} of the {{ film.decade }}."
        - "From the {{ film.decade }}: {{ film.genres | listed }}."
      - ["It is rated {{ film.rating }}."]
      - ["Near {{ film.similar | titles }}."]
  - name: both
    slots: {a: film, b: film}
    about: lerp(a, b, 0.5)
    prompts: ["What have {a} and {b} in common?"]
    facts:
      - - "The first is {{ a.genres | listed }} of the {{ a.decade }},
          the second {{ b.genres | listed }} of the {{ b.decade }}."
  - name: improve
    slots: {film: film}
    prompts: ["How could {film} be better?"]
    facts:
      - ["Less {{ film.genres | listed('or') }}."]
"""


def truth(vector: np.ndarray) -> dict[str, Any]:
    """The attributes of any point [D]."""
    genres = [name for name, x in zip(GENRES, vector, strict=False) if x > 0.3]
    return {
        "genres": genres or [GENRES[int(np.argmax(vector[:3]))]],
        "decade": "1980s" if vector[3] < 0 else "1990s",
        "rating": round(float(vector[4]), 3),
    }


def make_space(rows: int = 600, seed: int = 0) -> VectorSpace:
    """Vectors drawn at random, their attributes, and one (`hidden`) that no text states."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((rows, DIM)).astype(np.float32)
    known = [truth(vector) for vector in vectors]
    entities = {
        "id": [f"f{i}" for i in range(rows)],
        "title": [f"Film {i}" for i in range(rows)],
        "genres": [k["genres"] for k in known],
        "year": [int(k["decade"][:4]) for k in known],
        "rating": [k["rating"] for k in known],
        "hidden": ["high" if vector[5] > 0 else "low" for vector in vectors],
    }
    return VectorSpace.create("film", vectors, entities)


def make_corpus(folder: Path, rows: int = 600) -> Corpus:
    """Save the space and build a corpus of the facts teacher on it."""
    suite, space = Suite.parse(SUITE, "linear"), make_space(rows).save(folder / "space")
    teacher = FactsTeacher(suite, {"film": space})
    return build_corpus({"film": space}, suite, teacher, folder / "corpus", variants=2)


class Oracle:
    """A generator that knows the world: it writes what is true of any vector, and counts what it is asked."""

    def __init__(self, corpus: Corpus) -> None:
        self.spaces, self.corpus_path = corpus.spaces, corpus.path
        self.teacher = FactsTeacher(corpus.suite, corpus.spaces)
        self.tasks = {prompt: task for task in corpus.suite.tasks for prompt in task.prompts}
        self.asked = 0

    def see(self, vector: np.ndarray) -> np.ndarray:
        """What the generator makes of a vector."""
        return vector

    def generate(
        self, prompts: Sequence[str], slots: Sequence[dict], *, max_new_tokens: int, progress: Any
    ) -> list[str]:
        progress(0, len(prompts))
        self.asked += len(prompts)
        return [
            self.teacher.spell(self.tasks[p], {name: truth(self.see(v)) for name, (_, v) in s.items()}, p) or ""
            for p, s in zip(prompts, slots, strict=True)
        ]


class Blind(Oracle):
    """A generator that never looks at the vector."""

    def see(self, vector: np.ndarray) -> np.ndarray:
        return np.full(DIM, 0.5)
