"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}` and a status."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vectalk.errors import EngineError, VectalkError

LONGEST = 2_000  # characters of a message; an error may quote what the client sent
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    429: "rate_limit_error",
}
log = logging.getLogger("vectalk.serve")


class ApiError(Exception):
    """An error that a client gets.

    Args:
        status: HTTP status.
        message: what is wrong, and what is allowed.
        param: the parameter that is wrong.
        code: a short name of the error, for programs.
        headers: further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error in OpenAI's shape."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        message = self.message if len(self.message) <= LONGEST else self.message[:LONGEST] + " ..."
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}


class Json(JSONResponse):
    """A response of JSON. It keeps every text as it is, and writes numbers that are not finite as null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the bytes of the body."""
        return to_json(content)


def to_json(content: Any) -> bytes:
    """Return a value as one line of JSON in UTF-8; a lone surrogate becomes its escape."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    except ValueError:
        finite = _finite(json.loads(json.dumps(content, default=str)))
        text = json.dumps(finite, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None  # NaN compares false too
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def as_api_error(error: Exception) -> ApiError:
    """Return what a client is told about an error; an error of the server itself is logged, not told."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, EngineError):
        return ApiError(503, str(error), code="engine_error")
    if isinstance(error, VectalkError):
        return ApiError(400, str(error), code=code_of(error))
    log.error("a request failed: %r", error, exc_info=error)
    return ApiError(500, "the server failed to answer; its log has the reason", code="internal_error")


def code_of(error: VectalkError) -> str:
    """Return the code of an error, such as `invalid_expression` or `invalid_unknown_entity`."""
    name = type(error).__name__.removesuffix("Error")
    return "invalid_" + "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def response_of(error: ApiError) -> Json:
    """Return the response of an error."""
    return Json(error.body(), error.status, error.headers)


def install_handlers(app: FastAPI) -> None:
    """Let every error of an application have OpenAI's shape."""

    async def any_error(_: Request, error: Exception) -> Response:
        return response_of(as_api_error(error))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response_of(_validation(error))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        messages = {
            404: "there is no such address; GET /docs lists the addresses",
            405: "this address does not take this method; GET /docs lists the methods",
        }
        plain = error.detail in ("Not Found", "Method Not Allowed")
        message = messages.get(error.status_code, str(error.detail)) if plain else str(error.detail)
        return response_of(ApiError(error.status_code, message, headers=error.headers))

    app.add_exception_handler(ApiError, any_error)
    app.add_exception_handler(VectalkError, any_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, any_error)


def _validation(error: RequestValidationError) -> ApiError:
    """Name the first field that is wrong; the others may follow from it."""
    first = error.errors()[0]
    places = [str(place) for place in first["loc"][1:]]  # the first one is body, query or path
    places = [place for place in places if not place.startswith("(")]  # tags of unions
    param = ".".join(places) or None
    if first["type"] == "json_invalid":
        return ApiError(400, "the body is not JSON", code="invalid_json")
    message = str(first["msg"])
    return ApiError(400, f"{param}: {message}" if param else message, param=param, code="invalid_value")
