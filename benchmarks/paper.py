"""All experiments of the paper on real data in one command; benchmarks/paper.md tells what came out.

    python benchmarks/paper.py --data DATA
    python benchmarks/paper.py --page               # the page alone, from the results that are there
    python benchmarks/paper.py --data DATA --fresh  # everything again, whatever results are there

Each step is a benchmark of its own that writes benchmarks/results/*.json; one whose result is there is not run again.
Runs lie in runs/movielens; a step that needs one that is not there makes it first. On two cores the whole takes some
hours, most of it training; `--llm` takes a real LLM, `--spaces own` fewer spaces.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import paper_page
from common import RESULTS, ROOT, data_folder, parser
from movielens import SUITES, WORK
from vectalk.files import write_text

PLACE = ROOT / "benchmarks" / "paper.md"
SIZES = ["--variants", "2", "--limit", "150"]
# Each task has a read-back of its own: TF-IDF takes a second for it, MiniLM minutes. Where MiniLM made the space, no
# read-back is needed.
ENCODERS = {"own": "tfidf", "foreign": "tfidf", "semantic": "minilm"}
# What fell short is tried again after more of its task.
MORE = {
    "own": ["--task", "user_profile"],
    "semantic": ["--task", "summary", "--alone", "--kinds", "shift", "--entities", "20"],
}
SEEDS = ["--llm", "small", "--seeds", "3"]


@dataclass(frozen=True)
class Step:
    """One benchmark.

    Attributes:
        result: name of its result.
        words: its script and options.
        run: a run that it needs.
        made_by: name of the result whose step makes that run.
    """

    result: str
    words: list[str]
    run: Path | None = None
    made_by: str = ""


def main() -> None:
    """Run what is missing and write the page."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", default="demo-data/base-llm", help="a hub name, or a folder")
    arguments.add_argument("--config", default="benchmarks/tasks.yaml", help="settings of training")
    arguments.add_argument(
        "--spaces", default=",".join(ENCODERS), help="of own, foreign, semantic; separated by commas"
    )
    arguments.add_argument("--page", action="store_true", help="write the page alone")
    arguments.add_argument("--fresh", action="store_true", help="run steps again whose results are there")
    given = arguments.parse_args()
    spaces = given.spaces.split(",")
    if unknown := sorted(set(spaces) - set(SUITES)):
        sys.exit(f"unknown space {unknown[0]!r}; there are {', '.join(ENCODERS)}")
    if not given.page:
        every = steps(str(data_folder(given.data)), given.llm, given.config, spaces)
        failed = [step.result for step in every if not _done(step, every, given.fresh)]
        if failed:
            print(f"failed: {', '.join(failed)}; the page tells the rest", file=sys.stderr)
    write_text(PLACE, paper_page.page(RESULTS))
    print(f"written to {PLACE}")


def steps(data: str, llm: str, config: str, spaces: list[str]) -> list[Step]:
    """Return the steps in their order: for each space all tasks and the curves; then concepts and support."""
    label, found = Path(llm).name, []
    for space in spaces:
        run, name = WORK / f"{space}-all" / f"run-{label}-0", f"movielens-{space}-{label}-all"
        tasks = ["movielens.py", "--space", space, "--llm", llm, "--tasks", "all", "--config", config, *SIZES]
        found.append(Step(name, [*tasks, "--encoder", ENCODERS[space], "--data", data]))
        place = run.relative_to(ROOT)
        found.append(Step(f"curves-{space}", ["curves_of.py", str(place), "--name", space], run, name))
        if space in MORE:
            more = f"{space}-more"
            found.append(Step(f"curves-{more}", ["more.py", str(place), "--name", more, *MORE[space]], run, name))
    if "foreign" in spaces:
        found.append(Step("movielens-foreign-small", ["movielens.py", "--space", "foreign", *SEEDS, "--data", data]))
    found.append(Step("concepts", ["concepts.py", "--data", data]))
    found.append(Step("support", ["support.py", "--data", data]))
    return found


def _done(step: Step, every: list[Step], fresh: bool) -> bool:
    """Run a benchmark unless its result is there; say whether there is one."""
    if (RESULTS / f"{step.result}.json").is_file() and not fresh:
        return True
    if step.run is not None and not (step.run / "elm.json").is_file():
        maker = next(other for other in every if other.result == step.made_by)
        if not _run(maker.words):
            return False
    more = ["--fresh"] if fresh and step.words[0] in ("movielens.py", "curves_of.py", "more.py") else []
    return _run([*step.words, *more])


def _run(words: list[str]) -> bool:
    print("$ python benchmarks/" + " ".join(words), file=sys.stderr, flush=True)
    script = str(ROOT / "benchmarks" / words[0])
    return subprocess.run([sys.executable, script, *words[1:]], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    main()
