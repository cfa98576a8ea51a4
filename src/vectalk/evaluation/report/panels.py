"""Figures as views: headline cards, a verdict in words, and a panel for each metric."""

from __future__ import annotations

from typing import Any

from vectalk.evaluation.report.figures import HEADLINE, MAIN, MODEL, Figure, Figures
from vectalk.evaluation.report.words import CONDITIONS, LOWER_IS_BETTER, METRICS

View = dict[str, Any]
CHANCE = 0.1  # share of tasks that lie above by chance, generously: 2.5 % of independent ones would
MARKED = ("shuffled", "copy_text", "probe_text", "own_text", "popularity", "factors", "text_llm", "stage1")


def cards(figures: Figures) -> list[View]:
    """Return the headline cards: the model's mean over tasks on a scale, beside controls and baselines."""
    found = []
    for metric in HEADLINE:
        mean = figures.mean(metric)
        if mean is None:
            continue
        others = {c: f for c in MARKED if (f := figures.mean(metric, c)) is not None}
        tasks = len(figures.of(metric))
        found.append(
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
    return found


def _compared(figures: Figures, metric: str, baseline: str) -> str:
    counted = figures.against(metric, baseline)
    if counted is None:
        return ""
    above, below, level = counted
    parts = [f"above on {above}" if above else "", f"level on {level}" if level else ""]
    parts.append(f"below on {below}" if below else "")
    return ", ".join(part for part in parts if part)


def verdict(figures: Figures) -> list[View]:
    """Return what the main figure says, in the order in which it should be read."""
    metric = next((m for m in ("sc", "recovery", "claims_precision") if figures.against(m, "shuffled")), None)
    if metric is None:
        return []
    name, lines = METRICS[metric][0], []
    above, below, level = figures.against(metric, "shuffled") or (0, 0, 0)
    total = above + below + level
    if above == total:
        lines.append(("good", f"The answers use the vector: {name} is clear of the shuffled control on {_all(total)}."))
    elif above > CHANCE * total:
        lines.append(
            (
                "mixed",
                f"On {above} of {total} tasks the answers use the vector: {name} is clear of the shuffled control.",
            )
        )
    elif above:
        lines.append(
            ("bad", f"On {above} of {total} tasks alone {name} is clear of the shuffled control: chance may do that.")
        )
    else:
        lines.append(
            ("bad", f"Nothing shows that the answers use the vector: {name} is not clear of the shuffled control.")
        )
    for baseline, what in (("copy_text", "copying the nearest text"), ("probe_text", "spelling out a probe")):
        counted = figures.against(metric, baseline)
        if counted is not None:
            above, below, level = counted
            kind = "good" if above > below else "bad" if below > above else "mixed"
            lines.append((kind, f"Against {what}: better on {above}, as good on {level}, worse on {below}."))
    return [{"kind": kind, "text": text} for kind, text in lines]


def _all(total: int) -> str:
    return "its task" if total == 1 else f"all {total} tasks"


def panels(figures: Figures) -> list[View]:
    """Return for each metric one row a task, and the conditions that stand beside the model in a table."""
    made = []
    for metric in [*MAIN, "distinct", "self_bleu"]:
        found = figures.of(metric)
        if not found:
            continue
        scale = _scale(list(found.values()))
        conditions = dict.fromkeys(c for of_task in found.values() for c in of_task)
        ordered = [c for c in CONDITIONS if c in conditions] + [c for c in conditions if c not in CONDITIONS]
        name, question, how = METRICS[metric]
        made.append(
            {
                "metric": metric,
                "name": name,
                "question": question,
                "how": how,
                "note": _left_out(figures) if metric == "recovery" else "",
                "lower": metric in LOWER_IS_BETTER,
                "folded": metric not in HEADLINE,
                "ticks": [(f"{_at(tick, scale):.2f}", f"{tick:g}") for tick in _ticks(scale)],
                "rows": [_row(task, of_task, scale) for task, of_task in found.items()],
                "conditions": ordered,
                "table": [(task, [of_task.get(c) for c in ordered]) for task, of_task in found.items()],
                "marked": {c for c in (MODEL, *MARKED) if c in conditions},
            }
        )
    return made


def _left_out(figures: Figures) -> str:
    """Say which attributes recovery does not count."""
    if not figures.left_out:
        return ""
    each = "; ".join(f"{task}: {', '.join(attributes)}" for task, attributes in figures.left_out.items())
    return f"Not counted, since a probe of the vector is not surely better there than a constant guess – {each}."


def marked(shown: list[View]) -> list[str]:
    """Return the conditions that have a mark in some panel."""
    return [c for c in (MODEL, *MARKED) if any(c in panel["marked"] for panel in shown)]


def _row(task: str, found: dict[str, Figure], scale: tuple[float, float]) -> View:
    own = found[MODEL]
    marks = [
        {"condition": c, "at": f"{_at(found[c].value, scale):.2f}", "title": f"{CONDITIONS[c][0]}: {found[c]}"}
        for c in (*MARKED, MODEL)
        if c in found
    ]
    bar = None
    if own.low is not None and own.high is not None:
        left, right = _at(own.low, scale), _at(own.high, scale)
        bar = {"left": f"{left:.2f}", "width": f"{max(right - left, 0.4):.2f}"}
    return {"task": task, "name": task.replace("_", " "), "figure": own, "marks": marks, "bar": bar}


def _scale(rows: list[dict[str, Figure]]) -> tuple[float, float]:
    """Return the ends of a scale that holds what is drawn, and the span from 0 to 1 where that is not far off."""
    values = [f.value for row in rows for c, f in row.items() if c == MODEL or c in MARKED]
    values += [end for row in rows for end in row[MODEL][1:] if end is not None]  # others' intervals are not drawn
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
