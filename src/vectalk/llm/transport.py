"""`Transport`: sends messages to an LLM and returns its reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from vectalk.llm.replies import Message, Reply

Sleep = Callable[[float], Awaitable[None]]


class Transport(Protocol):
    """Sends messages to an LLM and returns its reply.

    Attributes:
        name: name of the LLM for users, such as `openai:MODEL`.
        identity: identifies the LLM and its weights; part of the key of its cached replies.
        params: settings of each request that affect the reply.
        reply_limit: longest reply, in tokens.
        concurrency: number of concurrent requests.
        say: called with messages for users while they wait.
    """

    name: str
    identity: str
    params: dict[str, Any]
    reply_limit: int
    concurrency: int
    say: Callable[[str], None]

    async def send(self, messages: Sequence[Message], sleep: Sleep) -> Reply:
        """Return the reply; `sleep` waits some seconds, and raises an error if the work stops."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return a description of the LLM for a corpus, without keys and credentials."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
