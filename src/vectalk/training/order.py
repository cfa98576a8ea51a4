"""The order of the examples: decided by seed and step alone, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

POOL = 50  # batches among which examples are sorted by length


def length_grouped(
    lengths: np.ndarray, batch_size: int, seed: Sequence[int], start: int = 0, *, tokens: int | None = None
) -> Iterator[np.ndarray]:
    """Yield batches of example numbers for ever, each of examples of similar length.

    Args:
        lengths: [N] length of each example, in any unit.
        batch_size: examples a batch, at most.
        seed: decides the order; the epoch's number is added to it.
        start: batches to leave out, for a run that goes on.
        tokens: longest times number of examples of a batch, at most; the longest example may be alone.
    """
    epoch, skip = 0, start
    if tokens is None:
        epoch, skip = divmod(start, -(-len(lengths) // batch_size))
    while True:
        rng = np.random.default_rng([*seed, epoch])
        order = np.arange(len(lengths), dtype=np.uint32)  # four bytes an example, and no more at any time
        rng.shuffle(order)
        pool = POOL * batch_size
        for i in range(0, len(order), pool):
            chunk = order[i : i + pool]
            order[i : i + pool] = chunk[np.argsort(lengths[chunk], kind="stable")]
        if tokens is None:
            starts = np.append(np.arange(0, len(order), batch_size), len(order))
        else:
            starts = _cuts(lengths[order], batch_size, pool, tokens)
        turns = rng.permutation(len(starts) - 1)
        for number in turns[skip:]:
            yield order[starts[number] : starts[number + 1]].astype(np.int64)
        epoch, skip = epoch + 1, max(0, skip - len(turns))


def _cuts(lengths: np.ndarray, batch_size: int, pool: int, tokens: int) -> np.ndarray:
    """Return where batches begin, and the end, in examples that are sorted within each pool."""
    cuts, i = [0], 0
    while i < len(lengths):
        most = min(i + batch_size, len(lengths), (i // pool + 1) * pool)
        cost = lengths[i:most] * np.arange(1, most - i + 1)  # rises, since lengths do
        i += max(1, int(np.searchsorted(cost, tokens, side="right")))
        cuts.append(i)
    return np.array(cuts)
