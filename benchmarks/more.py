"""Would a task be done better if the run had seen more of it? A finished run goes on with this task alone.

    python benchmarks/more.py runs/movielens/own-all/run-base-llm-0 --name own-more --task user_profile

A run of all tasks sees each example of the corpus about as often as any other, and of our own factors hardly one in a
hundred of these is a profile of a user. Here its adapters and its LLM go on learning one task and nothing else, and the
curves of this task are measured again. What is forgotten of other tasks is not measured.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT
from curves_of import SIZES, measure, sizes

CONFIG = "benchmarks/more.yaml"


def main() -> None:
    """Train on, measure, write the result."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of a finished run of all tasks")
    arguments.add_argument("--name", required=True, help="of the result: curves-NAME.json")
    arguments.add_argument("--task", required=True, help="what the run goes on with")
    arguments.add_argument("--steps", default="400", help="of training")
    arguments.add_argument("--kinds", default="interpolation,shift,cold_start", help="which curves are measured")
    for name, value in SIZES.items():
        arguments.add_argument(f"--{name}", default=value)
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    out = given.run.with_name(f"{given.run.name}-{given.task}")
    settings = ["--config", CONFIG, "--set", f"stage2.steps={given.steps}", "--set", f"stage2.tasks=[{given.task}]"]
    train = ["train", str(given.run.parent / "corpus"), "--from", str(given.run), *settings, "--out", str(out)]
    if given.fresh and out.exists():
        shutil.rmtree(out)
    if not (out / "elm.json").is_file():
        resume = ["--resume"] if (out / "checkpoints").is_dir() else []
        subprocess.run([str(Path(sys.executable).with_name("vectalk")), *train, *resume], check=True, cwd=ROOT)
    step = shlex.join(["vectalk", *train]).replace(f"{ROOT}/", "")
    options = ["--tasks", given.task, "--kinds", given.kinds, *sizes(given)]
    measure(out, given.name, options, steps=[step], fresh=given.fresh)


if __name__ == "__main__":
    main()
