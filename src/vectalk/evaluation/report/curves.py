"""Views of the curves for the report: charts and sentences for each section, and a table of the concepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectalk.evaluation.curves.plot import chart
from vectalk.evaluation.report.figures import Figure
from vectalk.evaluation.report.words import CONDITIONS, CURVES

View = dict[str, Any]
NAMES = {"elm": "the model", "copy_text": "the nearest text", "probe_text": "a text written from a probe"}
FEWEST = 5  # fewest pairs for a point of a line
Row = dict[str, Any]
TITLES = {
    "sc": "consistency with the point (SC)",
    "far": "share of points out of distribution",
    "percentile": "support percentile (above 95: out of distribution)",
    "central": "share of points that average several entities",
    "target": "answers that state the value",
    "target_score": "concept score of the text (sd)",
    "cosine": "cosine with the user's own vector",
    "bc_auc": "behaviour predicted (AUC)",
    "bc_ndcg@10": "ranking of held-out ratings (NDCG@10)",
}
CHARTED = {
    "interpolation": ("sc", "percentile"),
    "shift": ("target", "target_score"),
    "cold_start": ("sc", "cosine", "bc_auc", "bc_ndcg@10"),
}
TABLED = {
    "spearman": "Spearman of step and statement",
    "score_spearman": "Spearman of step and concept score",
    "target_span": "change of target, -4 to 4 sd",
    "other_span": "change of other values",
    "ratio": "ratio",
    "q_value": "q value",
}


def sections(rows: Sequence[Row], crossings: Sequence[Row] = ()) -> list[View]:
    """Return a section for each curve and task, in the order of the report.

    Args:
        rows: rows of `curves.jsonl`.
        crossings: `crossings` of `curves.json`.
    """
    views = []
    for curve in CURVES:
        for task, space in dict.fromkeys((r["task"], r["space"]) for r in rows if r["curve"] == curve):
            mine = [r for r in rows if (r["curve"], r["task"], r["space"]) == (curve, task, space)]
            name, what = CURVES[curve]
            charts, table = _shift(mine) if curve == "shift" else (_charts(mine, CHARTED[curve]), None)
            if curve == "interpolation":
                charts += _ends(mine)
            if curve == "cold_start":
                charts += _charts(mine, [m for m in dict.fromkeys(r["metric"] for r in mine) if m.startswith("score/")])
            passed = [c for c in crossings if (c["task"], curve) == (task, "cold_start")]
            lines = _middle(mine) + _chance(mine) + _crossed(passed)
            view = {"curve": curve, "name": name, "what": what, "task": task, "space": space}
            views.append({**view, "charts": charts, "table": table, "lines": lines})
    return views


def _middle(rows: Sequence[Row]) -> list[str]:
    """Return sentences that compare the model with each baseline in the middle of walks, and at the ends."""
    figures = {(r["metric"], r["condition"]): Figure(r["value"], r["low"], r["high"]) for r in rows if r["x"] == 0.5}
    lines = []
    for (metric, condition), figure in figures.items():
        if metric != "sc_middle" or condition == "elm":
            continue
        gap, own = figures.get((f"sc_middle_minus_{condition}", "elm")), figures.get(("sc_middle", "elm"))
        if gap is None or own is None:
            continue
        ends = figures.get((f"sc_ends_minus_{condition}", "elm"))
        at_ends = "" if ends is None else f" At the ends, which are test entities, the difference is {ends}."
        lines.append(
            f"In the middle of the walk (x from 0.3 to 0.7), SC is {own} for the model and {figure} for "
            f"{_name(condition)}; the difference is {gap}.{at_ends}"
        )
    return lines


def _name(condition: str) -> str:
    return NAMES.get(condition) or CONDITIONS.get(condition, (condition,))[0]


def _chance(rows: Sequence[Row]) -> list[str]:
    return [
        f"For random concepts, 95 % of the absolute Spearman correlations are below {r['value']:.2f} "
        f"({r['n']} pairs of a random concept and a value)."
        for r in rows
        if r["metric"] == "spearman_95" and r["value"] is not None
    ]


def _crossed(crossings: Sequence[Row]) -> list[str]:
    """Return a sentence for each metric: the number of ratings from which each condition stays above popularity."""
    lines = []
    for metric in dict.fromkeys(c["metric"] for c in crossings):
        parts = []
        for c in (c for c in crossings if c["metric"] == metric):
            if c["above"] is None:
                parts.append(f"{_name(c['condition'])}: never")
                continue
            surely = "never significantly" if c["surely"] is None else f"significantly from {c['surely']}"
            parts.append(f"{_name(c['condition'])}: {c['above']} ({surely})")
        what = TITLES.get(metric, metric)
        lines.append(f"{what[:1].upper()}{what[1:]}, ratings needed to stay above popularity: {'; '.join(parts)}.")
    return lines


def _charts(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    charts = []
    for metric in metrics:
        mine = [r for r in rows if r["metric"] == metric and r["value"] is not None]
        if len({r["x"] for r in mine}) > 1:
            charts.append(chart(TITLES.get(metric, metric.replace("score/", "score of ")), mine, metric))
    return charts


def _ends(rows: Sequence[Row]) -> list[str]:
    """Return a chart for each attribute: the share of the values of only one end that the answers state."""
    charts = []
    for name in dict.fromkeys(r["metric"].partition("/")[2] for r in rows if r["metric"].startswith("states_")):
        both = [
            {**r, "condition": f"{side}'s own"}
            for side in "ab"
            for r in rows
            if r["metric"] == f"states_{side}/{name}" and r["condition"] == "elm" and r["n"] >= FEWEST
        ]
        if len({r["x"] for r in both}) > 1:
            charts.append(chart(f"{name} of only one end: share stated", both, "share"))
    return charts


def _shift(rows: Sequence[Row]) -> tuple[list[str], View]:
    """Return the charts of each concept, and the table of all concepts, with the last step of each metric."""
    charts, lines = [], []
    for subject in dict.fromkeys(r["subject"] for r in rows):
        mine = [r for r in rows if r["subject"] == subject]
        for metric in CHARTED["shift"]:
            points = [r for r in mine if r["metric"] == metric and r["value"] is not None]
            if len({r["x"] for r in points}) > 1:
                charts.append(chart(f"{subject}: {TITLES[metric]}", points, metric))
        for condition in ("elm", "probe", "random"):
            own = {r["metric"]: r for r in mine if r["condition"] == condition}  # the last step of each metric
            if any(metric in own for metric in TABLED):
                cells = [own.get(metric) for metric in TABLED]
                lines.append(
                    {
                        "subject": subject,
                        "condition": condition,
                        "cells": [
                            None if c is None or c["value"] is None else Figure(c["value"], c["low"], c["high"])
                            for c in cells
                        ],
                    }
                )
    used = [i for i in range(len(TABLED)) if any(line["cells"][i] is not None for line in lines)]
    heads = list(TABLED.values())
    for line in lines:
        line["cells"] = [line["cells"][i] for i in used]
    return charts, {"heads": [heads[i] for i in used], "lines": lines}
