"""`TitleNames`: the titles that answers may name, and what may follow outside of and within quotation marks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from vectalk.decoding.names.token_bytes import TokenBytes
from vectalk.decoding.names.trie import NameTrie, Node

QUOTES = (('"', '"'), ("“", "”"))  # opening and closing marks of names
OPENING = tuple(opening.encode() for opening, _ in QUOTES)
STRAY = "”".encode()  # without an opening mark it would seem to end a name
DATE = b"(0000)"  # a year in brackets, which would seem to end a name where titles have years; digits are written as 0
_YEAR = re.compile(r"\(\d{4}\)$")
_DIGITS = bytes.maketrans(b"0123456789", b"0000000000")


class State(NamedTuple):
    """Where an answer is.

    Attributes:
        quote: index in QUOTES of the open quotation mark; -1 outside.
        node: the node of the name so far; meaningless outside.
        tail: last bytes outside that may be the beginning of an opening mark, or of what is barred outside.
        used: places of the titles that were named.
    """

    quote: int = -1
    node: Node = Node(0, 0, 0)
    tail: bytes = b""
    used: tuple[int, ...] = ()


class Openings(NamedTuple):
    """The tokens that open a quotation mark outside of names.

    Attributes:
        forbidden: tokens [f] after which no title continues, and those that write what is barred outside.
        ids: for each kind of mark, the other tokens [m] that open it.
        bounds: for each kind of mark, [2m] the names that remain after each of them (see `Steps`).
    """

    forbidden: np.ndarray
    ids: tuple[np.ndarray, ...]
    bounds: tuple[np.ndarray, ...]


class TitleNames:
    """The titles that answers may name, as tries over the tokens of an LLM; all answers share it.

    Outside of quotation marks, a closing mark ” is barred. If most titles end with a year in brackets, years in
    brackets are barred too: an LLM that wanted to write another title would go on with it after the closing mark.

    Args:
        titles: different titles; runs of blanks count as one, as in the texts of a corpus.
        tokens: bytes of the tokens.
    """

    def __init__(self, titles: Sequence[str], tokens: TokenBytes) -> None:
        self.titles, self.tokens = list(titles), tokens
        dated = sum(_YEAR.search(title) is not None for title in self.titles)
        self.barred = (STRAY, DATE) if 2 * dated > len(self.titles) else (STRAY,)
        self.watched = (*OPENING, *self.barred)
        self.tries = [NameTrie(self.titles, closing, self._may_follow, tokens) for _, closing in QUOTES]
        self._openings: dict[bytes, Openings] = {}

    def after(self, state: State, token: int) -> State | None:
        """Return the state after a token; None for a token that is not allowed in this state."""
        if state.quote < 0 and not state.tail and token in self._quiet:
            return state
        piece = self.tokens[token]
        if state.quote < 0:
            return self._outside(state, piece)
        return self._within(state, piece) if piece else None

    @cached_property
    def _quiet(self) -> frozenset[int]:
        """Tokens without any byte that begins a mark or what is barred."""
        firsts = {sequence[:1] for sequence in self.watched}
        pieces = enumerate(self.tokens.pieces)
        return frozenset(token for token, piece in pieces if piece and not any(first in piece for first in firsts))

    def _outside(self, state: State, piece: bytes) -> State | None:
        text = state.tail + piece
        quote, start = first_mark(text)
        if self._is_barred(text[:start] if quote >= 0 else text):
            return None
        if quote < 0:
            return state._replace(tail=self._tail(text))
        return self._within(State(quote, self.tries[quote].root, b"", state.used), text[start:])

    def _within(self, state: State, piece: bytes) -> State | None:
        trie = self.tries[state.quote]
        node, rest = trie.walk(state.node, piece) if piece else (state.node, None)
        if node.low >= node.high:
            return None
        if rest is None:
            return state._replace(node=node)
        if not self._may_follow(rest):
            return None
        return State(tail=self._tail(rest), used=(*state.used, int(trie.order[node.low])))

    def _is_barred(self, text: bytes) -> bool:
        plain = text.translate(_DIGITS)
        return any(sequence in plain for sequence in self.barred)

    def _may_follow(self, rest: bytes) -> bool:
        """Return whether the token that closes a name may have these bytes after the mark."""
        return first_mark(rest)[0] < 0 and not self._is_barred(rest)

    def _tail(self, text: bytes) -> bytes:
        """Return the longest end of a text that is the beginning of a mark, or of what is barred; digits become 0."""
        plain = text.translate(_DIGITS)
        for length in range(max(map(len, self.watched)) - 1, 0, -1):
            end = plain[-length:]
            if len(end) == length and any(sequence.startswith(end) for sequence in self.watched):
                return end
        return b""

    def openings(self, tail: bytes) -> Openings:
        """Return the tokens that open a quotation mark after the bytes `tail`.

        A token that opens a mark twice, or closes the name too, is forbidden: other tokens can write the same.
        """
        if tail not in self._openings:
            self._openings[tail] = self._find(tail)
        return self._openings[tail]

    def _find(self, tail: bytes) -> Openings:
        forbidden: list[int] = []
        triples: list[list[tuple[int, int, int]]] = [[] for _ in QUOTES]
        for piece, ids in self.tokens.ids.items():
            quote, start = first_mark(tail + piece)
            if self._is_barred((tail + piece)[:start] if quote >= 0 else tail + piece):
                forbidden += ids
                continue
            if quote < 0:
                continue
            trie, rest = self.tries[quote], (tail + piece)[start:]
            node, end = trie.walk(trie.root, rest) if rest else (trie.root, None)
            usable = self.tokens.has_bytes or not rest or piece not in self.tokens.broken
            if node.low < node.high and end is None and usable:
                triples[quote] += [(node.low, node.high, token) for token in ids]
            else:
                forbidden += ids
        tables = [np.array(sorted(rows), np.int64).reshape(-1, 3) for rows in triples]
        return Openings(
            np.array(forbidden, np.int64),
            tuple(table[:, 2].copy() for table in tables),
            tuple(table[:, :2].ravel() for table in tables),
        )


def first_mark(text: bytes) -> tuple[int, int]:
    """Return the kind of the first opening mark of a text and the place after it; (-1, 0) where there is none."""
    places = [(place, quote) for quote, mark in enumerate(OPENING) if (place := text.find(mark)) >= 0]
    if not places:
        return -1, 0
    place, quote = min(places)
    return quote, place + len(OPENING[quote])
