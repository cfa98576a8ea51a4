"""Attributes of the entities, in the compact form in which a map colours its points."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query
from starlette.responses import Response

from vectalk.serving.api.named import space_of
from vectalk.serving.api.replies import BINARY, AttributesReply
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.service import Service
from vectalk.space import VectorSpace
from vectalk.space.titles import closest

MOST_VALUES = 250  # values of a category that have a code of their own
NONE, OTHER = 65_535, 65_534  # codes of a missing value, and of a rare one
NAMES = frozenset({"id", "title"})

DESCRIPTION = """
The body has one number for each entity, in the order of the rows, little-endian. The header `x-kind` says which:

- `number`: float32; NaN where the value is missing.
- `category`: uint16 codes, places in `values` of `GET /api/spaces/{space}/attributes`; 65535 where the value is
  missing, 65534 for a rare one. For a list such as genres, the code of its first value.
- `mask`, with `?value=`: uint8, 1 where the entity has this value.
"""


class Attribute:
    """One column of the entities.

    Args:
        space: the space.
        name: the column.

    Attributes:
        kind: `number`, `category`, `list`, or `text` for what has too many values to colour by.
        values: the values of a category or a list, most frequent first.
    """

    def __init__(self, space: VectorSpace, name: str) -> None:
        self.space, self.name = space, name
        self.column = space.column(name)
        self.is_list = pa.types.is_list(self.column.type) or pa.types.is_large_list(self.column.type)
        self.values: list[Any] = []
        kind = self.column.type
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or (pa.types.is_integer(kind)):
            self.kind = "number"
            return
        flat = pc.list_flatten(self.column) if self.is_list else self.column
        try:
            counts = Counter(flat.to_pylist())
        except TypeError:  # structs and lists of lists
            self.kind = "text"
            return
        counts.pop(None, None)
        repeated = len(counts) <= max(MOST_VALUES, len(space) // 4)
        self.kind = ("list" if self.is_list else "category") if repeated and counts else "text"
        if self.kind != "text":
            self.values = [value for value, _ in counts.most_common(MOST_VALUES)]
            self.counts = [counts[value] for value in self.values]

    def described(self) -> dict[str, Any]:
        """Return the kind, with the values or the range."""
        entry: dict[str, Any] = {"name": self.name, "kind": self.kind}
        if self.kind == "number":
            numbers = self.numbers()
            finite = numbers[np.isfinite(numbers)]
            low_high = [float(finite.min()), float(finite.max())] if len(finite) else [None, None]
            entry |= {"low": low_high[0], "high": low_high[1]}
        elif self.kind != "text":
            entry |= {"values": [str(value) for value in self.values], "counts": self.counts}
        return entry

    def numbers(self) -> np.ndarray:
        """Return the values [N] as float32, NaN where they are missing."""
        return np.asarray(pc.fill_null(self.column.cast(pa.float64()), float("nan")), np.float32)

    def codes(self) -> np.ndarray:
        """Return the codes [N] of the values."""
        places = {value: code for code, value in enumerate(self.values)}
        values = self.column.to_pylist()
        first = [(value[0] if value else None) for value in values] if self.is_list else values
        return np.array([NONE if value is None else places.get(value, OTHER) for value in first], "<u2")

    def mask(self, text: str) -> np.ndarray:
        """Return [N] 1 where an entity has a value."""
        match = next((value for value in self.values if str(value) == text), None)
        if match is None:
            near = closest(text, map(str, self.values)) or [str(value) for value in self.values[:5]]
            raise ApiError(400, f"{self.name} has no value {text!r}; did you mean {', '.join(near)}?", param="value")
        mask = np.zeros(len(self.space), np.uint8)
        mask[self.space.where(self.name, match)] = 1
        return mask


def attribute_routes(service: Service) -> APIRouter:
    """Return the routes of attributes."""
    router = APIRouter()
    attributes: dict[tuple[str, str], Attribute] = {}

    def opened(space_name: str, name: str) -> Attribute:
        space = space_of(service, space_name)
        names = [column for column in space.column_names if column not in NAMES]
        if name not in names:
            near = closest(name, names) or names
            raise ApiError(404, f"space {space_name!r} has no attribute {name!r}; did you mean {', '.join(near)}?")
        if (space_name, name) not in attributes:
            attributes[space_name, name] = Attribute(space, name)
        return attributes[space_name, name]

    @router.get(
        "/spaces/{space}/attributes",
        summary="The attributes with their kinds, values and ranges",
        response_class=Json,
        response_model=AttributesReply,
    )
    def listed(space: str) -> Json:
        names = [column for column in space_of(service, space).column_names if column not in NAMES]
        return Json({"attributes": [opened(space, name).described() for name in names]})

    @router.get(
        "/spaces/{space}/attribute/{name}",
        summary="One number for each entity, to colour it by",
        description=DESCRIPTION,
        response_class=Response,
        responses={200: BINARY},
    )
    def one(
        space: str,
        name: str,
        value: Annotated[str | None, Query(max_length=1_000, description="A value of a category or list.")] = None,
    ) -> Response:
        attribute = opened(space, name)
        if attribute.kind == "text":
            raise ApiError(400, f"{name} has too many values to colour by", param="name", code="not_colourable")
        if value is not None:
            if attribute.kind == "number":
                raise ApiError(400, f"{name} is a number; omit value", param="value", code="invalid_value")
            return binary(attribute.mask(value), "mask")
        if attribute.kind == "number":
            return binary(attribute.numbers(), "number")
        return binary(attribute.codes(), "category")

    return router


def binary(numbers: np.ndarray, kind: str) -> Response:
    """Return numbers as little-endian bytes."""
    body = np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<")).tobytes()
    return Response(body, media_type="application/octet-stream", headers={"x-kind": kind, "x-rows": str(len(numbers))})
