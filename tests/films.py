"""A few films and users with titles and texts, and the suite about them, for teachers that are told titles."""

from pathlib import Path
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.tasks import Suite

FIRST = ("Silver", "Crimson", "Hollow", "Distant", "Paper", "Winter")
SECOND = ("Lanterns", "Harbour", "Orchard", "Parade", "Engines", "Letters")
TITLES = [f"{a} {b}" for a in FIRST for b in SECOND]  # 36
TEXT = "A slow story of the sea, told with care; its people are few and its weather is bad."
SUITE: dict[str, Any] = {
    "name": "films",
    "attributes": {
        "film": {
            "genres": {"kind": "list"},
            "decade": {"kind": "decade", "column": "year"},
            "similar": {"kind": "neighbors", "count": 2},
        }
    },
    "tasks": [
        {
            "name": "summary",
            "slots": {"film": "film"},
            "about": "film",
            "states": ["genres"],
            "prompts": ["Summarise {film}.", "What is {film}?", "Tell me of {film}."],
            "facts": [
                "A film of {{ film.genres | listed }}.",
                "Made in the {{ film.decade }}.",
                "Like {{ film.similar | titles }}.",
            ],
        },
        {
            "name": "alike",
            "slots": {"a": "film", "b": "film"},
            "prompts": ["What do {a} and {b} share?"],
            "facts": ["Both are of {{ a.genres | listed }} or {{ b.genres | listed }}."],
        },
    ],
}


def films_suite(*tasks: str) -> Suite:
    """Return the suite, or only some of its tasks."""
    suite = Suite.model_validate(SUITE)
    return suite.only(list(tasks)) if tasks else suite


def save_films(folder: Path, **columns: list[Any]) -> VectorSpace:
    """Save 36 films: 24 of train, 4 of validation, 8 of test."""
    rows = len(TITLES)
    splits = ["train"] * 24 + ["validation"] * 4 + ["test"] * 8
    table = {
        "id": [f"f{n}" for n in range(rows)],
        "title": [f"{title} ({1960 + n})" for n, title in enumerate(TITLES)],
        "genres": [["Drama", "Crime"] if n % 2 else ["Comedy"] for n in range(rows)],
        "year": [1960 + n for n in range(rows)],
        "split": splits,
        **columns,
    }
    vectors = np.random.default_rng(0).standard_normal((rows, 6)).astype(np.float32)
    return VectorSpace.create("film", vectors, table).save(folder)
