"""The order of the examples: decided by seed and step alone, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

POOL = 50  # batches among which examples are sorted by length


def length_grouped(
    lengths: np.ndarray, batch_size: int, seed: Sequence[int], start: int = 0, *, tokens: int | None = None
) -> Iterator[np.ndarray]:
    """Yield batches of example numbers for ever, each of examples of similar length.

    In each epoch the examples are shuffled; pools of them are sorted by length and cut into batches, which come in
    random order. It takes 8 bytes an example: 80 MB for ten million.

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
        shuffled = np.random.Generator(np.random.PCG64([*seed, epoch])).permutation(count)
        for number in range(first, -(-count // pool)):
            drawn = shuffled[number * pool : (number + 1) * pool]
            drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
            batches = _cut(drawn, np.asarray(lengths[drawn]), batch_size, tokens)
            turns = np.random.default_rng([*seed, epoch, number]).permutation(len(batches))
            for turn in turns[skip:]:
                yield batches[turn]
            skip = max(0, skip - len(turns))
        epoch, first = epoch + 1, 0


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
