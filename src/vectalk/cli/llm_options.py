"""The options of every verb that opens an LLM that writes or judges: spelled alike, and opened through one door."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from vectalk.cli.common import note
from vectalk.errors import TeacherError
from vectalk.reading.yaml_text import YamlError, parse_yaml

if TYPE_CHECKING:
    from vectalk.llm import ChatClient

FORMS = "openai:MODEL (any OpenAI-compatible endpoint) or hf:FOLDER (an LLM in this process)"
FOR_ENDPOINTS = ("base-url", "api-key-env", "plain-http", "endpoint", "requests-per-minute", "max-cost")


_option = functools.partial(typer.Option, rich_help_panel="LLM that writes or judges")


@dataclass(frozen=True)
class LLMOptions:
    """What the command line says of an LLM that writes or judges; each field is an option."""

    base_url: Annotated[
        str | None, _option("--base-url", help="openai: address of the endpoint; OpenAI's own when omitted.")
    ] = None
    api_key_env: Annotated[
        str | None,
        _option(
            "--api-key-env",
            help="openai: environment variable with the endpoint's key, or `none`. OPENAI_API_KEY goes to OpenAI alone "
            "unless it is named here.",
        ),
    ] = None
    plain_http: Annotated[
        bool, _option("--plain-http", help="openai: let another machine be asked unencrypted, over http.")
    ] = False
    endpoint: Annotated[Path | None, _option("--endpoint", help="openai: YAML file of settings.")] = None
    set_: Annotated[
        list[str] | None,
        _option(
            "--set", help="One setting, e.g. concurrency=16, params.temperature=0.7, price_input=1; may be repeated."
        ),
    ] = None
    max_reply_tokens: Annotated[
        int | None, _option("--max-reply-tokens", min=1, help="Longest reply, in tokens; 400.")
    ] = None
    requests_per_minute: Annotated[
        float | None, _option("--requests-per-minute", help="openai: requests a minute at most; no limit.")
    ] = None
    max_tokens: Annotated[
        int | None, _option("--max-tokens", min=1, help="Budget in tokens of prompts and replies, in all.")
    ] = None
    max_cost: Annotated[
        float | None, _option("--max-cost", min=0, help="openai: budget in money, in all; needs prices.")
    ] = None
    cache: Annotated[
        Path | None, _option("--cache", help="File that keeps every reply; one for all work when omitted.")
    ] = None
    cached_only: Annotated[
        bool, _option("--cached-only", help="Ask nothing; what is not in the cache is left out.")
    ] = False
    patience: Annotated[
        int | None,
        _option(
            "--patience",
            min=0,
            help="Answers in a row that are rejected for one reason before the work stops; 5, and 25 once one was "
            "good. 0 never stops it.",
        ),
    ] = None

    @property
    def named(self) -> list[str]:
        """The options that were given, as they are written after `--`."""
        given = [field.name for field in fields(self) if getattr(self, field.name) not in (None, False, [])]
        return [name.rstrip("_").replace("_", "-") for name in given]

    def check(self, name: str | None, option: str) -> None:
        """Raise a TeacherError where an option was given that does not fit the LLM, or where there is no LLM.

        Args:
            name: of the LLM; None where none was named.
            option: the option that names it.
        """
        for one in self.named:
            if name is None:
                raise TeacherError(f"--{one} is for an LLM that writes or judges; name it: {option} {FORMS}")
            if name.startswith("hf:") and one in FOR_ENDPOINTS:
                raise TeacherError(f"--{one} does not fit {option} {name}; it is for openai:MODEL")

    @contextmanager
    def open(self, name: str, option: str, *, greedy: bool = False, quiet: bool = False) -> Iterator[ChatClient]:
        """Yield a client of the LLM of a name; it is closed afterwards."""
        from vectalk.llm import open_chat

        self.check(name, option)
        names = ("base_url", "api_key_env", "plain_http", "max_reply_tokens", "requests_per_minute")
        settings = {one: value for one in names if (value := getattr(self, one)) not in (None, False)}
        with open_chat(
            name,
            {**self._set(), **settings},
            endpoint=self.endpoint,
            greedy=greedy,
            max_tokens=self.max_tokens,
            max_cost=self.max_cost,
            cache=self.cache,
            cached_only=self.cached_only,
            say=lambda message: note(message, quiet),
            **({} if self.patience is None else {"patience": self.patience}),
        ) as client:
            yield client

    def _set(self) -> dict[str, Any]:
        """Read the values of --set."""
        settings: dict[str, Any] = {}
        for value in self.set_ or []:
            name, sign, text = value.partition("=")
            if not sign or not name.strip():
                raise typer.BadParameter(f"--set takes NAME=VALUE, not {value!r}")
            try:
                settings[name.strip()] = parse_yaml(text)
            except YamlError:
                raise typer.BadParameter(f"--set {name.strip()}: {text!r} is no value that YAML knows") from None
        return settings


def takes_llm(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options of `LLMOptions`; it gets them together, as its argument `llm_options`."""
    hints = get_type_hints(verb, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(verb).parameters.items()
        if name != "llm_options"
    ]
    kinds = get_type_hints(LLMOptions, include_extras=True)
    more = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=kinds[field.name]
        )
        for field in fields(LLMOptions)
    ]

    @functools.wraps(verb)
    def with_options(**values: Any) -> Any:
        chosen = {field.name: values.pop(field.name) for field in fields(LLMOptions)}
        return verb(**values, llm_options=LLMOptions(**chosen))

    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *more]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
