"""`POST /v1/embeddings`: texts as vectors of a space."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from vectalk.serving.body import Body
from vectalk.serving.errors import ApiError, Json
from vectalk.serving.models import check_model, embedding_models
from vectalk.serving.replies import EmbeddingsReply
from vectalk.serving.service import Service
from vectalk.serving.vectors import encoded

DESCRIPTION = """
Returns the vector of each text. The models are `RUN:SPACE`, one for each space that takes texts; GET /v1/models lists
them.

Where a text encoder made the space, this is its embedding. Otherwise the run's *read-back* predicts it: a ridge
regression from a text encoder to the space. `vectalk.r2` is the share of the variance of held-out entities that it
explains. A ridge regression shrinks its predictions towards the mean, so do not store these vectors beside real ones;
use them to search and to ask.
"""
SHRUNK = "predicted by a ridge regression, which shrinks towards the mean: do not store beside real vectors"


class EmbeddingsRequest(Body):
    """Texts to embed."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(description="RUN:SPACE, as GET /v1/models lists it.")
    input: Any = Field(
        description="A text, or a list of texts. Lists of token ids are refused.",
        json_schema_extra={"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    )
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: little-endian float32.")
    dimensions: int | None = Field(None, ge=1, description="May only be the dimension of the space.")


def embedding_routes(service: Service) -> APIRouter:
    """Return the route of embeddings."""
    router = APIRouter(tags=["OpenAI"])

    @router.post(
        "/v1/embeddings",
        summary="Embed texts",
        description=DESCRIPTION,
        response_class=Json,
        response_model=EmbeddingsReply,
    )
    async def embeddings(body: EmbeddingsRequest) -> Json:
        service.gate.check()
        check_model(service, body.model, chat=False)
        reader = service.texts[embedding_models(service)[body.model]]
        texts = _texts(body.input, service.limits.inputs)
        dim = reader.space.dim
        if body.dimensions not in (None, dim):
            raise ApiError(400, f"dimensions is {body.dimensions}; the space has {dim}", param="dimensions")
        vectors, tokens, r2 = await asyncio.to_thread(reader, texts)
        data = [
            {
                "object": "embedding",
                "index": number,
                "embedding": encoded(vector) if body.encoding_format == "base64" else vector.tolist(),
            }
            for number, vector in enumerate(vectors)
        ]
        more: dict[str, Any] = {"space": reader.space.name, "encoder": reader.encoder}
        if reader.saved is not None:
            more |= {"r2": r2, "note": SHRUNK}
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Json({"object": "list", "data": data, "model": body.model, "usage": usage, "vectalk": more})

    return router


def _texts(value: Any, most: int) -> list[str]:
    """Return the texts of `input`."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ApiError(400, "input takes a text, or a list of texts", param="input", code="invalid_value")
    if any(isinstance(one, int) or (isinstance(one, list) and one) for one in texts):
        raise ApiError(
            400,
            "input holds token ids, which belong to another tokenizer; send texts. In LangChain, pass "
            "check_embedding_ctx_length=False to OpenAIEmbeddings",
            param="input",
            code="token_ids",
        )
    if len(texts) > most:
        raise ApiError(400, f"input holds {len(texts)} texts; allowed are {most}", param="input", code="too_many_texts")
    for number, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise ApiError(400, "every text must be a text that is not empty", param=f"input.{number}",
                           code="invalid_value")  # fmt: skip
    return texts
