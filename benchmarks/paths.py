"""Which way of training is quicker on this device: what the defaults of `vectalk train` rest on.

    python benchmarks/paths.py [--pairs 7]

Random weights and words, lengths as in `training.py`; no data is needed. Each line is a pair of ways that take turns,
the ratio of their tokens a second (medians of pairs), above 1 where the first is quicker:

- `grouped`: batches of like length over random ones; `packed`: rows of 512 tokens over batches of like length.
- `silent`: what precedes the vector read apart, without a gradient, over read with the rest; by its length (stage 1).
- `shared`: what all rows begin with read once over read in each row; by its length (both stages).
- `loss`: cross-entropy in blocks over torch's own on all logits; by the size of the vocabulary, 1,024 positions of
  width 512, with a frozen and with a trained head; `loss_memory` the logits that are held at once, in MB, of either
  (computed from the size of a block, not measured).
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from common import interleaved, parser, print_table, write_result
from loops import WARM, Bench, clock
from vectalk.model.linear_loss import block_of, linear_cross_entropy
from vectalk.training import order
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.loop import Loop

NEVER = 1 << 30
POSITIONS, WIDTH = 1024, 512
LENGTHS = {"demo": (4, 8, 16, 32), "films": (8,)}
FEW = 3  # pairs of what takes long
WORDS = (1_024, 8_192, 49_152, 151_936)


def main() -> None:
    """Measure and write the result."""
    given = parser(__doc__)
    given.add_argument("--pairs", type=int, default=7)
    pairs = given.parse_args().pairs
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if not torch.cuda.is_available():
        keep_freed_memory()  # as `vectalk train` does
    figures: dict[str, float] = {}
    columns = ["what", "ratio"]
    for measured in (losses, silent, shared, orders):
        for key, value in measured(pairs):
            figures[f"paths_{key}"] = value
            print(f"{key}: {value:.3g}", file=sys.stderr, flush=True)
        rows = [[key.removeprefix("paths_"), value] for key, value in figures.items()]
        path = write_result(
            "paths", "python benchmarks/paths.py", figures, pairs=pairs, columns=columns, rows=rows, listed=[]
        )
    print_table(rows, columns)
    print(f"written to {path}")


def orders(pairs: int) -> Iterator[tuple[str, float]]:
    """Compare orders of examples and ways to fill a batch."""
    for size in LENGTHS:
        bench = Bench(size)
        for stage in (1, 2):
            packed, grouped, plain = (bench.loop_of(stage, False, row_length=length) for length in (512, None, None))
            kept, order.POOL = order.POOL, 1
            random = _timed(bench, plain, stage)  # its order begins here
            order.POOL = kept
            like, rows = _timed(bench, grouped, stage), _timed(bench, packed, stage)
            yield f"grouped_{size}_stage{stage}", _ratio(like, random, _pairs(size, pairs))
            yield f"packed_{size}_stage{stage}", _ratio(rows, like, _pairs(size, pairs))


def silent(pairs: int) -> Iterator[tuple[str, float]]:
    """Compare reading what precedes the vector apart with reading all at once."""
    for size, lengths in LENGTHS.items():
        for length in lengths:
            bench = Bench(size, place=length)
            loop = bench.loop_of(1, False)
            loop.model.share_from, loop.model.spared_from = NEVER, 0
            apart, whole = _switched(bench, loop, 1, "silent_from")
            yield f"silent_{size}_{length}", _ratio(apart, whole, _pairs(size, pairs))


def shared(pairs: int) -> Iterator[tuple[str, float]]:
    """Compare reading once what all rows begin with and reading it in each."""
    for size, lengths in LENGTHS.items():
        for stage in (1, 2):
            for length in lengths:
                bench = Bench(size, place=length, shared=length)
                loop = bench.loop_of(stage, False)
                loop.model.silent_from, loop.model.spared_from = NEVER, 0
                once, each = _switched(bench, loop, stage, "share_from")
                yield f"shared_{size}_stage{stage}_{length}", _ratio(once, each, _pairs(size, pairs))


def losses(pairs: int) -> Iterator[tuple[str, float]]:
    """Compare the loss in blocks with torch's own on all logits."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = torch.bfloat16 if place.type == "cuda" else torch.float32
    for words in WORDS:
        hidden = torch.randn(POSITIONS, WIDTH, device=place, dtype=kind, requires_grad=True)
        targets = torch.randint(0, words, (POSITIONS,), device=place)
        for trained in (False, True):
            head = torch.randn(words, WIDTH, device=place, dtype=kind).mul_(0.02).requires_grad_(trained)

            def timed(blocks: bool, head: Tensor = head, targets: Tensor = targets, hidden: Tensor = hidden) -> float:
                start = clock(place)
                if blocks:
                    loss = linear_cross_entropy(hidden, head, None, targets)
                else:
                    logits = nn.functional.linear(hidden, head).float()
                    loss = nn.functional.cross_entropy(logits, targets, reduction="sum")
                loss.backward()
                hidden.grad = head.grad = None
                return clock(place) - start

            yield (
                f"loss_{words}_{'trained' if trained else 'frozen'}",
                _ratio(lambda timed=timed: timed(True), lambda timed=timed: timed(False), FEW),
            )
        size = hidden.element_size() * words
        yield f"loss_memory_{words}_blocks", min(POSITIONS, block_of(hidden, words)) * size / 1e6
        yield f"loss_memory_{words}_whole", POSITIONS * size / 1e6


def _pairs(size: str, pairs: int) -> int:
    return pairs if size == "demo" else FEW


def _timed(bench: Bench, loop: Loop, stage: int) -> Callable[[], float]:
    """Return what makes steps and tells the seconds a token."""
    steps, count = bench.steps_of(loop, stage), max(2, bench.settings["steps"])
    for _ in range(WARM if count > WARM else 1):
        next(steps)

    def turn() -> float:
        start = clock(bench.place)
        tokens = sum(next(steps) for _ in range(count))
        return (clock(bench.place) - start) / int(tokens)

    return turn


def _switched(bench: Bench, loop: Loop, stage: int, name: str) -> tuple[Callable[[], float], ...]:
    """Return what makes steps of one loop with a short cut, and without."""
    turn = _timed(bench, loop, stage)

    def with_(value: int) -> Callable[[], float]:
        def run() -> float:
            setattr(loop.model, name, value)
            return turn()

        return run

    return with_(1), with_(NEVER)


def _ratio(first: Callable[[], float], second: Callable[[], float], pairs: int) -> float:
    """Return how many times as quick the first is."""
    one, two = interleaved(first, second, pairs)
    return statistics.median(b / a for a, b in zip(one, two, strict=True))


if __name__ == "__main__":
    main()
