"""`vectalk curves`: what answers do along lines, along concepts, and as ratings come in."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from vectalk.cli import common
from vectalk.errors import EvaluationError

DETAILS = ("states_", "percentile", "central", "other_", "target_", "score/", "p_value")  # in the files and the page

app = typer.Typer(add_completion=False)


@app.command(help="Measure answers along lines between entities, along concepts, and as ratings come in.")
def curves(
    run: common.RunPlace,
    out: Annotated[Path, typer.Option("--out", help="Folder of the results; interrupted work goes on there.")],
    corpus: Annotated[Path | None, typer.Option("--corpus", help="Corpus; the run's own when omitted.")] = None,
    space: Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR: where a space is now.")] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Tasks with commas; the first about one entity of each space.")
    ] = None,
    llm: common.MovedLlm = None,
    pairs: Annotated[int, typer.Option("--pairs", min=2, help="Pairs of test entities to walk between.")] = 100,
    entities: Annotated[int, typer.Option("--entities", min=2, help="Test entities to shift.")] = 40,
    concepts: Annotated[int, typer.Option("--concepts", min=1, help="Concepts to shift along.")] = 5,
    users: Annotated[int, typer.Option("--users", min=2, help="Test users to fold in.")] = 60,
    kinds: Annotated[
        str, typer.Option("--kinds", help="Which curves, with commas.")
    ] = "interpolation,shift,cold_start",
    ratings: Annotated[
        str | None,
        typer.Option("--ratings", help="Held-out ratings, as of `vectalk evaluate`; looked for when omitted."),
    ] = None,
    text_llm: Annotated[
        str | None,
        typer.Option("--text-llm", help="llm:MODEL or hf:FOLDER: an LLM that is told both titles of a walk."),
    ] = None,
    endpoint: Annotated[Path | None, typer.Option("--endpoint", help="YAML with settings of its endpoint.")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Address of its endpoint.")] = None,
    key_env: Annotated[str | None, typer.Option("--key-env", help="Environment variable with its key.")] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Text encoder: tfidf, minilm, or a sentence transformer; the one that made the space, else tfidf.",
        ),
    ] = None,
    trust_encoder: common.TrustEncoder = False,
    readback_texts: Annotated[
        int, typer.Option("--readback-texts", help="Training texts of a task that a read-back is fitted on at most.")
    ] = 6000,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer.")] = 160,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> None:
    """Load a run and its corpus, measure, print where the curves begin and end."""
    from vectalk.evaluation import open_chat
    from vectalk.evaluation.curves.curves import curves as measure
    from vectalk.talk import ELM
    from vectalk.tasks import Corpus

    spaces = common.pairs(space or [], "--space")
    model = ELM.from_pretrained(run, spaces=spaces, llm=llm, device=device)
    place = corpus or getattr(model, "corpus_path", None)
    if place is None:
        raise EvaluationError(f"{run} does not say which corpus it was trained on; give it with --corpus DIR")
    told = open_chat(text_llm, endpoint=endpoint, base_url=base_url, key_env=key_env) if text_llm else nullcontext()
    with told as chat, common.progress(quiet) as bar:
        job = bar.add_task("curves", total=None, note="")
        rows = measure(
            model,
            Corpus.load(place, spaces),
            out,
            tasks=[name.strip() for name in tasks.split(",") if name.strip()] if tasks else None,
            pairs=pairs,
            entities=entities,
            concepts=concepts,
            users=users,
            kinds=[name.strip() for name in kinds.split(",") if name.strip()],
            ratings=ratings,
            chat=chat,
            encoder=encoder,
            trust_encoder=trust_encoder,
            readback_texts=readback_texts,
            seed=seed,
            max_new_tokens=max_new_tokens,
            progress=lambda what, done, total: bar.update(job, completed=done, total=total, note=what),
        )
    table = Table("curve", "space", "subject", "metric", "condition", "first", "middle", "last", box=None)
    series: dict[tuple[str, ...], list[float | None]] = {}
    for row in rows:
        if row["metric"].startswith(DETAILS):
            continue
        where: tuple[str, ...] = (row["curve"], row["space"], row["subject"] or "", row["metric"], row["condition"])
        series.setdefault(where, []).append(row["value"])
    for names, values in series.items():
        shown = [values[0], values[len(values) // 2], values[-1]] if len(values) > 1 else [None, values[0], None]
        table.add_row(*names, *("" if value is None else f"{value:.2f}" for value in shown))
    common.emit(rows, table, json)
    common.note(f"written to {out}; look at {out / 'curves.html'}", quiet)
