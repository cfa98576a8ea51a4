"""Can a small LLM read a sentence embedding? Films by the MiniLM vector of their encyclopedia paragraph.

    python benchmarks/semantic.py --llm path/to/an/llm

Encodes the paragraphs, builds a corpus whose targets are the paragraphs and their first sentences, trains (settings:
`semantic.yaml`; then from that run on, `semantic-more.yaml`), and evaluates the task `summary` on test films: greedy
answers, scored by the plain cosine of their embedding to the vector. Writes `results/semantic.json`, with the vector
gain and normalised SC against steps, and the same as `docs/semantic.svg`. Finished steps are not done again; an
interrupted one goes on.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from common import ROOT, data_folder, parser, write_result
from curve import curve_svg
from movielens import Steps
from vectalk.files import read_jsonl

WORK = ROOT / "runs" / "semantic"
MORE = str(ROOT / "benchmarks" / "semantic-more.yaml")
TEXTS = "wikipedia-movies.jsonl.gz"
FIRST_SENTENCE = r"opening=extract:^(.{30,}?[a-z0-9)\"”]\.)(?=\s+[A-Z\"“]|\s*$)"
LICENCE = "text: CC BY-SA, Wikipedia contributors; collected by github.com/prust/wikipedia-movie-data"


def main() -> None:
    """Run all steps and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", required=True, help="a hub name or a folder")
    arguments.add_argument("--config", default=str(ROOT / "benchmarks" / "semantic.yaml"))
    arguments.add_argument("--limit", type=int, default=300, help="test films at most")
    arguments.add_argument("--work", type=Path, default=WORK, help="folder of space, corpus and run")
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    data, work = data_folder(given.data), given.work
    steps, run = Steps(data, given.fresh), work / "run"
    columns = ["--text", "extract", "--extract", FIRST_SENTENCE, "--split-by", "title", "--licence", LICENCE]
    steps.vectalk(work / "film", "space", "encode", str(data / TEXTS), "--name", "film", *columns)
    suite = ["--suite", str(ROOT / "benchmarks" / "semantic-suite.yaml"), "--variants", "1", "--teacher", "texts"]
    texts = ["--column", "opening=opening", "--column", "summary=extract"]
    steps.vectalk(work / "corpus", "corpus", "build", "--space", f"film={work / 'film'}", *suite, *texts)
    more = work / "run-more"
    for out, *start in (
        [run, "--llm", given.llm, "--config", given.config],
        [more, "--from", str(run), "--config", MORE],
    ):
        train = ["train", str(work / "corpus"), *start]
        if (out / "checkpoints").is_dir() and not (out / "elm.json").is_file():
            train.append("--resume")
        steps.vectalk(out, *train, made=out / "elm.json")
    out = more / "evaluation"
    measure = ["evaluate", str(more), "--task", "summary", "--limit", str(given.limit)]
    steps.vectalk(out, *measure, made=out / "metrics.jsonl")
    metrics = read_jsonl(out / "metrics.jsonl")
    curve = gains(run / "training.jsonl")
    curve += [{**row, "total": row["total"] + curve[-1]["total"]} for row in gains(more / "training.jsonl")[1:]]
    path = write_result(
        "semantic",
        command(given),
        normalised(metrics, "semantic_12m"),
        steps=[step.replace(given.llm, Path(given.llm).name) for step in steps.commands],
        seeds=1,
        tables=[metrics],
        curve=curve,
    )
    curve_svg(curve, ROOT / "docs" / "semantic.svg")
    print(f"written to {path}")


def command(given: Any) -> str:
    """Return the command that makes the result again, without the folders of this machine."""
    words = shlex.join(["benchmarks/semantic.py", *sys.argv[1:]])
    for place, name in ((given.data, "DATA"), (given.llm, Path(given.llm).name)):
        words = words.replace(str(place), name) if place else words
    return f"python {words}"


def gains(log: Path) -> list[dict[str, float]]:
    """Return step, vector gain and loss of each evaluation in training, and normalised SC where it was measured."""
    rows = read_jsonl(log)
    kept = ("stage", "total", "validation_loss", "vector_gain", "sc", "sc_shuffled", "nsc", "seconds")
    return [{key: row[key] for key in kept if key in row} for row in rows if "vector_gain" in row]


def normalised(metrics: list[dict[str, Any]], suffix: str) -> dict[str, float]:
    """Return normalised SC of a task with its interval, and what stands beside it; a suffix ends each key."""
    found: dict[str, float] = {}
    for row in metrics:
        if row["metric"] not in ("sc", "nsc", "recall@10"):
            continue
        key = f"{row['metric'].replace('@', '_at_')}_{suffix}"
        own = row["condition"] == "elm"
        name = key if own else f"{key}_{row['condition']}"
        for bound, column in (("", "value"), *((("_low", "low"), ("_high", "high")) if own else ())):
            if row[column] is not None:
                found[name + bound] = row[column]
    return found


if __name__ == "__main__":
    main()
