"""How long `import vectalk` takes beside `import numpy`, and where the time of a cold `vectalk ask` goes.

Medians of fresh interpreters, in turns. `ask` is taken apart in an interpreter that does what the verb does, step by
step: the libraries that it stands on, what vectalk has beside them, the run, the first answer, the same answer again.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import ROOT, interleaved, parser, print_table, shown_path, write_result

STEPS = """
import json, sys, time
times = {}
def step(name, began=[time.perf_counter()]):
    now = time.perf_counter()
    times[name], began[0] = now - began[0], now
run, question, slot, expression = sys.argv[1:]
import numpy
step("numpy")
import torch
step("torch")
import pyarrow.parquet, pyarrow.compute
step("pyarrow")
import typer, rich.console
step("typer, rich")
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, GenerationConfig
step("transformers")
before = set(sys.modules)
import vectalk.cli.ask
from vectalk.talk import ELM
step("vectalk")
beside = {name.partition(".")[0] for name in set(sys.modules) - before} - {"vectalk"}
elm = ELM.from_pretrained(run, device="cpu")
step("loading")
elm.ask(question, {slot: expression}, max_new_tokens=64)
step("first answer")
elm.ask(question, {slot: expression}, max_new_tokens=64)
step("again")
print(json.dumps([times, sorted(beside - set(sys.stdlib_module_names))]))
"""
LIBRARIES = ("numpy", "torch", "pyarrow", "typer, rich", "transformers")


def seconds(*command: str) -> float:
    """Return the time of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def ask_cold(run: str, pairs: int) -> tuple[dict[str, float], list[list[object]]]:
    """Take `vectalk ask` apart; returns figures and rows of a table."""
    from vectalk.model.run import Run

    opened = Run.load(run)
    task = next(task for task in opened.suite.tasks if len(task.slots) == 1)
    ((slot, name),) = task.slots.items()
    space = opened.spaces()[name]
    title = str(space.column("id")[int(space.rows("test")[0])].as_py())
    told = [run, task.prompts[0], slot, title]
    verb = str(Path(sys.executable).with_name("vectalk"))
    command = [
        verb,
        "ask",
        run,
        task.prompts[0],
        "--bind",
        f"{slot}={title}",
        "--max-new-tokens",
        "64",
        "--device",
        "cpu",
    ]
    seconds(*command)  # what is on disk is read once
    wholes, found = [], []
    for _ in range(pairs):
        wholes.append(seconds(*command))
        done = subprocess.run([sys.executable, "-c", STEPS, *told], check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
    whole, spent = statistics.median(wholes), {k: statistics.median(f[0][k] for f in found) for k in found[0][0]}
    rows = [[f"import {step}" if step in (*LIBRARIES, "vectalk") else step, took] for step, took in spent.items()]
    imports = sum(spent[name] for name in LIBRARIES)
    figures = {
        "ask_cold_s": whole,
        "ask_libraries_s": imports,
        "ask_import_s": spent["vectalk"],
        "ask_loading_s": spent["loading"],
        "ask_first_answer_s": spent["first answer"],
        "ask_again_s": spent["again"],
    }
    print("imported beside the libraries by vectalk:", ", ".join(found[0][1]) or "nothing", file=sys.stderr)
    return figures, [["vectalk ask, the whole command", whole], *rows]


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    demo = ROOT / "runs" / "demo" / "run"
    default = str(demo) if demo.is_dir() else None
    arguments.add_argument("run", nargs="?", default=default, help="folder of a run, to take `vectalk ask` apart")
    arguments.add_argument("--pairs", type=int, default=15)
    given = arguments.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    ours, numpy = interleaved(
        lambda: seconds(sys.executable, "-c", "import vectalk"),
        lambda: seconds(sys.executable, "-c", "import numpy"),
        given.pairs,
    )
    figures = {"ratio_import": statistics.median(a / b for a, b in zip(ours, numpy, strict=True))}
    rows: list[list[object]] = [["import vectalk", statistics.median(ours)], ["import numpy", statistics.median(numpy)]]
    if given.run:
        more, steps = ask_cold(given.run, max(3, given.pairs // 3))
        figures |= more
        rows += steps
    print_table(rows, ["step", "seconds"])
    command = "python benchmarks/startup.py" + (f" {shown_path(given.run)}" if given.run else "")
    write_result("startup", command, figures, columns=["step", "seconds"], rows=rows, listed=["ratio_import"])


if __name__ == "__main__":
    main()
