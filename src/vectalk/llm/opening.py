"""`open_chat`: ask an LLM that writes or judges texts, at an endpoint or in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from vectalk.errors import TeacherError
from vectalk.llm.client import ChatClient
from vectalk.llm.endpoint import Endpoint
from vectalk.llm.local import LocalModel
from vectalk.llm.rejections import PATIENCE
from vectalk.llm.replies import ReplyCache, default_cache
from vectalk.llm.spending import Budget

FORMS = "openai:MODEL (any OpenAI-compatible endpoint) or hf:FOLDER (an LLM in this process)"
ENDPOINT, LOCAL = ("openai", "llm"), ("hf",)  # `llm:` is an older name of `openai:`


def split_name(name: str) -> tuple[str, str]:
    """Split the name of an LLM into its kind, `openai` or `hf`, and its model; both are "" for another name."""
    kind, _, model = name.partition(":")
    return ("openai", model) if kind in ENDPOINT else ("hf", model) if kind in LOCAL else ("", "")


def place_of(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    endpoint: str | Path | None = None,
    greedy: bool = False,
) -> Endpoint | LocalModel:
    """Return the settings of an LLM.

    Args:
        name: `openai:MODEL` or `hf:FOLDER`.
        settings: fields of `Endpoint` or `LocalModel`; `params.NAME` is one of `params`.
        endpoint: YAML file with settings of an endpoint.
        greedy: use temperature 0 unless the settings name a temperature.

    Raises:
        TeacherError: the name has another kind, or a setting does not fit the kind.
    """
    kind, model = split_name(name)
    if not kind:
        raise TeacherError(f"an LLM that writes or judges texts is {FORMS}, not {name!r}")
    fields = {**(settings or {}), **({"model": model} if model else {})}
    if kind == "openai":
        return Endpoint.read(endpoint, {"params.temperature": 0.0} if greedy else None, **fields)
    if endpoint is not None:
        raise TeacherError(f"{name}: an LLM in this process has no settings of an endpoint; leave {endpoint} out")
    return LocalModel.read(**fields)


@contextmanager
def open_chat(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    endpoint: str | Path | None = None,
    greedy: bool = False,
    max_tokens: int | None = None,
    max_cost: float | None = None,
    cache: str | Path | None = None,
    cached_only: bool = False,
    patience: int = PATIENCE,
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[ChatClient]:
    """Yield a client of an LLM that stores every reply; the client is closed at the end of the block.

    Args:
        name: `openai:MODEL` or `hf:FOLDER`.
        settings: fields of `Endpoint` or `LocalModel`, such as `base_url`; `params.NAME` is one of `params`.
        endpoint: YAML file with settings of an endpoint.
        greedy: use temperature 0 unless the settings name a temperature.
        max_tokens: budget in tokens of prompts and replies together.
        max_cost: budget in money; needs prices in the settings.
        cache: file of the replies; the default file when omitted.
        cached_only: send no requests; messages without a cached reply get None.
        patience: number of consecutive rejected replies with the same fault that stops the work; 0 for no limit.
        say: called with messages for users while they wait.

    Raises:
        TeacherError: there is no such LLM, or a setting does not fit it.
    """
    place = place_of(name, settings, endpoint=endpoint, greedy=greedy)
    prices = (place.price_input, place.price_output) if isinstance(place, Endpoint) else (None, None)
    budget = Budget(max_tokens, max_cost, *prices)
    with (
        closing(ReplyCache(cache or default_cache())) as replies,
        ChatClient(place, replies, budget, cached_only=cached_only, patience=patience, say=say) as client,
    ):
        yield client
