"""The metrics of an evaluation as tables, for the terminal or in Markdown; made of `metrics.jsonl` alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Metric = dict[str, Any]
NAMES = {
    "recovery": "all",
    "claims_precision": "true",
    "claims_recall": "told",
    "titles_unknown": "unknown",
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
    "text_llm": "told",
    "popularity": "pop.",
    "factors": "fact.",
}
MODEL = "elm"
VALUES = "probe"  # scored as values, not as texts
GAP = "score_minus_majority/"  # of the probe, by attribute: what recovery divides by
UNSURE = "*"  # marks attributes that the mean of recovery leaves out
NOTE = f"{UNSURE} not in `all`: the probe is not surely better here than the majority's guess."
WIDTH = 80  # of a terminal
MISSING = {"value": None, "low": None, "high": None}


def left_out(rows: Sequence[Metric]) -> list[str]:
    """Return the attributes of one task that the mean of its recovery leaves out (see `recovery`)."""
    gaps = [r for r in rows if r["metric"].startswith(GAP) and r["condition"] == VALUES]
    return [r["metric"].removeprefix(GAP) for r in gaps if r["low"] is None or r["low"] <= 0]


def columns(rows: Sequence[Metric]) -> dict[str, str]:
    """Return the metrics that a table of one task shows, and what each is called."""
    names = dict.fromkeys(r["metric"] for r in rows if r["metric"].startswith("recovery/"))
    attributes, unsure = [name.removeprefix("recovery/") for name in names], left_out(rows)
    shown = {f"recovery/{name}": name + (UNSURE if name in unsure else "") for name in attributes}
    present = {r["metric"] for r in rows}
    if len(attributes) < 2:  # the mean of one is that one
        present.discard("recovery")
    return {**shown, **{name: label for name, label in NAMES.items() if name in present}}


def shown(rows: Sequence[Metric]) -> list[Metric]:
    """Return the rows that tables are made of, with four decimals: what is worth keeping with a result."""
    metrics = {*columns(rows), *SUMMARY}
    return [
        {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}
        for row in rows
        if row["metric"] in metrics or row["metric"].startswith(GAP)
    ]


def cell(value: float | None) -> str:
    """Return a figure as text; a dash where it is not defined."""
    return "-" if value is None else f"{value:.0f}" if value > 10 else f"{value:.2f}"


def lines(rows: Sequence[Metric], task: str) -> tuple[list[str], dict[str, list[Metric]]]:
    """Return the heads of one task's table, and for each condition the metric of each column."""
    rows = [r for r in rows if r["task"] == task]
    shown = columns(rows)
    found = {(r["condition"], r["metric"]): r for r in rows}
    conditions = dict.fromkeys(r["condition"] for r in rows if r["condition"] != VALUES and r["metric"] in shown)
    return ["", *shown.values()], {c: [found.get((c, m), MISSING) for m in shown] for c in conditions}


def rich_tables(rows: Sequence[Metric], width: int = WIDTH) -> list[Table]:
    """Return tables of each task, for rich.

    The model's interval stands below it, so that columns stay narrow; where they do not fit the width, the table goes
    on below itself.
    """
    tables = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        first = max(len("  95 % from"), *map(len, body))
        for number, places in enumerate(_blocks([len(head) for head in heads[1:]], width - first - 4)):
            shown = {c: [found[i] for i in places] for c, found in body.items()}
            n = max(r["n"] for r in rows if r["task"] == task)
            title = f"{task} ({n} test examples)" if number == 0 else None
            kept = [heads[0], *(heads[i + 1] for i in places)]
            tables.append(_table(kept, shown, title, NOTE if _noted(kept) else None))
    return tables


def _blocks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Part columns into blocks that fit into a room; each takes at least five signs and three of frame."""
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
    for condition, found in body.items():
        if all(r["value"] is None for r in found):
            continue
        model = condition == MODEL
        table.add_row(condition, *(cell(r["value"]) for r in found), style="bold" if model else None)
        for name, bound in (("  95 % from", "low"), ("  to", "high")) if model else ():
            table.add_row(name, *("" if r[bound] is None else cell(r[bound]) for r in found), style="dim")
    return table


def markdown(rows: Sequence[Metric]) -> str:
    """Return the table of each task in Markdown."""
    parts = []
    for task in dict.fromkeys(r["task"] for r in rows):
        heads, body = lines(rows, task)
        cells = [[c, *(_with_interval(r, c == MODEL) for r in found)] for c, found in body.items()]
        note = f"\n{NOTE}\n" if _noted(heads) else ""
        parts.append(f"**{task}**\n\n" + _markdown(heads, cells) + note)
    return "\n".join(parts)


def _noted(heads: Sequence[str]) -> bool:
    return any(head.endswith(UNSURE) for head in heads)


# ---- over tasks


def summary(rows: Sequence[Metric]) -> dict[str, dict[str, dict[str, Metric]]]:
    """Return the main figures of all tasks: metric -> task -> condition -> row.

    The task `mean` is the mean over the tasks where all the conditions of the metric are defined, without an interval.
    """
    found: dict[str, dict[str, dict[str, Metric]]] = {}
    for metric in SUMMARY:
        of_metric = [r for r in rows if r["metric"] == metric and r["condition"] != VALUES]
        tasks = {t: {r["condition"]: r for r in of_metric if r["task"] == t} for t in dict.fromkeys(_tasks(of_metric))}
        conditions = dict.fromkeys(r["condition"] for r in of_metric)
        whole = [t for t in tasks.values() if all(t.get(c, MISSING)["value"] is not None for c in conditions)]
        if len(whole) > 1:
            means = {c: sum(t[c]["value"] for t in whole) / len(whole) for c in conditions}
            tasks["mean"] = {c: {**MISSING, "value": value} for c, value in means.items()}
        if tasks:
            found[metric] = tasks
    return found


def rich_summary(rows: Sequence[Metric], width: int = WIDTH) -> list[Table]:
    """Return a table for each main figure, tasks against conditions, for rich."""
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
        for task, found in tasks.items():
            if task == "mean":
                table.add_section()
            table.add_row(task, *(cell(found.get(c, MISSING)["value"]) for c in conditions))
        tables.append(table)
    return tables


def markdown_summary(rows: Sequence[Metric]) -> str:
    """Return a table for each main figure, tasks against conditions, in Markdown."""
    parts = []
    for metric, tasks in summary(rows).items():
        conditions = _conditions(tasks)
        cells = [
            [task, *(_with_interval(found.get(c, MISSING), c == MODEL) for c in conditions)]
            for task, found in tasks.items()
        ]
        parts.append(f"**{SUMMARY[metric]}**\n\n" + _markdown(["", *conditions], cells))
    return "\n".join(parts)


def _tasks(rows: Sequence[Metric]) -> list[str]:
    return [row["task"] for row in rows]


def _conditions(tasks: dict[str, dict[str, Metric]]) -> list[str]:
    return list(dict.fromkeys(condition for found in tasks.values() for condition in found))


def _markdown(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    written = [heads, ["---", *["---:"] * (len(heads) - 1)], *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in written)


def _with_interval(row: Metric, wanted: bool) -> str:
    known = wanted and row["low"] is not None
    return f"{cell(row['value'])} [{cell(row['low'])}, {cell(row['high'])}]" if known else cell(row["value"])
