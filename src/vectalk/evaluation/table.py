"""The metrics of an evaluation as a table, for the terminal or in Markdown; made of `metrics.jsonl` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Metric = dict[str, Any]
NAMES = {"sc": "SC", "nsc": "nSC", "recall@10": "R@10", "distinct": "distinct"}
WITH_INTERVAL = "elm"


def columns(rows: Sequence[Metric]) -> dict[str, str]:
    """Return the metrics that a table shows, and what each is called."""
    attributes = dict.fromkeys(r["metric"] for r in rows if r["metric"].startswith("recovery/"))
    present = {r["metric"] for r in rows}
    shown = {name: name.removeprefix("recovery/") for name in attributes}
    return {**shown, **{name: label for name, label in NAMES.items() if name in present}}


def cell(value: float | None) -> str:
    """Return a figure as text; a dash where it is not defined."""
    return "-" if value is None else f"{value:.2f}"


def lines(rows: Sequence[Metric], task: str) -> tuple[list[str], dict[str, list[Metric]]]:
    """Return the heads of one task's table, and for each condition the metric of each column."""
    rows = [r for r in rows if r["task"] == task]
    shown = columns(rows)
    found = {(r["condition"], r["metric"]): r for r in rows}
    conditions = dict.fromkeys(r["condition"] for r in rows if r["condition"] != "probe")
    missing = {"value": None, "low": None, "high": None}
    return ["", *shown.values()], {c: [found.get((c, m), missing) for m in shown] for c in conditions}


def rich_tables(rows: Sequence[Metric]) -> list[Table]:
    """Return a table for each task, for rich; the model's interval stands below it, so that columns stay narrow."""
    from rich.table import Table

    tables = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        n = max(r["n"] for r in rows if r["task"] == task)
        table = Table(title=f"{task} ({n} test examples)", title_justify="left", title_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="right" if place else "left", no_wrap=True)
        for condition, found in body.items():
            model = condition == WITH_INTERVAL
            table.add_row(condition, *(cell(r["value"]) for r in found), style="bold" if model else None)
            for name, bound in (("  95 % from", "low"), ("  to", "high")) if model else ():
                table.add_row(name, *("" if r[bound] is None else cell(r[bound]) for r in found), style="dim")
        tables.append(table)
    return tables


def markdown(rows: Sequence[Metric]) -> str:
    """Return the tables in Markdown."""
    parts = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        written = [heads, ["---", *["---:"] * (len(heads) - 1)]]
        for condition, found in body.items():
            written.append([condition, *(_with_interval(r, condition == WITH_INTERVAL) for r in found)])
        parts.append(f"**{task}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in written))
    return "\n".join(parts)


def _with_interval(row: Metric, wanted: bool) -> str:
    known = wanted and row["low"] is not None
    return f"{cell(row['value'])} [{row['low']:.2f}, {row['high']:.2f}]" if known else cell(row["value"])
