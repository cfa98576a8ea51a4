"""`Accuracy`: how near the vectors that places of a map give are to the vectors of entities that lie there."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from vectalk.space.layout.plane import Plane, weights_of
from vectalk.space.split import TRAIN
from vectalk.space.vector_space import VectorSpace

MOST = 300  # held-out entities whose places are compared


class Accuracy(BaseModel):
    """Mean cosines between the own vector of a held-out entity and the vector that its place on the map gives.

    The mean of the training vectors is subtracted before (centred cosine), so that a constant vector has cosine 0.

    Attributes:
        place: the weighted mean of the vectors of the nearest other entities on the map.
        nearest: the vector of the single nearest other entity on the map.
        random: control: the vector of a training entity drawn by chance.
        count: number of held-out entities.
    """

    place: float
    nearest: float
    random: float
    count: int


def held_out_sample(space: VectorSpace, most: int = MOST, seed: int = 0) -> np.ndarray:
    """Return sorted rows of at most so many entities outside the train split, drawn by chance."""
    rows = np.setdiff1d(np.arange(len(space)), space.rows(TRAIN), assume_unique=True)
    if len(rows) > most:
        rows = np.random.default_rng(seed).choice(rows, most, replace=False)
    return np.sort(rows)


def vectors_at_places(space: VectorSpace, coordinates: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the places of some entities give, computed without any of these entities.

    Args:
        space: the space.
        coordinates: [N, 2] layout of the space.
        rows: [n] entities whose places are read.

    Returns:
        The vectors [n, D] of the places, and the rows [n] of the nearest other entities on the map.
    """
    plane = Plane(coordinates, np.setdiff1d(np.arange(len(space)), rows))
    vectors, nearest = np.empty((len(rows), space.dim), np.float32), np.empty(len(rows), np.int64)
    for place, row in enumerate(rows):
        others, distances = plane.nearest(coordinates[row])
        vectors[place] = weights_of(distances) @ np.asarray(space.vectors[others], np.float64)
        nearest[place] = others[0]
    return vectors, nearest


def centred_cosines(space: VectorSpace, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosines [n] of vectors [n, D] after the mean of the training vectors is subtracted; 0 for a zero."""
    first, second = (np.asarray(vectors, np.float64) - space.normalizer.mean for vectors in (first, second))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)


def cosines_at_places(
    space: VectorSpace, coordinates: np.ndarray, rows: np.ndarray, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return the centred cosines [n] of some entities with `place`, `nearest` and `random`; see `Accuracy`."""
    own = space.vectors[rows]
    places, nearest = vectors_at_places(space, coordinates, rows)
    strangers = np.random.default_rng(seed).choice(space.rows(TRAIN), len(rows))
    vectors = {"place": places, "nearest": space.vectors[nearest], "random": space.vectors[strangers]}
    return {name: centred_cosines(space, own, others) for name, others in vectors.items()}


def measure_accuracy(space: VectorSpace, coordinates: np.ndarray, seed: int = 0) -> Accuracy | None:
    """Measure the places of at most 300 held-out entities; None where the space has no held-out entity.

    Args:
        space: the space.
        coordinates: [N, 2] layout of the space.
        seed: seed of the sample and of the control.
    """
    rows = held_out_sample(space, seed=seed)
    if not len(rows):
        return None
    cosines = cosines_at_places(space, coordinates, rows, seed)
    return Accuracy(**{name: float(values.mean()) for name, values in cosines.items()}, count=len(rows))
