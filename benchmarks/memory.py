"""Memory while a corpus is tokenised and trained on, against its number of examples.

    python benchmarks/memory.py [--examples 10000 30000 ...] [--full]

A corpus of invented films is written part by part, without ever holding it, and trained on for twenty steps by a tiny
LLM, each size in a process of its own. Peak memory is that of the whole process, libraries and all; what counts is how
it grows. `--full` takes one and ten million examples too (a quarter of an hour). Writes a table and a plot.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
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
    from vectalk.demo.base_llm import make_base_llm
    from vectalk.space import VectorSpace
    from vectalk.tasks import FactsTeacher, Suite, build_corpus

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
    """Train on a corpus and print peak memory when it is tokenised, and at the end."""
    from vectalk.tasks import Corpus
    from vectalk.training import TrainConfig, Trainer
    from vectalk.training.reporter import Silent

    opened = Corpus.load(corpus)
    settings = {"stage1.steps": 20, "stage2.steps": 0, "eval_examples": 32, "adapter.width": 32}
    trainer = Trainer(opened, llm, out, TrainConfig.load(None, settings), device="cpu", reporter=Silent())
    ready = peak_mb()
    trainer.run()
    print(json.dumps({"ready": ready, "trained": peak_mb()}))


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
            rows.append([size, found["ready"], found["trained"], disk, spent])
            print(f"{size}: {rows[-1]} ({time.perf_counter() - clock:.0f} s)", file=sys.stderr, flush=True)
            shutil.rmtree(corpus)
    return rows


def plot(rows: list[list[Any]]) -> str:
    """Return peak memory against examples as SVG, examples to scale of tens."""
    width, height, left, bottom, top = 460, 260, 60, 40, 34
    most = max(row[2] for row in rows) * 1.15
    low, high = np.log10(rows[0][0]), np.log10(rows[-1][0])

    def at(row: list[Any]) -> tuple[float, float]:
        x = left + (np.log10(row[0]) - low) / max(high - low, 1e-9) * (width - left - 30)
        return x, top + (1 - row[2] / most) * (height - top - bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18" font-weight="bold">peak memory of training, MB</text>',
        f'<line x1="{left}" x2="{width - 20}" y1="{height - bottom}" y2="{height - bottom}" stroke="#888"/>',
        '<polyline fill="none" stroke="#1f5fa8" stroke-width="2" points="'
        + " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, rows))
        + '"/>',
    ]
    for row in rows:
        x, y = at(row)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f5fa8"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{row[2]:.0f}</text>')
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
    header = ["examples", "MB when tokenised", "MB when trained", "MB of tokens on disk", "processor s"]
    print_table(rows, header)
    figures = {f"memory_mb_{size}_examples": trained for size, _, trained, _, _ in rows}
    growth = (rows[-1][2] - rows[0][2]) * 1e6 / max(rows[-1][0] - rows[0][0], 1)
    figures["memory_bytes_an_example"] = growth
    write_text(RESULTS / "memory.svg", plot(rows))
    command = "python benchmarks/memory.py" + (" --full" if chosen.full else "")
    path = write_result(
        "memory", command, figures, columns=header, rows=rows, plot="memory.svg", listed=["memory_bytes_an_example"]
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
