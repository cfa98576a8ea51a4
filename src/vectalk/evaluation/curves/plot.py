"""Curves as small line charts in SVG, with bands for the intervals, and a page of these charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 226, 38, 24, 44, 12
SERIES = {
    "elm": "model",
    "a's own": "a",
    "b's own": "b",
    "copy_text": "1",
    "probe": "1",
    "probe_text": "3",
    "own_text": "4",
    "random": "2",
    "vector": "4",
}
NAMES = {
    "elm": "model",
    "copy_text": "nearest text",
    "probe_text": "probe",
    "own_text": "reference",
    "text_llm": "LLM with titles",
    "told_llm": "LLM with titles and facts",
    "random": "random concept",
    "vector": "vector",
}
SPARE = ("3", "4", "1", "2")
UNIT = ("sc", "target", "far", "central", "cosine", "share")  # metrics with a scale from 0 to 1
STEPS = (1.0, 2.0, 2.5, 5.0)  # allowed distances of ticks, times a power of ten
TICKS = 5  # most steps between ticks


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the HTML page of the rows of `curves.jsonl`: one chart for each curve, subject and metric."""
    style = (files("vectalk.evaluation.report") / "style.css").read_text(encoding="utf-8")
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>vectalk curves</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{style}</style><main><h1>Curves</h1><p>Means with 95 % intervals.</p>",
    ]
    for section in dict.fromkeys((r["curve"], r["space"], r["task"], r["subject"]) for r in rows):
        mine = [r for r in rows if (r["curve"], r["space"], r["task"], r["subject"]) == section]
        curve, space, task, subject = section
        title = f"{curve}: {space}, {task}" + (f", {subject}" if subject else "")
        charts, lines = [], []
        for metric in dict.fromkeys(r["metric"] for r in mine):
            points = [r for r in mine if r["metric"] == metric and r["value"] is not None]
            if len({r["x"] for r in points}) > 1:
                charts.append(chart(metric, points))
            elif points:
                lines.append(f"<p>{escape(metric)}: " + "; ".join(_text(r) for r in points) + "</p>")
        parts.append(f'<h2>{escape(title.replace("_", " "))}</h2><div class="charts">{"".join(charts)}</div>')
        parts += lines
    return "\n".join(parts) + "\n</main></html>\n"


def chart(title: str, rows: Sequence[dict[str, Any]], metric: str | None = None) -> str:
    """Return one chart: a line and a band for each condition. An x of None is the last point, labelled "all".

    Args:
        title: the title above the chart.
        rows: dictionaries with condition, x, value, low, high.
        metric: name of the metric, which decides the scale; the title when omitted.
    """
    metric = metric or title
    xs = sorted({r["x"] for r in rows if r["x"] is not None}) + ([None] if any(r["x"] is None for r in rows) else [])
    even = None in xs or (len(xs) > 2 and xs[-1] / (xs[0] or 1) > 20)  # counts have equal distances
    low = min((r["low"] if r["low"] is not None else r["value"]) for r in rows)
    high = max((r["high"] if r["high"] is not None else r["value"]) for r in rows)
    if metric in UNIT or "/" in metric:
        low, high = min(low, 0.0), max(high, 1.0)
    ticks = _ticks(low, high)
    low, span = ticks[0], ticks[-1] - ticks[0]

    def x_of(x: float | None) -> float:
        share = xs.index(x) / (len(xs) - 1) if even else (x - xs[0]) / (xs[-1] - xs[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(y: float) -> float:
        return HEIGHT - BOTTOM - (y - low) / span * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text class="head" x="0" y="13">{escape(title)}</text>'
    ]
    digits = 0 if span > TICKS else 2 if span < 1 or any(round(tick, 1) != tick for tick in ticks) else 1
    for tick in ticks:
        y = f"{y_of(tick):.1f}"
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
            f'<text x="{LEFT - 5}" y="{y_of(tick) + 4:.1f}" text-anchor="end">{tick + 0.0:.{digits}f}</text>'
        )
    for x in xs[:: max(1, len(xs) // 5)] if not even else xs:
        label = "all" if x is None else f"{x:g}"
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{label}</text>')
    at, spare = 0.0, list(SPARE)
    for condition in dict.fromkeys(r["condition"] for r in rows):
        name = NAMES.get(condition, condition)
        mine = sorted((r for r in rows if r["condition"] == condition), key=lambda r: xs.index(r["x"]))
        colour = f"s-{SERIES.get(condition) or spare.pop(0) if condition in SERIES or spare else '2'}"
        if len(mine) < len(xs) / 2:  # too few points for a line
            parts += [
                f'<circle class="{colour}" cx="{x_of(r["x"]):.1f}" cy="{y_of(r["value"]):.1f}" r="3.4"/>' for r in mine
            ]
        else:
            parts += _line(mine, colour, x_of, y_of)
        parts.append(
            f'<line class="line {colour}" x1="{at:.0f}" x2="{at + 16:.0f}" y1="27" y2="27"/>'
            f'<text class="{colour}" x="{at + 20:.0f}" y="31">{escape(name)}</text>'
        )
        at += 36 + 6.2 * len(name)
    return "".join(parts) + "</svg>"


def _line(rows: Sequence[dict[str, Any]], colour: str, x_of: Any, y_of: Any) -> list[str]:
    """Return the band and the line of one condition."""
    banded = [r for r in rows if r["low"] is not None]
    edge = [(r["x"], r["high"]) for r in banded] + [(r["x"], r["low"]) for r in reversed(banded)]
    line = _points([(r["x"], r["value"]) for r in rows], x_of, y_of)
    return [
        f'<polygon class="band {colour}" points="{_points(edge, x_of, y_of)}"/>',
        f'<polyline class="line {colour}" points="{line}"/>',
    ]


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances; the first is at most `low`, the last at least `high`."""
    span = max(high - low, 1e-9, 1e-6 * abs(high))  # otherwise all ticks of a large number could be equal
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    for step in (power * s for s in (*STEPS, 10.0, 20.0)):
        first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
        if last - first <= TICKS:
            break
    return [round(i * step, 10) for i in range(first, max(last, first + 1) + 1)]


def _points(pairs: Sequence[tuple[float | None, float]], x_of: Any, y_of: Any) -> str:
    return " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in pairs)


def _text(row: dict[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{escape(row['condition'])} {row['value']:.2f}{interval}"
