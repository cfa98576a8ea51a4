"""`Endpoint`: address, settings and key of an OpenAI-compatible LLM."""

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
LIMITS = ("max_completion_tokens", "max_tokens")  # names of the limit on a reply, the newer name first
NO_KEY = "none"  # sent in place of a key to endpoints that need no key


class Endpoint(BaseModel):
    """Settings of an OpenAI-compatible endpoint. The key is read from the environment and never stored.

    Attributes:
        model: name of the model at the endpoint.
        base_url: address, such as `http://localhost:8000/v1`; the variable OPENAI_BASE_URL, or OpenAI, when omitted.
        api_key_env: environment variable with the endpoint's key, or `none` if it needs no key. When omitted,
            OPENAI_API_KEY for OpenAI, and no key for an endpoint on this machine.
        plain_http: whether requests to another machine may be unencrypted.
        params: further fields of each request, such as `{temperature: 0.7}`.
        max_reply_tokens: longest reply, in tokens.
        concurrency: number of concurrent requests.
        requests_per_minute: limit on requests; none when omitted.
        tokens_per_minute: limit on tokens of prompts and replies together; none when omitted.
        timeout: longest wait for one reply, in seconds.
        attempts: number of attempts for one request.
        max_wait: longest time that one request waits for a busy endpoint, in seconds over all pauses; then the work
            stops.
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
    def _sets_only_params(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if name in ("model", "messages", "stream", "n"):
                raise ValueError(f"params cannot set {name!r}")
            if any(word in name.lower() for word in ("key", "secret", "authorization")):
                raise ValueError(f"params are written into the corpus, so {name!r} must not be among them")
            if name in LIMITS and (type(value) is not int or value < 1):
                raise ValueError(f"{name} must be a number of tokens, at least 1")
        try:
            json.dumps(values)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("params must be values of JSON") from None
        return values

    @property
    def url(self) -> str:
        """The address to which `/chat/completions` is added.

        Raises:
            TeacherError: the variable OPENAI_BASE_URL is not an address.
        """
        try:
            return base_of(self.base_url or check_address(os.environ.get("OPENAI_BASE_URL") or OPENAI))
        except ValueError as error:
            raise TeacherError(f"the variable OPENAI_BASE_URL is not an address: {error}") from None

    @property
    def host(self) -> str:
        """Host and port, without credentials, path or query."""
        return host_of(self.url)

    def key(self) -> str:
        """Return the key of this endpoint from the environment; `none` if it needs no key.

        Raises:
            TeacherError: there is no key, or it would be sent unencrypted.
        """
        local = is_loopback(self.url)
        if urlsplit(self.url).scheme == "http" and not local and not self.plain_http:
            raise TeacherError(
                f"requests to http://{self.host} would travel unencrypted; give an address with https://, or allow it "
                "with --plain-http (plain_http: true)"
            )
        name = self.api_key_env or (OPENAI_KEY if is_openai(self.url) else NO_KEY if local else None)
        if name is None:  # the key of OpenAI must not go to another host
            raise TeacherError(
                f"no key is named for {self.host}: name the environment variable that holds it (--api-key-env NAME), "
                f"or give --api-key-env {NO_KEY} if the endpoint needs no key; {OPENAI_KEY} is sent to other hosts "
                "only if it is named"
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
            raise TeacherError(f"the variable {name} holds no key: it has characters that are not allowed in a header")
        return key

    @classmethod
    def read(cls, path: str | Path | None, defaults: Mapping[str, Any] | None = None, **overrides: Any) -> Endpoint:
        """Read the settings of an endpoint from a YAML file, or from `overrides` alone.

        Args:
            path: the YAML file, or None.
            defaults: settings that apply if neither the file nor `overrides` has them.
            overrides: settings that replace those of the file; `params.NAME` is one of `params`, and None removes it.

        Raises:
            TeacherError: the file or a setting is malformed; the message names the field, not its value.
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
            raise TeacherError(f"{source} names no model; give openai:MODEL, or `model: NAME` in the file")
        try:
            return cls(**values)
        except ValidationError as error:
            raise TeacherError(f"{source}: {problems_of(error, cls)}") from None


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in which each of `params` is a setting `params.NAME`."""
    params = values.get("params")
    if not isinstance(params, Mapping):
        return {str(name): value for name, value in values.items() if name != "params" or value is not None}
    rest = {str(name): value for name, value in values.items() if name != "params"}
    return rest | {f"params.{name}": value for name, value in params.items()}


def with_settings(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with `overrides` in them; `params.NAME` is one of `params`, and None removes it."""
    settings: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, value in {**values, **_flat(overrides)}.items():
        head, dot, rest = name.partition(".")
        if dot and head == "params":
            params[rest] = value
        else:
            settings[name] = value
    params = {name: value for name, value in params.items() if value is not None}
    return {**settings, "params": params} if params else settings


def problems_of(error: ValidationError, settings: type[BaseModel]) -> str:
    """Return what is wrong with settings, without values, because one may be a key."""
    problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg'].removeprefix('Value error, ')}" for p in error.errors()]
    return f"{'; '.join(problems)} (settings are {', '.join(settings.model_fields)})"
