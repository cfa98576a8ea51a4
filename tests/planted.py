"""A clean corpus of films, and ways to plant in it what a check must find."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, Suite, build_corpus
from vectalk.tasks.corpus.check import Report
from vectalk.tasks.corpus.check.corpus_check import SCHEMA
from vectalk.tasks.teachers.texts import TextsTeacher

ROWS, TRAIN, VALIDATION = 200, 140, 20  # then 40 of test
SYLLABLES = ("ka", "lo", "mi", "ru", "ta", "ve", "no", "sa", "il", "or", "an", "be", "du", "fe", "go", "hy")
GENRES = ("Drama", "Comedy", "Crime", "Western", "Horror")
SUITE: dict[str, Any] = {
    "name": "films",
    "attributes": {"film": {"genres": {"kind": "list"}, "decade": {"kind": "decade", "column": "year"}}},
    "tasks": [
        {
            "name": "summary",
            "slots": {"film": "film"},
            "about": "film",
            "states": ["genres", "decade"],
            "prompts": ["Summarise {film}."],
        }
    ],
}


def word(rng: random.Random) -> str:
    return "".join(rng.choices(SYLLABLES, k=3))


def save_space(folder: Path) -> VectorSpace:
    """Save films with titles of two words, and texts of thirty words of no language and their facts."""
    rng = random.Random(0)
    titles = [f"{word(rng).capitalize()} {word(rng).capitalize()} ({1950 + n % 60})" for n in range(ROWS)]
    genres = [[GENRES[n % 5], GENRES[(n + 2) % 5]] for n in range(ROWS)]
    texts = [
        f"A film of the {(1950 + n % 60) // 10 * 10}s, {' and '.join(genres[n]).lower()}: "
        + " ".join(word(rng) for _ in range(30))
        for n in range(ROWS)
    ]
    table = {
        "id": [f"f{n}" for n in range(ROWS)],
        "title": titles,
        "genres": genres,
        "year": [1950 + n % 60 for n in range(ROWS)],
        "text": texts,
        "split": ["train"] * TRAIN + ["validation"] * VALIDATION + ["test"] * (ROWS - TRAIN - VALIDATION),
    }
    vectors = np.random.default_rng(0).standard_normal((ROWS, 4)).astype(np.float32)
    return VectorSpace.create("film", vectors, table).save(folder)


def plant(corpus: Corpus, split: str, change: Callable[[list[dict[str, Any]]], Any]) -> Corpus:
    """Change the examples of a split on disk, and the card with them."""
    path = corpus.path / f"{split}-00000.parquet"
    rows = pq.read_table(path).to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    card = json.loads((corpus.path / "corpus.json").read_text())
    card["sha256"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (corpus.path / "corpus.json").write_text(json.dumps(card))
    return Corpus.load(corpus.path)


def found(report: Report) -> list[tuple[str, str, int]]:
    return [(finding.kind, finding.level, finding.count) for finding in report.findings]


def set_target(number: int, text: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[number]["target"] = text

    return change


def build_films(space: VectorSpace, folder: Path) -> Corpus:
    """Build the corpus of the films' own texts."""
    suite = Suite.model_validate(SUITE)
    return build_corpus({"film": space}, suite, TextsTeacher(suite, {"film": space}, {"": "text"}), folder)
