"""Run every benchmark that needs no data, those on the run of `make demo` and on real data, where these are.

`make bench` does it.
"""

from __future__ import annotations

import subprocess
import sys

from common import ROOT, parser

ALONE = [["startup.py"], ["training.py"], ["memory.py"], ["own_data.py"]]
DEMO = "runs/demo/run"
WITH_RUN = [
    ["engine.py", DEMO],
    ["candidates.py", DEMO],
    ["vllm_engines.py", DEMO],
    ["names.py", DEMO],
    ["serve.py", "--run", DEMO, "--part", "ratio", "first", "overhead", "fuzz", "soak"],
    ["map.py", "--run", DEMO],
]
WITH_DATA = [
    ["wals.py"],
    ["support.py"],
    ["movielens.py", "--space", "foreign", "--seeds", "3"],
    ["movielens.py", "--space", "own"],
    ["concepts.py"],
]


def main() -> None:
    """Run them one after the other; the page is written even where one is left out for want of data."""
    given = parser(__doc__).parse_args()
    data = ["--data", given.data] if given.data else []
    with_run = WITH_RUN if (ROOT / DEMO).is_dir() else []
    for words in [*ALONE, *with_run, *([*w, *data] for w in WITH_DATA)]:
        print("$ python benchmarks/" + " ".join(words), flush=True)
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:]], cwd=ROOT, check=False)
    for words in (["readme.py"], ["paper.py", "--page"]):
        subprocess.run([sys.executable, str(ROOT / "benchmarks" / words[0]), *words[1:]], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
