"""`vectalk judge`: texts rated blind, by people and by language models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, note
from vectalk.cli.llm_options import FORMS, LLMOptions, takes_llm

app = typer.Typer(no_args_is_help=True, help="Have texts rated blind, by people and by language models.")

Folder = Annotated[Path, typer.Argument(help="Folder of the sheet, as `vectalk judge sheet` made it.")]

RATED = ("elm", "shuffled", "copy_text", "probe_text", "own_text", "text_llm")


@app.command()
def sheet(
    evaluation: Annotated[Path, typer.Argument(help="Folder of a finished evaluation.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the sheet and its key.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be repeated. All tasks when omitted.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            help=f"Whose texts to rate; may be repeated. {', '.join(RATED)} when omitted, where they exist.",
        ),
    ] = None,
    each: Annotated[int, typer.Option("--each", min=1, help="Test examples of each task.")] = 10,
    facts: Annotated[
        bool,
        typer.Option(
            "--facts/--titles-alone", help="Tell raters what is known (the reference text, which then is not rated)."
        ),
    ] = True,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a blind rating sheet: CSV and a page for people, and a key that they must not see."""
    from vectalk.evaluation.judges import write_sheet

    made = write_sheet(
        evaluation,
        out,
        tasks=task or None,
        conditions=condition or list(RATED),
        each=each,
        facts=facts,
        seed=seed,
        overwrite=overwrite,
    )
    found = {"items": len(made.items), "sheet": str(out / "sheet"), "key": str(out / "key.json")}
    emit(found, f"{len(made.items)} texts to rate, in {out / 'sheet'}", as_json)
    note(f"give raters the folder {out / 'sheet'} alone; then: vectalk judge score {out} THEIR.csv ...", quiet)


@app.command()
@takes_llm
def llm(
    folder: Folder,
    judge: Annotated[str, typer.Option("--judge", help=f"The LLM that judges: {FORMS}.")],
    as_json: Json = False,
    quiet: Quiet = False,
    *,
    llm_options: LLMOptions,
) -> None:
    """Have a language model fill in the sheet; replies are kept, so that nothing is paid for twice."""
    from vectalk.evaluation.judges import Judge, Sheet

    filled = Sheet.load(folder)
    with llm_options.open(judge, "--judge", greedy=True, quiet=quiet) as client:
        rater = Judge(client)
        path = folder / f"ratings-{_slug(rater.name)}.csv"
        rated = rater.fill_in(filled, path)
        described = client.describe()
    found = {"ratings": str(path), "rated": rated, "unread": rater.unread, "spending": described.get("spending")}
    emit(found, f"{rated} of {len(filled.items)} texts rated, in {path}", as_json)
    if rater.unread:
        note(f"no ratings could be read from the replies to {len(rater.unread)} texts", quiet)


@app.command()
def score(
    folder: Folder,
    ratings: Annotated[list[Path], typer.Argument(help="Filled-in CSV files.")],
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn filled-in sheets into figures, and put them into the evaluation's report."""
    from vectalk.evaluation.judges import Sheet
    from vectalk.evaluation.judges import score as measure
    from vectalk.evaluation.report import write_report
    from vectalk.files import write_json

    filled = Sheet.load(folder)
    found = measure(filled, ratings, seed)
    write_json(folder / "ratings.json", found)
    evaluation = Path(filled.evaluation)
    if (evaluation / "metrics.jsonl").is_file():
        write_json(evaluation / "ratings.json", found)
        note(f"the report has them too: {write_report(evaluation)}", quiet)
    emit(found, _table(found), as_json)


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("question", *found["conditions"], "alpha", "rho with SC", box=None)
    for question in found["questions"]:
        means = (_cell(question["means"][c]) for c in found["conditions"])
        agreement = "-" if question["alpha"] is None else f"{question['alpha']:.2f}"
        table.add_row(question["name"], *means, agreement, _cell(question["sc"]))
    return table


def _cell(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "-"
    interval = "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    return f"{figure['value']:.2f}{interval}"


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-." else "-" for c in name)
