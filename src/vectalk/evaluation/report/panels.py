"""Views of the figures for the report: headline cards, a verdict in words, and a panel for each metric."""

from __future__ import annotations

from typing import Any

from vectalk.evaluation.report.figures import HEADLINE, MAIN, MODEL, Figure, Figures
from vectalk.evaluation.report.words import CONDITIONS, LOWER_IS_BETTER, METRICS

View = dict[str, Any]
CHANCE = 0.1  # share of tasks that may be above by chance; 2.5 % of independent tasks are expected
MARKED = ("shuffled", "copy_text", "probe_text", "own_text", "popularity", "factors", "text_llm", "told_llm", "stage1")


def cards(figures: Figures) -> list[View]:
    """Return the headline cards: the mean of the model over tasks on a scale, with controls and baselines."""
    views = []
    for metric in HEADLINE:
        mean = figures.mean(metric)
        if mean is None:
            continue
        others = {c: f for c in MARKED if (f := figures.mean(metric, c)) is not None}
        tasks = len(figures.of(metric))
        views.append(
            {
                "metric": metric,
                "name": METRICS[metric][0],
                "question": METRICS[metric][1],
                "figure": mean,
                "over": "one task" if tasks == 1 else f"mean of {tasks} tasks",
                "row": _row("", {MODEL: mean, **others}, _scale([{MODEL: mean, **others}])),
                "beside": [(CONDITIONS[c][0], f, _compared(figures, metric, c)) for c, f in others.items()],
            }
        )
    return views


def _compared(figures: Figures, metric: str, baseline: str) -> str:
    counts = figures.against(metric, baseline)
    if counts is None:
        return ""
    above, below, level = counts
    parts = [f"above on {above}" if above else "", f"level on {level}" if level else ""]
    parts.append(f"below on {below}" if below else "")
    return ", ".join(part for part in parts if part)


def verdict(figures: Figures) -> list[View]:
    """Return the sentences on the main metric, in reading order."""
    metric = next((m for m in ("sc", "recovery", "claims_precision") if figures.against(m, "shuffled")), None)
    if metric is None:
        return []
    name, lines = METRICS[metric][0], []
    above, below, level = figures.against(metric, "shuffled") or (0, 0, 0)
    total = above + below + level
    clear = f"{name} is significantly above the shuffled control"
    if above == total:
        lines.append(("good", f"The answers use the vector: {clear} on {_all(total)}."))
    elif above > CHANCE * total:
        lines.append(("mixed", f"On {above} of {total} tasks the answers use the vector: {clear}."))
    elif above:
        lines.append(("bad", f"{clear} on only {above} of {total} tasks: this may be chance."))
    else:
        no_evidence = f"{name} is not significantly above the shuffled control"
        lines.append(("bad", f"There is no evidence that the answers use the vector: {no_evidence}."))
    for baseline, what in (("copy_text", "a copy of the nearest text"), ("probe_text", "a text written from a probe")):
        counts = figures.against(metric, baseline)
        if counts is not None:
            above, below, level = counts
            kind = "good" if above > below else "bad" if below > above else "mixed"
            lines.append(
                (kind, f"Compared with {what}: better on {above}, no clear difference on {level}, worse on {below}.")
            )
    return [{"kind": kind, "text": text} for kind, text in lines]


def _all(total: int) -> str:
    return "its task" if total == 1 else f"all {total} tasks"


def panels(figures: Figures) -> list[View]:
    """Return a panel for each metric: one row for each task, and a table of all conditions."""
    views = []
    for metric in [*MAIN, "distinct", "self_bleu", "loops"]:
        by_task = figures.of(metric)
        if not by_task:
            continue
        scale = _scale(list(by_task.values()))
        conditions = dict.fromkeys(c for of_task in by_task.values() for c in of_task)
        ordered = [c for c in CONDITIONS if c in conditions] + [c for c in conditions if c not in CONDITIONS]
        name, question, how = METRICS[metric]
        views.append(
            {
                "metric": metric,
                "name": name,
                "question": question,
                "how": how,
                "note": _left_out(figures) if metric == "recovery" else "",
                "lower": metric in LOWER_IS_BETTER,
                "folded": metric not in HEADLINE,
                "ticks": [(f"{_at(tick, scale):.2f}", f"{tick:g}") for tick in _ticks(scale)],
                "rows": [_row(task, of_task, scale) for task, of_task in by_task.items()],
                "conditions": ordered,
                "table": [(task, [of_task.get(c) for c in ordered]) for task, of_task in by_task.items()],
                "marked": {c for c in (MODEL, *MARKED) if c in conditions},
            }
        )
    return views


def _left_out(figures: Figures) -> str:
    """Return a sentence that names the attributes that recovery does not count."""
    if not figures.left_out:
        return ""
    each = "; ".join(f"{task}: {', '.join(attributes)}" for task, attributes in figures.left_out.items())
    return f"Not counted, because the probe is not significantly better than the majority baseline: {each}."


def marked(views: list[View]) -> list[str]:
    """Return the conditions that have a mark in at least one panel."""
    return [c for c in (MODEL, *MARKED) if any(c in panel["marked"] for panel in views)]


def _row(task: str, figures: dict[str, Figure], scale: tuple[float, float]) -> View:
    own = figures[MODEL]
    marks = [
        {"condition": c, "at": f"{_at(figures[c].value, scale):.2f}", "title": f"{CONDITIONS[c][0]}: {figures[c]}"}
        for c in (*MARKED, MODEL)
        if c in figures
    ]
    bar = None
    if own.low is not None and own.high is not None:
        left, right = _at(own.low, scale), _at(own.high, scale)
        bar = {"left": f"{left:.2f}", "width": f"{max(right - left, 0.4):.2f}"}
    return {"task": task, "name": task.replace("_", " "), "figure": own, "marks": marks, "bar": bar}


def _scale(rows: list[dict[str, Figure]]) -> tuple[float, float]:
    """Return the ends of a scale that contains all marks and 0, and also 1 if the marks come near 1."""
    values = [f.value for row in rows for c, f in row.items() if c == MODEL or c in MARKED]
    values += [
        end for row in rows for end in row[MODEL][1:] if end is not None
    ]  # only the interval of the model is drawn
    low, high = min(0.0, *values), max(values)
    return low, max(high, 1.0 if high > 0.4 else high * 1.1, low + 0.1)


def _ticks(scale: tuple[float, float]) -> list[float]:
    low, high = scale
    step = next(s for s in (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 1e9) if (high - low) / s <= 6)
    first = int(low / step) - 1
    return [round(i * step, 4) for i in range(first, int(high / step) + 1) if low - 1e-9 <= i * step <= high + 1e-9]


def _at(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return min(max(100.0 * (value - low) / (high - low), 0.0), 100.0)
