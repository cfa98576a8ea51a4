"""`vectalk curves`: how answers change between entities, along concepts, and with the number of ratings."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vectalk.cli import common
from vectalk.cli.llm_options import FORMS, LLMOptions, takes_llm
from vectalk.errors import EvaluationError

DETAILS = (
    "states_",
    "percentile",
    "central",
    "other_",
    "target_",
    "score/",
    "p_value",
)  # shown only in the files and on the page

app = typer.Typer(add_completion=False)


@app.command(help="Measure answers between entities, along concepts, and for users with few ratings.")
@takes_llm
def curves(
    run: common.RunPlace,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the results. If the command was interrupted, repeat it to resume.")
    ],
    corpus: Annotated[
        Path | None, typer.Option("--corpus", help="Folder of the corpus; the run's own when omitted.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="NAME=DIR: new folder of a space that was moved; may be repeated."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            help="Task to ask; may be repeated. When omitted: for each space, the first task about one entity.",
        ),
    ] = None,
    llm: common.MovedLlm = None,
    pairs: Annotated[
        int, typer.Option("--pairs", min=2, help="Number of pairs of test entities to interpolate between.")
    ] = 100,
    entities: Annotated[int, typer.Option("--entities", min=2, help="Number of test entities to shift.")] = 40,
    concepts: Annotated[int, typer.Option("--concepts", min=1, help="Number of concepts to shift along.")] = 5,
    users: Annotated[
        int, typer.Option("--users", min=2, help="Number of test users to fold in (to compute from few ratings).")
    ] = 60,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="Only these curves: interpolation, shift or cold_start; may be repeated. All when omitted."
        ),
    ] = None,
    ratings: Annotated[
        str | None,
        typer.Option(
            "--ratings",
            help="Held-out ratings: a folder that `space factorize` wrote, a file, or SPACE=FILE. Default: searched in "
            "the folder above the spaces.",
        ),
    ] = None,
    text_llm: Annotated[
        str | None,
        typer.Option(
            "--text-llm",
            help="Baselines: an LLM that gets both titles of an interpolation and their shares, without and with the "
            f"facts of both, but no vector: {FORMS}.",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Text encoder of the read-back: tfidf, minilm, or a sentence transformer. Default: the one that made "
            "the space, else tfidf.",
        ),
    ] = None,
    trust_encoder: common.TrustEncoder = False,
    readback_texts: Annotated[
        int, typer.Option("--readback-texts", help="Largest number of training texts of a task to fit its read-back.")
    ] = 6000,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer, in tokens.")] = 160,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    json: common.Json = False,
    quiet: common.Quiet = False,
    *,
    llm_options: LLMOptions,
) -> None:
    """Load a run and its corpus, measure, and print the first, middle and last value of each curve."""
    from vectalk.evaluation import ClientChat
    from vectalk.evaluation.curves.curves import curves as measure
    from vectalk.talk import ELM
    from vectalk.tasks import Corpus

    llm_options.check(text_llm, "--text-llm")
    spaces = common.pairs(space or [], "--space")
    model = ELM.from_pretrained(run, spaces=spaces, llm=llm, device=device)
    place = corpus or getattr(model, "corpus_path", None)
    if place is None:
        raise EvaluationError(f"{run} has no path of its corpus; give --corpus DIR")
    opened = llm_options.open(text_llm, "--text-llm", greedy=True, quiet=quiet) if text_llm else nullcontext()
    with opened as client, common.progress(quiet) as bar:
        job = bar.add_task("curves", total=None, note="")

        def advance(what: str, done: int, total: int) -> None:
            bar.update(job, completed=done, total=total, note=what)

        rows = measure(
            model,
            Corpus.load(place, spaces),
            out,
            tasks=task or None,
            pairs=pairs,
            entities=entities,
            concepts=concepts,
            users=users,
            kinds=kind or ["interpolation", "shift", "cold_start"],
            ratings=ratings,
            chat=None if client is None else ClientChat(client, advance),
            encoder=encoder,
            trust_encoder=trust_encoder,
            readback_texts=readback_texts,
            seed=seed,
            max_new_tokens=max_new_tokens,
            progress=advance,
        )
    table = Table("curve", "space", "subject", "metric", "condition", "first", "middle", "last", box=None)
    series: dict[tuple[str, ...], list[float | None]] = {}
    for row in rows:
        if row["metric"].startswith(DETAILS):
            continue
        names: tuple[str, ...] = (row["curve"], row["space"], row["subject"] or "", row["metric"], row["condition"])
        series.setdefault(names, []).append(row["value"])
    for names, values in series.items():
        cells = [values[0], values[len(values) // 2], values[-1]] if len(values) > 1 else [None, values[0], None]
        table.add_row(*names, *("" if value is None else f"{value:.2f}" for value in cells))
    common.emit(rows, table, json)
    common.note(f"written to {out}; the charts are in {out / 'curves.html'}", quiet)
