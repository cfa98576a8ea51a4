"""`open_chat`: the one door to an LLM that writes or judges texts, behind an endpoint or in this process."""

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
ENDPOINT, LOCAL = ("openai", "llm"), ("hf",)  # `llm:` is how endpoints were called at first


def split_name(name: str) -> tuple[str, str]:
    """Return the kind of an LLM, `openai` or `hf`, and the model that its name names; both empty where it is no LLM."""
    kind, _, model = name.partition(":")
    return ("openai", model) if kind in ENDPOINT else ("hf", model) if kind in LOCAL else ("", "")


def place_of(
    name: str,
    settings: Mapping[str, Any] | None = None,
    *,
    endpoint: str | Path | None = None,
    greedy: bool = False,
) -> Endpoint | LocalModel:
    """Return where the LLM of a name is asked, and how.

    Args:
        name: `openai:MODEL` or `hf:FOLDER`.
        settings: fields of `Endpoint` or `LocalModel`; `params.NAME` is one of `params`.
        endpoint: YAML file with settings of an endpoint.
        greedy: ask for the likeliest words, where the settings name no temperature.

    Raises:
        TeacherError: there is no such kind, or a setting does not fit it.
    """
    kind, model = split_name(name)
    if not kind:
        raise TeacherError(f"an LLM that writes or judges is {FORMS}, not {name!r}")
    chosen = {**(settings or {}), **({"model": model} if model else {})}
    if kind == "openai":
        return Endpoint.read(endpoint, {"params.temperature": 0.0} if greedy else None, **chosen)
    if endpoint is not None:
        raise TeacherError(f"{name}: an LLM in this process takes no settings of an endpoint; leave {endpoint} away")
    return LocalModel.read(**chosen)


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
    """Yield a client of an LLM, which keeps every reply that it receives; it is closed afterwards.

    Args:
        name: `openai:MODEL` or `hf:FOLDER`.
        settings: fields of `Endpoint` or `LocalModel`, such as `base_url`; `params.NAME` is one of `params`.
        endpoint: YAML file with settings of an endpoint.
        greedy: ask for the likeliest words, where the settings name no temperature.
        max_tokens: budget in tokens of prompts and replies together.
        max_cost: budget in money, where the settings have prices.
        cache: file of the replies; one for all work when omitted.
        cached_only: nothing is sent; what is not in the cache has no reply.
        patience: how many rejected replies in a row, all with one fault, stop the work; 0 never stops it.
        say: called with what people should know while they wait.

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
