"""Write benchmarks/README.md from benchmarks/results/*.json; `--check` says whether it is up to date."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from common import ROOT
from vectalk.evaluation.table import markdown, markdown_summary
from vectalk.files import write_text

PLACE = ROOT / "benchmarks" / "README.md"
HEAD = """# Benchmarks

Each is one command, run from the root of the repository after `make bench` has installed what it needs. This page is
made from `benchmarks/results/*.json` by `python benchmarks/readme.py`; no figure is typed by hand. Benchmarks on real
data take its folder as `--data`; the data are not part of this repository. MovieLens is by GroupLens (F. M. Harper and
J. A. Konstan, *The MovieLens Datasets: History and Context*, 2015), who ask that results on the small data set not be
taken for research results.

Columns: recovery of an attribute (0 is a guess of the majority, 1 a direct probe of the vector) and of all of them,
true statements (true) and true values that are told (told), titles that do not exist (unknown), SC (cosine between the
vector and what the text reads back as), nSC (SC between shuffled and own text), R@10 (share of answers whose read-back
has its own vector among the 10 nearest of the test set), behaviour of users (AUC; rho, a rank correlation; NDCG),
distinct answers, how alike they are. [docs/evaluation.md](../docs/evaluation.md) says what each means, and
[paper.md](paper.md) what they show of the paper's experiments. Intervals are
95 % bootstraps over test entities.
"""
DETAILED = 4  # tasks whose own tables are shown; of more, the main figures side by side, and the tables of these:
SHOWN = ("summary", "user_profile")


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        parts.append(section(path.stem, json.loads(path.read_text(encoding="utf-8"))))
    return "\n".join(parts)


def section(name: str, result: dict[str, Any]) -> str:
    """Return one benchmark's section."""
    lines = [f"## {name}", "", f"{result['date']}, {result['device']}, commit {result['commit']}.", ""]
    if "note" in result:
        lines[-1:] = [result["note"], ""]
    lines += ["```", *result.get("steps", [result["command"]]), "```", ""]
    if "steps" in result:
        lines[-1:] = ["", f"All of these at once: `{result['command']}`", ""]
    if "tables" in result:
        seeds = (
            f"Seed 0 of {result['seeds']}; the figures below are means over the seeds.\n" if result["seeds"] > 1 else ""
        )
        lines += [seeds + tables(result["tables"][0])]
    if "rows" in result:
        lines += [plain_table(result["columns"], result["rows"]), ""]
    if "plot" in result:
        lines += [f"![{name}](results/{result['plot']})", ""]
    listed = result.get("listed", result["figures"])  # where a table of rows shows the others
    figures = {k: v for k, v in result["figures"].items() if k in listed and ("tables" not in result or _kept(k))}
    if figures:
        lines += [
            "| figure | value |",
            "| --- | ---: |",
            *(f"| `{key}` | {value:g} |" for key, value in figures.items()),
            "",
        ]
    return "\n".join(lines)


def plain_table(columns: list[str], rows: list[list[Any]]) -> str:
    """Return rows as they are, figures rounded and to the right."""
    numbers = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    lines = [columns, ["---:" if number else "---" for number in numbers]]
    lines += [
        [f"{cell:.3g}" if isinstance(cell, float) and abs(cell) < 100 else _cell(cell) for cell in row] for row in rows
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(cell: Any) -> str:
    return f"{cell:,.0f}" if isinstance(cell, int | float) else str(cell)


def tables(rows: list[dict[str, Any]]) -> str:
    """Return the tables of an evaluation."""
    if len({row["task"] for row in rows}) <= DETAILED:
        return markdown(rows)
    return markdown_summary(rows) + "\n" + markdown([row for row in rows if row["task"] in SHOWN])


def _kept(key: str) -> bool:
    """Say whether a figure of a large table is listed: the model's own, which the table shows for one seed only."""
    return "_elm" in key or "_mean_" in key or key.startswith(("recovery_", "sc_"))


def main() -> None:
    """Write or check the page."""
    text = page()
    if "--check" in sys.argv:
        if not PLACE.is_file() or Path(PLACE).read_text(encoding="utf-8") != text:
            sys.exit("benchmarks/README.md does not match benchmarks/results; run `python benchmarks/readme.py`")
        return
    write_text(PLACE, text)


if __name__ == "__main__":
    main()
