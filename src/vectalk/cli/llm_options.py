"""The options of every verb that uses an LLM to write or judge texts, and how such an LLM is opened."""

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
    """The options for an LLM that writes or judges texts; each field is an option."""

    base_url: Annotated[
        str | None, _option("--base-url", help="For openai: address of the endpoint. OpenAI when omitted.")
    ] = None
    api_key_env: Annotated[
        str | None,
        _option(
            "--api-key-env",
            help="For openai: environment variable with the key of the endpoint, or `none`. The key in OPENAI_API_KEY "
            "is sent only to OpenAI, unless you name the variable here.",
        ),
    ] = None
    plain_http: Annotated[
        bool, _option("--plain-http", help="For openai: allow unencrypted http to another machine.")
    ] = False
    endpoint: Annotated[Path | None, _option("--endpoint", help="For openai: YAML file of settings.")] = None
    set_: Annotated[
        list[str] | None,
        _option(
            "--set", help="A setting, e.g. concurrency=16, params.temperature=0.7 or price_input=1; may be repeated."
        ),
    ] = None
    max_reply_tokens: Annotated[
        int | None, _option("--max-reply-tokens", min=1, help="Longest reply, in tokens (default 400).")
    ] = None
    requests_per_minute: Annotated[
        float | None,
        _option(
            "--requests-per-minute", help="For openai: highest number of requests per minute. No limit when omitted."
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        _option(
            "--max-tokens",
            min=1,
            help="Budget for the sum of all prompts and replies, in tokens. No limit when omitted.",
        ),
    ] = None
    max_cost: Annotated[
        float | None,
        _option(
            "--max-cost",
            min=0,
            help="For openai: budget in the currency of the settings price_input and price_output.",
        ),
    ] = None
    cache: Annotated[
        Path | None, _option("--cache", help="File that stores every reply. One shared file when omitted.")
    ] = None
    cached_only: Annotated[
        bool, _option("--cached-only", help="Send no requests; leave out texts that are not in the cache.")
    ] = False
    patience: Annotated[
        int | None,
        _option(
            "--patience",
            min=0,
            help="Stop after this many replies in a row were rejected for the same reason; 0 never stops. Default: 5, "
            "and 25 after the first good reply.",
        ),
    ] = None

    @property
    def named(self) -> list[str]:
        """The names of the options that have a value, as they are written after `--`."""
        names = [field.name for field in fields(self) if getattr(self, field.name) not in (None, False, [])]
        return [name.rstrip("_").replace("_", "-") for name in names]

    def check(self, name: str | None, option: str) -> None:
        """Check that the options fit the LLM.

        Args:
            name: name of the LLM; None if there is no LLM.
            option: the option that names the LLM.

        Raises:
            TeacherError: there is an option that does not fit the LLM, or an option without an LLM.
        """
        for one in self.named:
            if name is None:
                raise TeacherError(
                    f"--{one} needs an LLM that writes or judges texts; name the LLM with {option} {FORMS}"
                )
            if name.startswith("hf:") and one in FOR_ENDPOINTS:
                raise TeacherError(f"--{one} does not work with {option} {name}; it works only with openai:MODEL")

    @contextmanager
    def open(self, name: str, option: str, *, greedy: bool = False, quiet: bool = False) -> Iterator[ChatClient]:
        """Yield a client for the LLM with this name, and close the client afterwards.

        Args:
            name: `openai:MODEL` or `hf:FOLDER`.
            option: the option that names the LLM, for errors.
            greedy: decode greedily unless the settings say otherwise.
            quiet: print no notes.
        """
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
        """Return the settings of --set."""
        settings: dict[str, Any] = {}
        for value in self.set_ or []:
            name, sign, text = value.partition("=")
            if not sign or not name.strip():
                raise typer.BadParameter(f"--set takes NAME=VALUE, such as concurrency=16, not {value!r}")
            try:
                settings[name.strip()] = parse_yaml(text)
            except YamlError:
                raise typer.BadParameter(f"--set {name.strip()}: {text!r} is not a valid YAML value") from None
        return settings


def takes_llm(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `LLMOptions` to a verb, which gets them as one argument, `llm_options`."""
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
        options = {field.name: values.pop(field.name) for field in fields(LLMOptions)}
        return verb(**values, llm_options=LLMOptions(**options))

    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *more]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options
