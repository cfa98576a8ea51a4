"""All experiments of the paper on real data in one command; benchmarks/paper.md tells what came out.

    python benchmarks/paper.py --data DATA
    python benchmarks/paper.py --page               # the page alone, from the results that are there
    python benchmarks/paper.py --data DATA --own-run RUN

Each step is a benchmark of its own that writes benchmarks/results/*.json; one whose result is there is not run again
(`--fresh` runs all). On two cores the whole takes some hours, most of it training; `--llm` takes a real LLM.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import paper_page
from common import RESULTS, ROOT, data_folder, parser
from vectalk.files import write_text

PLACE = ROOT / "benchmarks" / "paper.md"


def main() -> None:
    """Run what is missing and write the page."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", default="demo-data/base-llm", help="a hub name, or a folder")
    arguments.add_argument("--config", default="benchmarks/tasks.yaml", help="settings of training")
    arguments.add_argument("--own-run", help="a finished run on our own factors, instead of the one that is made here")
    arguments.add_argument("--page", action="store_true", help="write the page alone")
    arguments.add_argument("--fresh", action="store_true", help="run steps again whose results are there")
    given = arguments.parse_args()
    if not given.page:
        data, label = str(data_folder(given.data)), Path(given.llm).name
        run = given.own_run or str(ROOT / "runs" / "movielens" / "own-all" / f"run-{label}-0")
        tasks = ["movielens.py", "--space", "own", "--llm", given.llm, "--tasks", "all", "--config", given.config]
        steps = {
            f"movielens-own-{label}-all": [*tasks, "--data", data],
            "movielens-foreign-small": ["movielens.py", "--space", "foreign", "--seeds", "3", "--data", data],
            "curves-own": ["curves_of.py", run, "--name", "own"],
            "concepts": ["concepts.py", "--data", data],
            "support": ["support.py", "--data", data],
        }
        failed = [name for name, words in steps.items() if not _step(name, words, given.fresh)]
        if failed:
            print(f"failed: {', '.join(failed)}; the page tells the rest", file=sys.stderr)
    write_text(PLACE, paper_page.page(RESULTS))
    print(f"written to {PLACE}")


def _step(name: str, words: list[str], fresh: bool) -> bool:
    """Run a benchmark unless its result is there; say whether there is one."""
    result = RESULTS / f"{name}.json"
    if result.is_file() and not fresh:
        return True
    print("$ python benchmarks/" + " ".join(words), file=sys.stderr, flush=True)
    script = str(ROOT / "benchmarks" / words[0])
    more = ["--fresh"] if fresh and words[0] in ("movielens.py", "curves_of.py") else []
    return subprocess.run([sys.executable, script, *words[1:], *more], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    main()
