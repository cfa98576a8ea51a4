"""The map of a space: test entities in the plane of the largest variance, and walks between entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

View = dict[str, Any]
WIDTH, HEIGHT, EDGE = 760, 520, 16
GROUPS = 5  # most frequent values, each with its own colour
OTHER = "other"
WALKS = 3
LETTER = 14  # height of a label
STOPS = (0.0, 0.3, 0.5, 0.7, 1.0)


def maps(spaces: dict[str, Any], answers: Sequence[dict[str, Any]]) -> list[View]:
    """Return the map of each space.

    Args:
        spaces: the content of `map.json`.
        answers: rows of `curves_answers.jsonl`; some walks between entities are drawn.
    """
    return [_map(name, space, _walks(name, answers)) for name, space in spaces.items() if len(space["places"]) > 2]


def _walks(space: str, answers: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the walks that are longest on the map; walks whose answers change are preferred."""
    rows = [r for r in answers if r["space"] == space and r["curve"] == "interpolation" and r["condition"] == "elm"]
    by_pair: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        by_pair.setdefault((row["task"], row["subject"]), []).append(row)
    walks = [sorted(walk, key=lambda r: r["x"]) for walk in by_pair.values()]
    changing = [walk for walk in walks if walk[0]["answer"] != walk[-1]["answer"]] or walks
    return sorted(changing, key=lambda w: -float(np.hypot(*np.subtract(w[-1]["at"], w[0]["at"]))))[:WALKS]


def _map(name: str, space: dict[str, Any], walks: list[list[dict[str, Any]]]) -> View:
    places = np.array(space["places"], float)
    attribute, groups, explained = _coloured(space["values"], places)
    inner = [row["at"] for walk in walks for row in walk]
    low, high = np.percentile(places, [0.5, 99.5], axis=0)
    if inner:
        low, high = np.minimum(low, np.min(inner, axis=0)), np.maximum(high, np.max(inner, axis=0))
    span = np.maximum(high - low, 1e-9)

    def at(place: Sequence[float]) -> tuple[float, float]:
        x, y = np.clip((np.asarray(place, float) - low) / span, 0, 1)
        return EDGE + x * (WIDTH - 2 * EDGE), HEIGHT - EDGE - y * (HEIGHT - 2 * EDGE)

    order = sorted(set(groups) - {OTHER})  # decades in their order
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="map of space {escape(name)}" class="map">']
    for place, group, title in sorted(zip(places, groups, space["titles"], strict=True), key=lambda p: p[1] != OTHER):
        x, y = at(place)
        colour = f"g{order.index(group)}" if group in order else "go"
        label = f"{title} · {group}" if group != OTHER else title
        parts.append(
            f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"><title>{escape(label)}</title></circle>'
        )
    labels: list[tuple[float, float]] = []
    for number, walk in enumerate(walks):
        parts += _walk_svg(walk, number, at, labels)
    share = space["share"]
    return {
        "space": name,
        "n": len(places),
        "svg": "".join(parts) + "</svg>",
        "share": f"{100 * sum(share):.0f}",
        "attribute": attribute,
        "explained": None if explained is None else f"{100 * explained:.0f}",
        "groups": [(f"g{i}", group) for i, group in enumerate(order)] + ([("go", OTHER)] if OTHER in groups else []),
        "walks": [_walk_view(walk, number) for number, walk in enumerate(walks)],
    }


def _walk_svg(walk: list[dict[str, Any]], number: int, at: Any, labels: list[tuple[float, float]]) -> list[str]:
    """Return the SVG of a walk: its line, its stops and its ends; the positions of its labels join `labels`."""
    points = [at(row["at"]) for row in walk]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts = [f'<polyline class="way" points="{line}"/>']
    for (x, y), row in zip(points, walk, strict=True):
        label = f"{row['x']:g}: {row['answer']}"
        parts.append(f'<circle class="stop" cx="{x:.1f}" cy="{y:.1f}" r="3.4"><title>{escape(label)}</title></circle>')
    for end, (x, y) in zip("ab", (points[0], points[-1]), strict=True):
        left = x > WIDTH - 60
        anchor, shift = ("end", -8) if left else ("start", 8)
        while any(abs(x - a) < 2 * LETTER and abs(y - b) < LETTER for a, b in labels):
            y += LETTER if y < HEIGHT / 2 else -LETTER
        labels.append((x, y))
        parts.append(
            f'<text class="end" x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{number + 1}{end}</text>'
        )
    return parts


def _walk_view(walk: list[dict[str, Any]], number: int) -> View:
    """Return the answers at a few stops of a walk, for the report."""
    stops = [min(walk, key=lambda row: abs(row["x"] - alpha)) for alpha in STOPS]
    ends = walk[0]["ends"]
    return {
        "number": number + 1,
        "a": ends[0],
        "b": ends[1],
        "stops": [{"x": f"{row['x']:g}", "answer": row["answer"], "sc": row["sc"]} for row in stops],
    }


def _coloured(values: dict[str, list[Any]], places: np.ndarray) -> tuple[str | None, list[str], float | None]:
    """Return the attribute that explains most variance of the plane, the group of each point, and this share."""
    best: tuple[str | None, list[str], float | None] = (None, [OTHER] * len(places), None)
    for name, column in values.items():
        groups = _groups(column)
        share = _between(groups, places)
        if len(set(groups)) > 1 and (best[2] is None or share > best[2]):
            best = name, groups, share
    return best


def _groups(column: Sequence[Any]) -> list[str]:
    """Return the group of each value: the value if it is frequent, else `other`; of a list its rarest such value."""
    sets = [set(map(str, v)) if isinstance(v, list) else set() if v is None else {str(v)} for v in column]
    common = [value for value, _ in Counter(value for values in sets for value in values).most_common(GROUPS)]
    return [next((value for value in reversed(common) if value in values), OTHER) for values in sets]


def _between(groups: Sequence[str], places: np.ndarray) -> float:
    """Return the share of the variance of places between groups."""
    total = float(np.square(places - places.mean(0)).sum())
    labels = np.array(groups)
    middle = {g: places[labels == g].mean(0) for g in set(groups)}
    between = sum(float((labels == g).sum() * np.square(m - places.mean(0)).sum()) for g, m in middle.items())
    return between / total if total > 0 else 0.0
