"""A forest plot as SVG: one line a cell, a point and its interval for each figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from vectalk.evaluation.metrics.bootstrap import Estimate

ROW, TOP, LEFT, PANEL, GAP = 20, 44, 190, 280, 36
COLOUR = "#1f5fa8"


def forest(cells: Sequence[tuple[str, str, Mapping[str, Estimate]]], figures: Sequence[str]) -> str:
    """Return the plot.

    Args:
        cells: group, name and figures of each cell, the first one the base, whose values are drawn through all rows.
        figures: names of the figures, a panel each.
    """
    places, y, group = [], TOP, None
    for axis, _, _ in cells:
        y += ROW + (ROW // 2 if group not in (None, axis) else 0)
        group = axis
        places.append(y)
    width, height = LEFT + len(figures) * (PANEL + GAP), y + 2 * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for (_, name, _), place in zip(cells, places, strict=True):
        parts.append(f'<text x="{LEFT - 12}" y="{place + 4}" text-anchor="end">{escape(name)}</text>')
    for number, figure in enumerate(figures):
        column = [estimates[figure] for _, _, estimates in cells]
        parts += _panel(figure, column, places, LEFT + number * (PANEL + GAP), height - ROW)
    return "\n".join([*parts, "</svg>\n"])


def _panel(figure: str, column: Sequence[Estimate], places: Sequence[int], left: int, bottom: int) -> list[str]:
    ends = [v for found in column for v in (found.value, found.low, found.high) if v is not None]
    low, high = min([0.0, *ends]), max([1.0, *ends])

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * PANEL

    parts = [f'<text x="{left}" y="{TOP - 22}" font-weight="bold">recovery of {escape(figure)}</text>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{TOP - 6}" text-anchor="middle" fill="#666">{tick:g}</text>')
    if column[0].value is not None:
        base = x(column[0].value)
        parts.append(
            f'<line x1="{base:.1f}" x2="{base:.1f}" y1="{TOP}" y2="{bottom}" stroke="{COLOUR}" opacity="0.4"/>'
        )
    for found, place in zip(column, places, strict=True):
        if found.low is not None and found.high is not None:
            parts.append(
                f'<line x1="{x(found.low):.1f}" x2="{x(found.high):.1f}" y1="{place}" y2="{place}" '
                f'stroke="{COLOUR}" stroke-width="2"/>'
            )
        if found.value is not None:
            parts.append(f'<circle cx="{x(found.value):.1f}" cy="{place}" r="4" fill="{COLOUR}"/>')
    return parts
