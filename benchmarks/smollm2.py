"""A pretrained LLM, SmolLM2-135M-Instruct, in three spaces: foreign films, own films and users, paragraphs by MiniLM.

    python benchmarks/smollm2.py --llm FOLDER [--only foreign|own|paragraphs] [--minutes 60]
    python benchmarks/smollm2.py --make SCRIPT                     # SCRIPT OUT writes the LLM into a folder

One seed each. `foreign` and `own` learn six tasks about films, `own` that of users too; `paragraphs` learns first
sentences, then paragraphs (`semantic.py` has the same with an LLM from scratch). Each training takes `--minutes` at
most. Every step is a `vectalk` command; finished steps are not done again, and an interrupted training is resumed.
Writes `results/smollm2-*.json` and their pages: the tables of the evaluation, with copying, the probe and shuffled
vectors, and with the tiny LLM of an earlier benchmark (other test entities and, where its result says so, other
sentences); and ten answers of each space next to the copied ones, the worst among them.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import readme
from common import RESULTS, ROOT, data_folder, parser, write_result
from movielens import Steps, figures, make_spaces
from semantic import FIRST_SENTENCE, LICENCE, TEXTS, normalised
from vectalk.demo.films import PROFILE, SIX
from vectalk.evaluation import table
from vectalk.files import read_jsonl, write_text

WORK = ROOT / "runs" / "smollm2-bench"
MADE = ROOT / "runs" / "smollm2-llm"
TASKS = {"foreign": SIX, "own": [*SIX, PROFILE], "paragraphs": ["opening", "summary"]}
# The earlier result of each space whose tables the tiny LLM comes from.
TINY = {"foreign": "movielens-foreign-base-llm-all", "own": "movielens-own-base-llm-all", "paragraphs": "semantic"}
# First sentences for most of the steps, then both; one low-rank update learns all the way. A paragraph says more than
# six tasks about genres, so the update is larger, and validation, which has two short tasks, is shorter.
CURRICULUM = [
    "stage1.steps=600",
    "stage1.llm=lora",
    "stage1.lr_adapter=1e-3",
    "stage1.lr_llm=3e-4",
    "stage1.tasks=[opening]",
    "stage2.steps=250",
    "lora.rank=32",
    "lora.alpha=64",
    "eval_examples=128",
]
COLUMNS = ["rank of the answer by SC", "question", "entity", "SC", "answer", "SC of copying", "copying"]
ANSWERS, WORST = 10, 3


def main() -> None:
    """Train, evaluate and write the results, space by space."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", help="folder of the LLM")
    arguments.add_argument("--make", type=Path, metavar="SCRIPT", help="script that writes the LLM into a folder")
    arguments.add_argument("--only", choices=sorted(TASKS), action="append", help="this space; may be repeated")
    arguments.add_argument("--minutes", type=float, default=60.0, help="longest time of each training")
    arguments.add_argument("--limit", type=int, default=100, help="test examples of each task at most")
    arguments.add_argument("--encoder", default="minilm", help="of the read-back in the spaces of ratings")
    arguments.add_argument("--readback-texts", type=int, default=2000, help="training texts of a task that it reads")
    arguments.add_argument("--work", type=Path, default=WORK, help="folder of spaces, corpora and runs")
    arguments.add_argument("--label", default="smollm2", help="first part of the names of the results")
    arguments.add_argument("--variants", type=int, help="training examples of a task for each entity")
    arguments.add_argument("--fresh", action="store_true", help="do finished steps again")
    options = arguments.parse_args()
    if (options.llm is None) == (options.make is None):
        sys.exit("give --llm FOLDER, or --make SCRIPT")
    data = data_folder(options.data)
    if options.make is not None:
        options.llm = str(MADE)
        if not (MADE / "config.json").is_file():
            subprocess.run([sys.executable, str(options.make), str(MADE)], check=True)
    for space in options.only or TASKS:
        measure(space, data, options)


def measure(space: str, data: Path, options: Namespace) -> None:
    """Train and evaluate in one space, and write its result."""
    steps, work = Steps(data, options.fresh), options.work / space
    build = paragraphs(steps, data, work) if space == "paragraphs" else films(steps, data, work, space)
    copies = ["--variants", str(options.variants)] if options.variants else []
    steps.vectalk(work / "corpus", "corpus", "build", *build, *copies)
    run = work / "run"
    train = ["train", str(work / "corpus"), "--llm", options.llm, "--minutes", f"{options.minutes:g}", "--seed", "0"]
    if space == "paragraphs":
        train += [word for setting in CURRICULUM for word in ("--set", setting)]
    if (run / "checkpoints").is_dir() and not (run / "elm.json").is_file():
        train.append("--resume")
    steps.vectalk(run, *train, made=run / "elm.json")
    out = run / "evaluation"
    evaluate = ["evaluate", str(run), "--limit", str(options.limit), "--readback-texts", str(options.readback_texts)]
    if space != "paragraphs":  # there, the space itself names the encoder of its texts
        evaluate += ["--encoder", options.encoder]
    if space == "foreign":
        evaluate += ["--ratings", str(data / "movielens-latest-small" / "ratings.csv")]
    steps.vectalk(out, *evaluate, made=out / "metrics.jsonl")
    rows, name = read_jsonl(out / "metrics.jsonl"), f"{options.label}-{space}"
    answers = ten_answers(read_jsonl(out / "answers.jsonl"))
    measured = figures([rows], name.replace("-", "_"), bars=False)
    if space == "paragraphs":
        measured |= normalised([row for row in rows if row["task"] == "summary"], "semantic")
    path = write_result(
        name,
        command(options),
        measured,
        steps=[step.replace(options.llm, Path(options.llm).name) for step in steps.commands],
        seeds=1,
        minutes=options.minutes,
        llm=Path(options.llm).name,
        tables=[table.shown(rows) + tiny(space)],
        columns=COLUMNS,
        rows=answers,
    )
    result = json.loads(path.read_text(encoding="utf-8"))
    write_text(RESULTS / f"{name}.md", f"# {name}\n\n" + readme.section(name, result))
    print(f"written to {path}")


def films(steps: Steps, data: Path, work: Path, space: str) -> list[str]:
    """Make the spaces of films, and of users where there are some; return the options of `corpus build`."""
    spaces = make_spaces(steps, data, work, space)
    words = [word for name, place in spaces.items() for word in ("--space", f"{name}={place}")]
    words += [word for suite in ("movies", *(["users"] if "user" in spaces else [])) for word in ("--suite", suite)]
    return [*words, "--teacher", "facts", *(word for task in TASKS[space] for word in ("--task", task))]


def paragraphs(steps: Steps, data: Path, work: Path) -> list[str]:
    """Make the space of paragraphs; return the options of `corpus build`."""
    columns = ["--text", "extract", "--extract", FIRST_SENTENCE, "--split-by", "title", "--licence", LICENCE]
    steps.vectalk(
        work / "film", "space", "encode", str(data / TEXTS), "--name", "film", "--encoder", "minilm", *columns
    )
    suite = ["--suite", str(ROOT / "benchmarks" / "semantic-suite.yaml"), "--variants", "1", "--teacher", "texts"]
    return ["--space", f"film={work / 'film'}", *suite, "--column", "opening=opening", "--column", "summary=extract"]


def tiny(space: str) -> list[dict[str, Any]]:
    """Return the rows of the tiny LLM in an earlier result, for the tasks of a space, as a condition of its own."""
    file = RESULTS / f"{TINY[space]}.json"
    if not file.is_file():
        return []
    rows = json.loads(file.read_text(encoding="utf-8"))["tables"][0]
    return [
        {**row, "condition": "tiny LLM"} for row in rows if row["condition"] == "elm" and row["task"] in TASKS[space]
    ]


def ten_answers(answers: list[dict[str, Any]]) -> list[list[Any]]:
    """Return rows of `COLUMNS`: the answers with the lowest SC, and others at even ranks."""
    keys = [(a["task"], a["prompt"], json.dumps(a["slots"], sort_keys=True)) for a in answers]
    copies = {key: a for key, a in zip(keys, answers, strict=True) if a["condition"] == "copy_text"}
    scored = [
        (a, copies[key]) for key, a in zip(keys, answers, strict=True) if a["condition"] == "elm" and key in copies
    ]
    scored = sorted((pair for pair in scored if pair[0].get("sc") is not None), key=lambda pair: pair[0]["sc"])
    others = range(WORST, len(scored), max(1, (len(scored) - WORST) // (ANSWERS - WORST)))
    places = [*range(min(WORST, len(scored))), *list(others)[: ANSWERS - WORST]]
    return [
        [
            f"{place + 1} of {len(scored)} from the worst",
            plain(scored[place][0]["prompt"]),
            plain("; ".join(slot["title"] for slot in scored[place][0]["slots"].values())),
            scored[place][0]["sc"],
            plain(scored[place][0]["answer"]),
            "-" if scored[place][1].get("sc") is None else f"{scored[place][1]['sc']:.3g}",
            plain(scored[place][1]["answer"]),
        ]
        for place in places
    ]


def plain(text: str) -> str:
    """Return a text as a cell of a table."""
    return " ".join(text.replace("|", "\\|").split()) or "(empty)"


def command(options: Namespace) -> str:
    """Return the command that makes the result again, without the folders of this machine."""
    words = shlex.join(["benchmarks/smollm2.py", *sys.argv[1:]])
    for place, name in ((options.data, "DATA"), (options.llm, "SMOLLM2"), (options.make, "SCRIPT")):
        words = words.replace(str(place), name) if place else words
    return f"python {words}"


if __name__ == "__main__":
    main()
