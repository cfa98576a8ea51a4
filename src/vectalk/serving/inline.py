"""Vectors written into plain text, as in chat: `Summarise film:'Alien (1979)'.`, for clients that send text alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vectalk.concepts.shelf import FUNCTIONS as CONCEPT_FUNCTIONS
from vectalk.space.expression import FUNCTIONS

_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"", re.DOTALL)
_CALLS = "|".join(sorted([*FUNCTIONS, *CONCEPT_FUNCTIONS, "text"]))


class Piece(NamedTuple):
    """A piece of a text: plain text, or a vector with its space and expression."""

    text: str
    space: str | None = None


def split_text(text: str, spaces: Iterable[str]) -> Iterator[Piece]:
    """Split a text into plain text and vectors.

    A vector is the name of a space, a colon, and a title in quotes, a function, or an expression in brackets:
    `film:'Heat (1995)'`, `film:lerp('A', 'B', 0.5)`, `film:('A' + 2 * concept('comedy'))`.

    Args:
        text: what a person wrote.
        spaces: the names of the spaces.
    """
    names = "|".join(map(re.escape, sorted(spaces, key=len, reverse=True)))
    marker = re.compile(rf"(?<![\w{{.'\"]){'(' + names + ')'}:\s?(?=['\"(]|(?:{_CALLS})\()")
    start = at = 0
    while (match := marker.search(text, at)) is not None:
        end = _end(text, match.end())
        if end is None:
            at = match.end()
            continue
        if text[start : match.start()]:
            yield Piece(text[start : match.start()])
        yield Piece(text[match.end() : end], match.group(1))
        start = at = end
    if text[start:]:
        yield Piece(text[start:])


def _end(text: str, start: int) -> int | None:
    """Return where the expression from `start` on ends; None where it is not one."""
    quoted = _QUOTED.match(text, start)
    if quoted is not None:
        return quoted.end()
    at, depth, names = start, 0, 0
    while at < len(text):
        quoted = _QUOTED.match(text, at)
        if quoted is not None:
            at, names = quoted.end(), names + 1
            continue
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
        if text[at - 1] == ")" and depth == 0:
            # Words in brackets without a name in quotes are a remark, not an expression.
            return at if names or text[start] != "(" else None
    return None
