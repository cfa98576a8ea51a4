"""The formats of answers in the map's API, as `/openapi.json` describes them; the routes send plain values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from vectalk.serving.replies import SupportReply

BINARY: dict[str, Any] = {
    "description": "Numbers, little-endian.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


# ---- spaces


class SpaceReply(BaseModel):
    """A space, with what it has."""

    name: str
    rows: int
    dim: int
    metric: str
    fingerprint: str
    licence: str | None
    columns: list[str]
    layout: bool = Field(description="Whether there is a layout for the map.")
    concepts: list[str]
    texts: bool = Field(description="Whether POST /v1/embeddings takes texts for this space.")
    likes: str | None = Field(description="The space of users that `likes` folds into.")
    wordings: list[str] = Field(description="Trained questions about this space alone.")


class SpacesReply(BaseModel):
    """All spaces."""

    spaces: list[SpaceReply]


class ConceptReply(BaseModel):
    """A concept with its statistics."""

    name: str
    given: str
    deviation: float | None
    statistics: dict[str, Any]


class ConceptsReply(BaseModel):
    """The concepts of a space."""

    concepts: list[ConceptReply]


# ---- entities and points


class EntityReply(BaseModel):
    """An entity."""

    row: int
    id: str
    title: str


class EntitiesReply(BaseModel):
    """Entities in the order of the request, or of their match."""

    entities: list[EntityReply]


class PartReply(BaseModel):
    """The content part with which a chat completion takes a point."""

    type: Literal["vector"]
    space: str
    base64: str


class PointReply(BaseModel):
    """A point: where it comes from, where it lies on the map, what supports it, and its vector."""

    space: str
    source: str
    sources: list[str]
    entity: EntityReply | None
    notes: list[str]
    at: list[float] | None = Field(description="x and y on the map; null without a layout.")
    support: SupportReply
    base64: str = Field(description="The vector as little-endian float32.")
    part: PartReply


class EntityFacts(EntityReply):
    """An entity with its facts and its point."""

    facts: dict[str, Any]
    point: PointReply


class WeightedEntity(EntityReply):
    """An entity with its weight in a mean."""

    weight: float


class PlaceReply(PointReply):
    """The point of a place on the map."""

    nearest: list[WeightedEntity]


class SimilarEntity(EntityReply):
    """An entity with its similarity to a point."""

    similarity: float | None


class NeighborsReply(BaseModel):
    """The nearest entities."""

    neighbors: list[SimilarEntity]


class SupportOnly(BaseModel):
    """The support of a point."""

    support: SupportReply


class LikesReply(PointReply):
    """The user who likes some items."""

    liked: list[str]
    next: list[EntityReply]


# ---- attributes and facts


class AttributeReply(BaseModel):
    """An attribute with its values or its range."""

    name: str
    kind: Literal["number", "category", "list", "text"]
    low: float | None = None
    high: float | None = None
    values: list[str] = Field([], description="Most frequent first.")
    counts: list[int] = []


class AttributesReply(BaseModel):
    """The attributes of a space."""

    attributes: list[AttributeReply]


class ShareReply(BaseModel):
    """A value that is more frequent in the selection."""

    attribute: str
    value: str
    inside: float
    outside: float
    score: float


class MedianReply(BaseModel):
    """The medians of a number."""

    attribute: str
    inside: float
    outside: float


class FactsReply(BaseModel):
    """What distinguishes a selection."""

    count: int
    shares: list[ShareReply]
    numbers: list[MedianReply]


class NamedReply(BaseModel):
    """The entities that a text names."""

    searched: bool
    mentions: list[EntityReply]
