"""`vectalk demo`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group

from vectalk.cli.common import Device, Json, Overwrite, Quiet, Seed, emit, note, out, progress
from vectalk.cli.jobs import Jobs

if TYPE_CHECKING:
    from vectalk.evaluation import Evaluation

app = typer.Typer(add_completion=False)

_FILMS = """
facts: the metadata, in words. answer: the model's answer; the model sees only the vector. shuffled: the model's answer
to the same question about another vector. probe: what a direct probe predicts from the vector, in words.

Ask the model yourself:
  {me} ask {folder}/run 'Summarise {{film}}.' --bind film="lerp('Alien (1979)', 'Annie Hall (1977)', 0.5)"
  {me} demo --out {folder} --likes 'Alien (1979)' 'Blade Runner (1982)' 'Brazil (1985)'
{map}
Then import your own vectors: {me} space import --help"""
_MAP = """Open the map of the vectors in the browser, click anywhere and ask:
  {me} serve {folder}/run     then http://127.0.0.1:8000/"""
_LIKES = """
answer: the model describes the viewer; it sees only the vector computed from the films. counted: the genres of these
films, to check the answer. next: the films that the factorisation ranks first, without any language model."""


@app.command()
def demo(
    more: Annotated[
        list[str] | None, typer.Argument(help="More titles of films, after --likes.", metavar="[FILM]...")
    ] = None,
    likes: Annotated[
        list[str] | None,
        typer.Option(
            "--likes",
            help="Titles of films that a viewer likes. The model in --out then describes this viewer.",
        ),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("runs/demo"),
    full: Annotated[bool, typer.Option("--full", help="Train all 25 tasks; this takes several times as long.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Train for a short time, which is too little for good answers.")
    ] = False,
    world: Annotated[
        str | None,
        typer.Option(
            "--world",
            help="Data to train on: `films`, or `islands` (invented, with known true answers for every point). "
            "Default: films if their data exist, else islands.",
        ),
    ] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            "--llm", help="Base LLM: a folder, or owner/name on the hub. The tiny LLM of the demo when omitted."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            help="Train for at most this time, in minutes. With --llm, the default is the adapter stored for this LLM; "
            "if there is none, 10 minutes.",
        ),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on included data, evaluate, and show answers side by side. Takes minutes on two cores."""
    from vectalk.demo.data import WHERE, has_demo_data

    if world is None:
        about_films = has_demo_data() or likes or full or llm or minutes
        world = "films" if about_films else "islands"
        if not about_films:
            note(f"using an invented world of islands: {WHERE}", quiet)
    if world not in ("films", "islands"):
        raise typer.BadParameter(f"--world must be `films` or `islands`, not {world!r}")
    if full and quick:
        raise typer.BadParameter("--full and --quick exclude each other; give one of them")
    if more and not likes:
        raise typer.BadParameter(f"unexpected argument {more[0]!r}; titles of films come after --likes")
    if likes and world != "films":
        raise typer.BadParameter("--likes works only with films; omit --world")
    if world == "islands":
        if full or llm or minutes:
            raise typer.BadParameter("--full, --llm and --minutes work only with films; omit --world")
        _islands(out_folder, quick, seed, overwrite, device, as_json, quiet)
        return
    titles = [*(likes or []), *(more or [])]
    if titles:
        _check_titles(titles)
    if not titles or not (out_folder / "run" / "elm.json").is_file():
        if titles:
            note(f"{out_folder} has no run yet; training it first (only this time)", quiet)
        rows, samples = _films(out_folder, full, quick, llm, minutes, seed, overwrite, device, quiet)
        if not titles:
            _show_films(out_folder, rows, samples, quick, as_json, quiet)
            return
    _describe_viewer(out_folder, titles, device, as_json, quiet)


def _films(
    folder: Path,
    full: bool,
    quick: bool,
    llm: str | None,
    minutes: float | None,
    seed: int,
    overwrite: bool,
    device: str,
    quiet: bool,
) -> tuple["Evaluation", list[Any]]:
    from vectalk.demo.films import FULL, QUICK, USUAL, run_demo

    size = FULL if full else QUICK if quick else USUAL
    with progress(quiet) as bar:
        jobs = Jobs(bar)
        return run_demo(
            folder,
            size=size,
            llm=llm,
            minutes=minutes,
            seed=seed,
            overwrite=overwrite,
            device=device,
            reporter=jobs,
            progress=jobs.work,
        )


def _show_films(
    folder: Path, rows: "Evaluation", samples: Sequence[Any], quick: bool, as_json: bool, quiet: bool
) -> None:
    from vectalk.evaluation import table

    if as_json:
        emit({"metrics": list(rows), "samples": [sample.to_dict() for sample in samples]}, "", True)
        return
    main_rows = [row for row in rows if row["task"] in ("summary", "user_profile")]
    out.print(Group(*table.rich_tables(main_rows)))
    note(f"the report with all tasks and more answers: {folder}/evaluation/report.html", quiet)
    for sample in samples:
        out.print(f"\n[bold]{sample.what}[/bold]")
        labelled = [("point", sample.source), ("support", sample.support), ("facts", sample.truth)]
        labelled += [("answer", sample.answer), ("shuffled", sample.shuffled), ("probe", sample.probe)]
        _lines([(label, text) for label, text in labelled if text is not None])
    if quick:
        note("\n--quick trains too little for good answers, as the table shows; for good answers, omit --quick.", quiet)
    note(_FILMS.format(me=_me(), folder=folder, map=_MAP.format(me=_me(), folder=folder)), quiet)


def _me() -> str:
    """Return the command as the user called it."""
    return sys.argv[0] if "/" in sys.argv[0] else "vectalk"


def _check_titles(titles: list[str]) -> None:
    """Raise an error for unknown titles before minutes of training, not after."""
    from vectalk.demo.data import demo_data
    from vectalk.space import VectorSpace

    films = VectorSpace.load(demo_data() / "films")
    for title in titles:
        films.find(title)


def _describe_viewer(folder: Path, titles: list[str], device: str, as_json: bool, quiet: bool) -> None:
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

    with progress(quiet) as bar:
        jobs = Jobs(bar)
        rows, samples = run_demo(
            folder,
            size=QUICK if quick else FULL,
            seed=seed,
            overwrite=overwrite,
            device=device,
            reporter=jobs,
            progress=jobs.work,
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
    note("\n" + _MAP.format(me=_me(), folder=folder), quiet)
