"""Facts of a selection of entities against all others."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter
from pydantic import ConfigDict, Field

from vectalk.serving.api.named import space_of
from vectalk.serving.api.replies import FactsReply
from vectalk.serving.body import Body
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.service import Service
from vectalk.space import VectorSpace

MOST_ROWS = 100_000
HIDDEN = frozenset({"id", "title", "split"})
LISTED = 12  # facts that are told
FEWEST = 2  # entities of the selection that a fact must hold for

Row = Annotated[int, Field(ge=0, lt=1 << 62)]


class Selection(Body):
    """Some entities of a space."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Row] = Field(min_length=1, max_length=MOST_ROWS, description="Rows of the entities.")


def fact_routes(service: Service) -> APIRouter:
    """Return the route of facts."""
    router = APIRouter()

    @router.post(
        "/spaces/{space}/facts",
        summary="What distinguishes some entities from all others",
        description=(
            "`shares`: values of categories and lists with their share in the selection and in all others, those with "
            "the largest z score of the difference first. `numbers`: medians of numeric attributes."
        ),
        response_class=Json,
        response_model=FactsReply,
    )
    def facts(space: str, body: Selection) -> Json:
        opened = space_of(service, space)
        rows = np.unique(np.asarray(body.rows, np.int64))
        if rows[-1] >= len(opened):
            raise ApiError(400, f"rows takes numbers from 0 to {len(opened) - 1}, not {rows[-1]}", param="rows")
        return Json({"count": len(rows), **facts_of(opened, rows)})

    return router


def facts_of(space: VectorSpace, rows: np.ndarray) -> dict[str, Any]:
    """Return the shares and medians that distinguish entities from the others.

    Args:
        space: the space.
        rows: [n] rows of the entities, without repetition.
    """
    inside = np.zeros(len(space), bool)
    inside[rows] = True
    shares: list[dict[str, Any]] = []
    numbers: list[dict[str, Any]] = []
    for name in space.column_names:
        if name in HIDDEN:
            continue
        column = space.column(name).combine_chunks()
        kind = column.type
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            numbers += _medians(name, np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan"))), inside)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
            shares += _shares(name, column, np.arange(len(space)), inside)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            if pa.types.is_nested(kind.value_type):
                continue
            shares += _shares(name, pc.list_flatten(column), np.asarray(pc.list_parent_indices(column)), inside)
    shares.sort(key=lambda share: -share["score"])
    return {"shares": shares[:LISTED], "numbers": numbers}


def _medians(name: str, values: np.ndarray, inside: np.ndarray) -> list[dict[str, Any]]:
    finite = np.isfinite(values)
    selected, others = values[inside & finite], values[~inside & finite]
    if not len(selected) or not len(others):
        return []
    return [{"attribute": name, "inside": float(np.median(selected)), "outside": float(np.median(others))}]


def _shares(name: str, values: pa.Array, owners: np.ndarray, inside: np.ndarray) -> list[dict[str, Any]]:
    """Return the values of an attribute that are more frequent inside, with the z score of the difference.

    Args:
        name: the attribute.
        values: [V] the values.
        owners: [V] row of each value's entity.
        inside: [N] whether an entity is selected.
    """
    encoded = values.dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1))
    names = encoded.dictionary.to_pylist()
    known = codes >= 0
    selected = np.bincount(codes[known & inside[owners]], minlength=len(names)).astype(float)
    others = np.bincount(codes[known & ~inside[owners]], minlength=len(names)).astype(float)
    inner, outer = int(inside.sum()), int((~inside).sum())
    if not outer:
        return []
    share, rest, pooled = selected / inner, others / outer, (selected + others) / len(inside)
    error = np.sqrt(np.maximum(pooled * (1 - pooled), 0.0) * (1 / inner + 1 / outer))
    scores = (share - rest) / np.maximum(error, 1e-12)
    best = [place for place in np.argsort(-scores)[:LISTED] if selected[place] >= FEWEST and scores[place] > 0]
    return [
        {
            "attribute": name,
            "value": str(names[place]),
            "inside": float(share[place]),
            "outside": float(rest[place]),
            "score": float(scores[place]),
        }
        for place in best
    ]
