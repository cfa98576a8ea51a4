"""Would profiles of users be better if the run had seen more of them? A finished run goes on with profiles alone.

    python benchmarks/profiles.py runs/movielens/own-all/run-base-llm-0

A run of all tasks sees each example of the corpus about as often as any other, and hardly one in a hundred of these is
a profile. Here its adapters and its LLM go on learning profiles and nothing else, until these get no better on
validation users; then walks between users and users hardly known are measured again. What it forgets of films is not.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT
from curves_of import SIZES, measure, sizes

CONFIG = "benchmarks/profiles.yaml"
CURVES = ["--tasks", "user_profile", "--kinds", "interpolation,cold_start"]


def main() -> None:
    """Train on, measure, write the result."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path, help="folder of a finished run on our own factors")
    for name, value in SIZES.items():
        arguments.add_argument(f"--{name}", default=value)
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    out = given.run.with_name(f"{given.run.name}-profiles")
    train = ["train", str(given.run.parent / "corpus"), "--from", str(given.run), "--config", CONFIG]
    train += ["--out", str(out)]
    if given.fresh and out.exists():
        shutil.rmtree(out)
    if not (out / "elm.json").is_file():
        resume = ["--resume"] if (out / "checkpoints").is_dir() else []
        subprocess.run([str(Path(sys.executable).with_name("vectalk")), *train, *resume], check=True, cwd=ROOT)
    step = " ".join(["vectalk", *train]).replace(f"{ROOT}/", "")
    measure(out, "profiles", [*CURVES, *sizes(given)], steps=[step], fresh=given.fresh)


if __name__ == "__main__":
    main()
