"""`Concept`: a direction of a space with a meaning, its statistics, and shifts along it.

Concept activation vectors after Kim et al. 2018 (TCAV) and Goepfert et al. 2022, on the vectors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vectalk.concepts import statistics
from vectalk.concepts.card import FORMAT, ConceptCard
from vectalk.concepts.directions import Method
from vectalk.concepts.examples import Entities, Examples
from vectalk.concepts.fitting import BOOTSTRAPS, RANDOM_CONCEPTS, fit_direction
from vectalk.concepts.statistics import Statistics
from vectalk.display import html_table, to_pandas
from vectalk.errors import ConceptError
from vectalk.files import atomic_folder, holds, write_json
from vectalk.reading.cards import stamp
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import quoted
from vectalk.space.frame import Frame
from vectalk.space.point import blended

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK_FLOATS = 4_000_000


@dataclass(frozen=True, eq=False)
class Concept:
    """A direction of a space.

    Attributes:
        name: name of the concept.
        space: the space that the concept was fitted on; the direction has no meaning in other spaces.
        vector: [D] float32, of length one.
        mean: mean projection of the training entities.
        deviation: standard deviation of the projections of the training entities: one step of a shift.
        strength: weight of the data relative to the penalty in the fit, selected by cross-validation.
        statistics: how reliable the concept is.
        method: the method of the fit.
        given: description of the positives.
    """

    name: str
    space: VectorSpace = field(repr=False)
    vector: np.ndarray = field(repr=False)
    mean: float
    deviation: float
    strength: float
    statistics: Statistics
    method: Method = "logistic"
    given: str = ""

    @classmethod
    def fit(
        cls,
        space: VectorSpace,
        positive: Entities | Examples,
        negative: Entities | None = None,
        *,
        name: str = "concept",
        method: Method = "logistic",
        given: str = "",
        random_concepts: int = RANDOM_CONCEPTS,
        bootstraps: int = BOOTSTRAPS,
        seed: int = 0,
    ) -> Concept:
        """Fit a concept on training entities and measure it on test entities.

        Args:
            space: the space of the entities.
            positive: entities that have the concept: rows (`space.where("genres", "Comedy")`), a mask [N], ids,
                titles or points; or `Examples`, which also contain the negatives.
            negative: entities without the concept; all others when omitted.
            name: name of the concept.
            method: `logistic`, `ridge`, `mean` or `ranking` (see `directions.fitter`).
            given: description of the positives, saved with the concept.
            random_concepts: number of random concepts of the same size to compare with.
            bootstraps: number of bootstrap samples for the stability.
            seed: seed of samples, folds, permutations and bootstrap samples.

        Raises:
            ConceptError: fewer than two training entities on one side, or an unknown method.
        """
        examples = positive if isinstance(positive, Examples) else Examples.of(space, positive, negative)
        fitted = fit_direction(
            space,
            examples,
            name=name,
            method=method,
            random_concepts=random_concepts,
            bootstraps=bootstraps,
            seed=seed,
        )
        return cls(name, space, *fitted, method=method, given=given)

    # ---- use

    @property
    def step(self) -> Point:
        """One standard deviation along the concept, as a point that can be added to others."""
        return Point(self.deviation * self.vector, self.space, f"concept({quoted(self.name)})")

    def score(self, points: Point | np.ndarray) -> Any:
        """Return the projection in standard deviations from the training mean: a float, or [Q] for vectors [Q, D]."""
        if isinstance(points, Point):
            self.check(points.space)
            return float((points.values @ self.vector - self.mean) / self.deviation)
        return (np.asarray(points, np.float32) @ self.vector - self.mean) / self.deviation

    def rank(
        self, k: int = 10, *, lowest: bool = False, split_name: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and scores [k] of the entities with the highest, or lowest, scores."""
        space = self.space
        rows = np.arange(len(space)) if split_name is None else space.rows(split_name)
        step = max(1, BLOCK_FLOATS // space.dim)
        blocks = [self.score(space.vectors[rows[at : at + step]]) for at in range(0, len(rows), step)]
        scores = np.concatenate([np.zeros(0, np.float32), *blocks])
        order = np.argsort(scores if lowest else -scores, kind="stable")[:k]
        return rows[order], scores[order]

    def shift(self, point: Point | str, steps: float, *, keep_norm: bool = False) -> Point:
        """Move a point along the concept.

        Args:
            point: a point of the concept's space, or a title, id or expression.
            steps: how far, in standard deviations of the training entities' projections.
            keep_norm: keep the length of the point: rotate the point towards the concept instead.

        Returns:
            A point whose source names the shift; `space.support` says whether it is out of distribution.

        Raises:
            ConceptError: the point is in another space.
        """
        start = self.space.point(point) if isinstance(point, str) else point
        self.check(start.space)
        moved = start.values + np.float32(steps * self.deviation) * self.vector
        source = f"({start.source} {'-' if steps < 0 else '+'} {abs(steps):g} * {self.step.source})"
        if keep_norm:
            moved = moved * (np.linalg.norm(start.values) / max(float(np.linalg.norm(moved)), 1e-12))
            source = f"turn({start.source}, {quoted(self.name)}, {steps:g})"
        return blended([start], moved, source)

    def reach(self, point: Point | str, most: float = 8.0, every: float = 0.25) -> tuple[float, float]:
        """Return how many steps down and up a point can be shifted before it is out of distribution.

        Args:
            point: a point of the concept's space, or a title, id or expression.
            most: largest number of steps that is tried.
            every: step size of the search.

        Returns:
            The last step on either side before support is `far`; 0 on both sides if the point itself is `far`.
        """
        start = self.space.point(point) if isinstance(point, str) else point
        count = round(most / every)
        grid = every * np.arange(-count, count + 1)
        self.check(start.space)
        walk = start.values + np.outer(grid * self.deviation, self.vector)
        far = [support.verdict == "far" for support in self.space.supports(walk)]
        ends = []
        for side in (far[count::-1], far[count:]):  # from the point outwards
            ends.append(every * max((side.index(True) if True in side else len(side)) - 1, 0))
        return -ends[0], ends[1]

    def cosine(self, other: Concept) -> float:
        """Return the cosine to another concept of the same space."""
        self.check(other.space)
        return float(self.vector @ other.vector)

    def check(self, space: Frame) -> None:
        """Raise a ConceptError if `space` is not the space that the concept was fitted on."""
        if space.fingerprint != self.space.fingerprint:
            raise ConceptError(_foreign(self.name, self.space.fingerprint, space))

    def __str__(self) -> str:
        s = self.statistics
        measured = "not measured" if s.auc is None else f"AUC {s.auc:.2f} [{s.low:.2f}, {s.high:.2f}]"
        return f"concept {self.name!r} of space {self.space.name!r}: {s.positives} positives, {measured}"

    def to_arrow(self, k: int | None = None) -> pa.Table:
        """Return the entities with the highest scores first: id, title, score in standard deviations, split.

        Args:
            k: number of entities; all when omitted.
        """
        import pyarrow as pa

        rows, scores = self.rank(len(self.space) if k is None else k)
        ids, splits = (self.space.column(name).take(pa.array(rows)) for name in ("id", "split"))
        titles = [self.space.title(int(row)) for row in rows]
        return pa.table({"id": ids, "title": titles, "score": np.asarray(scores, float), "split": splits})

    def to_pandas(self, k: int | None = None) -> Any:
        """Return `to_arrow` as a data frame; needs pandas."""
        return to_pandas(self.to_arrow(k))

    def _repr_html_(self) -> str:
        """Show the concept in a notebook: its statistics and the entities at both ends."""
        ends = [self.rank(5), self.rank(5, lowest=True)]
        rows = [
            [self.space.title(int(row)), float(score)]
            for number, (rows, scores) in enumerate(ends)
            for row, score in (list(zip(rows, scores, strict=True))[:: -1 if number else 1])
        ]
        warnings = "".join(f"<p>{escape(warning)}</p>" for warning in self.statistics.warnings)
        return html_table(["entity", "standard deviations from the mean"], rows, str(self)) + warnings

    # ---- files

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the concept as a folder: `concept.json` and `direction.safetensors`."""
        from safetensors.numpy import save_file

        with atomic_folder(path, "concept.json", overwrite=overwrite) as folder:
            save_file({"direction": self.vector}, folder / "direction.safetensors")
            card = {
                **stamp(FORMAT),
                "name": self.name,
                "given": self.given,
                "space": self.space.name,
                "fingerprint": self.space.fingerprint,
                "split_hash": self.space.split_hash,
                "method": self.method,
                "strength": self.strength,
                "mean": self.mean,
                "deviation": self.deviation,
                "statistics": asdict(self.statistics),
            }
            write_json(folder / "concept.json", card)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, space: VectorSpace | None = None) -> Concept:
        """Open a saved concept.

        Args:
            path: folder of the concept.
            space: the space that the concept was fitted on; when omitted, the space whose `concepts` folder holds it.

        Raises:
            ConceptError: the folder is not a concept, a newer version wrote it, or the concept was fitted on another
                space.
        """
        folder = Path(path)
        if not holds(folder, "concept.json"):
            raise ConceptError(f"{folder} is not a concept (no concept.json); fit one with `vectalk concept fit`")
        if space is None:
            beside = folder.absolute().parents[1]
            if not (beside / "space.json").is_file():
                raise ConceptError(f"{folder} is not in the folder of a space; use Concept.load(path, space)")
            space = VectorSpace.load(beside)
        card = ConceptCard.read(folder)
        if card.fingerprint != space.fingerprint:
            raise ConceptError(_foreign(card.name, card.fingerprint, space))
        if card.split_hash != space.split_hash:
            raise ConceptError(
                f"concept {card.name!r} was fitted on another split of space {space.name!r}, so its training "
                "entities may be test entities now; fit it again"
            )
        return cls(
            card.name,
            space,
            card.direction(folder, space.dim),
            card.mean,
            card.deviation,
            card.strength,
            card.statistics,
            card.method,
            card.given,
        )


def fit_many(
    space: VectorSpace,
    examples: dict[str, Examples],
    *,
    given: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> list[Concept]:
    """Fit a concept for each name, with q values over all measured concepts.

    Args:
        space: the space of the entities.
        examples: name of the concept -> its examples.
        given: description of the positives; `{}` is replaced by the name.
        progress: called with the number of finished concepts and the total.
        options: options of `Concept.fit`.
    """
    concepts: list[Concept] = []
    progress(0, len(examples))
    for name, entities in examples.items():
        concepts.append(Concept.fit(space, entities, name=name, given=given.format(name), **options))
        progress(len(concepts), len(examples))
    return with_q_values(concepts)


def with_q_values(concepts: Sequence[Concept]) -> list[Concept]:
    """Return the concepts with p values corrected for their number."""
    p = {at: s.p_value for at, s in enumerate(c.statistics for c in concepts) if s.p_value is not None}
    q = dict(zip(p, statistics.benjamini_hochberg(list(p.values())), strict=True))
    return [
        replace(concept, statistics=replace(concept.statistics, q_value=q.get(at), family=max(len(p), 1)))
        for at, concept in enumerate(concepts)
    ]


def _foreign(name: str, fingerprint: str, space: Frame) -> str:
    return (
        f"concept {name!r} was fitted on a space with fingerprint {fingerprint[:12]}; space {space.name!r} has "
        f"{space.fingerprint[:12]}: a direction means nothing in another space; fit it there"
    )
