"""`vectalk evaluate`: measure a run on test entities, beside controls and rivals."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from vectalk.cli import common
from vectalk.errors import EvaluationError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Measure a run on test entities, beside controls and rivals.")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; an interrupted evaluation goes on there.")],
    corpus: Annotated[Path | None, typer.Option("--corpus", help="Corpus; the run's own when omitted.")] = None,
    space: Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR: where a space is now.")] = None,
    tasks: Annotated[str | None, typer.Option("--tasks", help="Names of tasks with commas; all when omitted.")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Another place of the base LLM.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Test examples of each task at most.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Text encoder: tfidf, minilm, or a sentence transformer; the one that made the space, else tfidf.",
        ),
    ] = None,
    same_encoder: Annotated[
        bool | None,
        typer.Option(
            "--same-encoder/--other-encoder", help="The encoder made the space itself: plain cosine. Spaces say so."
        ),
    ] = None,
    gaussian: Annotated[bool, typer.Option("--gaussian", help="Also answer about random vectors.")] = False,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer.")] = 160,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> None:
    """Load a run and its corpus, evaluate, print a table."""
    from vectalk.evaluation import CONDITIONS, table
    from vectalk.evaluation import evaluate as measure
    from vectalk.talk import ELM
    from vectalk.tasks import Corpus

    spaces = common.pairs(space or [], "--space")
    model = ELM.from_pretrained(str(run), spaces=spaces, llm=llm, device=device)
    place = corpus or getattr(model, "corpus_path", None)
    if place is None:
        raise EvaluationError(f"{run} does not say which corpus it was trained on; give it with --corpus DIR")
    with common.progress(quiet) as bar:
        jobs: dict[str, int] = {}

        def advance(what: str, done: int, total: int) -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=total, note="")
            bar.update(jobs[what], completed=done, total=total)  # type: ignore[arg-type]
            if done == total and not what.endswith(": elm"):
                bar.update(jobs[what], visible=False)  # type: ignore[arg-type]

        rows = measure(
            model,
            Corpus.load(place, spaces),
            out,
            tasks=[name.strip() for name in tasks.split(",") if name.strip()] if tasks else None,
            limit=limit,
            encoder=encoder,
            same_encoder=same_encoder,
            conditions=(*CONDITIONS, "gaussian") if gaussian else CONDITIONS,
            seed=seed,
            max_new_tokens=max_new_tokens,
            progress=advance,
        )
    common.emit(rows, Group(*table.rich_tables(rows)), json)
    common.note(f"written to {out}", quiet)
