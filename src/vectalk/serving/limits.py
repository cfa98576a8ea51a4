"""`Limits`: the most that one request, and all requests together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits of a server.

    Attributes:
        body_bytes: largest body of a request.
        vectors: most vectors of one request.
        characters: longest expression, title or text of a vector.
        question: longest question, in characters.
        max_tokens: longest answer, in tokens.
        default_tokens: longest answer where a request names no limit.
        rows: most answers that are decoded at once.
        waiting: most requests that wait for a free row; further ones get status 429.
        seconds: longest time of one request, its waiting included.
        inputs: most texts of one embeddings request.
        listed: most rows of one answer of the map's API, such as neighbours or titles.
    """

    body_bytes: int = 2 << 20
    vectors: int = 16
    characters: int = 4_000
    question: int = 20_000
    max_tokens: int = 1_024
    default_tokens: int = 128
    rows: int = 64
    waiting: int = 128
    seconds: float = 300.0
    inputs: int = 256
    listed: int = 1_000
