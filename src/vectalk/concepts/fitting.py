"""Fit a direction on training entities and measure it on test entities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vectalk.concepts import directions, statistics
from vectalk.concepts.directions import Fit, Method
from vectalk.concepts.examples import Examples
from vectalk.concepts.statistics import Statistics
from vectalk.errors import ConceptError
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN

RANDOM_CONCEPTS = 100
BOOTSTRAPS = 30
MOST_ROWS = 50_000  # most training entities for mean and deviation of the projections

Labelled = tuple[np.ndarray, np.ndarray]


class Fitted(NamedTuple):
    """A unit direction [D], mean and deviation of the training entities along it, the strength, and statistics."""

    direction: np.ndarray
    mean: float
    deviation: float
    strength: float
    statistics: Statistics


def fit_direction(
    space: VectorSpace,
    examples: Examples,
    *,
    name: str,
    method: Method,
    random_concepts: int,
    bootstraps: int,
    seed: int,
) -> Fitted:
    """Fit and measure a direction; `Concept.fit` describes the arguments."""
    directions.check_method(method)
    rng = np.random.default_rng(seed)
    fitted, measured = examples.fitted(space, rng), examples.measured(space, rng)
    if min(len(fitted.positive), len(fitted.negative)) < 2:
        raise ConceptError(
            f"concept {name!r} has {len(fitted.positive)} positive and {len(fitted.negative)} negative training "
            f"entities ({len(examples.positive)} and {len(examples.negative)} in all); it is fitted on training "
            f"entities only, and needs at least 2 of each, better {statistics.FEW}: name more entities"
        )
    x, y = _labelled(space, fitted)
    strength = directions.choose_strength(method, x, y, seed)
    fit = directions.fitter(method, strength, seed)
    direction = fit(x, y)
    mean, deviation = _spread(space, direction, rng)
    if deviation <= 0:
        raise ConceptError(f"concept {name!r}: the training entities do not differ along its direction")
    resampled = [float(fit(*_resample(x, y, rng)) @ direction) for _ in range(bootstraps)]
    measured_statistics = Statistics(
        positives=len(fitted.positive),
        negatives=len(fitted.negative),
        test_positives=len(measured.positive),
        test_negatives=len(measured.negative),
        stability=float(np.mean(resampled)) if resampled else None,
        **_held_out(fit, direction, (x, y), _labelled(space, measured), random_concepts, rng),  # type: ignore[arg-type]
    )
    return Fitted(direction.astype(np.float32), mean, deviation, strength, measured_statistics)


def _labelled(space: VectorSpace, examples: Examples) -> Labelled:
    """Return vectors [n, D] in double precision, centred and scaled, and labels [n].

    The scale is one number, the root mean square deviation of a coordinate, so that directions keep their angles.
    """
    rows = np.concatenate([examples.positive, examples.negative])
    scale = np.sqrt(np.mean(np.square(space.normalizer.scale, dtype=np.float64)))
    vectors = np.asarray(space.vectors[rows], np.float64)
    return (vectors - space.normalizer.mean) / scale, np.arange(len(rows)) < len(examples.positive)


def _spread(space: VectorSpace, direction: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    rows = space.rows(TRAIN)
    rows = np.sort(rng.choice(rows, MOST_ROWS, replace=False)) if len(rows) > MOST_ROWS else rows
    projections = np.asarray(space.vectors[rows], np.float64) @ direction
    return float(projections.mean()), float(projections.std())


def _resample(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Labelled:
    at = np.concatenate([rng.choice(np.flatnonzero(side), side.sum()) for side in (y, ~y)])
    return x[at], y[at]


def _held_out(
    fit: Fit,
    direction: np.ndarray,
    fitted: Labelled,
    measured: Labelled,
    random_concepts: int,
    rng: np.random.Generator,
) -> dict[str, float | None]:
    """Measure a direction on held-out entities; all values are None if one side has no entities."""
    (x, y), (x_test, y_test) = fitted, measured
    if y_test.all() or not y_test.any():
        return dict.fromkeys(("auc", "low", "high", "p_value", "random_auc"))
    scores = x_test @ direction
    low, high = statistics.auc_interval(scores, y_test, rng)
    random = [statistics.auc(x_test @ fit(x, rng.permutation(y)), y_test) for _ in range(random_concepts)]
    return {
        "auc": statistics.auc(scores, y_test),
        "low": low,
        "high": high,
        "p_value": statistics.permutation_p(scores, y_test, rng),
        "random_auc": float(np.percentile(random, 95)) if random else None,
    }
