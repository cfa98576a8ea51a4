"""Memory while a corpus is tokenised and trained on, against its number of examples.

    python benchmarks/memory.py [--examples 10000 30000 ...] [--full]

A corpus of invented films is written part by part, without ever holding it, and trained on for twenty steps by a tiny
LLM, each size in a process of its own. Memory is that of the whole process, libraries and all; what counts is how it
grows. Told apart are the process's own memory (the most that was seen, many times a second) and pages of files that it
reads as mapped memory, which the system takes back when it needs them. `--full` takes one and ten million examples too
(a quarter of an hour). Writes a table and a plot.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common import RESULTS, parser, peak_mb, print_table, write_result
from vectalk.files import read_json, write_json, write_text

PART, FILMS, SIZES, MORE = 50_000, 1000, (10_000, 30_000, 100_000, 300_000), (1_000_000, 10_000_000)


def make(folder: Path) -> None:
    """Write a small corpus of films, whose examples are repeated later, and an LLM that knows its words."""
    from vectalk.space import VectorSpace
    from vectalk.tasks import FactsTeacher, Suite, build_corpus
    from vectalk.training.base_llm import make_base_llm

    rng = np.random.default_rng(0)
    kinds = ["comedy", "drama", "western", "thriller"]
    table = {"id": [str(n) for n in range(FILMS)], "kind": [kinds[n % 4] for n in range(FILMS)]}
    space = VectorSpace.create("film", rng.standard_normal((FILMS, 32)).astype(np.float32), table)
    space = space.save(folder / "film")
    suite = Suite.parse(
        "name: films\nattributes: {film: {kind: {kind: category}}}\ntasks:\n  - name: summary\n"
        "    slots: {film: film}\n    about: film\n    prompts: ['What is {film}?', 'Describe {film}.']\n"
        "    facts: [['A film that is a {{ film.kind }} from its first minute to its last.']]\n",
        "films",
    )
    corpus = build_corpus({"film": space}, suite, FactsTeacher(suite, {"film": space}), folder / "small", variants=2)
    make_base_llm(corpus, folder / "llm", hidden=32, layers=1, vocabulary=300, steps=5)


def grow(small: Path, out: Path, examples: int) -> None:
    """Write a corpus that repeats the training examples of a small one until there are so many."""
    shutil.copytree(small, out, ignore=shutil.ignore_patterns(".tokens", "train-*", "corpus.json"))
    rows = pq.read_table(small / "train-00000.parquet")
    part = pa.concat_tables([rows] * (PART // len(rows) + 1)).slice(0, PART)
    for number, start in enumerate(range(0, examples, PART)):
        pq.write_table(part.slice(0, min(PART, examples - start)), out / f"train-{number:05d}.parquet")
    card = read_json(small / "corpus.json")
    write_json(out / "corpus.json", {**card, "counts": {**card["counts"], "train": examples}})


def one(corpus: str, llm: str, out: str) -> None:
    """Train on a corpus and print its own memory at most, the files mapped at the end, and the peak of both."""
    from vectalk.tasks import Corpus
    from vectalk.training import TrainConfig, train

    most = 0.0
    over = threading.Event()

    def watch() -> None:
        nonlocal most
        while not over.wait(0.02):
            most = max(most, part_mb("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    opened = Corpus.load(corpus)
    settings = {"stage1.steps": 20, "stage2.steps": 0, "eval_examples": 32, "adapter.width": 32}
    train(opened, llm, out, TrainConfig.load(None, settings), device="cpu")
    over.set()
    watcher.join()
    print(json.dumps({"own": most, "mapped": part_mb("RssFile"), "both": peak_mb()}))


def part_mb(name: str) -> float:
    """Return a part of the memory that this process holds, as Linux counts it, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith(name + ":")).split()[1]) * 1024 / 1e6


def measure(sizes: list[int]) -> list[list[Any]]:
    """Return for each size its peak memory and processor time."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        for size in sizes:
            corpus = folder / f"corpus-{size}"
            grow(folder / "small", corpus, size)
            command = [sys.executable, __file__, "--one", str(corpus), str(folder / "llm"), str(folder / f"run-{size}")]
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            clock = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            spent = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
            disk = sum(path.stat().st_size for path in (corpus / ".tokens").rglob("*.bin")) / 1e6
            rows.append([size, found["own"], found["mapped"], found["both"], disk, spent])
            print(f"{size}: {rows[-1]} ({time.perf_counter() - clock:.0f} s)", file=sys.stderr, flush=True)
            shutil.rmtree(corpus)
    return rows


def plot(rows: list[list[Any]]) -> str:
    """Return memory against examples as SVG: the process's own, and with the files it maps; examples by tens."""
    width, height, left, bottom, top = 460, 280, 40, 40, 56
    most = max(row[3] for row in rows) * 1.15
    low, high = np.log10(rows[0][0]), np.log10(rows[-1][0])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18" font-weight="bold">memory of training, MB</text>',
        f'<line x1="{left}" x2="{width - 20}" y1="{height - bottom}" y2="{height - bottom}" stroke="#888"/>',
    ]
    for line, (column, colour, name) in enumerate(
        ((3, "#888", "with the files it maps, at the peak"), (1, "#1f5fa8", "its own"))
    ):
        points = []
        for row in rows:
            x = left + 20 + (np.log10(row[0]) - low) / max(high - low, 1e-9) * (width - left - 60)
            points.append((x, top + (1 - row[column] / most) * (height - top - bottom), row[column]))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        parts.append(f'<text x="{left + line * 240}" y="36" fill="{colour}">{name}</text>')
        for x, y, value in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            above = -10 if column == 3 else 20
            parts.append(
                f'<text x="{x:.1f}" y="{y + above:.1f}" fill="{colour}" text-anchor="middle">{value:.0f}</text>'
            )
    for row in rows:
        x = left + 20 + (np.log10(row[0]) - low) / max(high - low, 1e-9) * (width - left - 60)
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 16}" text-anchor="middle">{row[0]:,}</text>')
    parts.append(f'<text x="{width / 2:.0f}" y="{height - 6}" text-anchor="middle">examples</text>')
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    """Measure and write the result."""
    given = parser(__doc__)
    given.add_argument("--examples", type=int, nargs="+", default=list(SIZES))
    given.add_argument("--full", action="store_true", help="one and ten million examples too")
    given.add_argument("--one", nargs=3, metavar=("CORPUS", "LLM", "OUT"), help="train once, print peak memory")
    chosen = given.parse_args()
    if chosen.one:
        one(*chosen.one)
        return
    sizes = sorted({*chosen.examples, *(MORE if chosen.full else ())})
    rows = measure(sizes)
    header = [
        "examples",
        "MB of its own",
        "MB of mapped files",
        "MB at the peak",
        "MB of tokens on disk",
        "processor s",
    ]
    print_table(rows, header)
    figures = {f"memory_mb_{row[0]}_examples": row[3] for row in rows}
    figures |= {f"memory_own_mb_{row[0]}_examples": row[1] for row in rows}
    figures["memory_own_bytes_an_example"] = (rows[-1][1] - rows[0][1]) * 1e6 / max(rows[-1][0] - rows[0][0], 1)
    write_text(RESULTS / "memory.svg", plot(rows))
    command = "python benchmarks/memory.py" + (" --full" if chosen.full else "")
    path = write_result(
        "memory", command, figures, columns=header, rows=rows, plot="memory.svg", listed=["memory_own_bytes_an_example"]
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
