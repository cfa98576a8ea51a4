"""`NameTrie`: a byte trie of names; a node is a range of the sorted names and a depth."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vectalk.decoding.names.token_bytes import TokenBytes

REMEMBERED = 50_000  # nodes whose tokens are cached
UPPER = b"\xff"  # above every byte of UTF-8


class Node(NamedTuple):
    """The names `low` to `high` of the sorted list, which share their first `depth` bytes."""

    low: int
    high: int
    depth: int


class Steps(NamedTuple):
    """The tokens that continue from a node, and the names that remain after each of them.

    Attributes:
        ids: token ids [m].
        bounds: [2m] first remaining name and the name after the last, of each token in turn.
    """

    ids: np.ndarray
    bounds: np.ndarray


class NameTrie:
    """Names that end with a closing quotation mark, as a trie over bytes.

    A name that begins with another complete name is left out: where the shorter one ends, the text goes on. That
    happens only if a title contains another title and the closing mark after it.

    Args:
        names: the names, without the closing mark.
        closing: the closing quotation mark.
        may_follow: whether the token that closes a name may have these bytes after the mark.
        tokens: bytes of the tokens.

    Attributes:
        names: sorted names with the closing mark.
        order: place of each of them in the argument `names`.
    """

    def __init__(
        self, names: Sequence[str], closing: str, may_follow: Callable[[bytes], bool], tokens: TokenBytes
    ) -> None:
        self.tokens, self.may_follow = tokens, may_follow
        self.names: list[bytes] = []
        order: list[int] = []
        for name, place in sorted((f"{name}{closing}".encode(), place) for place, name in enumerate(names)):
            if tokens.spells(name) and not (self.names and name.startswith(self.names[-1])):
                self.names.append(name)
                order.append(place)
        self.order = np.array(order, np.int64)
        self.root = Node(0, len(self.names), 0)
        self._steps: dict[Node, Steps] = {}
        self._ends: dict[bytes, list[int]] = {}

    def walk(self, node: Node, piece: bytes) -> tuple[Node, bytes | None]:
        """Read bytes from a node.

        Returns:
            The node after them, and None. If a name ends within the bytes: a node with this name alone, and the bytes
            after the name. If no name continues so: an empty node, and None.
        """
        path = self.names[node.low][: node.depth] + piece if node.low < node.high else piece
        low = bisect_left(self.names, path, node.low, node.high)
        high = bisect_left(self.names, path + UPPER, low, node.high)
        if low < high:
            ended = len(self.names[low]) == len(path)
            return Node(low, high, len(path)), b"" if ended else None
        last = bisect_right(self.names, path, node.low, node.high) - 1
        if last >= node.low and path.startswith(self.names[last]):
            length = len(self.names[last])
            return Node(last, last + 1, length), path[length:]
        return Node(low, low, len(path)), None

    def steps(self, node: Node) -> Steps:
        """Return the tokens that continue from a node."""
        known = self._steps.get(node)
        if known is None:
            if len(self._steps) >= REMEMBERED:
                self._steps.clear()
            known = self._steps[node] = self._find(node)
        return known

    def _find(self, node: Node) -> Steps:
        tokens, beginnings = self.tokens, self.tokens.beginnings
        spans: dict[bytes, list[int]] = {}
        ends: list[tuple[int, list[int]]] = []
        for place in range(node.low, node.high):
            rest = self.names[place][node.depth :]
            for length in range(1, len(rest) + 1):
                piece = rest[:length]
                if piece in spans:
                    spans[piece][1] = place + 1
                elif tokens.usable(piece):
                    spans[piece] = [place, place + 1]
                elif piece not in beginnings:
                    break
            else:
                ends.append((place, self._ending(rest)))
        triples = [(low, high, token) for piece, (low, high) in spans.items() for token in tokens.ids[piece]]
        triples += [(place, place + 1, token) for place, ids in ends for token in ids]
        triples.sort()  # reading the scores from left to right is quick
        table = np.array(triples, np.int64).reshape(-1, 3)
        return Steps(table[:, 2].copy(), table[:, :2].ravel())

    def _ending(self, rest: bytes) -> list[int]:
        """Return the tokens that complete a name with its last bytes and go on."""
        if rest not in self._ends:
            longer = (piece for piece in self.tokens.longer_than(rest) if self.tokens.usable(piece))
            allowed = (piece for piece in longer if self.may_follow(piece[len(rest) :]))
            self._ends[rest] = [token for piece in allowed for token in self.tokens.ids[piece]]
        return self._ends[rest]
