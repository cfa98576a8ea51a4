"""`build_layout`: compute the layout of a space."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vectalk.errors import SpaceError
from vectalk.space.layout.accuracy import measure_accuracy
from vectalk.space.layout.fitting import MOST_FITTED, choose_method, fit_coordinates
from vectalk.space.layout.layout import Layout
from vectalk.space.layout.placing import comparable, placed
from vectalk.space.split import TRAIN
from vectalk.space.vector_space import VectorSpace

BLOCK = 1_024  # rows that are placed at once: 40 MB of similarities to 10,000 fitted entities

Progress = Callable[[str, int, int | None], None]
"""Is told the step, the rows done, and the rows in all (None where the step has no count)."""


def build_layout(
    space: VectorSpace,
    *,
    method: str = "auto",
    seed: int = 0,
    progress: Progress = lambda step, done, total: None,
) -> Layout:
    """Compute the layout of a space.

    Coordinates are fitted on at most 10,000 training entities (100,000 with UMAP). All other entities, the held-out
    ones too, are placed by their nearest fitted neighbours. Vectors are read in blocks. The places of held-out entities
    then show how accurate the vectors of places are.

    Args:
        space: the space.
        method: `umap`, `tsne`, `pca`, or `auto`, which takes UMAP where it is installed, else t-SNE.
        seed: seed of the sample and of the fit.
        progress: is told what happens.

    Raises:
        SpaceError: the method is unknown or not installed, or the space has no training entity.
    """
    name = choose_method(method)
    train = space.rows(TRAIN)
    if not len(train):
        raise SpaceError(f"space {space.name!r} has no entity of the train split to fit a layout on; make it again")
    most = MOST_FITTED[name]
    sample = np.random.default_rng(seed).choice(train, most, replace=False) if len(train) > most else train
    sample = np.sort(sample)
    progress(f"fitting {name} on {len(sample):,} entities", 0, None)
    anchors = comparable(space.vectors[sample], space.metric)
    fitted = fit_coordinates(anchors, name, seed)
    coordinates = np.empty((len(space), 2), np.float32)
    coordinates[sample] = fitted
    others = np.setdiff1d(np.arange(len(space)), sample, assume_unique=True)
    for start in range(0, len(others), BLOCK):
        rows = others[start : start + BLOCK]
        coordinates[rows] = placed(space.vectors[rows], anchors, fitted, space.metric)
        progress("placing the other entities", min(start + BLOCK, len(others)), len(others))
    coordinates = _framed(coordinates)
    return Layout(space, coordinates, name, seed, len(sample), measure_accuracy(space, coordinates, seed))


def _framed(coordinates: np.ndarray) -> np.ndarray:
    """Return coordinates [N, 2] moved and scaled into the square from -1 to 1; both axes keep the same scale."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    half = float((high - low).max()) / 2 or 1.0
    return np.clip((coordinates - (low + high) / 2) / half, -1.0, 1.0).astype(np.float32)
