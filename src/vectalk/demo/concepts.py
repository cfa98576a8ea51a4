"""The concepts of the demo's spaces, saved beside them, so that expressions and the map can use them at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from vectalk.concepts import shelf
from vectalk.concepts.concept import Examples, fit_many
from vectalk.space import VectorSpace

GENRES = ("Action", "Animation", "Comedy", "Drama", "Horror", "Romance", "Sci-Fi")
DECADES = (1960, 1980, 2000)
TOP = 0.8  # share of the films below those that are called acclaimed or popular


def film_examples(films: VectorSpace) -> dict[str, np.ndarray]:
    """Return name of the concept -> rows of its films: genres, decades, well-rated and often rated films."""
    years, ratings, counts = (
        np.array(films.column(name).to_pylist(), np.float64) for name in ("year", "mean_rating", "n_ratings")
    )
    examples = {genre.lower(): films.where("genres", genre) for genre in GENRES}
    examples |= {f"{decade}s": np.flatnonzero((years >= decade) & (years < decade + 10)) for decade in DECADES}
    examples["acclaimed"] = np.flatnonzero(ratings >= np.nanquantile(ratings, TOP))
    examples["popular"] = np.flatnonzero(counts >= np.nanquantile(counts, TOP))
    return examples


def island_examples(islands: VectorSpace) -> dict[str, np.ndarray]:
    """Return name of the concept -> rows of its islands: one for each of the riches, and islands of many people."""
    riches = sorted({name for names in islands.column("riches").to_pylist() for name in names})
    people = np.array(islands.column("inhabitants").to_pylist(), np.float64)
    return {name: islands.where("riches", name) for name in riches} | {
        "populous": np.flatnonzero(people >= np.quantile(people, TOP))
    }


def keep_concepts(space: VectorSpace, rows: dict[str, np.ndarray], **options: Any) -> None:
    """Fit a concept for each name and save it in the folder of the space, in place of an older one.

    Args:
        space: a saved space.
        rows: name of the concept -> rows of its entities.
        options: options of `Concept.fit`, such as the number of bootstrap samples.
    """
    examples = {name: Examples.of(space, positive) for name, positive in rows.items()}
    for concept in fit_many(space, examples, given="{}", **options):
        shelf.keep(concept, overwrite=True)
