"""`vectalk evaluate --questions`: measure how a run answers free questions, and print tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vectalk.cli import common
from vectalk.errors import EvaluationError

if TYPE_CHECKING:
    from rich.table import Table

LABELS = {"unseen_ratio": "unseen ratio", "told_ratio": "told ratio", "kl_kept": "KL kept"}


def refuse(questions: str, **options: object) -> None:
    """Raise an EvaluationError if an option that has no effect on free questions was given.

    Args:
        questions: the value of `--questions`.
        options: name of the option -> whether it was given.
    """
    for name, value in options.items():
        if value:
            raise EvaluationError(
                f"--{name.replace('_', '-')} has no effect with --questions {questions}; leave one of the two out"
            )


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return a table of scores by condition, and a table of the ratios, for rich."""
    from rich.table import Table

    from vectalk.evaluation.table import cell

    names = dict.fromkeys(r["metric"] for r in rows if r["metric"].startswith("score/"))
    columns = {name: name.removeprefix("score/") for name in names} | {"distinct": "distinct"}
    figures = {(r["condition"], r["metric"]): r for r in rows}
    n = max(r["n"] for r in rows)
    scores = Table(title=f"free questions ({n} test entities)", title_justify="left", title_style="bold")
    for place, head in enumerate(["", *columns.values()]):
        scores.add_column(head, justify="right" if place else "left", no_wrap=True)
    for condition in dict.fromkeys(r["condition"] for r in rows if r["metric"] in columns):
        values = [figures.get((condition, metric), {"value": None})["value"] for metric in columns]
        scores.add_row(condition, *map(cell, values), style="bold" if condition == "elm" else None)
    ratios = Table(title="ratios", title_justify="left", title_style="bold")
    for place, head in enumerate(("", "value", "95 % from", "to")):
        ratios.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        metric, _, attribute = row["metric"].partition("/")
        if metric in LABELS:
            label = f"{LABELS[metric]}, {attribute}" if attribute else LABELS[metric]
            label += "" if row["condition"] == "elm" else f" ({row['condition']})"
            ratios.add_row(label, *(cell(row[key]) for key in ("value", "low", "high")))
    return [scores, ratios] if ratios.row_count else [scores]


def show(rows: Sequence[dict[str, Any]], out: Path, json: bool, quiet: bool) -> None:
    """Print the rows as JSON or as tables, and what was left out."""
    from rich.console import Group

    from vectalk.files import read_json

    common.emit(list(rows), Group(*tables(rows)), json)
    card = read_json(out / "config.json")["questions"]
    for name, reason in (card["not_read"] | card["not_run"]).items():
        common.note(f"{name}: not measured ({reason})", quiet)
    for line in card["notes"]:
        common.note(line, quiet)
    common.note(f"written to {out}; the report is {out / 'report.html'}", quiet)
