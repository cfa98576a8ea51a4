"""What distillation is worth: one LLM learns (a) target texts, (b) by distillation, (c) both, in the same time.

    python benchmarks/distill.py --space foreign --llm HuggingFaceTB/SmolLM2-135M-Instruct --minutes 30
    python benchmarks/distill.py --space own --llm HuggingFaceTB/SmolLM2-135M-Instruct --minutes 30

`foreign`: vectors of films that others fitted to MovieLens 25M. `own`: our own factorisation of MovieLens latest-small,
films and users. `--targets FOLDER` takes the corpus and the run of `smollm2.py` (its folder of the same space) as (a),
so that two trainings are left; give both the same `--minutes`.

Each training takes the recipe of its objective (`vectalk train --objective`). A few measured steps say how many steps,
and how many answers of the teacher (at most a third of the time), fit into `--minutes`; the start in closed form and
the choice of decoding settings come on top. Then all three models are evaluated: on the tasks of the suite (`--task`
limits them), and on free questions that no training used. Finished steps are not done again; an interrupted one goes
on. The result is `results/distill-SPACE.json`, with twenty free answers; `readme.py` writes its page.
"""

from __future__ import annotations

import random
import shlex
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import vectalk as vt
from common import data_folder, parser, print_table, write_result
from movielens import FEW, SUITES, WORK, Steps, make_spaces
from vectalk.cli.common import progress
from vectalk.cli.jobs import Jobs
from vectalk.demo.films import BRIEF
from vectalk.evaluation import Evaluation
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.questions import evaluate_questions
from vectalk.evaluation.report.samples import QUESTIONS
from vectalk.files import read_jsonl
from vectalk.training import make_trainer
from vectalk.training.recipe import Objective, choose_recipe
from vectalk.training.rehearsal import rehearse
from vectalk.training.setup import Setup

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
NAMES: dict[Objective, str] = {"targets": "(a) target texts", "distill": "(b) distillation", "both": "(c) both"}
FREE = ("unseen_ratio", "told_ratio", "kl_kept", "distinct", "score")
SHOWN = 20  # free answers in the result
Metrics = list[dict[str, Any]]


def main() -> None:
    """Train and evaluate the three models, and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--space", choices=["foreign", "own"], default="foreign")
    arguments.add_argument("--llm", required=True, help="a hub name or a folder")
    arguments.add_argument("--minutes", type=float, default=30, help="of each training, at most 60")
    arguments.add_argument("--limit", type=int, default=100, help="test entities of each task and question at most")
    arguments.add_argument("--targets", type=Path, help="folder of `smollm2.py` with a corpus and a run, taken as (a)")
    arguments.add_argument("--task", action="append", help="a task of the suite that is evaluated (default: all)")
    arguments.add_argument("--encoder", default="minilm")
    arguments.add_argument("--readback-texts", type=int, default=2000, help="training texts of a task that it reads")
    arguments.add_argument("--questions", default="unseen", help="`unseen`, or a YAML file")
    arguments.add_argument("--free-limit", type=int, help="test entities of the free questions (default: --limit)")
    arguments.add_argument("--free-tokens", type=int, default=160, help="longest free answer, in tokens")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--work", type=Path, help="folder of spaces, corpus and runs")
    arguments.add_argument("--name", help="of the result (default: distill-SPACE)")
    arguments.add_argument("--fresh", action="store_true")
    options = arguments.parse_args()
    if not 0 < options.minutes <= 60:
        sys.exit(f"--minutes is {options.minutes:g}; allowed is up to 60")
    data, work = data_folder(options.data), options.work or WORK / f"distill-{options.space}"
    steps = Steps(data, options.fresh)
    if options.targets and not (options.targets / "run" / "elm.json").is_file():
        sys.exit(f"--targets {options.targets} has no finished run; make it with benchmarks/smollm2.py")
    made = options.targets / "corpus" if options.targets else make_corpus(steps, data, work, options.space)
    corpus = vt.Corpus.load(made)
    facts = Facts(corpus, options.seed)  # its probes are fitted once for all models
    evaluations: dict[Objective, Metrics] = {}
    answers: dict[Objective, Metrics] = {}
    settings: dict[str, Any] = {}
    for objective in OBJECTIVES:
        taken = objective == "targets" and options.targets is not None
        run = options.targets / "run" if taken else work / f"run-{objective}"
        if options.fresh and run.exists() and not taken:
            shutil.rmtree(run)
        elm, settings[objective] = train(corpus, options.llm, run, objective, options.minutes, options.seed)
        evaluations[objective] = evaluate(elm, corpus, run / "evaluation", facts, options)
        answers[objective] = read_jsonl(run / "evaluation" / "answers.jsonl")
    rows, figures = table(evaluations, f"distill_{options.space}")
    columns = ["figure", *NAMES.values()]
    samples = free_answers(answers, options.seed)
    command = shlex.join(["benchmarks/distill.py", *sys.argv[1:]])
    for folder, word in ((options.data, "DATA"), (options.llm, Path(options.llm).name), (options.targets, "TARGETS")):
        command = command.replace(str(folder), word) if folder else command
    path = write_result(
        options.name or f"distill-{options.space}",
        f"python {command}",
        figures,
        steps=steps.commands,
        columns=columns,
        rows=rows,
        listed=[],
        answers=samples,
        settings=settings,
    )
    print_table(rows, columns)
    for sample in samples:
        print("\n" + "\n".join(f"{name}: {text}" for name, text in sample.items()))
    print(f"\nwritten to {path}")


def make_corpus(steps: Steps, data: Path, work: Path, space: str) -> Path:
    """Make the spaces and the corpus, and return the folder of the corpus."""
    spaces = make_spaces(steps, data, work, space)
    words = [part for name, folder in spaces.items() for part in ("--space", f"{name}={folder}")]
    for suite in SUITES[space]:
        words += ["--suite", suite, *(part for task in FEW[suite].split(",") for part in ("--task", task))]
    steps.vectalk(work / "corpus", "corpus", "build", *words, "--teacher", "facts")
    return work / "corpus"


def train(
    corpus: vt.Corpus, llm: str, run: Path, objective: Objective, minutes: float, seed: int
) -> tuple[vt.ELM, dict[str, Any]]:
    """Train a run unless it is there, and return it with its settings."""
    unfinished = (run / "checkpoints").is_dir() and not (run / "elm.json").is_file()
    if not (run / "elm.json").is_file():
        stored = run / "config.yaml"
        settings = vt.TrainConfig.load(stored) if unfinished else fit(corpus, llm, objective, minutes, seed)
        print(f"training on {objective}: {settings.stage1.steps} + {settings.stage2.steps} steps", file=sys.stderr)
        with progress(quiet=False) as bar:
            make_trainer(corpus, llm, run, settings, reporter=Jobs(bar), resume=unfinished).run()
    return vt.ELM.from_pretrained(run), vt.TrainConfig.load(run / "config.yaml").model_dump()


def fit(corpus: vt.Corpus, llm: str, objective: Objective, minutes: float, seed: int) -> vt.TrainConfig:
    """Return the recipe of an objective, with as many steps and answers of the teacher as fit into some minutes."""
    recipe = choose_recipe(llm, objective=objective)
    settings = vt.TrainConfig.load(None, {"seed": seed}, recipe)
    with TemporaryDirectory() as folder:
        stages = rehearse(Setup.make(corpus, llm, Path(folder) / "run", settings, claim=False)).stages
    budget, changes = 60 * minutes, dict[str, object]()
    if teaching := sum(stage.teacher_seconds for stage in stages):
        validation = settings.distill.validation
        seconds = teaching / (settings.distill.answers + validation)  # of one answer
        answers = min(settings.distill.answers, max(8, int(budget / 3 / seconds) - validation))
        changes["distill.answers"], budget = answers, budget - seconds * (answers + validation)
    steps = [stage.seconds_per_step + stage.evaluation_seconds / settings.eval_every for stage in stages]
    recipe_seconds = sum(stage.steps * step for stage, step in zip(stages, steps, strict=True))
    for stage in stages:
        changes[f"stage{stage.stage}.steps"] = max(1, int(stage.steps * budget / recipe_seconds))
    return vt.TrainConfig.load(None, {"seed": seed, **changes}, recipe)


def evaluate(elm: vt.ELM, corpus: vt.Corpus, out: Path, facts: Facts, options: Any) -> Metrics:
    """Evaluate a run on its tasks and on free questions, unless that was done, and return the rows of the metrics."""
    if not (out / "metrics.jsonl").is_file():
        measured = {"limit": options.limit, "encoder": options.encoder, "readback_texts": options.readback_texts}
        chosen = {"tasks": options.task, "conditions": BRIEF}
        vt.evaluate(elm, corpus, out, facts=facts, seed=options.seed, **measured, **chosen)
    if not any(row["task"] == QUESTIONS for row in Evaluation.load(out)):
        limit = options.free_limit or options.limit
        free = {"limit": limit, "seed": options.seed, "max_new_tokens": options.free_tokens}
        with progress(quiet=False) as bar:
            evaluate_questions(elm, corpus, out, options.questions, facts=facts, progress=Jobs(bar).work, **free)
    return list(Evaluation.load(out))


def table(evaluations: dict[Objective, Metrics], prefix: str) -> tuple[list[list[Any]], dict[str, float]]:
    """Return the table of figures with a column for each model, and the same figures by key.

    What the base LLM says does not depend on the model, but a column has it only where it was measured.
    """
    values: dict[tuple[str, str, str], dict[Objective, float]] = {}
    for objective, metrics in evaluations.items():
        for row in metrics:
            name = row["metric"].partition("/")[0]
            free = row["task"] == QUESTIONS and name in FREE
            told = ("told", "copy_told", "probe_told")
            conditions = ("elm", "shuffled", *told) if name == "score" else ("elm", *told[1:])
            listed = free or (row["task"] != QUESTIONS and name in ("recovery", "distinct"))
            if listed and row["condition"] in conditions and row["value"] is not None:
                values.setdefault((row["task"], row["metric"], row["condition"]), {})[objective] = row["value"]
    ordered = sorted(values, key=lambda key: (key[0] != QUESTIONS, key[0]))  # free questions first
    rows, figures = [], {}
    for task, metric, condition in ordered:
        cells = values[task, metric, condition]
        label = f"{task}: {metric}" + ("" if condition == "elm" else f" ({condition})")
        rows.append([label, *(cells.get(objective, "-") for objective in OBJECTIVES)])
        for objective, value in cells.items():
            key = "_".join([prefix, objective, task, metric.replace("/", "_"), condition])
            figures[key.removesuffix("_elm")] = value
    return rows, figures


def free_answers(answers: dict[Objective, Metrics], seed: int) -> list[dict[str, str]]:
    """Return some free answers of all models to the same questions about the same entities, with the facts."""
    texts: dict[tuple[str, str, str], dict[str, str]] = {}
    for objective, rows in answers.items():
        for row in rows:
            if row["task"] == QUESTIONS and row["condition"] == "elm":
                (slot,) = row["slots"].values()
                texts.setdefault((row["prompt"], slot["title"], row["reference"]), {})[NAMES[objective]] = row["answer"]
    chosen = random.Random(seed).sample(sorted(texts), min(SHOWN, len(texts)))
    return [
        {"question": question, "entity": title, "facts": facts, **texts[question, title, facts]}
        for question, title, facts in chosen
    ]


if __name__ == "__main__":
    main()
