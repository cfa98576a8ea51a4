"""`vectalk narrate`."""

import time
from collections.abc import Callable
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

app = typer.Typer(add_completion=False)


@app.command()
def narrate(
    run: RunPlace,
    space: Annotated[str, typer.Argument(help="Name of one of its spaces, or the folder of a space.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the parts; what is there is not made again.")],
    task: Annotated[str | None, typer.Option("--task", help="A task of the run, in its first wording.")] = None,
    question: Annotated[str | None, typer.Option("--question", help="Or a question with one slot.")] = None,
    read_as: Annotated[
        str | None, typer.Option("--as", help="Space of the run as whose vectors other ones are read.")
    ] = None,
    shard: Annotated[str, typer.Option("--shard", help="K/N: every N-th part from the K-th on.")] = "1/1",
    rows: Annotated[int, typer.Option("--rows-per-part", min=1, help="Rows of a part.")] = 2048,
    batch: Annotated[int, typer.Option("--batch-size", min=1, help="Rows written at once.")] = 128,
    max_new_tokens: MaxNewTokens = 128,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Share the parts out among actors of a Ray cluster, started here if need be."),
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Actors of --ray; 2 when omitted.")] = None,
    moved: MovedSpaces = None,
    llm: MovedLlm = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one text for each vector of a space, into parquet parts; started again, it goes on where it was."""
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit()):
        raise typer.BadParameter(f"--shard takes K/N, such as 1/4, not {shard!r}")
    if ray and shard != "1/1":
        raise typer.BadParameter("--ray shares all parts out itself; leave --shard away")
    if workers is not None and not ray:
        raise typer.BadParameter("--workers is for --ray")

    from vectalk.talk import ELM, Decoding, TransformersEngine
    from vectalk.talk.narrate import job
    from vectalk.talk.narrate import narrate as narrate_here
    from vectalk.talk.ray_narration import narrate_with_ray

    load: dict[str, Any] = {"spaces": pairs(moved or [], "--space"), "llm": llm, "device": device}
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
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
        shown, started = bar.add_task("narrate", total=None, note=""), time.monotonic()
        first_told: int | None = None  # rows that were there already took no time

        def tell(done: int, total: int) -> None:
            nonlocal first_told
            first_told = done if first_told is None else first_told
            speed = (done - first_told) / max(time.monotonic() - started, 1e-9)
            left = f"{speed:.3g} rows/s, {(total - done) / speed / 60:.1f} min left" if speed else ""
            bar.update(shown, completed=done, total=total, note=left)

        report = write(progress=tell)
    shown_text = f"{report['out']}: {report['rows']} texts in {report['parts']} parts, {report['skipped']} were there"
    emit(report, shown_text, as_json)
