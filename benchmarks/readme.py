"""Write benchmarks/README.md and the tables in benchmarks/results from the results; `--check` compares them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from common import ROOT
from overview import FAST, GOOD, Headline
from vectalk.evaluation.table import markdown, markdown_summary
from vectalk.files import write_text

PLACE = ROOT / "benchmarks" / "README.md"
HEAD = """# Benchmarks

How good, how fast, against whom: one line a benchmark, with the command that makes it again (`python benchmarks/...`,
from the root of the repository, after `make bench` has installed what it needs). A name leads to the whole table with
its commit and its settings. `python benchmarks/readme.py` makes this page and those tables from
`benchmarks/results/*.json`; no figure is typed by hand. [paper.md](paper.md) compares with the paper's experiments,
and [log.md](log.md) tells what was tried and what failed.

Benchmarks on real data take its folder as `--data`; the data are not part of this repository. MovieLens is by
GroupLens (F. M. Harper and J. A. Konstan, *The MovieLens Datasets: History and Context*, 2015), who ask that results
on the small data set not be taken for research results.

**Recovery** of an attribute is 0 for a guess of the majority and 1 for the best direct probe of the vector. **SC** is
the cosine between the vector and what the answer reads back as. **Copying** gives the text of the nearest training
entity. **Shuffled** is the same model with another entity's vector. [docs/evaluation.md](../docs/evaluation.md)
defines each metric.
"""
LEGEND = """Columns: recovery of an attribute (0 is a guess of the majority, 1 a direct probe of the vector) and of all
of them; share of statements that are true (true) and of true values that are stated (told); titles that do not exist
(unknown); SC (cosine between the vector and what the text reads back as); nSC (SC on a scale from shuffled to own
text); R@10 (share of answers whose read-back has its own vector among the 10 nearest of the test set); behaviour of
users (AUC; rho, a rank correlation; NDCG); distinct answers; how alike they are. Intervals are 95 % bootstraps over
test entities.
"""
FORMER = "former sentences"  # value of `texts` in a result
FORMER_NOTE = """The model learned former sentences of the suites `movies` and `users`. They stated the same facts in
other words. For figures of today's sentences, train a new model, then run the command below.
"""
FORMER_HEAD = f"""
**{FORMER.capitalize()}**: these models learned the sentences that the suites `movies` and `users` had before they were
rewritten. The facts are the same, the words are not, so the figures of today's sentences will differ.
"""
DETAILED = 4  # tasks whose own tables are shown; of more, the main figures side by side, and the tables of these:
SHOWN = ("summary", "user_profile")


def results() -> dict[str, dict[str, Any]]:
    """Return every result by its name."""
    paths = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def pages() -> dict[Path, str]:
    """Return the text of each page: the overview, and the whole tables of each result."""
    found = results()
    tables_of = {
        ROOT / "benchmarks" / "results" / f"{name}.md": f"# {name}\n\n" + section(name, result)
        for name, result in found.items()
    }
    return {PLACE: overview(found), **tables_of}


def overview(found: dict[str, dict[str, Any]]) -> str:
    """Return the overview page: one line a benchmark.

    Raises:
        SystemExit: a result has no line in `overview.py`.
    """
    missing = found.keys() - GOOD.keys() - FAST.keys()
    if missing:
        sys.exit(f"benchmarks/overview.py has no line for {', '.join(sorted(missing))}")
    former = any(result.get("texts") == FORMER for result in found.values())
    parts = [HEAD + FORMER_HEAD if former else HEAD]
    for title, lines in (("How good", GOOD), ("How fast, against whom", FAST)):
        columns = "| benchmark | what it asks | what came out | made | command |"
        parts += [f"## {title}", "", columns, "| --- | --- | --- | --- | --- |"]
        parts += [line(name, headline, found[name]) for name, headline in lines.items() if name in found]
        parts.append("")
    return "\n".join(parts)


def line(name: str, headline: Headline, result: dict[str, Any]) -> str:
    """Return the overview's line of one benchmark."""
    figures = result["figures"]
    shown = [f"{label.strip()} {figures[key]:.3g}" for label, key in headline.figures.items() if key in figures]
    when = ", ".join([result["date"], result["commit"], *([result["texts"]] if "texts" in result else [])])
    command = result["command"].removeprefix("python benchmarks/")
    return f"| [{name}](results/{name}.md) | {headline.question} | {', '.join(shown)} | {when} | `{command}` |"


def section(name: str, result: dict[str, Any]) -> str:
    """Return one benchmark's section."""
    lines = [f"{result['date']}, {result['device']}, commit {result['commit']}.", ""]
    if "note" in result:
        lines[-1:] = [result["note"], ""]
    if result.get("texts") == FORMER:
        lines.append(FORMER_NOTE)
    lines += ["```", *result.get("steps", [result["command"]]), "```", ""]
    if "steps" in result:
        lines[-1:] = ["", f"All of these at once: `{result['command']}`", ""]
    if "tables" in result:
        seeds = (
            f"Seed 0 of {result['seeds']}; the figures below are means over the seeds.\n" if result["seeds"] > 1 else ""
        )
        lines += [seeds + LEGEND, tables(result["tables"][0])]
    if "rows" in result:
        lines += [plain_table(result["columns"], result["rows"]), ""]
    if "plot" in result:
        lines += [f"![{name}]({result['plot']})", ""]
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
    """Write or check the pages."""
    texts = pages()
    if "--check" in sys.argv:
        stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{names}: not what benchmarks/results say; run `python benchmarks/readme.py`")
        return
    for path, text in texts.items():
        write_text(path, text)


if __name__ == "__main__":
    main()
