"""`vectalk report`: an evaluation as one page for people, made of its files."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli import common

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Write the report of a finished evaluation anew, with curves and ratings that came since.")
def report(
    evaluation: Annotated[Path, typer.Argument(help="Folder of the evaluation, or of a run that holds one.")],
    curves: Annotated[
        Path | None,
        typer.Option("--curves", help="Folder of `vectalk curves`; looked for in and beside the evaluation."),
    ] = None,
    json: common.Json = False,
) -> None:
    """Write `report.html` beside the files that it is made of."""
    from vectalk.evaluation.report import write_report

    inner = evaluation / "evaluation"
    path = write_report(inner if (inner / "metrics.jsonl").is_file() else evaluation, curves)
    common.emit({"report": str(path)}, str(path), json)
