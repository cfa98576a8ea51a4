"""`vectalk narrate`."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import (
    Device,
    Json,
    MaxNewTokens,
    MovedLlm,
    MovedSpaces,
    Quiet,
    RunPlace,
    Seed,
    Temperature,
    TopP,
    emit,
    pairs,
    progress,
)
from vectalk.cli.name_options import Names, NamesWeight

app = typer.Typer(add_completion=False)


@app.command()
def narrate(
    run: RunPlace,
    space: Annotated[str, typer.Argument(help="Name of a space of the run, or the folder of another space.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the parts; parts that are already there are kept.")],
    task: Annotated[str | None, typer.Option("--task", help="Task of the run whose first wording is asked.")] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="Your own question with one slot, instead of a task.")
    ] = None,
    read_as: Annotated[
        str | None, typer.Option("--as", help="Treat the vectors as belonging to this space of the run.")
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", help="K/N: write only every N-th part, starting with the K-th.")
    ] = "1/1",
    rows: Annotated[int, typer.Option("--rows-per-part", min=1, help="Rows in a part.")] = 2048,
    batch: Annotated[int, typer.Option("--batch-size", min=1, help="Answers generated at the same time.")] = 128,
    max_new_tokens: MaxNewTokens = 128,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    names: Names = "force",
    names_weight: NamesWeight = None,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray", help="Distribute the parts over a Ray cluster, which is started here if none is running."
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of Ray actors (with --ray); 2 when omitted.")
    ] = None,
    moved: MovedSpaces = None,
    llm: MovedLlm = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one text for each vector of a space, into parquet parts. The same command resumes interrupted work."""
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit()):
        raise typer.BadParameter(f"--shard takes K/N, such as 1/4, not {shard!r}")
    if ray and shard != "1/1":
        raise typer.BadParameter("--ray shares all parts out itself; omit --shard")
    if workers is not None and not ray:
        raise typer.BadParameter("--workers is for --ray")

    from vectalk.talk import ELM, Decoding, TransformersEngine
    from vectalk.talk.narrate import job
    from vectalk.talk.narrate import narrate as narrate_here
    from vectalk.talk.ray_narration import narrate_with_ray

    load: dict[str, Any] = {"spaces": pairs(moved or [], "--space"), "llm": llm, "device": device}
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    decoding = replace(decoding, names=names, names_weight=names_weight)
    what: dict[str, Any] = {"task": task, "question": question, "name": read_as, "rows": rows, "decoding": decoding}
    write: Callable[..., dict[str, Any]]
    if ray:
        write = partial(narrate_with_ray, run, space, out, workers=workers or 2, batch_size=batch, **load, **what)
    else:
        elm = ELM.from_pretrained(run, **load)
        assert isinstance(elm.engine, TransformersEngine)
        elm.engine.batch_size = batch
        write = partial(narrate_here, job(elm, space, out, **what), shard=(int(first), int(last)))
    with progress(quiet) as bar:
        line, started = bar.add_task("narrate", total=None, note=""), time.monotonic()
        first_done: int | None = None  # rows that were there already took no time

        def tell(done: int, total: int) -> None:
            nonlocal first_done
            first_done = done if first_done is None else first_done
            speed = (done - first_done) / max(time.monotonic() - started, 1e-9)
            left = f"{speed:.3g} rows/s, {(total - done) / speed / 60:.1f} min left" if speed else ""
            bar.update(line, completed=done, total=total, note=left)

        report = write(progress=tell)
    summary = (
        f"{report['out']}: {report['rows']} texts in {report['parts']} parts, {report['skipped']} of them from before"
    )
    emit(report, summary, as_json)
