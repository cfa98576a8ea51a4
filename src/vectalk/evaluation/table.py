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


def cell(row: Metric | None, interval: bool) -> str:
    """Return a figure as text, with its interval if wanted and known."""
    if row is None or row["value"] is None:
        return "-"
    value = f"{row['value']:.2f}"
    return f"{value} [{row['low']:.2f}, {row['high']:.2f}]" if interval and row["low"] is not None else value


def lines(rows: Sequence[Metric], task: str) -> tuple[list[str], list[list[str]]]:
    """Return heads and lines of one task: a condition a line, a metric a column."""
    rows = [r for r in rows if r["task"] == task]
    shown = columns(rows)
    found = {(r["condition"], r["metric"]): r for r in rows}
    conditions = dict.fromkeys(r["condition"] for r in rows if r["condition"] != "probe")
    body = [[c, *(cell(found.get((c, m)), c == WITH_INTERVAL) for m in shown)] for c in conditions]
    return ["", *shown.values()], body


def rich_tables(rows: Sequence[Metric]) -> list[Table]:
    """Return a table for each task, for rich."""
    from rich.table import Table

    tables = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        n = max(r["n"] for r in rows if r["task"] == task)
        table = Table(title=f"{task} ({n} test examples)", title_justify="left", title_style="bold")
        for place, head in enumerate(heads):
            table.add_column(head, justify="right" if place else "left", no_wrap=True)
        for line in body:
            table.add_row(*line, style="bold" if line[0] == WITH_INTERVAL else None)
        tables.append(table)
    return tables


def markdown(rows: Sequence[Metric]) -> str:
    """Return the tables in Markdown."""
    parts = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        rule = ["---", *["---:"] * (len(heads) - 1)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in (heads, rule, *body))
        parts.append(f"**{task}**\n\n{table}\n")
    return "\n".join(parts)
