"""Support: whether a vector is in the distribution of real entities.

Two measures of a vector are compared with the same measures of real entities (leave-one-out):

- *isolation*: the mean distance to the 10 nearest entities, divided by the mean such distance of those entities, so
  that dense and sparse regions each have their own scale;
- *angle*: the mean 1 - cosine to the 10 nearest entities in whitened, centred coordinates: whether the
  coordinates correlate as they do in real entities.

The verdict is *far* (out of distribution) when at most 5 % of real entities are as unusual in both measures together
(Fisher's product of the two tail shares). The verdict is *central* (an average of several entities) when fewer than 5 %
of real entities lie nearer to the mean of the space, in whitened coordinates: averages move towards the mean, where
directions say little. A vector is compared with at most 10,000 training entities, so that an answer takes milliseconds
in a space of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.errors import SpaceError
from vectalk.files import atomic_file
from vectalk.reading.arrays import check_array, read_tensors
from vectalk.space.neighbors import nearest

NEIGHBORS = 10
SAMPLE = 2_000  # real entities whose measures are stored
ANCHORS = 10_000  # most training entities that are searched for neighbours
MOST_DIMS = 512  # wider spaces are reduced by a random projection before whitening
FLOOR = 1e-3  # added to the variance of every direction, relative to the mean
FOLDS = 5
FAR, CENTRAL = 95.0, 5.0
READINGS = ("isolation", "angle", "oddness", "centre")


@dataclass(frozen=True)
class Support:
    """How near a vector lies to real entities.

    Attributes:
        percentile: share of real entities, in percent, that are less unusual than this vector.
        centre: share of real entities, in percent, that lie nearer to the mean of the space than this vector.
        isolation: mean distance to the neighbours, divided by that of the neighbours themselves; 1 is usual.
        angle: mean 1 - cosine to the neighbours in whitened, centred coordinates.
        verdict: `far` (percentile above 95), `central` (centre below 5, whatever the percentile) or `real`.
        sources: titles of the entities that a point was computed from; empty for a plain vector.
        entity: whether the vector is that of a real entity.
    """

    percentile: float
    centre: float
    isolation: float
    angle: float
    verdict: str
    sources: tuple[str, ...] = ()
    entity: bool = False

    @property
    def far(self) -> bool:
        """Whether the vector is out of distribution."""
        return self.verdict == "far"

    def __str__(self) -> str:
        if self.entity:
            lies = {"real": "", "far": ", far from the others", "central": ", unusually close to the middle of all"}
            return f"a real entity{lies[self.verdict]} (percentile {self.percentile:.0f})"
        words = {
            "real": "as near to real entities as they are to each other",
            "far": "far from anything real",
            "central": "nearer to the middle than real entities are: an average, not a place",
        }
        blend = f"; a blend of {', '.join(self.sources)}" if len(self.sources) > 1 else ""
        return f"{words[self.verdict]} (percentile {self.percentile:.0f}){blend}"


class Calibration:
    """The measures of real entities for comparison with vectors; fitted on training entities, saved with the space.

    Attributes:
        rows: [A] rows of the anchors.
        anchors: [A, D] their vectors.
        own: [A] mean distance of each anchor to its nearest ones.
        middle: [D] mean of the anchors.
        whitening: [D, R] maps centred vectors to whitened coordinates.
        units: [A, R] whitened anchors, scaled to length one.
        real: measures of real entities, each sorted [S]: `isolation`, `angle`, `oddness`, `centre`.
    """

    def __init__(self, anchors: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
        self.rows, self.own, self.middle, self.whitening = (
            arrays[name] for name in ("rows", "own", "middle", "whitening")
        )
        self.anchors, self.units = anchors, arrays["units"].astype(np.float32)
        self.real = {name: arrays[f"real_{name}"] for name in READINGS}

    @classmethod
    def fit(cls, vectors: np.ndarray, rows: np.ndarray, seed: int = 0) -> Calibration:
        """Fit on the training rows of vectors [N, D], which may be memory-mapped."""
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(rows, ANCHORS, replace=False)) if len(rows) > ANCHORS else np.asarray(rows)
        anchors = np.asarray(vectors[rows], np.float32)
        middle, whitening = _whitening(anchors, rng)
        calibration = cls(
            anchors,
            {
                "rows": rows.astype(np.int64),
                "own": np.zeros(len(rows), np.float32),
                "middle": middle,
                "whitening": whitening,
                "units": _unit((anchors - middle) @ whitening).astype(np.float16),  # the precision of the saved file
                **dict.fromkeys((f"real_{name}" for name in READINGS), np.zeros(0, np.float32)),
            },
        )
        every = np.arange(len(rows))
        calibration.own = calibration._distances(anchors, every)[0]
        sample = np.sort(rng.permutation(every)[:SAMPLE])
        angle, centre = _held_out(anchors, sample, rng)
        isolation = calibration._isolation(anchors[sample], sample)
        calibration.real = {"isolation": np.sort(isolation), "angle": np.sort(angle), "centre": np.sort(centre)}
        calibration.real["oddness"] = np.sort(calibration._oddness(isolation, angle))
        return calibration

    def save(self, path: Path) -> None:
        """Write the calibration without the anchors' vectors, which are in the space."""
        from safetensors.numpy import save_file

        arrays = {name: getattr(self, name) for name in ("rows", "own", "middle", "whitening")}
        arrays |= {"units": self.units.astype(np.float16)} | {f"real_{k}": v for k, v in self.real.items()}
        with atomic_file(path) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary)

    @classmethod
    def load(cls, path: Path, vectors: np.ndarray) -> Calibration:
        """Load a saved calibration.

        Raises:
            SpaceError: the file is broken, or does not belong to these vectors [N, D].
        """
        try:
            arrays = read_tensors(path, {"rows": (None,), "whitening": (vectors.shape[1], None)}, SpaceError)
            anchors, wide = len(arrays["rows"]), arrays["whitening"].shape[1]
            shapes = {"own": (anchors,), "middle": (vectors.shape[1],), "units": (anchors, wide)}
            for name, shape in {**shapes, **{f"real_{name}": (None,) for name in READINGS}}.items():
                check_array(arrays.get(name, np.zeros(())), shape, f"{path}: tensor {name!r}", SpaceError)
            rows = arrays["rows"]
            if rows.dtype.kind != "i" or not anchors or rows.min() < 0 or rows.max() >= len(vectors):
                raise SpaceError(f"{path}: tensor 'rows' names rows that are not among the {len(vectors)} of the space")
        except SpaceError as error:
            raise SpaceError(f"{error}; remove it, or make the space again") from None
        return cls(np.asarray(vectors[rows], np.float32), arrays)

    def supports(self, vectors: np.ndarray, rows: Sequence[int | None], sources: Sequence[Any]) -> list[Support]:
        """Return the support of vectors [Q, D].

        `rows` [Q] are the rows of vectors that are entities; an entity is not its own neighbour."""
        place = {int(row): at for at, row in enumerate(self.rows)} if any(row is not None for row in rows) else {}
        own = np.array([-1 if row is None else place.get(int(row), -1) for row in rows], np.int64)
        queries = np.asarray(vectors, np.float32)
        white = (queries - self.middle) @ self.whitening
        isolation, angle = self._isolation(queries, own), _angles(white, self.units, own)
        odd = 100.0 * _share_below(self.real["oddness"], self._oddness(isolation, angle))
        middle = 100.0 * _share_below(self.real["centre"], np.linalg.norm(white, axis=1))
        supports = []
        for i in range(len(odd)):
            verdict = "central" if middle[i] < CENTRAL else "far" if odd[i] > FAR else "real"
            readings = float(odd[i]), float(middle[i]), float(isolation[i]), float(angle[i])
            supports.append(Support(*readings, verdict, tuple(sources[i]), rows[i] is not None))
        return supports

    def _distances(self, queries: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean distance [Q] to the nearest anchors, and their places [Q, 10]."""
        places, scores = nearest(queries, self.anchors, NEIGHBORS, "euclidean", exclude=own)
        return -scores.mean(axis=1) if scores.shape[1] else np.zeros(len(queries)), places

    def _isolation(self, queries: np.ndarray, own: np.ndarray) -> np.ndarray:
        distance, places = self._distances(queries, own)
        if not places.shape[1]:  # no other anchors
            return np.ones(len(queries))
        least = max(1e-3 * float(np.median(self.own)), 1e-12)  # duplicates have the distance 0
        return distance / np.maximum(self.own[places].mean(axis=1), least)

    def _oddness(self, isolation: np.ndarray, angle: np.ndarray) -> np.ndarray:
        """Return how unusual vectors [Q] are: minus the log of the product of the two tail shares."""
        tails = (
            1.0 - np.searchsorted(self.real[name], values, side="left") / (len(self.real[name]) + 1.0)
            for name, values in (("isolation", isolation), ("angle", angle))
        )
        return -sum(np.log(tail) for tail in tails)  # type: ignore[return-value]


def _share_below(reference: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the share of the sorted measures [S] of real entities that are at or below each value."""
    return np.searchsorted(reference, values, side="right") / max(len(reference), 1)


def _held_out(anchors: np.ndarray, sample: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return angle and distance from the mean of sampled anchors [S], in coordinates whitened on the other folds.

    A whitening fitted on the sampled anchors too would make real entities look more unusual than they are.
    """
    fold = rng.permutation(len(anchors)) % FOLDS
    angle, centre = np.ones(len(sample)), np.zeros(len(sample))
    for number in range(FOLDS):
        others, mine = anchors[fold != number], fold[sample] == number
        if not mine.any() or not len(others):
            continue
        middle, whitening = _whitening(others, rng)
        white = (anchors[sample[mine]] - middle) @ whitening
        angle[mine] = _angles(white, _unit((others - middle) @ whitening))
        centre[mine] = np.linalg.norm(white, axis=1)
    return angle, centre


def _angles(white: np.ndarray, units: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Return the mean 1 - cosine of whitened vectors [Q, R] to their 10 nearest among units [A, R]."""
    _, cosines = nearest(_unit(white), units, NEIGHBORS, "dot", exclude=own)
    return 1.0 - cosines.mean(axis=1) if cosines.shape[1] else np.ones(len(white))


def _whitening(anchors: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean [D] and the whitening matrix [D, R] of anchors [A, D]."""
    middle = anchors.mean(axis=0, dtype=np.float64)
    basis = np.eye(anchors.shape[1])
    if anchors.shape[1] > MOST_DIMS:
        basis = np.linalg.qr(rng.standard_normal((anchors.shape[1], MOST_DIMS)))[0]
    seen = (anchors - middle) @ basis
    variance, axes = np.linalg.eigh(seen.T @ seen / len(seen))
    least = FLOOR * float(variance.mean()) or 1.0
    return middle.astype(np.float32), (basis @ axes / np.sqrt(np.maximum(variance, 0.0) + least)).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
