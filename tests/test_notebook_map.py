"""The map in a notebook: what is drawn, and which points the callback receives."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vectalk.errors import SpaceError
from vectalk.space import Point, VectorSpace
from vectalk.space.layout import Layout
from vectalk.space.layout.notebook import Clicks, colour_values

PLACES = [[-1, -0.5], [1, -0.5], [1, 0.5], [-1, 0.5], [0, 0.4]]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Five films on a map, saved beside their space; vector n is the unit vector n."""
    columns = {
        "id": [str(n) for n in range(5)],
        "title": [f"Film {n}" for n in range(5)],
        "split": ["train"] * 5,
        "year": [1950, None, 1970, 1980, 1990],
        "genres": [["Drama"], ["Drama", "War"], [], None, ["War", "Drama"]],
    }
    space = VectorSpace.create("film", np.eye(5, dtype=np.float32), columns).save(tmp_path / "film")
    layout = Layout(space, np.array(PLACES, np.float32), "pca", 0, 5)
    layout.save()
    return layout


@pytest.fixture
def points() -> list[Point]:
    return []


def test_without_the_library_the_error_names_the_extra(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jscatter", None)
    with pytest.raises(SpaceError, match=r"pip install 'vectalk\[notebook\]'"):
        layout.space.map()


def test_one_selected_row_is_an_entity(layout: Layout, points: list[Point]) -> None:
    clicks = Clicks(layout, points.append)
    clicks.select(np.array([3]))
    assert [point.row for point in points] == [3]
    clicks.select(np.array([], np.int64))
    clicks.select(np.array([1, 2]))
    clicks.select(None)
    assert len(points) == 1


def test_a_lasso_is_the_place_in_its_middle(layout: Layout, points: list[Point]) -> None:
    clicks = Clicks(layout, points.append)
    outline = np.array([[-0.1, -0.1], [0.1, -0.1], [0.1, 0.1], [-0.1, 0.1], [-0.1, -0.1]])
    clicks.encircle(outline, np.array([]))
    (point,) = points
    assert point.row is None
    assert np.allclose(point.values, layout.point_at(0, 0)[0].values)
    assert point.values.argmax() == 4  # the nearest film on the map
    clicks.encircle(np.empty((0, 2)), np.array([]))  # the lasso was cleared
    clicks.encircle(None, None)
    clicks.encircle(outline, np.array([4]))  # one point inside: already handed over as an entity
    assert len(points) == 1


def test_colours_of_numbers_lists_and_texts(layout: Layout) -> None:
    space = layout.space
    assert np.array_equal(colour_values(space, "year"), [1950, np.nan, 1970, 1980, 1990], equal_nan=True)
    assert colour_values(space, "genres") == ["Drama", "Drama", "other", "other", "War"]
    assert colour_values(space, "split") == ["train"] * 5
    with pytest.raises(SpaceError, match="no column 'genre'"):
        colour_values(space, "genre")


def test_rare_values_share_a_colour() -> None:
    names = [f"v{n}" for n in range(12) for _ in range(n + 1)]
    columns = {"id": [str(n) for n in range(len(names))], "kind": names}
    space = VectorSpace.create("film", np.random.default_rng(0).standard_normal((len(names), 3)), columns)
    assert set(colour_values(space, "kind")) == {*(f"v{n}" for n in range(3, 12)), "other"}


def test_the_widget_shows_the_layout_and_reports_clicks(layout: Layout, points: list[Point]) -> None:
    pytest.importorskip("jscatter")
    scatter = layout.space.map(colour="genres", on_click=points.append)
    widget = scatter.widget
    assert np.allclose(widget.points[:, :2], PLACES)
    assert widget.x_scale_domain == widget.y_scale_domain == [-1, 1]  # a circle of the layout stays a circle
    widget.set_trait("selection", np.array([2], np.uint32))
    assert [point.row for point in points] == [2]
    widget.set_trait("selection", np.array([], np.uint32))
    outline = np.array([[0.4, 0.4], [0.6, 0.4], [0.6, 0.6], [0.4, 0.6]], np.float32)
    payload = {"dtype": "float32", "shape": [4, 2], "view": memoryview(outline.tobytes())}
    widget.set_state({"lasso_selection_polygon": payload})  # as the browser sends it
    assert len(points) == 2
    assert np.allclose(points[1].values, layout.point_at(0.5, 0.5)[0].values, atol=1e-5)


def test_a_space_without_a_layout_gets_one(layout: Layout) -> None:
    pytest.importorskip("jscatter")
    bare = VectorSpace.create("film", layout.space.vectors, layout.space.entities)
    assert bare.map().widget.points.shape[0] == 5
