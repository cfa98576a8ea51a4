"""`vectalk corpus build|show|check`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import ChatTemplateFile, Json, Overwrite, Quiet, Seed, emit, note, pairs, progress
from vectalk.cli.corpus_check import check
from vectalk.cli.llm_options import LLMOptions, takes_llm
from vectalk.cli.teachers import KINDS, announce, dry, open_teacher, samples

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Build and look at training examples.")
app.command()(check)


@app.command()
@takes_llm
def build(
    space: Annotated[list[str], typer.Option("--space", help="NAME=DIR; may be repeated.")],
    suite: Annotated[
        list[str], typer.Option("--suite", help="Suite of the package, a YAML file, or generic:SPACE; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    teacher: Annotated[str, typer.Option("--teacher", help=f"What writes the targets: {KINDS}.")] = "facts",
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be repeated. All tasks when omitted.")
    ] = None,
    variants: Annotated[int, typer.Option("--variants", help="Training examples of a task for each entity.")] = 4,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="texts: COLUMN for all tasks, or TASK=COLUMN; may be repeated.")
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option("--fact", help="openai, hf: tell the LLM only this column; may be repeated. All when omitted."),
    ] = None,
    texts: Annotated[
        int | None, typer.Option("--texts", help="openai, hf: different texts of a task about the same; 1.")
    ] = None,
    max_words: Annotated[int | None, typer.Option("--max-words", help="openai, hf: longest text; 150.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="openai, hf: estimate, show some prompts, ask and write nothing.")
    ] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    *,
    llm_options: LLMOptions,
) -> None:
    """Build a corpus: questions about entities, with targets written by a teacher."""
    from vectalk.files import check_free
    from vectalk.space import VectorSpace
    from vectalk.tasks import Suite, build_corpus, load_suite
    from vectalk.tasks.corpus.plan import planned
    from vectalk.tasks.teachers.llm import LLMTeacher

    spaces = {name: VectorSpace.load(place) for name, place in pairs(space, "--space").items()}
    joined = Suite.join([load_suite(name, spaces) for name in suite])
    if task:
        joined = joined.only(task)
    options = {"column": column, "fact": fact, "texts": texts, "max_words": max_words, "dry_run": dry_run}
    opened = open_teacher(teacher, joined, spaces, options, llm_options, quiet)
    with opened as writer, progress(quiet) as bar:
        if isinstance(writer, LLMTeacher):
            estimate = writer.estimate(planned(joined, spaces, variants, seed))
            if dry_run:
                shown = samples(writer, planned(joined, spaces, variants, seed))
                emit({"estimate": vars(estimate), "prompts": shown}, dry(estimate, shown), as_json)
                return
            check_free(out, "corpus.json", overwrite=overwrite)  # before anything is paid for
            announce(writer, estimate, bar, quiet)
        jobs: dict[str, Any] = {}

        def tell(task: str, done: int, total: int) -> None:
            if task not in jobs:
                jobs[task] = bar.add_task(task, total=total, note="")
            bar.update(jobs[task], completed=done)

        corpus = build_corpus(
            spaces, joined, writer, out, variants=variants, seed=seed, overwrite=overwrite, progress=tell
        )
        notes = writer.notes()
    for problem in notes:
        note(f"note: {problem}", quiet)
    counts = corpus.card["counts"]
    note(f"corpus written to {out}; look at it with `vectalk corpus show {out}`", quiet)
    emit(corpus.card, ", ".join(f"{count} {name}" for name, count in counts.items()) + " examples", as_json)


@app.command()
def show(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "train",
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many examples.")] = 5,
    llm: Annotated[
        str | None, typer.Option("--llm", help="Show the whole prompt as this LLM gets it, what is learned between »«.")
    ] = None,
    chat_template: ChatTemplateFile = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show examples, drawn at random, with what is supervised marked."""
    import random

    from vectalk.tasks import Corpus

    opened = Corpus.load(corpus)
    if task is not None:
        opened.suite.task(task)
    examples = list(opened.examples(split, task))
    chosen = random.Random(seed).sample(examples, min(count, len(examples)))
    prompts = None
    if llm is not None:
        from vectalk.model.prompt import open_format

        prompts = open_format(llm, dict.fromkeys(opened.spaces, 1), chat_template)
    rows, shown = [], []
    for example in chosen:
        titles = {slot: opened.spaces[space].title(row) for slot, (space, row) in example.slots.items()}
        text = f"{example.prompt}\n»{example.target}«"
        if prompts is not None:
            spaces = {slot: space for slot, (space, _) in example.slots.items()}
            text = prompts.show(prompts(example.prompt, spaces, example.target))
        bound = ", ".join(f"{{{slot}}} = {title}" for slot, title in titles.items())
        shown.append(f"{example.task} ({example.split}): {bound}\n{text}\n")
        rows.append({**example.row(), "titles": titles})
    note(f"{len(examples)} {split} examples" + (f" of task {task}" if task else ""), quiet)
    if as_json:
        emit(rows, "", True)
    else:
        typer.echo("\n".join(shown))
