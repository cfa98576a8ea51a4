"""Real vectors, from files to a measured model, with the command line alone.

    python benchmarks/movielens.py --space foreign --llm small --seeds 3
    python benchmarks/movielens.py --space own --llm path/to/an/llm
    python benchmarks/movielens.py --space semantic --llm demo-data/base-llm --tasks all

`foreign`: vectors of films that others fitted to MovieLens 25M, with titles, years and genres from `movies.csv`.
`own`: our own factorisation of MovieLens latest-small, films and users. `semantic`: MiniLM's vectors of paragraphs on
films. `small` trains a base LLM from nothing on texts of training entities; any other value is a hub name or a folder.
`--tasks all` takes all 24 tasks of films, and that of users where there are some. Every step is a `vectalk` command,
printed before it runs and kept in the result. Finished steps are not done again; `--fresh` starts anew. `--inner`
splits the training films of the foreign space again and leaves the others out: settings are tuned there, so that
test films stay new.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import write_csv

from common import ROOT, data_folder, parser, write_result
from readme import DETAILED
from vectalk.evaluation import table
from vectalk.files import atomic_folder, read_jsonl
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN

WORK = ROOT / "runs" / "movielens"
FACTS = ["--list-column", "genres:|", "--null", "(no genres listed)", "--extract", r"year=title:\((\d{4})\)\s*$"]
SUITES = {"foreign": ["movies"], "own": ["movies", "users"], "semantic": ["movies"]}
FEW = {"movies": "summary,movie_to_viewer,similarities", "users": "user_profile"}


def main() -> None:
    """Run all steps and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--space", choices=sorted(SUITES), default="foreign")
    arguments.add_argument("--llm", default="small", help="`small`, a hub name, or a folder")
    arguments.add_argument("--label", help="name of the LLM in keys and tables (default: its last part)")
    arguments.add_argument("--seeds", type=int, default=1)
    arguments.add_argument("--config", default=str(ROOT / "benchmarks" / "movielens.yaml"))
    arguments.add_argument("--encoder", default="minilm")
    arguments.add_argument("--readback-texts", type=int, default=2000, help="training texts of a task that it reads")
    arguments.add_argument("--tasks", choices=["few", "all"], default="few", help="of the suites")
    arguments.add_argument("--variants", type=int, help="training examples of a task for each entity")
    arguments.add_argument("--limit", type=int, help="test examples of each task at most")
    arguments.add_argument("--inner", action="store_true", help="of the training films alone, split anew (foreign)")
    arguments.add_argument("--fresh", action="store_true")
    given = arguments.parse_args()
    data, label = data_folder(given.data), given.label or Path(given.llm).name
    if given.inner and given.space != "foreign":
        sys.exit("--inner is of the foreign space: leave it out, or say --space foreign")
    every = given.tasks == "all"
    made = given.space + ("-inner" if given.inner else "")
    work = WORK / (f"{made}-all" if every else made)
    steps = Steps(data, given.fresh)
    spaces = make_spaces(steps, data, WORK / given.space, given.space)
    if given.inner:
        spaces = {"film": inner_space(steps, data, spaces["film"], WORK / made)}
    bound = [part for name, place in spaces.items() for part in ("--space", f"{name}={place}")]
    suites = [part for name in SUITES[given.space] for part in ("--suite", name)]
    chosen = (
        []
        if every
        else [word for name in SUITES[given.space] for task in FEW[name].split(",") for word in ("--task", task)]
    )
    copies = ["--variants", str(given.variants)] if given.variants else []
    steps.vectalk(work / "corpus", "corpus", "build", *bound, *suites, "--teacher", "facts", *chosen, *copies)
    llm = given.llm
    if llm == "small":
        llm = str(work / "llm-small")
        shape = ["--hidden", "128", "--layers", "3", "--steps", "800"]
        steps.vectalk(Path(llm), "base-llm", str(work / "corpus"), *shape)
    measured = ["--encoder", given.encoder, "--readback-texts", str(given.readback_texts)]
    measured += ["--limit", str(given.limit)] if given.limit else []
    if given.space == "foreign":  # its vectors come without ratings
        measured += ["--ratings", str(data / "movielens-latest-small" / "ratings.csv")]
    evaluations = []
    for seed in range(given.seeds):
        run = work / f"run-{label}-{seed}"
        train = ["train", str(work / "corpus"), "--llm", llm, "--config", given.config, "--seed", str(seed)]
        if (run / "checkpoints").is_dir() and not (run / "elm.json").is_file():
            train.append("--resume")
        steps.vectalk(run, *train, made=run / "elm.json")
        out = run / "evaluation"
        steps.vectalk(out, "evaluate", str(run), *measured, made=out / "metrics.jsonl")
        evaluations.append(read_jsonl(out / "metrics.jsonl"))
    command = "python " + shlex.join(["benchmarks/movielens.py", *sys.argv[1:]])
    name = f"movielens-{made}-{label}" + ("-all" if every else "")
    prefix = f"{made}_{label}".replace("-inner", "_inner") + ("_all" if every else "")
    path = write_result(
        name,
        command.replace(str(given.data), "DATA") if given.data else command,
        figures(evaluations, prefix, bars=prefix == "foreign_small"),
        steps=steps.commands,
        seeds=given.seeds,
        tables=[table.shown(evaluations[0])],
    )
    print(f"written to {path}")


def make_spaces(steps: Steps, data: Path, work: Path, which: str) -> dict[str, Path]:
    """Make the spaces and return their folders by name."""
    films = data / "movielens-latest-small"
    licence = ["--licence", "GroupLens: research use, no commercial use; see the MovieLens README"]
    if which == "own":
        out = work / "factors"
        names = ["--item-name", "film", "--user-name", "user"]
        items = ["--items", str(films / "movies.csv"), *FACTS, *names, *licence]
        steps.vectalk(out, "space", "factorize", str(films / "ratings.csv"), *items)
        return {"film": out / "items", "user": out / "users"}
    if which == "semantic":
        texts = ["--text", "extract", "--name", "film", "--encoder", "minilm", "--split-by", "title"]
        licence = ["--licence", "Wikipedia contributors, CC BY-SA; collected by github.com/prust/wikipedia-movie-data"]
        steps.vectalk(work / "film", "space", "encode", str(data / "wikipedia-movies.jsonl.gz"), *texts, *licence)
        return {"film": work / "film"}
    foreign = data / "movielens-25m-item-vectors"
    source = [str(foreign / "vectors.npy"), "--ids", str(foreign / "ids.csv"), "--metadata", str(films / "movies.csv")]
    options = ["--name", "film", "--missing", "drop", "--split-by", "title", *FACTS, *licence]
    steps.vectalk(work / "film", "space", "import", *source, *options)
    return {"film": work / "film"}


def inner_space(steps: Steps, data: Path, outer: Path, work: Path) -> Path:
    """Make a space of the training films alone, split by other hashes; return its folder."""
    source = work / "source"
    if not source.exists():
        films = VectorSpace.load(outer)
        rows = films.rows(TRAIN)
        known = {name: films.column(name).take(pa.array(rows)) for name in ("id", "title", "genres")}
        with atomic_folder(source, "films.csv") as part:
            np.save(part / "vectors.npy", np.asarray(films.vectors[rows]))
            write_csv(pa.table({"id": known["id"]}), part / "ids.csv")
            hashed = pc.binary_join_element_wise("tune", known["title"], " ")
            listed = pc.binary_join(known["genres"], "|")
            write_csv(pa.table({**known, "genres": listed, "inner": hashed}), part / "films.csv")
    given = [str(source / "vectors.npy"), "--ids", str(source / "ids.csv"), "--metadata", str(source / "films.csv")]
    out = work / "film"
    steps.vectalk(out, "space", "import", *given, "--name", "film", "--split-by", "inner", *FACTS)
    return out


class Steps:
    """Runs commands, each once, and keeps how they were written."""

    def __init__(self, data: Path, fresh: bool) -> None:
        self.data, self.fresh = data, fresh
        self.commands: list[str] = []

    def vectalk(self, out: Path, *words: str, made: Path | None = None) -> None:
        """Run a verb that writes `out`, unless `made` (or `out`) is there."""
        self.run(out, [str(Path(sys.executable).with_name("vectalk")), *words], made)

    def run(self, out: Path, command: list[str], made: Path | None = None) -> None:
        """Run a command with `--out`, unless what it makes is there."""
        command = [*command, "--out", str(out)]
        shown = shlex.join([Path(command[0]).name, *(word for word in command[1:] if word != "--resume")])
        self.commands.append(shown.replace(str(self.data), "DATA").replace(str(ROOT) + "/", ""))
        if self.fresh and out.exists():
            shutil.rmtree(out)
        if (made or out).exists():
            return
        print(f"$ {self.commands[-1]}", file=sys.stderr, flush=True)
        subprocess.run(command, check=True, cwd=ROOT)


def figures(evaluations: list[list[dict[str, Any]]], prefix: str, bars: bool) -> dict[str, float]:
    """Return the mean over seeds of what was measured for the model, its shuffled control and some rivals.

    The lower bounds are means of the seeds' bounds, each a bootstrap over entities. Of very many tasks some have
    figures of their own; `mean` is the mean over all of them.
    """
    found: dict[str, float] = {}
    kept = ("recovery", "sc", "nsc", "recall@10", "bc_", "claims_precision", "names_invented")
    shown = ("elm", "shuffled", "copy_text", "probe_text", "factors")
    own = dict.fromkeys(row["task"] for row in evaluations[0])
    if len(own) > DETAILED:
        own = dict.fromkeys(task for names in FEW.values() for task in names.split(","))
    for row in evaluations[0]:
        listed = row["condition"] in shown and row["metric"].startswith(kept) and row["task"] in own
        if not listed or row["metric"].partition("/")[0].endswith(("minus_copy_text", "minus_own_text")):
            continue
        same = [r for rows in evaluations for r in rows if all(r[k] == row[k] for k in ("task", "metric", "condition"))]
        key = "_".join([prefix, row["task"], row["metric"].replace("/", "_").replace("@", "_at_"), row["condition"]])
        # A recovery is not defined where the probe does not beat the majority.
        for suffix, column in (("", "value"), *([("_low", "low")] if row["condition"] == "elm" else [])):
            if all(r[column] is not None for r in same):
                found[key + suffix] = sum(r[column] for r in same) / len(same)
    means = [table.summary(rows) for rows in evaluations]
    for metric, tasks in means[0].items():
        for condition in [c for c in shown if c in tasks.get("mean", {})] if len(tasks) > DETAILED + 1 else []:
            each = [summary[metric]["mean"][condition]["value"] for summary in means]
            found["_".join([prefix, "mean", metric, condition])] = sum(each) / len(each)
    if bars:  # the keys that the project's bars are named by
        for bar, metric in (("recovery_genres", "recovery_genres"), ("recovery_decade", "recovery_decade")):
            found[bar] = found[f"{prefix}_summary_{metric}_elm"]
            found[f"{bar}_low"] = found[f"{prefix}_summary_{metric}_elm_low"]
        found["sc_minus_probe_text_low"] = found[f"{prefix}_summary_sc_minus_probe_text_elm_low"]
    return found


if __name__ == "__main__":
    main()
