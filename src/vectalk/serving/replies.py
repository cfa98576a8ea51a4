"""The formats of answers in OpenAI's API, as `/openapi.json` describes them; the routes send plain values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


class ErrorDetail(BaseModel):
    """What is wrong with a request."""

    message: str = Field(description="What is wrong, and what is allowed.")
    type: str
    param: str | None = Field(description="The parameter that is wrong, such as `bindings.film`.")
    code: str | None = Field(description="Short name of the error, for programs.")


class ErrorReply(BaseModel):
    """The body of every error."""

    error: ErrorDetail


# ---- reports on vectors


class SupportReply(BaseModel):
    """How near a vector lies to real entities."""

    verdict: str = Field(description="`far` is out of distribution: do not trust the text.")
    text: str = Field(description="The verdict in words.")
    percentile: float | None
    centre: float | None
    isolation: float | None
    angle: float | None
    sources: list[str] = Field(description="Titles that the vector was computed from.")
    entity: bool = Field(description="Whether the vector is that of an entity.")


class NeighborReply(BaseModel):
    """A real entity near the vector."""

    id: str
    title: str
    similarity: float | None


class SlotReply(BaseModel):
    """The report on the vector of one slot."""

    space: str
    source: str = Field(description="The expression or title that the vector comes from.")
    support: SupportReply
    neighbors: list[NeighborReply]
    notes: list[str] = Field(description="Assumptions of the name lookup.")


class MentionReply(BaseModel):
    """A name in the text."""

    start: int
    end: int
    name: str
    title: str | None = Field(description="Title of the entity; null where no entity has this name.")
    space: str | None
    id: str | None
    similarity: float | None
    written: str | None = Field(description="What the model wrote, where the name was replaced.")


class InfluenceReply(BaseModel):
    """Which tokens depend on which vector."""

    tokens: list[str]
    values: dict[str, list[float | None]] = Field(description="Slot -> one value for each token.")


class GroundsReply(BaseModel):
    """What an answer is based on."""

    question: str = Field(description="The question as it was read, with its slots.")
    slots: dict[str, SlotReply]
    settings: dict[str, Any] = Field(description="The settings of decoding, with the seed that was drawn.")
    mentions: list[MentionReply] = Field(description="The names in the text; empty with `names: off`.")
    notes: list[str] = Field([], description="What was not read.")
    influence: InfluenceReply | None = Field(None, description="With `influence: true`.")
    abstained: str | None = Field(None, description="Why there is no text, with `strict: true`.")
    cut: str | None = Field(None, description="The limit that cut the text: `max_new_tokens` or `context`.")


# ---- chat completions


class AssistantMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"]
    content: str
    refusal: str | None


class ChatChoice(BaseModel):
    """The only choice."""

    index: int
    message: AssistantMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]
    vectalk: GroundsReply


class ChatUsage(BaseModel):
    """Tokens of the prompt and of the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(BaseModel):
    """An answer that is not streamed."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: ChatUsage


# ---- embeddings and models


class EmbeddingReply(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="Numbers; base64 with `encoding_format: base64`.")


class EmbeddingUsage(BaseModel):
    """Tokens that the text encoder read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingSource(BaseModel):
    """What made the vectors."""

    space: str
    encoder: str
    r2: float | None = Field(None, description="Share of the variance that the read-back explains.")
    note: str | None = None


class EmbeddingsReply(BaseModel):
    """The vectors of all texts."""

    object: Literal["list"]
    data: list[EmbeddingReply]
    model: str
    usage: EmbeddingUsage
    vectalk: EmbeddingSource


class ModelReply(BaseModel):
    """One model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    vectalk: dict[str, Any] = Field(description="Its kind (`chat` or `embedding`), spaces and trained wordings.")


class ModelsReply(BaseModel):
    """All models."""

    object: Literal["list"]
    data: list[ModelReply]


# ---- operation


class HealthReply(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class ReadyReply(BaseModel):
    """The server takes requests."""

    status: Literal["ready"]
    model: str
