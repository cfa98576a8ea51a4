"""`Fuzz`: requests that nobody would write, and right ones among them."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any
from urllib.parse import quote

RIGHT = 0.4  # share of right questions; some of the damaged ones are right too
Request = tuple[str, str, bytes, dict[str, str]]
"""Method, path, body and headers."""

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 10**25, 1e308, float("nan"), float("inf"), "", " ", "\x00", "\ud800", "é" * 50,
    "'", "((((", "{film}", "{{film}}", [], {}, [[]], {"": 1}, [None], "A" * 5000, "../../etc/passwd", "random(3)",
)  # fmt: skip


class Fuzz:
    """Makes requests from their number alone, so that a failure can be sent again.

    Args:
        space: name of a space.
        slot: slot of the question.
        question: a question that the model was trained on.
        ids: ids of entities.
        dim: dimension of the space.
    """

    def __init__(self, space: str, slot: str, question: str, ids: Sequence[str], dim: int) -> None:
        self.space, self.slot, self.question, self.ids, self.dim = space, slot, question, ids, dim

    def __call__(self, number: int) -> Request:
        """Return one request."""
        rng = random.Random(number)
        headers = {"content-type": "application/json"}
        body = self.body(rng)
        kind = rng.random()
        if kind < RIGHT:
            return "POST", "/v1/chat/completions", encoded(body), headers
        if kind < 0.75:
            for _ in range(rng.choice((1, 1, 2, 4))):
                damage(body, rng)
            return "POST", "/v1/chat/completions", encoded(body), headers
        if kind < 0.85:
            return "POST", f"/api/spaces/{self.space}/{rng.choice(_POSTS)}", encoded(self.point(rng)), headers
        if kind < 0.93:
            name, value = rng.choice(_QUERIES), str(rng.choice(ODD)).encode("utf-8", "replace")
            return "GET", f"/api/spaces/{self.space}/{rng.choice(_GETS)}?{name}={quote(value)}", b"", {}
        if kind < 0.97:
            data = bytearray(encoded(body))
            for _ in range(rng.randrange(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            return "POST", rng.choice(("/v1/chat/completions", "/v1/embeddings")), bytes(data), headers
        path = rng.choice(("/", "/v1", "/v1/models/x", "/docs", "/metrics", "/api", f"/%{rng.randrange(256):02x}"))
        return rng.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS")), path, b"{}", headers

    def body(self, rng: random.Random) -> dict[str, Any]:
        """Return a right question."""
        settings = {"max_tokens": rng.randrange(1, 9), "stream": rng.random() < 0.3, "neighbors": rng.randrange(0, 8)}
        if rng.random() < 0.3:
            settings |= {"temperature": rng.random() * 2, "top_p": 0.1 + 0.9 * rng.random(), "seed": rng.randrange(99)}
        settings["influence"] = rng.random() < 0.05
        vector = self.vector(rng)
        form = rng.random()
        if form < 0.4:
            content: Any = self.question
            settings["bindings"] = {self.slot: vector}
        elif form < 0.7:
            before, _, after = self.question.partition(f"{{{self.slot}}}")
            content = [{"type": "text", "text": before}, {"type": "vector", **vector}, {"type": "text", "text": after}]
        else:
            expression = vector.get("expression") or self.expression(rng)
            content = self.question.replace(f"{{{self.slot}}}", f"{self.space}:{expression}")
        return {"model": "bench", "messages": [{"role": "user", "content": content}], **settings}

    def vector(self, rng: random.Random) -> dict[str, Any]:
        """Return a right vector in one of its three forms."""
        form = rng.random()
        if form < 0.5:
            return {"space": self.space, "expression": self.expression(rng)}
        values = [rng.gauss(0, 1) for _ in range(self.dim)]
        if form < 0.75:
            return {"space": self.space, "values": values}
        import numpy as np

        return {"space": self.space, "base64": base64.b64encode(np.array(values, "<f4").tobytes()).decode()}

    def expression(self, rng: random.Random, depth: int = 0) -> str:
        """Return a right expression in quotes, functions and brackets."""
        name = f"'{rng.choice(self.ids)}'"
        form = rng.random()
        if depth > 2 or form < 0.4:
            return name
        a, b = self.expression(rng, depth + 1), self.expression(rng, depth + 1)
        return rng.choice(
            (f"lerp({a}, {b}, {rng.random():.2f})", f"mean({a}, {b})", f"({a} + {rng.random():.2f} * ({b} - {name}))")
        )

    def point(self, rng: random.Random) -> dict[str, Any]:
        """Return the body of a request about a point, often damaged."""
        body = {**self.vector(rng), "k": rng.randrange(1, 20)}
        if rng.random() < 0.6:
            damage(body, rng)
        return body


_POSTS = ("resolve", "neighbors", "support", "place", "likes")
_GETS = ("titles", "search", "entity", "attributes", "attribute/kind", "layout", "concepts", "%2e%2e/x")
_QUERIES = ("rows", "q", "limit", "id", "row", "value")


def damage(body: Any, rng: random.Random) -> None:
    """Change one place of a body: another value, no value, a further key, or part of a text."""
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(body)
    if not places:
        return
    parent, key = rng.choice(places)
    form = rng.random()
    if form < 0.15 and isinstance(parent, dict):
        name = rng.choice(("n", "top_k", "tools", "functions", "stop", "stream_options", "x" * 9))
        parent[name] = deepcopy(rng.choice(ODD))
    elif form < 0.3 and isinstance(parent, dict):
        del parent[key]
    elif form < 0.6 and isinstance(parent[key], str) and parent[key]:
        text, place = parent[key], rng.randrange(len(parent[key]))
        parent[key] = text[:place] + str(rng.choice(ODD)) + text[place + rng.randrange(3) :]
    else:
        parent[key] = deepcopy(rng.choice(ODD))  # later damage must not change ODD itself


def encoded(body: Any) -> bytes:
    """Return a body as JSON, as Python writes it: with NaN and with escaped halves of characters."""
    return json.dumps(body).encode()
