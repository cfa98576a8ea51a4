"""`vectalk demo`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from vectalk.cli.common import Device, Json, Overwrite, Quiet, Seed, emit, note, out, progress

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to make.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A smaller world and less training.")] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """A world whose truth is known: trains, evaluates, and asks about points that are nobody."""
    from vectalk.cli.train import BarReporter
    from vectalk.demo.demo import FULL, QUICK, run_demo
    from vectalk.evaluation import table

    with progress(quiet) as bar:
        jobs: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=total, note="")
            bar.update(jobs[what], completed=done, total=total, visible=done < total or what == "base LLM")

        rows, samples = run_demo(
            out_folder,
            size=QUICK if quick else FULL,
            seed=seed,
            overwrite=overwrite,
            device=device,
            reporter=BarReporter(bar, quiet),
            progress=tell,
        )
    if as_json:
        emit({"metrics": rows, "samples": [sample.__dict__ for sample in samples]}, "", True)
        return
    out.print(Group(*table.rich_tables(rows)))
    for sample in samples:
        out.print(f"\n[bold]{sample.what}[/bold]")
        for label, text in (
            ("point", sample.source),
            ("support", sample.support),
            ("truth", sample.truth),
            ("answer", sample.answer),
            ("another's", sample.shuffled),
        ):
            out.print(f"  {label:<10} {text}", markup=False, soft_wrap=True)
    title, me = samples[0].source.strip("'"), sys.argv[0] if "/" in sys.argv[0] else "vectalk"
    if quick:
        note("\n--quick is too little training for good answers: look at the table, and run it without.", quiet)
    note(
        f"\nAsk it yourself:\n  {me} ask {out_folder}/run 'Describe {{island}}.' --bind island={title}\n"
        f"  {me} ask {out_folder}/run 'Who should visit {{island}}?' --bind island=\"mean('3', '4', '5')\"\n"
        f"  {me} space neighbors {out_folder}/islands 7\n"
        f"Then bring your own vectors: {me} space import --help",
        quiet,
    )
