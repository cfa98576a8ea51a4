"""The probe: what the nearest training entities of a vector have in common, without the model."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import APIRouter
from pydantic import Field

from vectalk.serving.api.facts import HIDDEN
from vectalk.serving.api.named import PointRequest, entity_of, space_of
from vectalk.serving.errors import Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import point_of
from vectalk.space import Point, VectorSpace
from vectalk.space.split import TRAIN

LEAST_SHARE = 0.5  # share of the neighbours that need to have a value
FEWEST = 2  # neighbours that a value needs; texts that nobody shares are left out


class ProbeRequest(PointRequest):
    """A point, and how many training entities are compared with it."""

    k: int = Field(10, ge=1, le=100, description="How many of the nearest training entities count.")
    exclude: int | None = Field(
        None, ge=0, lt=1 << 62, description="Row of the point's own entity, which must not count."
    )


def probe_routes(service: Service) -> APIRouter:
    """Return the route of the probe."""
    router = APIRouter()

    @router.post(
        "/spaces/{space}/probe",
        summary="What the nearest training entities of a point have in common",
        description=(
            "A baseline without the model: the stored facts of the k nearest training entities. `numbers`: their "
            "median and their range. `values`: values of categories and lists that at least half of them have, with "
            "the share; the most frequent value where none has half. An entity must not count for itself: name its "
            "row in `exclude`."
        ),
        response_class=Json,
    )
    def probe(space: str, body: ProbeRequest) -> Json:
        opened = space_of(service, space)
        point = point_of(service.elm, body, service.limits.characters, "expression", opened)
        own = point.row if point.row is not None else body.exclude
        rows = nearest_train(opened, point, body.k, own)
        return Json({**facts_in_common(opened, rows), "entities": [entity_of(opened, int(row)) for row in rows]})

    return router


def nearest_train(space: VectorSpace, point: Point, k: int, own: int | None) -> np.ndarray:
    """Return the rows of the k nearest training entities of a point, nearest first, without its own row."""
    rows = space.neighbors(point.values[None], k + 1, split_name=TRAIN)[0][0]
    return rows[rows != (-1 if own is None else own)][:k]


def facts_in_common(space: VectorSpace, rows: np.ndarray) -> dict[str, Any]:
    """Return the medians of numbers and the frequent values of categories and lists among some entities.

    Args:
        space: the space.
        rows: [k] rows of the entities.
    """
    numbers: list[dict[str, Any]] = []
    values: list[dict[str, Any]] = []
    for name in space.column_names:
        if name in HIDDEN:
            continue
        column = space.column(name)
        kind = column.type
        items = column.take(pa.array(rows)).to_pylist()
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            known = np.array([item for item in items if item is not None and np.isfinite(item)], np.float64)
            if len(known):
                low, high = float(known.min()), float(known.max())
                numbers.append({"attribute": name, "median": float(np.median(known)), "low": low, "high": high})
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            if not pa.types.is_nested(kind.value_type):
                values += _frequent(name, [set(item or ()) for item in items])
        elif not pa.types.is_nested(kind):
            values += _frequent(name, [set() if item is None else {item} for item in items])
    return {"count": len(rows), "numbers": numbers, "values": values}


def _frequent(name: str, sets: list[set[Any]]) -> list[dict[str, Any]]:
    """Return the values that at least half of the entities have, or else the most frequent one, with their shares."""
    counts = Counter(str(value) for values in sets for value in values if value is not None)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    frequent = [pair for pair in ranked if pair[1] >= LEAST_SHARE * len(sets)] or ranked[:1]
    return [
        {"attribute": name, "value": value, "share": count / len(sets)}
        for value, count in frequent
        if count >= min(FEWEST, len(sets))
    ]
