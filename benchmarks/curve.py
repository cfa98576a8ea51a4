"""A small self-contained picture of training: the vector gain and normalised SC against steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vectalk.files import write_text

WIDTH, HEIGHT, EDGE = 640, 300, 48
SERIES = (("vector_gain", "#2563eb", "vector gain (nats a token)"), ("nsc", "#c2410c", "normalised SC (validation)"))


def curve_svg(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draw rows of `total`, `vector_gain` and, in some, `nsc`; a dashed line parts the stages."""
    last = max(row["total"] for row in rows) or 1
    top = max(0.1, *(row[key] for row in rows for key, _, _ in SERIES if key in row)) * 1.1

    def x(step: float) -> float:
        return EDGE + (WIDTH - 2 * EDGE) * step / last

    def y(value: float) -> float:
        return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * max(value, 0.0) / top

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for tick in range(5):
        value = top * tick / 4
        parts.append(
            f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{EDGE - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>'
            f'<text x="{x(last * tick / 4):.1f}" y="{HEIGHT - EDGE + 16}" text-anchor="middle">'
            f"{last * tick / 4:.0f}</text>"
        )
    first = [row["total"] for row in rows if row["stage"] == 2][:1]
    for step in first:
        parts.append(
            f'<line x1="{x(step):.1f}" x2="{x(step):.1f}" y1="{EDGE}" y2="{HEIGHT - EDGE}" stroke="#9ca3af" '
            f'stroke-dasharray="4 4"/><text x="{x(step) + 4:.1f}" y="{EDGE + 10}">stage 2</text>'
        )
    for number, (key, colour, label) in enumerate(SERIES):
        points = [(x(row["total"]), y(row[key])) for row in rows if key in row]
        if not points:
            continue
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{EDGE + 8 + 260 * number}" y="{EDGE - 16}" fill="{colour}">{label}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">optimiser steps</text>')
    write_text(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="#374151">{"".join(parts)}</svg>\n',
    )
