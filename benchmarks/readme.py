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

These tables show how good and how fast vectalk is, compared with baselines and other libraries. Each benchmark has one
line, with the command that reproduces it. Run the commands as `python benchmarks/...` from the root of the repository,
after `make bench`, which installs their dependencies. The name of a benchmark links to its full table, with commit and
settings. `python benchmarks/readme.py` writes this page and those tables from `benchmarks/results/*.json`; no figure is
typed by hand. [paper.md](paper.md) compares with the experiments of the paper. [log.md](log.md) describes all
experiments, also those that failed.

Benchmarks on real data need the folder of the data (`--data`). The data are not part of this repository. MovieLens
comes from GroupLens (F. M. Harper and J. A. Konstan, *The MovieLens Datasets: History and Context*, 2015). GroupLens
asks that nobody uses figures on the small data set as research results.

**Recovery** of an attribute is 0 for always guessing the majority value and 1 for the best direct probe of the vector.
**SC** is the cosine between the vector and the read-back of the answer (the vector that is predicted from the text).
**Copying** is a baseline: the text of the nearest training entity. **Shuffled** is a control: the same model with
another entity's vector. [docs/evaluation.md](../docs/evaluation.md) defines each metric.
"""
LEGEND = """Columns: recovery of each attribute and of all attributes (0 is always guessing the majority value, 1 is a
direct probe of the vector); precision (true) and recall of statements; share of titles that do not exist
(unknown); SC (cosine between the vector and the read-back of the text); nSC (SC rescaled so that shuffled is 0 and
own_text is 1); R@10 (share of answers whose own vector is among the 10 test vectors nearest to the read-back);
prediction of what users do (AUC; rho, a rank correlation; NDCG); share of distinct answers; similarity of the answers
(alike). Intervals are bootstrap 95 % intervals over test entities.
"""
FORMER = "former sentences"  # value of `texts` in a result
FORMER_NOTE = """The model learned former sentences of the suites `movies` and `users`. They stated the same facts in
other words. For figures of today's sentences, train a new model, then run the command below.
"""
FORMER_HEAD = f"""
**{FORMER.capitalize()}**: these models learned the sentences that the suites `movies` and `users` had before they were
rewritten. The facts are the same, the words are not, so the figures of today's sentences will differ.
"""
DETAILED = 4  # up to so many tasks have a table each; if there are more, only those of SHOWN have one
SHOWN = ("summary", "user_profile")


def results() -> dict[str, dict[str, Any]]:
    """Return every result by its name."""
    paths = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def pages() -> dict[Path, str]:
    """Return the text of each page: the overview, and the full tables of each result."""
    benchmarks = results()
    tables_of = {
        ROOT / "benchmarks" / "results" / f"{name}.md": f"# {name}\n\n" + section(name, result)
        for name, result in benchmarks.items()
    }
    return {PLACE: overview(benchmarks), **tables_of}


def overview(benchmarks: dict[str, dict[str, Any]]) -> str:
    """Return the overview page, with one line for each benchmark.

    Raises:
        SystemExit: a result has no line in `overview.py`.
    """
    missing = benchmarks.keys() - GOOD.keys() - FAST.keys()
    if missing:
        sys.exit(f"benchmarks/overview.py has no line for {', '.join(sorted(missing))}")
    former = any(result.get("texts") == FORMER for result in benchmarks.values())
    parts = [HEAD + FORMER_HEAD if former else HEAD]
    for title, lines in (("How good", GOOD), ("How fast, against whom", FAST)):
        columns = "| benchmark | question | result | date, commit | command |"
        parts += [f"## {title}", "", columns, "| --- | --- | --- | --- | --- |"]
        parts += [line(name, headline, benchmarks[name]) for name, headline in lines.items() if name in benchmarks]
        parts.append("")
    return "\n".join(parts)


def line(name: str, headline: Headline, result: dict[str, Any]) -> str:
    """Return the overview's line of one benchmark."""
    figures = result["figures"]
    texts = [f"{label.strip()} {figures[key]:.3g}" for label, key in headline.figures.items() if key in figures]
    when = ", ".join([result["date"], result["commit"], *([result["texts"]] if "texts" in result else [])])
    command = result["command"].removeprefix("python benchmarks/")
    return f"| [{name}](results/{name}.md) | {headline.question} | {', '.join(texts)} | {when} | `{command}` |"


def section(name: str, result: dict[str, Any]) -> str:
    """Return one benchmark's section."""
    lines = [f"{result['date']}, {result['device']}, commit {result['commit']}.", ""]
    if "note" in result:
        lines[-1:] = [result["note"], ""]
    if result.get("texts") == FORMER:
        lines.append(FORMER_NOTE)
    steps = result.get("steps")
    lines += ["```", *(steps or [result["command"]]), "```", ""]
    if steps:
        lines[-1:] = ["", f"This command runs all of them: `{result['command']}`", ""]
    if "tables" in result:
        seeds = (
            f"Seed 0 of {result['seeds']}; the figures below are means over the seeds.\n" if result["seeds"] > 1 else ""
        )
        lines += [seeds + LEGEND, tables(result["tables"][0])]
    if "rows" in result:
        lines += [plain_table(result["columns"], result["rows"]), ""]
    for sample in result.get("answers", []):
        lines += [f"- **{sample['question']}** ({sample['entity']}: {sample['facts']})"]
        texts = {name: text for name, text in sample.items() if name not in ("question", "entity", "facts")}
        lines += [f"  - {name}: {' '.join(text.split())}" for name, text in texts.items()]
    if "answers" in result:
        lines.append("")
    if "plot" in result:
        lines += [f"![{name}]({result['plot']})", ""]
    listed = result.get("listed", result["figures"])  # a table of rows shows the other figures
    figures = {k: v for k, v in result["figures"].items() if k in listed and ("tables" not in result or _is_main(k))}
    if figures:
        lines += [
            "| figure | value |",
            "| --- | ---: |",
            *(f"| `{key}` | {value:g} |" for key, value in figures.items()),
            "",
        ]
    return "\n".join(lines)


def plain_table(columns: list[str], rows: list[list[Any]]) -> str:
    """Return a Markdown table of rows, with rounded figures aligned to the right."""
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


def _is_main(key: str) -> bool:
    """Return whether to list a figure of a large table: only figures of the model, since the table shows one seed."""
    return "_elm" in key or "_mean_" in key or key.startswith(("recovery_", "sc_"))


def main() -> None:
    """Write or check the pages."""
    texts = pages()
    if "--check" in sys.argv:
        stale = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
        if stale:
            names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
            sys.exit(f"{names}: differ from benchmarks/results; run `python benchmarks/readme.py`")
        return
    for path, text in texts.items():
        write_text(path, text)


if __name__ == "__main__":
    main()
