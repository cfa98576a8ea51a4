"""The order of the examples: decided by seed and step alone, whatever the number of processes; computed, not stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

POOL = 50  # batches among which examples are sorted by length
ROUNDS = 6


def length_grouped(
    lengths: np.ndarray, batch_size: int, seed: Sequence[int], start: int = 0, *, tokens: int | None = None
) -> Iterator[np.ndarray]:
    """Yield batches of example numbers for ever, each of examples of similar length.

    Pools of examples are drawn without repetition, sorted by length and cut into batches, which come in random order.
    Memory is that of a pool, however many examples there are, and a run that goes on need not draw what it has seen.

    Args:
        lengths: [N] length of each example, in any unit.
        batch_size: examples a batch, at most.
        seed: decides the order; the epoch's number is added to it.
        start: batches to leave out, for a run that goes on.
        tokens: longest times number of examples of a batch, at most; the longest example may be alone.
    """
    count, pool = len(lengths), POOL * batch_size
    epoch = first = 0
    skip = start
    if tokens is None:
        epoch, skip = divmod(start, -(-count // batch_size))
        first, skip = divmod(skip, POOL)
    while True:
        shuffled = Shuffled(count, [*seed, epoch])
        for number in range(first, -(-count // pool)):
            drawn = shuffled(np.arange(number * pool, min((number + 1) * pool, count)))
            drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
            batches = _cut(drawn, np.asarray(lengths[drawn]), batch_size, tokens)
            turns = np.random.default_rng([*seed, epoch, number]).permutation(len(batches))
            for turn in turns[skip:]:
                yield batches[turn]
            skip = max(0, skip - len(turns))
        epoch, first = epoch + 1, 0


class Shuffled:
    """A permutation of the numbers below `count`, of which any part is computed alone.

    A Feistel network (Luby and Rackoff, 1988) permutes the numbers below a power of four; one that lands at `count` or
    above is sent on until it does not (cycle walking: Black and Rogaway, 2002).
    """

    def __init__(self, count: int, seed: Sequence[int]) -> None:
        self.count = np.uint64(count)
        self.half = np.uint64(max(1, -(-max(count - 1, 1).bit_length() // 2)))
        self.mask = (np.uint64(1) << self.half) - np.uint64(1)
        self.keys = np.random.default_rng(seed).integers(0, 2**64 - 1, ROUNDS, np.uint64, endpoint=True)

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Return where the permutation sends some numbers below `count`, as int64."""
        found = self._sent(numbers.astype(np.uint64))
        while (outside := found >= self.count).any():
            found[outside] = self._sent(found[outside])
        return found.astype(np.int64)

    def _sent(self, numbers: np.ndarray) -> np.ndarray:
        left, right = numbers >> self.half, numbers & self.mask
        for key in self.keys:
            left, right = right, left ^ (_mixed(right + key) & self.mask)
        return (left << self.half) | right


def _mixed(x: np.ndarray) -> np.ndarray:
    """Return 64 bits that each depend on all of the given ones (the finaliser of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _cut(drawn: np.ndarray, lengths: np.ndarray, batch_size: int, tokens: int | None) -> list[np.ndarray]:
    """Return the batches of examples that are sorted by length."""
    cuts = [0]
    while cuts[-1] < len(drawn):
        i = cuts[-1]
        most = min(i + batch_size, len(drawn))
        if tokens is not None:
            cost = lengths[i:most].astype(np.int64) * np.arange(1, most - i + 1)  # rises, since lengths do
            most = i + max(1, int(np.searchsorted(cost, tokens, side="right")))
        cuts.append(most)
    return [drawn[a:b] for a, b in pairwise(cuts)]
