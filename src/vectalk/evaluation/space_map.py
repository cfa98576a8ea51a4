"""A space on paper: where its entities lie in the plane in which they differ most."""

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
COLOURS = ("list", "category", "decade", "band")  # kinds of attributes that points may be coloured by


@dataclass(frozen=True)
class SpaceMap:
    """The plane of the first two principal components of the training entities.

    Attributes:
        centre: [D].
        axes: [2, D].
        share: [2] of the variance along each.
    """

    centre: np.ndarray
    axes: np.ndarray
    share: np.ndarray

    @classmethod
    def fit(cls, space: VectorSpace) -> SpaceMap:
        """Fit the plane; the same for the same space, so that what is placed by others lies right."""
        rows = space.rows(TRAIN)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_FITTED)).astype(np.int64)]
        vectors = np.asarray(space.vectors[rows], np.float64)
        centre = vectors.mean(0)
        values, vectors = np.linalg.eigh(np.cov(vectors - centre, rowvar=False).reshape(space.dim, space.dim))
        order = np.argsort(values)[::-1][:2]
        axes = vectors[:, order].T
        axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]  # else the sign is chance
        return cls(centre, axes, values[order] / max(float(values.sum()), 1e-12))

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Return where vectors [N, D] lie [N, 2], with four digits."""
        found = (np.asarray(vectors, np.float64) - self.centre) @ self.axes.T
        return np.round(np.pad(found, ((0, 0), (0, 2 - found.shape[1]))), 4)


def space_maps(spaces: dict[str, VectorSpace], tasks: Sequence[Task], facts: Facts, seed: int) -> dict[str, Any]:
    """Return, for each space, what a map of its test entities needs: places, titles, and values to colour them by."""
    return {name: _drawn(space, tasks, facts, seed) for name, space in spaces.items()}


def _drawn(space: VectorSpace, tasks: Sequence[Task], facts: Facts, seed: int) -> dict[str, Any]:
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
