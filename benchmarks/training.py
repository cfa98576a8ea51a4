"""How fast training is: real tokens a second, beside what public code for such models does and beside `Trainer`.

    python benchmarks/training.py [--size demo|films|giant|wide ...] [--pairs 3] [--threads 1]

Weights are random and so are the words; the lengths of the texts are those of film paragraphs (log-normal, median 62
tokens) or of the demo's. No data is needed. Four loops learn the same kind of examples:

- `public`: as public code for such models is written. Vectors are put in by a Python loop over all tokens, rows are
  padded to the longest, the order is random, logits are made for every token.
- `trainer`: Hugging Face `Trainer` on rows of equal length without any vector, so without padding.
- `ours`: the loop of `vectalk train` at its defaults.
- `ours_float32`: the same in float32, for a comparison in equal arithmetic where the default is bfloat16.

Stage 1 trains the adapter alone (`Trainer` has none; there the token embeddings are trained, so that the gradient goes
through all layers too), stage 2 everything. On a CPU the processor's own seconds are counted, with one thread, so that
other work on the machine counts less; with `--threads 2` the wall's are, on two cores. Such results, and those of CPUs
that make no bfloat16 products, where `ours` is in float32 too, have names of their own. Each loop is a process of its
own; they take turns, and figures are medians of the turns. On a GPU, whose memory does not hold all of them, they come
one after the other. `giant` (1.4 B parameters, 150k tokens) and `wide`, the same in larger batches and `ours` alone,
which tells the share of the GPU's peak (`mfu_1b`), want a GPU.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

if "--threads" in sys.argv:
    os.environ["OMP_NUM_THREADS"] = sys.argv[sys.argv.index("--threads") + 1]
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers.utils import logging

from common import parser, peak_mb, print_table, write_result
from loops import LOOPS, PLACE, QUESTION, SIZES, SOFT, Bench, clock
from vectalk.model.half import half_pays
from vectalk.training.allocator import keep_freed_memory

PAIRS, WIDE = 3, 4096
COLUMNS = ["LLM", "stage", "loop", "tokens/s", "peak MB", "share of matmul peak"]
RATIOS = (
    ("ratio_public", "ours", "public"),
    ("ratio_public_same_arithmetic", "ours_float32", "public"),
    ("ratio_trainer", "ours", "trainer"),
    ("ratio_trainer_same_arithmetic", "ours_float32", "trainer"),
)


def matmul_peak(kind: torch.dtype) -> float:
    """Return the most floating-point operations a second that a square product reached."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n, best = (8192 if place.type == "cuda" else 1024), 0.0
    a, b = torch.randn(n, n, device=place, dtype=kind), torch.randn(n, n, device=place, dtype=kind)
    for _ in range(8):
        start = clock(place)
        a @ b
        best = max(best, 2 * n**3 / max(clock(place) - start, 1e-9))
    return best


class Worker:
    """A loop in a process of its own, which makes a turn whenever it is told to."""

    def __init__(self, size: str, name: str, stage: int) -> None:
        command = [sys.executable, __file__, "--worker", size, name, str(stage)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def turn(self) -> float:
        """Return the tokens a second of a turn."""
        return self._ask("turn")

    def close(self) -> float:
        """Return the peak memory in MB, and end the process."""
        peak = self._ask("peak")
        self.process.communicate()
        return peak

    def _ask(self, what: str) -> float:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):  # libraries print too
                return float(line.split()[1])
        raise SystemExit(f"the process ended early: {self.process.args}")


def work(size: str, name: str, stage: int) -> None:
    """Answer a `Worker`."""
    if name.startswith("ours") and not torch.cuda.is_available():
        keep_freed_memory()  # as `vectalk train` does
    turn = Bench(size).loop(name, stage)
    print("answer 0", flush=True)
    for line in sys.stdin:
        if line.strip() == "turn":
            seconds, tokens = turn()
            answer = tokens / seconds
        else:
            answer = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else peak_mb()
        print(f"answer {answer}", flush=True)


def take_turns(size: str, stage: int, names: Sequence[str], turns: int) -> dict[str, tuple[list[float], float]]:
    """Return for each loop the tokens a second of its turns, and its peak memory in MB."""
    speeds: dict[str, list[float]] = {name: [] for name in names}
    memory = {}
    # A GPU holds one loop at a time.
    for together in [[name] for name in names] if torch.cuda.is_available() else [names]:
        loops = {name: Worker(size, name, stage) for name in together}
        for turn in range(turns):
            for name in together[:: 1 if turn % 2 == 0 else -1]:
                speeds[name].append(loops[name].turn())
                print(f"{size} stage {stage} {name}: {speeds[name][-1]:.0f} tokens/s", file=sys.stderr, flush=True)
        memory.update({name: loops[name].close() for name in together})
    return {name: (speeds[name], memory[name]) for name in names}


def operations(bench: Bench, stage: int, name: str) -> float:
    """Return the useful floating-point operations a token: of what has to be done, whether or not more is.

    Forward 2 a weight; backward 2 for what flows on, which in stage 1 nothing before the vector needs, and in stage 2
    another 2 for the weight's own gradient. Attention's own products are left out.
    """
    settings, length = bench.settings, float(bench.examples.lengths.mean())
    head = settings["vocabulary"] * settings["hidden"]
    body = sum(p.numel() for p in bench.llm.base_model.parameters()) - head
    learned = 1 - (QUESTION + SOFT) / length
    flows = 1 - PLACE / length if stage == 1 and name != "trainer" else 1.0
    return (2 + 2 * flows + 2 * (stage - 1)) * body + (4 if stage == 1 else 6) * head * learned


def measure(size: str, pairs: int) -> tuple[dict[str, float], list[list[Any]]]:
    """Measure all loops in both stages."""
    figures: dict[str, float] = {}
    table = []
    if not torch.cuda.is_available():
        keep_freed_memory()  # of this process, which measures the overhead of a forward pass
    bench = Bench(size)
    names, hidden = bench.settings.get("loops", LOOPS), bench.settings["hidden"]
    pairs *= bench.settings.get("turns", 1)  # short ones differ more
    if len(names) > 1:
        figures[f"{size}_forward_overhead"] = bench.forward_overhead(pairs)
    peaks = {True: matmul_peak(torch.bfloat16), False: matmul_peak(torch.float32)}
    for stage in (1, 2):
        found = take_turns(size, stage, names, pairs)
        for name, (speeds, memory) in found.items():
            speed = statistics.median(speeds)
            gpu = bench.place.type == "cuda"
            half = name != "ours_float32" if gpu else name == "ours" and half_pays(bench.place, hidden)
            share = speed * operations(bench, stage, name) / peaks[half]
            figures[f"{size}_stage{stage}_{name}_tokens_per_second"] = speed
            figures[f"{size}_stage{stage}_{name}_peak_mb"] = memory
            figures[f"{size}_stage{stage}_{name}_share_of_peak"] = share
            table.append([size, stage, name, speed, memory, share])
        for key, ours, rival in RATIOS if len(names) > 1 else ():
            ratio = statistics.median(a / b for a, b in zip(found[ours][0], found[rival][0], strict=True))
            figures[f"{size}_{key}_stage{stage}"] = ratio
            if size == "films":
                figures[f"{key}_stage{stage}"] = ratio
    if size == "films":
        figures["forward_overhead"] = figures["films_forward_overhead"]
    if size == "wide":
        figures["mfu_1b"] = figures["wide_stage2_ours_share_of_peak"]
    return figures, table


def main() -> None:
    """Measure and write the result."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    logging.set_verbosity_error()
    given = parser(__doc__)
    given.add_argument("--size", choices=sorted(SIZES), nargs="+")
    given.add_argument("--pairs", type=int, default=PAIRS)
    given.add_argument("--threads", type=int, default=1, help="of a CPU; with more than one the wall's time counts")
    given.add_argument("--worker", nargs=3, metavar=("SIZE", "LOOP", "STAGE"), help="make turns when told to")
    chosen = given.parse_args()
    if chosen.worker:
        size, name, stage = chosen.worker
        return work(size, name, int(stage))
    gpu = torch.cuda.is_available()
    sizes = chosen.size or ["demo", "films", *(["giant", "wide"] if gpu else [])]
    figures: dict[str, float] = {}
    table: list[list[Any]] = []
    # What is not measured alike has names of its own.
    kind = [f"{chosen.threads}-threads"] if chosen.threads > 1 else []
    if not half_pays(torch.device("cuda" if gpu else "cpu"), WIDE):
        kind.append("without-bf16")
    end = "".join("_" + part.replace("-", "_") for part in kind)
    for n, size in enumerate(sizes, 1):  # what was measured is kept, whatever becomes of the next size
        found, rows = measure(size, chosen.pairs)
        figures.update({key + end: value for key, value in found.items()})
        table += rows
        path = write_result(
            "-".join(["training", *kind]),
            "python benchmarks/training.py"
            + (f" --size {' '.join(chosen.size)}" if chosen.size else "")
            + (f" --pairs {chosen.pairs}" if chosen.pairs != PAIRS else "")
            + (f" --threads {chosen.threads}" if chosen.threads > 1 else ""),
            figures,
            sizes={size: SIZES[size] for size in sizes[:n]},
            pairs=chosen.pairs,
            left_out="" if gpu else "no GPU at hand: the LLM of 1.4 B with 150k tokens was not measured",
            columns=COLUMNS,
            rows=table,
            listed=[key for key in figures if "ratio" in key or "overhead" in key or key == "mfu_1b"],
        )
    print_table(table, COLUMNS)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
