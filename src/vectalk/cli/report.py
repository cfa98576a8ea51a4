"""`vectalk report`: write the HTML report of an evaluation from its files."""

from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli import common

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Write the report of a finished evaluation again, with the curves and ratings that were added later.")
def report(
    evaluation: Annotated[
        Path, typer.Argument(help="Folder of an evaluation, or of a run with a subfolder `evaluation`.")
    ],
    curves: Annotated[
        Path | None,
        typer.Option(
            "--curves", help="Folder that `vectalk curves` wrote. Default: searched in and next to the evaluation."
        ),
    ] = None,
    json: common.Json = False,
    quiet: common.Quiet = False,
) -> None:
    """Write `report.html` next to the files that it is made from."""
    from vectalk.evaluation.report import write_report

    inner = evaluation / "evaluation"
    path = write_report(inner if (inner / "metrics.jsonl").is_file() else evaluation, curves)
    common.emit({"report": str(path)}, str(path), json)
