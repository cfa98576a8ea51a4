"""`Endpoint`: where an OpenAI-compatible LLM is asked, how, and with which key."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from vectalk.errors import TeacherError
from vectalk.llm.address import OPENAI, base_of, check_address, host_of, is_loopback, is_openai
from vectalk.reading.yaml_text import read_yaml

OPENAI_KEY = "OPENAI_API_KEY"
LIMITS = ("max_completion_tokens", "max_tokens")  # names of the longest reply, the newer first
NO_KEY = "none"  # goes in the place of a key to endpoints that need none


class Endpoint(BaseModel):
    """How an OpenAI-compatible endpoint is asked. The key is read from the environment and kept nowhere.

    Attributes:
        model: name of the model, as the endpoint calls it.
        base_url: e.g. `http://localhost:8000/v1`; the variable OPENAI_BASE_URL, or OpenAI, when omitted.
        api_key_env: environment variable that holds the endpoint's key, or `none` where it needs no key. When omitted,
            OPENAI_API_KEY for OpenAI itself, and no key on this machine.
        plain_http: whether what is sent may go unencrypted to another machine.
        params: what else goes into each request, e.g. `{temperature: 0.7}`.
        max_reply_tokens: longest reply.
        concurrency: requests at the same time.
        requests_per_minute: limit; none when omitted.
        tokens_per_minute: limit on tokens of prompts and replies together; none when omitted.
        timeout: seconds for one reply.
        attempts: how often one request is tried.
        max_wait: most seconds that one request waits for a busy endpoint, pauses together; then the work stops.
        price_input: price of a million tokens of prompts.
        price_output: price of a million tokens of replies.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    base_url: str | None = None
    api_key_env: str | None = Field(None, min_length=1)
    plain_http: bool = False
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
        return None if value is None else check_address(value)

    @field_validator("params")
    @classmethod
    def _leaves_the_rest_alone(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if name in ("model", "messages", "stream", "n"):
                raise ValueError(f"params cannot set {name!r}")
            if any(word in name.lower() for word in ("key", "secret", "authorization")):
                raise ValueError(f"params are written into the corpus, so {name!r} does not belong there")
            if name in LIMITS and (type(value) is not int or value < 1):
                raise ValueError(f"{name} is a number of tokens from 1 on")
        try:
            json.dumps(values)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("params must be plain values, as JSON has them") from None
        return values

    @property
    def url(self) -> str:
        """The address below which `chat/completions` is asked.

        Raises:
            TeacherError: the variable OPENAI_BASE_URL holds no address.
        """
        try:
            return base_of(self.base_url or check_address(os.environ.get("OPENAI_BASE_URL") or OPENAI))
        except ValueError as error:
            raise TeacherError(f"the variable OPENAI_BASE_URL holds no address: {error}") from None

    @property
    def host(self) -> str:
        """Host and port, without credentials, path or query."""
        return host_of(self.url)

    def key(self) -> str:
        """Return the key of this very endpoint, from the environment; `none` where it takes no key.

        Raises:
            TeacherError: there is none, or it would travel unencrypted.
        """
        local = is_loopback(self.url)
        if urlsplit(self.url).scheme == "http" and not local and not self.plain_http:
            raise TeacherError(
                f"what is sent to http://{self.host} would travel unencrypted; give an address with https://, or allow "
                "it with --plain-http (plain_http: true)"
            )
        name = self.api_key_env or (OPENAI_KEY if is_openai(self.url) else NO_KEY if local else None)
        if name is None:  # that of OpenAI is no key of another host
            raise TeacherError(
                f"no key is named for {self.host}: name the environment variable that holds it (--api-key-env NAME), "
                f"or say --api-key-env {NO_KEY} where it needs no key; {OPENAI_KEY} goes to OpenAI alone unless named"
            )
        if name == NO_KEY:
            return NO_KEY
        key = os.environ.get(name, "").strip()
        if not key:
            raise TeacherError(
                f"no key for {self.host}: set the environment variable {name}, or name the one that holds it "
                "(--api-key-env NAME)"
            )
        if not key.isascii() or not key.isprintable():
            raise TeacherError(f"the variable {name} holds no key: it has letters that no header can carry")
        return key

    @classmethod
    def read(cls, path: str | Path | None, defaults: Mapping[str, Any] | None = None, **overrides: Any) -> Endpoint:
        """Read an endpoint from a YAML file, or from nothing, with some settings replaced.

        Args:
            path: the file.
            defaults: settings that hold where neither the file nor `overrides` name them.
            overrides: settings; `params.NAME` is one of `params`, and None takes that one away.

        Raises:
            TeacherError: the file or a setting is malformed; the field is named, its value is not.
        """
        source = "the endpoint" if path is None else f"endpoint {path}"
        values = {} if path is None else read_yaml(path, TeacherError)
        if not isinstance(values, dict) or not isinstance(values.get("params") or {}, dict):
            raise TeacherError(f"{source} must hold settings such as `model: NAME` and `params: {{temperature: 0.7}}`")
        values = with_settings({**(defaults or {}), **_flat(values)}, overrides)
        if any("key" in str(name).lower() and name != "api_key_env" for name in values):
            raise TeacherError(
                f"{source}: keys are read from the environment only; name the variable with api_key_env and remove the "
                "key from here"
            )
        if "model" not in values:
            raise TeacherError(f"{source} names no model; say openai:MODEL, or `model: NAME` in the file")
        try:
            return cls(**values)
        except ValidationError as error:
            raise TeacherError(f"{source}: {problems_of(error, cls)}") from None


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with `params.NAME` in the place of `params`."""
    params = values.get("params")
    if not isinstance(params, Mapping):
        return {str(name): value for name, value in values.items() if name != "params" or value is not None}
    rest = {str(name): value for name, value in values.items() if name != "params"}
    return rest | {f"params.{name}": value for name, value in params.items()}


def with_settings(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of which some are replaced; `params.NAME` is one of `params`, None takes it away."""
    made: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, value in {**values, **_flat(overrides)}.items():
        head, dot, rest = name.partition(".")
        if dot and head == "params":
            params[rest] = value
        else:
            made[name] = value
    params = {name: value for name, value in params.items() if value is not None}
    return {**made, "params": params} if params else made


def problems_of(error: ValidationError, settings: type[BaseModel]) -> str:
    """Say what is wrong with settings; values are left out, since one may be a key."""
    problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg'].removeprefix('Value error, ')}" for p in error.errors()]
    return f"{'; '.join(problems)} (settings are {', '.join(settings.model_fields)})"
