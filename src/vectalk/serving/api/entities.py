"""Entities of a space: titles by row, search, and the facts of one entity."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Query

from vectalk.serving.api.named import entity_of, part_of, rows_of, space_of
from vectalk.serving.api.points import point_report
from vectalk.serving.api.replies import EntitiesReply, EntityFacts
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded
from vectalk.space import VectorSpace
from vectalk.space.titles import lookup_key, title_key

MOST_WORDS = 20  # words of a search that are looked for one by one


class TitleSearch:
    """Finds entities whose title contains a text, whatever its capitals and accents.

    Args:
        space: the space; the keys of its titles are computed once.
    """

    def __init__(self, space: VectorSpace) -> None:
        self.space = space
        titles = space.column("title" if "title" in space.column_names else "id").to_pylist()
        keys = ["" if title is None else title_key(str(title)) for title in titles]
        self._keys = pa.array(keys, pa.large_string())
        full = ["" if title is None else f" {lookup_key(str(title)).replace('(', '')}" for title in titles]
        self._full = pa.array(full, pa.large_string())  # with the year, and a blank before each word
        self._ids = space.column("id")

    def __call__(self, text: str, most: int) -> np.ndarray:
        """Return the rows of the best matches: the title or id, its beginning, a word of it, any part, all words."""
        key = title_key(text)
        exact = np.asarray(pc.equal(self._ids, text))
        rank = np.where(exact, 0, 9)
        if key:
            for place, mask in enumerate(
                (
                    pc.equal(self._keys, key),
                    pc.starts_with(self._keys, key),
                    pc.match_substring(self._keys, f" {key}"),
                    pc.match_substring(self._keys, key),
                    self._holds_all(key.split()),
                )
            ):
                rank = np.where((rank == 9) & np.asarray(mask), place, rank)
        rows = np.flatnonzero(rank < 9)
        lengths = np.asarray(pc.utf8_length(self._keys))[rows]
        return rows[np.lexsort((rows, lengths, rank[rows]))][:most]

    def _holds_all(self, words: list[str]) -> pa.Array:
        """Return whether words of each title, or its year, begin with all of these, in any order."""
        mask = pc.match_substring(self._full, f" {words[0]}")
        for word in words[1:MOST_WORDS]:
            mask = pc.and_(mask, pc.match_substring(self._full, f" {word}"))
        return mask


def entity_routes(service: Service) -> APIRouter:
    """Return the routes of entities."""
    router = APIRouter()
    searches: dict[str, TitleSearch] = {}

    @router.get(
        "/spaces/{space}/titles", summary="Titles and ids of rows", response_class=Json, response_model=EntitiesReply
    )
    def titles(space: str, rows: Annotated[str, Query(description="Row numbers, such as 0,17,3.")]) -> Json:
        opened = space_of(service, space)
        return Json({"entities": [entity_of(opened, row) for row in rows_of(rows, opened, service.limits.listed)]})

    @router.get(
        "/spaces/{space}/search",
        summary="Entities whose title contains a text",
        response_class=Json,
        response_model=EntitiesReply,
    )
    def search(
        space: str,
        q: Annotated[str, Query(max_length=500, description="Part of a title, or an id.")],
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
    ) -> Json:
        opened = space_of(service, space)
        if space not in searches:
            searches[space] = TitleSearch(opened)
        return Json({"entities": [entity_of(opened, int(row)) for row in searches[space](q, limit)]})

    @router.get(
        "/spaces/{space}/entity",
        summary="One entity by id, title or row: its facts and its vector",
        response_class=Json,
        response_model=EntityFacts,
    )
    def entity(
        space: str,
        id: Annotated[str | None, Query(max_length=2_000, description="Id or title.")] = None,
        row: Annotated[int | None, Query(description="Row number, instead of an id.")] = None,
    ) -> Json:
        opened = space_of(service, space)
        if (id is None) == (row is None):
            raise ApiError(400, "name the entity by either id or row", param="id", code="invalid_value")
        if row is not None and not 0 <= row < len(opened):
            raise ApiError(404, f"space {space!r} has rows 0 to {len(opened) - 1}, not {row}", param="row")
        number = row if row is not None else opened.find(id or "")
        point = opened[number]
        vector = encoded(point.values)
        report = {**point_report(service, point), "base64": vector, "part": part_of(point, vector)}
        return Json({**entity_of(opened, number), "facts": _plain(opened.metadata(number)), "point": report})

    return router


def _plain(value: Any) -> Any:
    """Return metadata as JSON takes it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
