"""`vectalk judge sheet|llm|score`: blind ratings of texts, by people and by language models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vectalk.cli.common import Json, Overwrite, Quiet, Seed, emit, note
from vectalk.cli.llm_options import FORMS, LLMOptions, takes_llm

app = typer.Typer(no_args_is_help=True, help="Collect blind ratings of texts, from people and from language models.")

Folder = Annotated[Path, typer.Argument(help="Folder that `vectalk judge sheet` wrote.")]

RATED = ("elm", "shuffled", "copy_text", "probe_text", "own_text", "text_llm")


@app.command()
def sheet(
    evaluation: Annotated[Path, typer.Argument(help="Folder of a finished evaluation.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write: the sheet and its key.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be repeated. All tasks when omitted.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            help=f"Condition whose texts are rated; may be repeated. Default: those that exist of {', '.join(RATED)}.",
        ),
    ] = None,
    each: Annotated[int, typer.Option("--each", min=1, help="Number of test examples of each task.")] = 10,
    facts: Annotated[
        bool,
        typer.Option(
            "--facts/--titles-alone",
            help="Show raters the reference text as known facts (it is then not rated), or only the title.",
        ),
    ] = True,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a blind rating sheet (CSV and a page), and a key that raters must not see."""
    from vectalk.evaluation.judges import write_sheet

    written = write_sheet(
        evaluation,
        out,
        tasks=task or None,
        conditions=condition or list(RATED),
        each=each,
        facts=facts,
        seed=seed,
        overwrite=overwrite,
    )
    document = {"items": len(written.items), "sheet": str(out / "sheet"), "key": str(out / "key.json")}
    emit(document, f"{len(written.items)} texts to rate, in {out / 'sheet'}", as_json)
    note(f"give raters only the folder {out / 'sheet'}; then run: vectalk judge score {out} THEIR.csv ...", quiet)


@app.command()
@takes_llm
def llm(
    folder: Folder,
    judge: Annotated[str, typer.Option("--judge", help=f"LLM that rates the texts: {FORMS}.")],
    as_json: Json = False,
    quiet: Quiet = False,
    *,
    llm_options: LLMOptions,
) -> None:
    """Let a language model fill in the sheet. Replies are cached, so you do not pay twice."""
    from vectalk.evaluation.judges import Judge, Sheet

    filled = Sheet.load(folder)
    with llm_options.open(judge, "--judge", greedy=True, quiet=quiet) as client:
        rater = Judge(client)
        path = folder / f"ratings-{_slug(rater.name)}.csv"
        rated = rater.fill_in(filled, path)
        description = client.describe()
    document = {"ratings": str(path), "rated": rated, "unread": rater.unread, "spending": description.get("spending")}
    emit(document, f"{rated} of {len(filled.items)} texts rated, in {path}", as_json)
    if rater.unread:
        note(f"{len(rater.unread)} texts have no rating, because the reply of the LLM could not be read", quiet)


@app.command()
def score(
    folder: Folder,
    ratings: Annotated[list[Path], typer.Argument(help="CSV files with ratings.")],
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compute figures from the ratings, and add them to the report of the evaluation."""
    from vectalk.evaluation.judges import Sheet
    from vectalk.evaluation.judges import score as measure
    from vectalk.evaluation.report import write_report
    from vectalk.files import write_json

    filled = Sheet.load(folder)
    figures = measure(filled, ratings, seed)
    write_json(folder / "ratings.json", figures)
    evaluation = Path(filled.evaluation)
    if (evaluation / "metrics.jsonl").is_file():
        write_json(evaluation / "ratings.json", figures)
        note(f"the ratings were added to the report: {write_report(evaluation)}", quiet)
    emit(figures, _table(figures), as_json)


def _table(figures: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("question", *figures["conditions"], "alpha", "rho with SC", box=None)
    for question in figures["questions"]:
        means = (_cell(question["means"][c]) for c in figures["conditions"])
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
