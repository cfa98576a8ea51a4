"""`vectalk narrate`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Device, Json, Quiet, Seed, emit, pairs, progress

app = typer.Typer(add_completion=False)


@app.command()
def narrate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
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
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest text.")] = 128,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Share of the probability that is sampled from.")] = 1.0,
    moved: Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR of a space that moved.")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Another place of the base LLM.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write one text for each vector of a space, into parquet parts; started again, it goes on where it was."""
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit()):
        raise typer.BadParameter(f"--shard takes K/N, such as 1/4, not {shard!r}")

    from vectalk.talk import ELM, Decoding, TransformersEngine
    from vectalk.talk.narrate import job
    from vectalk.talk.narrate import narrate as write

    elm = ELM.from_pretrained(run, spaces=pairs(moved or [], "--space"), llm=llm, device=device)
    if isinstance(elm.engine, TransformersEngine):
        elm.engine.batch_size = batch
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    work = job(elm, space, out, task=task, question=question, name=read_as, rows=rows, decoding=decoding)
    with progress(quiet) as bar:
        shown, started = bar.add_task("narrate", total=None, note=""), time.monotonic()
        first_told: int | None = None  # rows that were there already took no time

        def tell(done: int, total: int) -> None:
            nonlocal first_told
            first_told = done if first_told is None else first_told
            speed = (done - first_told) / max(time.monotonic() - started, 1e-9)
            left = f"{speed:.3g} rows/s, {(total - done) / speed / 60:.1f} min left" if speed else ""
            bar.update(shown, completed=done, total=total, note=left)

        report = write(work, shard=(int(first), int(last)), progress=tell)
    shown_text = f"{report['out']}: {report['rows']} texts in {report['parts']} parts, {report['skipped']} were there"
    emit(report, shown_text, as_json)
