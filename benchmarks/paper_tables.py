"""Rows of results as Markdown, for the page of the paper's experiments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
Result = dict[str, Any]
SPACES = {"own": "own factors", "foreign": "vectors of others", "semantic": "vectors of paragraphs"}
# A pretrained LLM that reads the vector, beside the same LLM that reads titles.
TOLD = "foreign-told"
TITLES = {**SPACES, TOLD: "vectors of others; SmolLM2-135M that reads vectors, and that reads titles"}
GAP = "sc_middle_minus_copy_text"


def section(title: str, result: Result, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    sizes = result.get("sizes")
    said = "" if sizes is None else " (" + ", ".join(f"{n} {what}" for what, n in sizes.items()) + ")"
    return f"## {title}\n\n`{result['command']}`{said}\n\n" + "\n".join(parts) + "\n"


def row_at(rows: Sequence[Row], metric: str, condition: str, x: float | None) -> Row | None:
    return next((r for r in rows if (r["metric"], r["condition"], r["x"]) == (metric, condition, x)), None)


def cell(row: Row | None, interval: bool = False) -> str:
    if row is None or row["value"] is None:
        return "-"
    known = interval and row["low"] is not None
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" if known else f"{row['value']:.2f}"


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    written = [heads, ["---", *["---:"] * (len(heads) - 1)], *lines]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in written)
