"""The second domain, a record shop: from files of vectors to measured answers, with the command line alone.

    python benchmarks/own_data.py

`examples/records/make.py` invents the shop: albums and listeners whose vectors are factorised from who played what, and
a table with gaps beside them. It needs no download and no data of others. Every step is a command, printed before it
runs and kept in the result. Finished steps are not done again; `--fresh` starts anew.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from common import ROOT, parser, write_result
from movielens import Steps, figures
from vectalk.evaluation.table import markdown
from vectalk.files import read_jsonl, write_text

WORK, HERE = ROOT / "runs" / "own-data", ROOT / "examples" / "records"
FACTS = ["--id-column", "album_id", "--list-column", "styles:|", "--null", "n/a", "--missing", "drop"]

GUIDE, MARKS, SHOWN = (
    ROOT / "docs" / "own-data.md",
    ("<!-- table -->\n", "<!-- end of table -->"),
    ("summary", "profile"),
)
SMALL = ["--hidden", "96", "--layers", "2", "--vocabulary", "768", "--steps", "400", "--batch-size", "32"]


def main() -> None:
    """Run all steps and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", default="small", help="`small`, a hub name, or a folder")
    arguments.add_argument("--config", default=str(HERE / "train.yaml"))
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--encoder", default="tfidf")
    arguments.add_argument("--limit", type=int, help="test examples of each task at most")
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    steps, shop, llm = Steps(WORK, given.fresh), WORK / "shop", given.llm
    steps.run(shop, [sys.executable, str(HERE / "make.py")])
    spaces = {"album": WORK / "spaces" / "album", "listener": WORK / "spaces" / "listener"}
    vectors, table = shop / "album_vectors.parquet", ["--metadata", str(shop / "albums.csv"), *FACTS]
    steps.vectalk(spaces["album"], "space", "import", str(vectors), "--name", "album", *table)
    steps.vectalk(spaces["listener"], "space", "import", str(shop / "listeners.parquet"), "--name", "listener")
    bound = [part for name, place in spaces.items() for part in ("--space", f"{name}={place}")]
    suites = [part for name in ("albums", "listeners") for part in ("--suite", str(HERE / f"{name}.yaml"))]
    steps.vectalk(WORK / "corpus", "corpus", "build", *bound, *suites)
    if llm == "small":
        llm = str(WORK / "llm")
        steps.vectalk(Path(llm), "base-llm", str(WORK / "corpus"), *SMALL)
    evaluations = []
    for seed in range(given.seeds):
        run = WORK / f"run-{seed}"
        train = ["train", str(WORK / "corpus"), "--llm", llm, "--config", given.config, "--seed", str(seed)]
        if (run / "checkpoints").is_dir() and not (run / "elm.json").is_file():
            train.append("--resume")
        steps.vectalk(run, *train, made=run / "elm.json")
        limit = ["--limit", str(given.limit)] if given.limit else []
        out = run / "evaluation"
        steps.vectalk(out, "evaluate", str(run), "--encoder", given.encoder, *limit, made=out / "metrics.jsonl")
        evaluations.append(read_jsonl(out / "metrics.jsonl"))
    path = write_result(
        "own-data",
        "python " + shlex.join(["benchmarks/own_data.py", *(word for word in sys.argv[1:] if word != "--fresh")]),
        figures(evaluations, "records", bars=False),
        steps=steps.commands,
        seeds=given.seeds,
        tables=evaluations,
    )
    write_guide(evaluations[0])
    print(f"written to {path}")


def write_guide(metrics: list[dict[str, Any]]) -> None:
    """Put the tables of two tasks into the guide, between its marks."""
    before, start, rest = GUIDE.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    shown = markdown([row for row in metrics if row["task"] in SHOWN])
    write_text(GUIDE, f"{before}{start}\n{shown}\n{end}{after}")


if __name__ == "__main__":
    main()
