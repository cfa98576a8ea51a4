"""`Described`: a FastAPI application whose `/openapi.json` lists the errors that each address really sends."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from vectalk.serving.guard import PROTECTED
from vectalk.serving.replies import ErrorReply

MEANINGS = {
    "400": "The request is wrong; the message says what is allowed.",
    "401": "The API key is missing or wrong.",
    "404": "There is no such model, space, entity or attribute.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not `application/json`.",
    "429": "Too many requests wait; `Retry-After` has the seconds.",
    "503": "The server is loading or stopping, or its engine fails.",
    "504": "The answer took too long.",
}
BUSY = {
    "/v1/chat/completions": ("404", "429", "503", "504"),
    "/v1/embeddings": ("404", "429", "503"),
    "/ready": ("503",),
}
CONTENT = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}}


class Described(FastAPI):
    """An application with complete descriptions of its errors."""

    def __init__(self, **options: Any) -> None:
        super().__init__(responses={400: {"model": ErrorReply}}, **options)

    def openapi(self) -> dict[str, Any]:
        """Return the description of all addresses."""
        if self.openapi_schema is None:
            describe_errors(super().openapi())
        assert self.openapi_schema is not None
        return self.openapi_schema


def describe_errors(schema: dict[str, Any]) -> None:
    """Replace FastAPI's errors by those of this server in the description of each operation."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            operation["responses"].pop("422", None)  # validation errors have status 400 and OpenAI's shape
            for status in sorted(statuses(method, path)):
                operation["responses"][status] = {"description": MEANINGS[status], "content": CONTENT}
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)


def statuses(method: str, path: str) -> set[str]:
    """Return the statuses of errors that an operation may send."""
    codes = {"400", *BUSY.get(path, ())}
    if path.startswith(PROTECTED):
        codes.add("401")
    if "{" in path:
        codes.add("404")
    if method == "post":
        codes |= {"408", "413", "415"}
    return codes
