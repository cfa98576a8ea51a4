"""`Endpoint`: where an OpenAI-compatible LLM is asked, and how; what a transport must do."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vectalk.errors import TeacherError
from vectalk.llm.replies import Message, Reply

OPENAI = "https://api.openai.com/v1"

Sleep = Callable[[float], Awaitable[None]]


class Transport(Protocol):
    """What carries messages to a model and brings its reply."""

    model: str
    params: dict[str, Any]
    reply_limit: int
    concurrency: int

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Return the reply; `sleep` waits, and raises where all work is to stop."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what a corpus may say of the model and its place: no key, no credentials."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Endpoint(BaseModel):
    """How an OpenAI-compatible endpoint is asked. The key is read from the environment and kept nowhere.

    Attributes:
        model: name of the model, as the endpoint calls it.
        base_url: e.g. `http://localhost:8000/v1`; the variable OPENAI_BASE_URL, or OpenAI, when omitted.
        key_env: environment variable that holds the key. A local endpoint needs none.
        params: what else goes into each request, e.g. `{temperature: 0.7}`.
        max_reply_tokens: longest reply.
        concurrency: requests at the same time.
        requests_per_minute: limit; none when omitted.
        tokens_per_minute: limit on tokens of prompts and replies together; none when omitted.
        timeout: seconds for one reply.
        attempts: how often one request is tried.
        max_wait: longest pause in seconds that the endpoint may ask for; it stops the work where it asks for more.
        price_input: price of a million tokens of prompts.
        price_output: price of a million tokens of replies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    base_url: str | None = None
    key_env: str = "OPENAI_API_KEY"
    params: dict[str, Any] = Field(default_factory=dict)
    max_reply_tokens: int = Field(400, ge=1)
    concurrency: int = Field(8, ge=1, le=1000)
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout: float = Field(120.0, gt=0)
    attempts: int = Field(6, ge=1)
    max_wait: float = Field(600.0, ge=0)
    price_input: float | None = Field(None, ge=0)
    price_output: float | None = Field(None, ge=0)

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        if value is not None and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
            raise ValueError("base_url must be an address such as http://localhost:8000/v1")
        return value

    @field_validator("params")
    @classmethod
    def _leaves_the_rest_alone(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in values:
            if name in ("model", "messages", "stream", "n"):
                raise ValueError(f"params cannot set {name!r}")
            if any(word in name.lower() for word in ("key", "secret", "authorization")):
                raise ValueError(f"params are written into the corpus, so {name!r} does not belong there")
        return values

    @property
    def url(self) -> str:
        """The address that is asked."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI

    @property
    def host(self) -> str:
        """Host and port, without credentials, path or query."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)

    def key(self) -> str:
        """Return the key from the environment.

        Raises:
            TeacherError: there is none, and the endpoint is not on this machine.
        """
        if key := os.environ.get(self.key_env):
            return key
        if urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1"):
            return "none"
        raise TeacherError(
            f"no key for {self.host}: set the environment variable {self.key_env}, "
            "or name the one that holds it (--key-env)"
        )

    @classmethod
    def read(cls, path: str | Path | None, **overrides: Any) -> Endpoint:
        """Read an endpoint from a YAML file, or from nothing, with some settings replaced.

        Raises:
            TeacherError: the file or a setting is malformed; the field is named, its value is not.
        """
        source = "the endpoint" if path is None else f"endpoint {path}"
        try:
            values = {} if path is None else yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise TeacherError(f"{source} cannot be read: {type(error).__name__}: {error}") from None
        if not isinstance(values, dict):
            raise TeacherError(f"{source} must hold settings such as `model: NAME`")
        for name, value in overrides.items():
            head, _, rest = name.partition(".")
            if rest and head == "params":
                values["params"] = {**(values.get("params") or {}), rest: value}
            else:
                values[name] = value
        if any("key" in str(name).lower().partition(".")[0] and name != "key_env" for name in values):
            raise TeacherError(
                f"{source}: keys are read from the environment only; name the variable with key_env and remove the "
                "key from here"
            )
        if "model" not in values:
            raise TeacherError(f"{source} names no model; say --teacher llm:MODEL, or `model: NAME` in the file")
        try:
            return cls(**values)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()]
            known = ", ".join(cls.model_fields)
            raise TeacherError(f"{source}: {'; '.join(problems)} (settings are {known})") from None

    def transport(self) -> Transport:
        """Return what sends requests there."""
        from vectalk.llm.http_transport import HTTPTransport

        return HTTPTransport(self)
