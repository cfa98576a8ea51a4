"""The metrics of an evaluation as tables, for the terminal or in Markdown; the only input is `metrics.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Metric = dict[str, Any]
NAMES = {
    "recovery": "all",
    "claims_precision": "true",
    "claims_recall": "recall",
    "names_invented": "invented",
    "names_right": "names",
    "names_per_answer": "named",
    "titles_unknown": "unknown",  # of evaluations by older versions, as is the next
    "titles_true": "titles",
    "titles_percentile": "near",
    "sc": "SC",
    "nsc": "nSC",
    "recall@10": "R@10",
    "bc_auc": "AUC",
    "bc_spearman": "rho",
    "bc_ndcg@10/readback": "NDCG v",
    "bc_spearman/readback": "rho v",
    "bc_ndcg@10/text": "NDCG t",
    "bc_spearman/text": "rho t",
    "distinct": "distinct",
    "self_bleu": "alike",
    "loops": "loops",
}
SUMMARY = {"sc": "SC", "nsc": "nSC", "bc_auc": "BC (AUC)", "recovery": "recovery", "claims_precision": "true claims"}
SHORT = {
    "shuffled": "shuf.",
    "gaussian": "gauss",
    "majority": "major",
    "copy_text": "copy",
    "vote_text": "vote",
    "probe_text": "probe",
    "own_text": "own",
    "text_llm": "title",
    "popularity": "pop.",
    "factors": "fact.",
    "trie_only": "trie",
    "knn_names": "knn",
    "free_names": "free",
}
MODEL = "elm"
VALUES = "probe"  # scored by its values, not by texts
SOME_TASKS = ("trie_only", "knn_names", "free_names")  # measured only on tasks that name entities
GAP = "score_minus_majority/"  # + attribute, of the probe: the denominator of recovery
UNSURE = "*"  # marks attributes that are not in the mean of recovery
NOTE = f"{UNSURE} not in `all`: here the probe is not significantly better than the majority baseline."
WIDTH = 80  # of a terminal
MISSING = {"value": None, "low": None, "high": None}


def left_out(rows: Sequence[Metric]) -> list[str]:
    """Return the attributes of one task that are not in the mean of its recovery (see `recovery`)."""
    gaps = [r for r in rows if r["metric"].startswith(GAP) and r["condition"] == VALUES]
    return [r["metric"].removeprefix(GAP) for r in gaps if r["low"] is None or r["low"] <= 0]


def columns(rows: Sequence[Metric]) -> dict[str, str]:
    """Return the metrics in the table of one task: metric -> column head."""
    names = dict.fromkeys(r["metric"] for r in rows if r["metric"].startswith("recovery/"))
    attributes, unsure = [name.removeprefix("recovery/") for name in names], left_out(rows)
    by_attribute = {f"recovery/{name}": name + (UNSURE if name in unsure else "") for name in attributes}
    present = {r["metric"] for r in rows}
    if len(attributes) < 2:  # the mean of one attribute is the attribute itself
        present.discard("recovery")
    return {**by_attribute, **{name: label for name, label in NAMES.items() if name in present}}


def shown(rows: Sequence[Metric]) -> list[Metric]:
    """Return the rows that the tables use, rounded to four decimals, for storage with a result."""
    metrics = {*columns(rows), *SUMMARY}
    return [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        for row in rows
        if row["metric"] in metrics or row["metric"].startswith(GAP)
    ]


def cell(value: float | None) -> str:
    """Return a value as text; a dash if it is not defined."""
    return "-" if value is None else f"{value:.0f}" if value > 10 else f"{value:.2f}"


def lines(rows: Sequence[Metric], task: str) -> tuple[list[str], dict[str, list[Metric]]]:
    """Return the column heads of one task's table, and the rows of metrics: condition -> one metric for each column."""
    rows = [r for r in rows if r["task"] == task]
    names = columns(rows)
    figures = {(r["condition"], r["metric"]): r for r in rows}
    conditions = dict.fromkeys(r["condition"] for r in rows if r["condition"] != VALUES and r["metric"] in names)
    return ["", *names.values()], {c: [figures.get((c, m), MISSING) for m in names] for c in conditions}


def rich_tables(rows: Sequence[Metric], width: int = WIDTH) -> list[Table]:
    """Return the tables of all tasks, for rich.

    The interval of the model is in the rows below the model, which keeps the columns narrow. If the columns do not fit
    the width, the table is divided into several tables.
    """
    tables = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        first = max(len("  95 % from"), *map(len, body))
        for number, places in enumerate(_blocks([len(head) for head in heads[1:]], width - first - 4)):
            cells = {c: [metrics[i] for i in places] for c, metrics in body.items()}
            n = max(r["n"] for r in rows if r["task"] == task)
            title = f"{task} ({n} test examples)" if number == 0 else None
            names = [heads[0], *(heads[i + 1] for i in places)]
            tables.append(_table(names, cells, title, NOTE if _needs_note(names) else None))
    return tables


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the indices of the columns in blocks that fit a width; a column needs at least 5 + 3 characters."""
    blocks: list[list[int]] = [[]]
    left = room
    for i, width in enumerate(widths):
        needed = max(width, 5) + 3
        if needed > left and blocks[-1]:
            blocks.append([])
            left = room
        blocks[-1].append(i)
        left -= needed
    return blocks


def _table(heads: Sequence[str], body: dict[str, list[Metric]], title: str | None, note: str | None) -> Table:
    from rich.table import Table

    left = {"title_justify": "left", "caption_justify": "left"}
    table = Table(title=title, title_style="bold", caption=note, **left)  # type: ignore[arg-type]
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for condition, metrics in body.items():
        if all(r["value"] is None for r in metrics):
            continue
        model = condition == MODEL
        table.add_row(condition, *(cell(r["value"]) for r in metrics), style="bold" if model else None)
        for name, bound in (("  95 % from", "low"), ("  to", "high")) if model else ():
            table.add_row(name, *("" if r[bound] is None else cell(r[bound]) for r in metrics), style="dim")
    return table


def markdown(rows: Sequence[Metric]) -> str:
    """Return the table of each task in Markdown."""
    parts = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        cells = [[c, *(_with_interval(r, c == MODEL) for r in metrics)] for c, metrics in body.items()]
        note = f"\n{NOTE}\n" if _needs_note(heads) else ""
        parts.append(f"**{task}**\n\n" + _markdown(heads, cells) + note)
    return "\n".join(parts)


def _needs_note(heads: Sequence[str]) -> bool:
    return any(head.endswith(UNSURE) for head in heads)


# ---- over tasks


def summary(rows: Sequence[Metric]) -> dict[str, dict[str, dict[str, Metric]]]:
    """Return the main figures of all tasks: metric -> task -> condition -> row.

    The task `mean` is the mean, without an interval, over the tasks where all conditions have the metric.
    """
    figures: dict[str, dict[str, dict[str, Metric]]] = {}
    for metric in SUMMARY:
        of_metric = [r for r in rows if r["metric"] == metric and r["condition"] not in (VALUES, *SOME_TASKS)]
        tasks = {t: {r["condition"]: r for r in of_metric if r["task"] == t} for t in dict.fromkeys(_tasks(of_metric))}
        conditions = dict.fromkeys(r["condition"] for r in of_metric)
        whole = [t for t in tasks.values() if all(t.get(c, MISSING)["value"] is not None for c in conditions)]
        if len(whole) > 1:
            means = {c: sum(t[c]["value"] for t in whole) / len(whole) for c in conditions}
            tasks["mean"] = {c: {**MISSING, "value": value} for c, value in means.items()}
        if tasks:
            figures[metric] = tasks
    return figures


def rich_summary(rows: Sequence[Metric], width: int = WIDTH) -> list[Table]:
    """Return a table for each main figure, with a row for each task and a column for each condition, for rich."""
    from rich import box
    from rich.table import Table

    tables = []
    for metric, tasks in summary(rows).items():
        conditions = _conditions(tasks)
        table = Table(title=SUMMARY[metric], title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
        names = [SHORT.get(condition, condition) for condition in conditions]
        room = width - 3 - sum(max(len(name), 5) + 1 for name in names)
        table.add_column("", max_width=max(room, 12), overflow="fold")
        for name, condition in zip(names, conditions, strict=True):
            table.add_column(name, justify="right", no_wrap=True, style="bold" if condition == MODEL else None)
        for task, by_condition in tasks.items():
            if task == "mean":
                table.add_section()
            table.add_row(task, *(cell(by_condition.get(c, MISSING)["value"]) for c in conditions))
        tables.append(table)
    return tables


def markdown_summary(rows: Sequence[Metric]) -> str:
    """Return a table for each main figure, with a row for each task and a column for each condition, in Markdown."""
    parts = []
    for metric, tasks in summary(rows).items():
        conditions = _conditions(tasks)
        cells = [
            [task, *(_with_interval(by_condition.get(c, MISSING), c == MODEL) for c in conditions)]
            for task, by_condition in tasks.items()
        ]
        parts.append(f"**{SUMMARY[metric]}**\n\n" + _markdown(["", *conditions], cells))
    return "\n".join(parts)


def _tasks(rows: Sequence[Metric]) -> list[str]:
    return [row["task"] for row in rows]


def _conditions(tasks: dict[str, dict[str, Metric]]) -> list[str]:
    return list(dict.fromkeys(condition for by_condition in tasks.values() for condition in by_condition))


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _with_interval(row: Metric, interval: bool) -> str:
    known = interval and row["low"] is not None
    return f"{cell(row['value'])} [{cell(row['low'])}, {cell(row['high'])}]" if known else cell(row["value"])
