"""Curves as views: charts for each section, and a table of what concepts do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectalk.evaluation.curves.plot import chart
from vectalk.evaluation.report.figures import Figure
from vectalk.evaluation.report.words import CONDITIONS, CURVES

View = dict[str, Any]
SAID = {"elm": "the model", "copy_text": "the nearest text", "probe_text": "a probe, spelled out"}
FEWEST = 5  # pairs that a line is drawn of
Row = dict[str, Any]
TITLES = {
    "sc": "consistency with the point (SC)",
    "far": "share of points far from anything real",
    "percentile": "support (percentile; above 95 is far)",
    "central": "share of points that are averages",
    "target": "answers that state it",
    "target_score": "how much of it the text has (sd)",
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
    "score_spearman": "Spearman of step and score of the text",
    "target_span": "target, -4 to 4 sd",
    "other_span": "other values",
    "ratio": "ratio",
    "q_value": "q (of chance, for many)",
}


def sections(rows: Sequence[Row], crossings: Sequence[Row] = ()) -> list[View]:
    """Return a section for each curve and task, in the order in which they are told; `crossings` of `curves.json`."""
    found = []
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
            found.append({**view, "charts": charts, "table": table, "lines": lines})
    return found


def _middle(rows: Sequence[Row]) -> list[str]:
    """Say what the middle of walks has to do with copying, and how much of that the ends have already."""
    found = {(r["metric"], r["condition"]): Figure(r["value"], r["low"], r["high"]) for r in rows if r["x"] == 0.5}
    lines = []
    for (metric, condition), figure in found.items():
        if metric != "sc_middle" or condition == "elm":
            continue
        gap, own = found.get((f"sc_middle_minus_{condition}", "elm")), found.get(("sc_middle", "elm"))
        if gap is None or own is None:
            continue
        ends = found.get((f"sc_ends_minus_{condition}", "elm"))
        there = "" if ends is None else f" At the ends, which are entities of the test set, it is {ends}."
        lines.append(
            f"In the middle (from 0.3 to 0.7 of the way) the model's SC is {own}, that of {_name(condition)} {figure}; "
            f"the difference is {gap}.{there}"
        )
    return lines


def _name(condition: str) -> str:
    return SAID.get(condition) or CONDITIONS.get(condition, (condition,))[0]


def _chance(rows: Sequence[Row]) -> list[str]:
    return [
        f"95 % of what random concepts do to any value stays below a Spearman of {r['value']:.2f}, either way "
        f"({r['n']} pairs of a random concept and a value)."
        for r in rows
        if r["metric"] == "spearman_95" and r["value"] is not None
    ]


def _crossed(crossings: Sequence[Row]) -> list[str]:
    """Say, measure by measure, from how many ratings on each condition lies above popularity."""
    lines = []
    for metric in dict.fromkeys(c["metric"] for c in crossings):
        parts = []
        for c in (c for c in crossings if c["metric"] == metric):
            if c["above"] is None:
                parts.append(f"{_name(c['condition'])} never for good")
                continue
            surely = "never surely" if c["surely"] is None else f"surely from {c['surely']}"
            parts.append(f"{_name(c['condition'])} from {c['above']} on ({surely})")
        what = TITLES.get(metric, metric)
        lines.append(f"{what[:1].upper()}{what[1:]}, ratings needed to lie above popularity: {'; '.join(parts)}.")
    return lines


def _charts(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    made = []
    for metric in metrics:
        mine = [r for r in rows if r["metric"] == metric and r["value"] is not None]
        if len({r["x"] for r in mine}) > 1:
            made.append(chart(TITLES.get(metric, metric.replace("score/", "told right: ")), mine, metric))
    return made


def _ends(rows: Sequence[Row]) -> list[str]:
    """Return a chart for each attribute: how much of each end's own the answers state."""
    made = []
    for name in dict.fromkeys(r["metric"].partition("/")[2] for r in rows if r["metric"].startswith("states_")):
        both = [
            {**r, "condition": f"{side}'s own"}
            for side in "ab"
            for r in rows
            if r["metric"] == f"states_{side}/{name}" and r["condition"] == "elm" and r["n"] >= FEWEST
        ]
        if len({r["x"] for r in both}) > 1:
            made.append(chart(f"{name} of one end alone: how many are told", both, "share"))
    return made


def _shift(rows: Sequence[Row]) -> tuple[list[str], View]:
    """Return a chart for each concept, and the table of all; a metric's last step stands for it where it has steps."""
    charts, lines = [], []
    for subject in dict.fromkeys(r["subject"] for r in rows):
        mine = [r for r in rows if r["subject"] == subject]
        for row_of in CHARTED["shift"]:
            drawn = [r for r in mine if r["metric"] == row_of and r["value"] is not None]
            if len({r["x"] for r in drawn}) > 1:
                charts.append(chart(f"{subject}: {TITLES[row_of]}", drawn, row_of))
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
