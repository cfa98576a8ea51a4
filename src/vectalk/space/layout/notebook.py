"""The map in a notebook: jupyter-scatter draws the layout, and a callback receives the points that are clicked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.layout.build import build_layout
from vectalk.space.layout.layout import Layout
from vectalk.space.point import Point
from vectalk.space.vector_space import VectorSpace

MOST_VALUES = 9  # values with a colour of their own; all others share one
OTHER = "other"
HEIGHT = 480  # pixels

OnClick = Callable[[Point], Any]


def notebook_map(space: VectorSpace, colour: str | None = None, on_click: OnClick | None = None) -> Any:
    """Return the map of a space as a `jscatter.Scatter`, which a notebook displays; see `VectorSpace.map`."""
    try:
        import jscatter
        import pandas as pd
    except ImportError:
        raise SpaceError(
            "the map in a notebook needs jupyter-scatter: pip install 'vectalk[notebook]'; without it, "
            "`vectalk serve RUN` shows the map in a browser"
        ) from None
    layout = _layout_of(space)
    titles = space.column("title" if "title" in space.column_names else "id").to_pylist()
    table = {"x": layout.coordinates[:, 0], "y": layout.coordinates[:, 1], "title": titles}
    properties = ["title"]
    if colour is not None:
        table[colour] = colour_values(space, colour)
        properties.append(colour)
    whole = {"x_scale": (-1.0, 1.0), "y_scale": (-1.0, 1.0)}  # else the library stretches the axes one by one
    scatter = jscatter.Scatter(data=pd.DataFrame(table), x="x", y="y", width=HEIGHT, height=HEIGHT, **whole)
    scatter.axes(False).tooltip(True, properties=properties)
    if colour is not None:
        scatter.color(by=colour).legend(True)
    if on_click is not None:
        Clicks(layout, on_click).watch(scatter.widget)
    return scatter


class Clicks:
    """Turns what happens to the widget of a map into points, and hands the points to a callback.

    jupyter-scatter reports the points that are selected and the outline of a lasso, but no click on an empty place. So
    a click on a point gives its entity, and a lasso gives the place in the middle of its outline.

    Args:
        layout: the layout that the widget shows.
        on_click: receives each point.
    """

    def __init__(self, layout: Layout, on_click: OnClick) -> None:
        self.layout, self.on_click = layout, on_click

    def watch(self, widget: Any) -> None:
        """Follow the selection and the lasso of a `jscatter` widget."""
        widget.observe(lambda change: self.select(change["new"]), names="selection")
        widget.observe(lambda change: self.encircle(change["new"], widget.selection), names="lasso_selection_polygon")

    def select(self, rows: np.ndarray | None) -> None:
        """Hand over the entity where exactly one row is selected."""
        if rows is not None and len(rows) == 1:
            self.on_click(self.layout.space[int(rows[0])])

    def encircle(self, outline: np.ndarray | None, rows: np.ndarray | None) -> None:
        """Hand over the place in the middle of an outline [n, 2], unless exactly one point lies inside."""
        if outline is None or len(outline) == 0 or (rows is not None and len(rows) == 1):
            return
        corners = np.asarray(outline, np.float64).reshape(-1, 2)
        x, y = (corners.min(axis=0) + corners.max(axis=0)) / 2
        self.on_click(self.layout.point_at(float(x), float(y))[0])


def colour_values(space: VectorSpace, name: str) -> Any:
    """Return one number or one text for each entity: numbers as they are, else the 9 most frequent values and `other`.

    Of a list such as genres, the first value counts.

    Raises:
        SpaceError: the space has no such column.
    """
    column = space.column(name)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan")))
    values = column.to_pylist()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        values = [value[0] if value else None for value in values]
    texts = ["" if value is None else str(value) for value in values]
    frequent = {text for text, _ in Counter(text for text in texts if text).most_common(MOST_VALUES)}
    return [text if text in frequent else OTHER for text in texts]


def _layout_of(space: VectorSpace) -> Layout:
    """Return the layout beside a space; where there is none that fits, compute one, without saving it."""
    try:
        return Layout.load(space)
    except SpaceError:
        return build_layout(space)
