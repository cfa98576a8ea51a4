"""`Transport`: what carries messages to an LLM and brings its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from vectalk.llm.replies import Message, Reply

Sleep = Callable[[float], Awaitable[None]]


class Transport(Protocol):
    """What carries messages to an LLM and brings its reply.

    Attributes:
        name: what people call the LLM, such as `openai:MODEL`.
        identity: tells the LLM and its weights from any other; replies are kept under it.
        params: what goes with each request and decides a reply.
        reply_limit: most tokens of a reply.
        concurrency: requests at the same time.
        say: called with what people should know while they wait.
    """

    name: str
    identity: str
    params: dict[str, Any]
    reply_limit: int
    concurrency: int
    say: Callable[[str], None]

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Return the reply; `sleep` waits, and raises where all work is to stop."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return what a corpus may say of the LLM and its place: no key, no credentials."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
