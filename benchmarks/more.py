"""Would a task be done better if the run had seen more of it? A finished run goes on with this task alone.

    python benchmarks/more.py runs/movielens/own-all/run-base-llm-0 --name own-more --task user_profile

A run of all tasks sees each example of the corpus about as often as any other, and of our own factors hardly one in a
hundred of these is a profile of a user. Here its adapters and its LLM go on learning one task and nothing else, and the
curves of this task are measured again. What is forgotten of other tasks is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT
from curves_of import SIZES, measure, sizes
from vectalk.tasks import Suite

CONFIG = "benchmarks/more.yaml"


def main() -> None:
    """Train on, measure, write the result."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of a finished run of all tasks")
    arguments.add_argument("--name", required=True, help="of the result: curves-NAME.json")
    arguments.add_argument("--task", required=True, help="what the run goes on with")
    arguments.add_argument("--alone", action="store_true", help="make a corpus of this task first: the whole is large")
    arguments.add_argument("--steps", default="400", help="of training")
    arguments.add_argument("--kinds", default="interpolation,shift,cold_start", help="which curves are measured")
    for name, value in SIZES.items():
        arguments.add_argument(f"--{name}", default=value)
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    out = given.run.with_name(f"{given.run.name}-{given.task}")
    settings = ["--config", CONFIG, "--set", f"stage2.steps={given.steps}", "--set", f"stage2.tasks=[{given.task}]"]
    corpus, steps = given.run.parent / "corpus", []
    if given.alone:
        corpus, build = alone(corpus, given.task)
        steps.append(build)
    train = ["train", str(corpus), "--from", str(given.run), *settings, "--out", str(out)]
    if given.fresh and out.exists():
        shutil.rmtree(out)
    if not (out / "elm.json").is_file():
        resume = ["--resume"] if (out / "checkpoints").is_dir() else []
        vectalk(*train, *resume)
    steps.append(shown(train))
    options = [
        "--task",
        given.task,
        *(word for kind in given.kinds.split(",") for word in ("--kind", kind)),
        *sizes(given),
    ]
    measure(out, given.name, options, steps=steps, fresh=given.fresh)


def alone(corpus: Path, task: str) -> tuple[Path, str]:
    """Build a corpus of one task of a corpus, and return its folder and the command."""
    out, card = corpus.with_name(f"corpus-{task}"), json.loads((corpus / "corpus.json").read_text())
    suite = Suite.load(corpus / "suite.yaml")
    names = suite.task(task).slots.values()
    places = {name: os.path.relpath(corpus / card["spaces"][name]["path"], ROOT) for name in names}
    spaces = [part for name, place in places.items() for part in ("--space", f"{name}={place}")]
    facts = ["--teacher", "facts", "--task", task, "--variants", "2"]
    build = ["corpus", "build", *spaces, "--suite", str(corpus / "suite.yaml"), *facts, "--out", str(out)]
    if not out.exists():
        vectalk(*build)
    return out, shown(build)


def vectalk(*words: str) -> None:
    """Run a command of vectalk."""
    subprocess.run([str(Path(sys.executable).with_name("vectalk")), *words], check=True, cwd=ROOT)


def shown(words: list[str]) -> str:
    """Return how a command is written from the root of the repository."""
    return shlex.join(["vectalk", *words]).replace(f"{ROOT}/", "")


if __name__ == "__main__":
    main()
