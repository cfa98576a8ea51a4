"""Which way of training is quicker on this device: what the defaults of `vectalk train` rest on.

    python benchmarks/paths.py [--pairs 7] [--only losses]

Random weights and words, lengths as in `training.py`; no data is needed. Each line is a pair of ways that take turns,
the ratio of their tokens a second (medians of pairs), above 1 where the first is quicker:

- `grouped`: batches of like length over random ones.
- `silent`: what precedes the vector read apart, without a gradient, over read with the rest; by its length (stage 1).
- `shared`: what all rows begin with read once over read in each row; by its length (both stages).
- `loss`: cross-entropy in blocks over torch's own on all logits; `loss_library`: over torch's `linear_cross_entropy`
  in blocks of 256 positions on a CPU and of its own choice on a GPU (torch 2.13 and later). By the size of the
  vocabulary, 1,024 positions of width 512, with a frozen and with a trained head; `half` where all is in bfloat16.
  `loss_memory` is the most memory that forward and backward pass hold beside their arguments, gradients included, in
  MB (measured): in `blocks`, by the `library`, or with all logits (`whole`).
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from common import RESULTS, interleaved, parser, print_table, write_result
from loops import WARM, Bench, clock
from vectalk.files import read_json
from vectalk.model.half import half_pays
from vectalk.model.linear_loss import linear_cross_entropy
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
    given.add_argument("--only", choices=PARTS, help="measure one part; the result's figures of the others stay")
    given = given.parse_args()
    pairs = given.pairs
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if not torch.cuda.is_available():
        keep_freed_memory()  # as `vectalk train` does
    figures, more = _earlier(given.only)
    columns = ["what", "ratio"]
    for name, (measured, _) in PARTS.items():
        if given.only not in (None, name):
            continue
        for key, value in measured(pairs):
            figures[f"paths_{key}"] = value
            print(f"{key}: {value:.3g}", file=sys.stderr, flush=True)
        rows = [[key.removeprefix("paths_"), value] for key, value in figures.items()]
        path = write_result(
            "paths", "python benchmarks/paths.py", figures, pairs=pairs, columns=columns, rows=rows, listed=[], **more
        )
    print_table(rows, columns)
    print(f"written to {path}")


def _earlier(only: str | None) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the figures of the other parts where one alone is measured, and a note that says whence they are."""
    if only is None or not (RESULTS / "paths.json").is_file():
        return {}, {}
    result, begin = read_json(RESULTS / "paths.json"), f"paths_{PARTS[only][1]}"
    whence = f"The rows that do not begin with `{PARTS[only][1]}`: {result['date']}, {result['device']}, commit "
    figures = {key: value for key, value in result["figures"].items() if not key.startswith(begin)}
    return figures, {"note": f"{whence}{result['commit']}."}


def orders(pairs: int) -> Iterator[tuple[str, float]]:
    """Compare orders of examples."""
    for size in LENGTHS:
        bench = Bench(size)
        for stage in (1, 2):
            grouped, plain = (bench.loop_of(stage, False) for _ in range(2))
            kept, order.POOL = order.POOL, 1
            random = _timed(bench, plain, stage)  # its order begins here
            order.POOL = kept
            like = _timed(bench, grouped, stage)
            yield f"grouped_{size}_stage{stage}", _ratio(like, random, _pairs(size, pairs))


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
    """Compare the loss in blocks with torch's own, on all logits and in blocks."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kinds = {"loss": torch.float32, **({"loss_half": torch.bfloat16} if half_pays(place, WIDTH) else {})}
    for name, kind in kinds.items():
        for words in WORDS:
            hidden = torch.randn(POSITIONS, WIDTH, device=place, dtype=kind, requires_grad=True)
            targets = torch.randint(0, words, (POSITIONS,), device=place)
            for trained in (False, True):
                head = torch.randn(words, WIDTH, device=place).mul_(0.02).to(kind).requires_grad_(trained)
                ways, how = _ways(place, hidden, head, targets), f"{words}_{'trained' if trained else 'frozen'}"
                yield f"{name}_{how}", _ratio(ways["blocks"], ways["whole"], FEW)
                if "library" in ways:
                    yield f"{name}_library_{how}", _ratio(ways["blocks"], ways["library"], FEW)
                for way, work in ways.items():
                    yield f"{name}_memory_{how}_{way}", _most_mb(place, work)


def _ways(place: torch.device, hidden: Tensor, head: Tensor, targets: Tensor) -> dict[str, Callable[[], float]]:
    """Return what makes a loss and its gradients in each way, and tells the seconds."""
    function, options = nn.functional, getattr(nn, "LinearCrossEntropyOptions", None)
    ways: dict[str, Callable[[], Tensor]] = {
        "blocks": lambda: linear_cross_entropy(hidden, head, None, targets),
        "whole": lambda: function.cross_entropy(function.linear(hidden, head).float(), targets, reduction="sum"),
    }
    if options is not None:
        chosen = options(batch_chunk_size=256) if place.type == "cpu" else options()
        ways["library"] = lambda: function.linear_cross_entropy(hidden, head, targets, reduction="sum", options=chosen)

    def timed(loss: Callable[[], Tensor]) -> float:
        start = clock(place)
        loss().backward()
        hidden.grad = head.grad = None
        return clock(place) - start

    return {name: lambda loss=loss: timed(loss) for name, loss in ways.items()}  # type: ignore[misc]


def _most_mb(place: torch.device, work: Callable[[], float]) -> float:
    """Return the most memory that some work holds beside what was held before, in MB."""
    if place.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work()
    live = most = 0
    for event in profile.profiler.kineto_results.events():
        live += event.nbytes() if event.name() == "[memory]" else 0
        most = max(most, live)
    return most / 1e6


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


# What measures each part, and how the names of its figures begin.
PARTS: dict[str, tuple[Callable[[int], Iterator[tuple[str, float]]], str]] = {
    "losses": (losses, "loss"),
    "silent": (silent, "silent"),
    "shared": (shared, "shared"),
    "orders": (orders, "grouped"),
}

if __name__ == "__main__":
    main()
