"""The entities whose titles a text names."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from vectalk.serving.api.named import entity_of, space_of
from vectalk.serving.api.replies import NamedReply
from vectalk.serving.body import Body
from vectalk.serving.errors import Json
from vectalk.serving.service import Service
from vectalk.space import VectorSpace
from vectalk.talk.mentions import Linker

MOST_NAMED = 200_000  # entities of a space whose titles are found in texts; an index of more takes gigabytes


class Text(Body):
    """A text that may name entities."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=20_000)


def mention_routes(service: Service) -> APIRouter:
    """Return the route of mentions."""
    router = APIRouter()
    linkers: dict[str, Linker] = {}

    @router.post(
        "/spaces/{space}/mentions",
        summary="The entities whose titles a text names",
        description=f"`searched` is false where the space has no titles, or more than {MOST_NAMED:,} entities.",
        response_class=Json,
        response_model=NamedReply,
    )
    def mentions(space: str, body: Text) -> Json:
        opened = space_of(service, space)
        if "title" not in opened.column_names or len(opened) > MOST_NAMED:
            return Json({"searched": False, "mentions": []})
        if space not in linkers:
            linkers[space] = Linker({space: opened})
        return Json({"searched": True, "mentions": entities_in(body.text, opened, linkers[space])})

    return router


def entities_in(text: str, space: VectorSpace, linker: Linker) -> list[dict[str, Any]]:
    """Return row, id and title of the entities that a text names, in order, each once.

    Args:
        text: an answer.
        space: the space of the entities.
        linker: finds their titles.
    """
    ids = dict.fromkeys(mention.id for mention in linker.mentions(text, {}) if mention.id is not None)
    return [entity_of(space, space.find(name)) for name in ids]
