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
    emit,
    pairs,
    progress,
)
from vectalk.cli.decoding_options import (
    MinP,
    NoRepeatNgramSize,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    without_none,
)
from vectalk.cli.name_options import Names, NamesWeight

app = typer.Typer(add_completion=False)


@app.command()
def narrate(
    run: RunPlace,
    space: Annotated[str, typer.Argument(help="Name of a space of the run, or the folder of another space.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write the parts to; existing parts are skipped.")],
    task: Annotated[
        str | None, typer.Option("--task", help="Task of the run; its first wording is the question.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--question", help="Your own question with one slot, instead of --task.")
    ] = None,
    read_as: Annotated[
        str | None, typer.Option("--as", help="Treat the vectors as belonging to this space of the run.")
    ] = None,
    shard: Annotated[
        str, typer.Option("--shard", help="K/N: write only every N-th part, starting with the K-th.")
    ] = "1/1",
    rows: Annotated[int, typer.Option("--rows-per-part", min=1, help="Number of rows in each part.")] = 2048,
    batch: Annotated[
        int, typer.Option("--batch-size", min=1, help="Number of answers generated at the same time.")
    ] = 128,
    max_new_tokens: MaxNewTokens = 128,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram_size: NoRepeatNgramSize = None,
    names: Names = "force",
    names_weight: NamesWeight = None,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray", help="Distribute the parts over a Ray cluster. If none is running, start one on this machine."
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
    """Write one text for each vector of a space into parquet files. If interrupted, repeat the command to resume."""
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit()):
        raise typer.BadParameter(f"--shard must be K/N, such as 1/4, not {shard!r}")
    if ray and shard != "1/1":
        raise typer.BadParameter(
            "--ray and --shard exclude each other, because Ray distributes the parts; omit --shard"
        )
    if workers is not None and not ray:
        raise typer.BadParameter("--workers works only together with --ray")

    from vectalk.talk import ELM, Decoding, TransformersEngine
    from vectalk.talk.narrate import job
    from vectalk.talk.narrate import narrate as narrate_here
    from vectalk.talk.ray_narration import narrate_with_ray

    load: dict[str, Any] = {"spaces": pairs(moved or [], "--space"), "llm": llm, "device": device}
    settings = without_none(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        names=names,
        names_weight=names_weight,
        seed=seed,
    )
    decoding = Decoding.of(settings)
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
        first_done: int | None = None  # rows that already exist took no time

        def advance(done: int, total: int) -> None:
            nonlocal first_done
            first_done = done if first_done is None else first_done
            speed = (done - first_done) / max(time.monotonic() - started, 1e-9)
            left = f"{speed:.3g} rows/s, {(total - done) / speed / 60:.1f} min left" if speed else ""
            bar.update(line, completed=done, total=total, note=left)

        report = write(progress=advance)
    existing = f"{report['skipped']} of them existed before"
    summary = f"{report['out']}: {report['rows']} texts in {report['parts']} parts, {existing}"
    emit(report, summary, as_json)
