"""Fold-in: who likes these items? A visitor becomes a vector of the space of users."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from vectalk.serving.api.named import entity_of, part_of, space_of
from vectalk.serving.api.points import point_report
from vectalk.serving.api.replies import LikesReply
from vectalk.serving.body import Body
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded
from vectalk.space import VectorSpace
from vectalk.space.factorization.likes import SETTINGS, fold_in, read_settings
from vectalk.talk import ELM


class Likes(Body):
    """Items that somebody likes."""

    model_config = ConfigDict(extra="forbid")

    likes: list[str] = Field(min_length=1, max_length=500, description="Titles or ids of different items.")


def users_of(elm: ELM, items: VectorSpace) -> VectorSpace | None:
    """Return the space of users of the same factorisation as a space of items; None where there is none."""
    folder = None if items.path is None else items.path.resolve().parent
    if folder is None or not (folder / SETTINGS).is_file():
        return None
    for space in elm.spaces.values():
        if space is not items and space.path is not None and space.path.resolve().parent == folder:
            return space if space.dim == items.dim and space.path.name == "users" else None
    return None


def like_routes(service: Service) -> APIRouter:
    """Return the route of fold-in."""
    router = APIRouter()

    @router.post(
        "/spaces/{space}/likes",
        summary="The user who likes some items",
        description=(
            "Folds a visitor into the space of users of the same factorisation, and lists what the factor model puts "
            "next. `at` is the place on the map of users, and `at_items` the place among the nearest items (the users "
            "and items of a factorisation share their coordinates). `part` is the content part with which a chat "
            "completion takes the vector."
        ),
        response_class=Json,
        response_model=LikesReply,
    )
    def likes(space: str, body: Likes) -> Json:
        items = space_of(service, space)
        users = users_of(service.elm, items)
        if users is None:
            raise ApiError(
                404, f"space {space!r} has no space of users of the same factorisation in this run", code="no_users"
            )
        assert items.path is not None
        settings = read_settings(items.path.resolve().parent)
        if settings.feedback != "implicit":
            raise ApiError(
                404, f"space {space!r} was made from explicit ratings, which likes do not give", code="no_users"
            )
        visitor = fold_in(items, users, body.likes, settings)
        vector = encoded(visitor.point.values)
        at_items = None
        if service.layouts.has(items):
            at_items = service.layouts.of(items).locate(visitor.point.values).tolist()
        return Json(
            {
                **point_report(service, visitor.point),
                "base64": vector,
                "part": part_of(visitor.point, vector),
                "at_items": at_items,
                "liked": visitor.liked,
                "next": [entity_of(items, row) for row in visitor.next_rows],
            }
        )

    return router
