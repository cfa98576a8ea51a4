"""`vectalk demo`."""

import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from vectalk.cli.common import Device, Json, Overwrite, Quiet, Seed, emit, note, out, progress

if TYPE_CHECKING:
    from vectalk.evaluation import Evaluation

app = typer.Typer(add_completion=False)

_FILMS = """
facts: what the metadata say. answer: what the model says of the vector alone. shuffled: its answer to the same question
about another vector. probe: what a direct probe reads from the vector, spelled out.

Ask it yourself:
  {me} ask {folder}/run 'Summarise {{film}}.' --bind film="lerp('Alien (1979)', 'Annie Hall (1977)', 0.5)"
  {me} demo --out {folder} --likes 'Alien (1979)' 'Blade Runner (1982)' 'Brazil (1985)'
Then bring your own vectors: {me} space import --help"""
_LIKES = """
answer: what the model says of the vector that the films give. counted: the genres of the films themselves, to check it
by. next: what the factor model puts first, without any language model."""


@app.command()
def demo(
    more: Annotated[list[str] | None, typer.Argument(help="More films, after --likes.", metavar="[FILM]...")] = None,
    likes: Annotated[
        list[str] | None,
        typer.Option("--likes", help="Films that somebody likes; says who that is, using the run in --out."),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("runs/demo"),
    full: Annotated[bool, typer.Option("--full", help="Train all 25 tasks; takes several times as long.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Train less, too little for good answers.")] = False,
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            help="`films`, or `islands`: invented, so that all truth is known. Default: films where their data are at "
            "hand, else islands.",
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="Base LLM: a folder, or owner/name on the hub; the demo's own when omitted."),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on embedded data, evaluate, and show answers side by side, in minutes on two cores."""
    from vectalk.demo.data import WHERE, has_demo_data

    if world is None:
        about_films = has_demo_data() or likes or full or llm
        world = "films" if about_films else "islands"
        if not about_films:
            note(f"showing an invented world of islands: {WHERE}", quiet)
    if world not in ("films", "islands"):
        raise typer.BadParameter(f"--world is `films` or `islands`, not {world!r}")
    if full and quick:
        raise typer.BadParameter("--full and --quick exclude each other")
    if more and not likes:
        raise typer.BadParameter(f"{more[0]!r} is not an option; name films after --likes")
    if likes and world != "films":
        raise typer.BadParameter("--likes is about films; omit --world")
    if world == "islands":
        if full or llm:
            raise typer.BadParameter("--full and --llm belong to the films; omit --world")
        _islands(out_folder, quick, seed, overwrite, device, as_json, quiet)
        return
    titles = [*(likes or []), *(more or [])]
    if titles:
        _check(titles)
    if not titles or not (out_folder / "run" / "elm.json").is_file():
        if titles:
            note(f"there is no run at {out_folder} yet: making it first, once", quiet)
        rows, samples = _films(out_folder, full, quick, llm, seed, overwrite, device, quiet)
        if not titles:
            _show_films(out_folder, rows, samples, quick, as_json, quiet)
            return
    _likes(out_folder, titles, device, as_json, quiet)


@contextmanager
def _telling(quiet: bool) -> Any:
    """Yield a reporter of training and a callback of other work, on one display."""
    from vectalk.cli.train import BarReporter

    with progress(quiet) as bar:
        jobs: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=total, note="")
            bar.update(jobs[what], completed=done, total=total, visible=done < total)

        yield BarReporter(bar), tell


def _films(
    folder: Path, full: bool, quick: bool, llm: str | None, seed: int, overwrite: bool, device: str, quiet: bool
) -> tuple["Evaluation", list[Any]]:
    from vectalk.demo.films import FULL, QUICK, USUAL, run_demo

    size = FULL if full else QUICK if quick else USUAL
    with _telling(quiet) as (reporter, tell):
        return run_demo(
            folder, size=size, llm=llm, seed=seed, overwrite=overwrite, device=device, reporter=reporter, progress=tell
        )


def _show_films(
    folder: Path, rows: "Evaluation", samples: Sequence[Any], quick: bool, as_json: bool, quiet: bool
) -> None:
    from vectalk.evaluation import table

    if as_json:
        emit({"metrics": list(rows), "samples": [sample.to_dict() for sample in samples]}, "", True)
        return
    shown = [row for row in rows if row["task"] in ("summary", "user_profile")]
    out.print(Group(*table.rich_tables(shown)))
    note(f"all tasks, and answers side by side: {folder}/evaluation/report.html", quiet)
    for sample in samples:
        out.print(f"\n[bold]{sample.what}[/bold]")
        labelled = [("point", sample.source), ("support", sample.support), ("facts", sample.truth)]
        labelled += [("answer", sample.answer), ("shuffled", sample.shuffled), ("probe", sample.probe)]
        _lines([(label, text) for label, text in labelled if text is not None])
    me = sys.argv[0] if "/" in sys.argv[0] else "vectalk"
    if quick:
        note("\n--quick is too little training for good answers: look at the table, and run it without.", quiet)
    note(_FILMS.format(me=me, folder=folder), quiet)


def _check(titles: list[str]) -> None:
    """Raise an error for unknown films now, and not after minutes of training."""
    from vectalk.demo.data import demo_data
    from vectalk.space import VectorSpace

    films = VectorSpace.load(demo_data() / "films")
    for title in titles:
        films.find(title)


def _likes(folder: Path, titles: list[str], device: str, as_json: bool, quiet: bool) -> None:
    from vectalk.demo.data import demo_data
    from vectalk.demo.likes import who_likes
    from vectalk.demo.showcase import VIEWER
    from vectalk.talk import ELM

    elm = ELM.from_pretrained(folder / "run", device=device)
    visitor, answer = who_likes(elm, demo_data(), titles, VIEWER)
    near = [neighbor.title for neighbor in answer.neighbors]
    if as_json:
        emit(
            {"liked": visitor.liked, "genres": dict(visitor.genres), "next": visitor.next, **answer.to_dict()}, "", True
        )
        return
    counted = ", ".join(f"{genre} {count}" for genre, count in visitor.genres)
    _lines(
        [
            ("liked", "; ".join(visitor.liked)),
            ("answer", answer.text),
            ("counted", counted),
            ("support", str(answer.support)),
            ("nearest", "; ".join(near)),
            ("next", "; ".join(visitor.next)),
        ]
    )
    note(_LIKES, quiet)


def _lines(labelled: Sequence[tuple[str, str]]) -> None:
    for label, text in labelled:
        out.print(f"  {label:<10} {text}", markup=False, soft_wrap=True)


def _islands(folder: Path, quick: bool, seed: int, overwrite: bool, device: str, as_json: bool, quiet: bool) -> None:
    from vectalk.demo.islands import FULL, QUICK, run_demo
    from vectalk.evaluation import table

    with _telling(quiet) as (reporter, tell):
        rows, samples = run_demo(
            folder,
            size=QUICK if quick else FULL,
            seed=seed,
            overwrite=overwrite,
            device=device,
            reporter=reporter,
            progress=tell,
        )
    if as_json:
        emit({"metrics": list(rows), "samples": [sample.__dict__ for sample in samples]}, "", True)
        return
    out.print(Group(*table.rich_tables(rows)))
    for sample in samples:
        out.print(f"\n[bold]{sample.what}[/bold]")
        _lines(
            [
                ("point", sample.source),
                ("support", sample.support),
                ("truth", sample.truth),
                ("answer", sample.answer),
                ("shuffled", sample.shuffled),
            ]
        )
