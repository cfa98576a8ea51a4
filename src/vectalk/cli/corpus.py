"""`vectalk corpus build|show|check`."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import ChatTemplateFile, Json, Overwrite, Quiet, Seed, emit, note, pairs, progress
from vectalk.cli.corpus_check import check
from vectalk.cli.jobs import Jobs
from vectalk.cli.llm_options import LLMOptions, takes_llm
from vectalk.cli.teachers import KINDS, announce, dry, open_teacher, samples

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Build, show and check training examples.")
app.command()(check)


@app.command()
@takes_llm
def build(
    space: Annotated[list[str], typer.Option("--space", help="NAME=DIR: name and folder of a space; may be repeated.")],
    suite: Annotated[
        list[str], typer.Option("--suite", help="Suite of the package, a YAML file, or generic:SPACE; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    teacher: Annotated[str, typer.Option("--teacher", help=f"Teacher that writes the targets: {KINDS}.")] = "facts",
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be repeated. All tasks when omitted.")
    ] = None,
    variants: Annotated[
        int, typer.Option("--variants", help="Number of training examples for each task and entity.")
    ] = 4,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", help="For texts: the text column, as COLUMN for all tasks or TASK=COLUMN; may be repeated."
        ),
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option(
            "--fact", help="For openai, hf: give the LLM only this column; may be repeated. All columns when omitted."
        ),
    ] = None,
    texts: Annotated[
        int | None,
        typer.Option("--texts", help="For openai, hf: number of different texts for each task and entity (default 1)."),
    ] = None,
    max_words: Annotated[
        int | None, typer.Option("--max-words", help="For openai, hf: longest text, in words (default 150).")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="For openai, hf: estimate tokens and cost, show some prompts, send and write nothing."
        ),
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
                prompts = samples(writer, planned(joined, spaces, variants, seed))
                emit({"estimate": vars(estimate), "prompts": prompts}, dry(estimate, prompts), as_json)
                return
            check_free(out, "corpus.json", overwrite=overwrite)  # fail before anything is paid for
            announce(writer, estimate, bar, quiet)
        corpus = build_corpus(
            spaces, joined, writer, out, variants=variants, seed=seed, overwrite=overwrite, progress=Jobs(bar).move
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
    split: Annotated[str, typer.Option("--split", help="Split of the examples: train, validation or test.")] = "train",
    task: Annotated[str | None, typer.Option("--task", help="Only this task.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Number of examples.")] = 5,
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="Show the full prompt as this LLM gets it, with the target tokens between »«."),
    ] = None,
    chat_template: ChatTemplateFile = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show examples drawn at random, with the target between »«."""
    import random

    from vectalk.tasks import Corpus

    opened = Corpus.load(corpus)
    if task is not None:
        opened.suite.task(task)
    examples = list(opened.examples(split, task))
    sample = random.Random(seed).sample(examples, min(count, len(examples)))
    prompts = None
    if llm is not None:
        from vectalk.model.prompt import open_format

        prompts = open_format(llm, dict.fromkeys(opened.spaces, 1), chat_template)
    rows, paragraphs = [], []
    for example in sample:
        titles = {slot: opened.spaces[space].title(row) for slot, (space, row) in example.slots.items()}
        text = f"{example.prompt}\n»{example.target}«"
        if prompts is not None:
            spaces = {slot: space for slot, (space, _) in example.slots.items()}
            text = prompts.show(prompts(example.prompt, spaces, example.target))
        bound = ", ".join(f"{{{slot}}} = {title}" for slot, title in titles.items())
        paragraphs.append(f"{example.task} ({example.split}): {bound}\n{text}\n")
        rows.append({**example.row(), "titles": titles})
    note(f"{len(examples)} {split} examples" + (f" of task {task}" if task else ""), quiet)
    if as_json:
        emit(rows, "", True)
    else:
        typer.echo("\n".join(paragraphs))
