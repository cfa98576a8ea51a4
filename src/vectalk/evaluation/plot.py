"""Curves as one page that needs nothing else: small line charts with bands, in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 360, 220, 44, 34, 26, 10
COLOURS = ("#1f5fa8", "#c2571a", "#3b7d3b", "#7a4fa3", "#777777")
UNIT = ("sc", "target", "far", "central", "cosine")  # metrics shown from 0 to 1

STYLE = (
    "body{font:14px system-ui,sans-serif;margin:24px;max-width:1180px;color:#222}"
    "h2{margin-top:32px}svg{margin:4px}text{font:11px system-ui,sans-serif;fill:#444}"
)


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return the HTML page of the rows of `curves.jsonl`: one chart for each curve, subject and metric."""
    parts = [
        "<!doctype html><meta charset=utf-8><title>vectalk curves</title>",
        f"<style>{STYLE}</style><h1>Curves</h1><p>Means with 95 % intervals.</p>",
    ]
    for section in dict.fromkeys((r["curve"], r["space"], r["task"], r["subject"]) for r in rows):
        mine = [r for r in rows if (r["curve"], r["space"], r["task"], r["subject"]) == section]
        curve, space, task, subject = section
        title = f"{curve}: {space}, {task}" + (f", {subject}" if subject else "")
        parts.append(f"<h2>{escape(title.replace('_', ' '))}</h2>")
        for metric in dict.fromkeys(r["metric"] for r in mine):
            found = [r for r in mine if r["metric"] == metric and r["value"] is not None]
            if len({r["x"] for r in found}) > 1:
                parts.append(chart(metric, found))
            elif found:
                parts.append(f"<p>{escape(metric)}: " + "; ".join(_said(r) for r in found) + "</p>")
    return "\n".join(parts) + "\n"


def chart(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return one chart: a line and a band for each condition. An x of None is the end, "all"."""
    xs = sorted({r["x"] for r in rows if r["x"] is not None}) + ([None] if any(r["x"] is None for r in rows) else [])
    even = None in xs or (len(xs) > 2 and xs[-1] / (xs[0] or 1) > 20)  # counts stand side by side, not to scale
    low = min((r["low"] if r["low"] is not None else r["value"]) for r in rows)
    high = max((r["high"] if r["high"] is not None else r["value"]) for r in rows)
    if title in UNIT or "/" in title:
        low, high = min(low, 0.0), max(high, 1.0)
    span = (high - low) or 1.0

    def x_of(x: float | None) -> float:
        share = xs.index(x) / (len(xs) - 1) if even else (x - xs[0]) / (xs[-1] - xs[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y_of(y: float) -> float:
        return TOP + (high - y) / span * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text x="{LEFT}" y="14" font-weight="bold">{escape(title)}</text>'
    ]
    for tick in range(5):
        y = low + span * tick / 4
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 4}" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:.2f}</text>'
        )
    for x in xs[:: max(1, len(xs) // 6)] if not even else xs:
        label = "all" if x is None else f"{x:g}"
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{label}</text>')
    for number, condition in enumerate(dict.fromkeys(r["condition"] for r in rows)):
        mine = sorted((r for r in rows if r["condition"] == condition), key=lambda r: xs.index(r["x"]))
        colour = COLOURS[number % len(COLOURS)]
        banded = [r for r in mine if r["low"] is not None]
        edge = [(r["x"], r["high"]) for r in banded] + [(r["x"], r["low"]) for r in reversed(banded)]
        parts.append(f'<polygon points="{_points(edge, x_of, y_of)}" fill="{colour}" opacity="0.15"/>')
        line = _points([(r["x"], r["value"]) for r in mine], x_of, y_of)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        at = LEFT + 84 * number
        parts.append(f'<text x="{at}" y="{HEIGHT - 4}" style="fill:{colour}">{escape(condition)}</text>')
    return "".join(parts) + "</svg>"


def _points(pairs: Sequence[tuple[float | None, float]], x_of: Any, y_of: Any) -> str:
    return " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in pairs)


def _said(row: dict[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
    return f"{escape(row['condition'])} {row['value']:.2f}{interval}"
