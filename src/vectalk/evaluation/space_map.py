"""A map of a space: its entities in the plane of the first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vectalk.evaluation.probes.facts import Facts
from vectalk.space import VectorSpace
from vectalk.space.split import TEST, TRAIN
from vectalk.tasks import Task

MOST_FITTED = 10_000
MOST_SHOWN = 1500
COLOURS = ("list", "category", "decade", "band")  # kinds of attributes that can colour the points


@dataclass(frozen=True)
class SpaceMap:
    """The plane of the first two principal components of the training entities.

    Attributes:
        centre: [D] mean vector of the training entities.
        axes: [2, D] the principal components.
        share: [2] share of the variance along each axis.
    """

    centre: np.ndarray
    axes: np.ndarray
    share: np.ndarray

    @classmethod
    def fit(cls, space: VectorSpace) -> SpaceMap:
        """Fit the plane. The same space always gives the same plane, so separate runs can place points on one map."""
        rows = space.rows(TRAIN)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_FITTED)).astype(np.int64)]
        vectors = np.asarray(space.vectors[rows], np.float64)
        centre = vectors.mean(0)
        values, vectors = np.linalg.eigh(np.cov(vectors - centre, rowvar=False).reshape(space.dim, space.dim))
        order = np.argsort(values)[::-1][:2]
        axes = vectors[:, order].T
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[
            :, None
        ]  # otherwise the sign would be arbitrary
        return cls(centre, axes, values[order] / max(float(values.sum()), 1e-12))

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Return the positions [N, 2] of vectors [N, D], rounded to four digits."""
        positions = (np.asarray(vectors, np.float64) - self.centre) @ self.axes.T
        return np.round(np.pad(positions, ((0, 0), (0, 2 - positions.shape[1]))), 4)


def space_maps(spaces: dict[str, VectorSpace], tasks: Sequence[Task], facts: Facts, seed: int) -> dict[str, Any]:
    """Return for each space the places, titles and attribute values of its test entities (what `map.json` holds)."""
    return {name: _map_of(space, tasks, facts, seed) for name, space in spaces.items()}


def _map_of(space: VectorSpace, tasks: Sequence[Task], facts: Facts, seed: int) -> dict[str, Any]:
    plane, rows = SpaceMap.fit(space), space.rows(TEST)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_SHOWN])
    stated = dict.fromkeys(a for task in tasks for a in task.states if space.name in task.slots.values())
    readers = {name: facts.teacher.readers[space.name].get(name) for name in stated}
    values = {
        name: [reader.value(int(row)) for row in rows]
        for name, reader in readers.items()
        if reader is not None and reader.present and reader.kind in COLOURS
    }
    return {
        "share": [round(float(share), 4) for share in plane.share],
        "rows": rows.tolist(),
        "titles": [space.title(int(row)) for row in rows],
        "places": plane.place(space.vectors[rows]).tolist(),
        "values": values,
    }
