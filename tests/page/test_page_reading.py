"""What the page writes by itself: titles beside points, the probe of a vector, and the first view."""

import time

import numpy as np
import pytest
from steps import answered, chosen, show

from browser import Browser
from live_server import Live
from vectalk.space import VectorSpace

pytestmark = pytest.mark.slow


def test_the_probe_reads_the_vector_without_the_model(window: Browser, live: Live, island: VectorSpace) -> None:
    show(window, live, "#space=island&at=3")
    answered(window)
    assert window.js("document.querySelector('#probed').hidden")
    window.click("#probe")
    window.until(lambda: "inhabitants" in window.text("#probed table"))
    assert window.text("#probed h2") == "Probe: facts of the 10 nearest training entities, without the model"
    rows = island.neighbors(island[3], 10, split_name="train")[0]
    median = np.median([island.metadata(int(row))["inhabitants"] for row in rows])
    shown = next(line for line in window.text("#probed table").splitlines() if line.startswith("inhabitants"))
    assert float(shown.split()[1].replace(",", "")) == pytest.approx(median, rel=0.01)
    window.click("#probe")
    window.until(lambda: window.js("document.querySelector('#probed').hidden"))


LABELS = "[...document.querySelectorAll('.overlay .name')].map((e) => [e.textContent, e.getBBox().x, e.getBBox().y, "
LABELS += "e.getBBox().width, e.getBBox().height])"


def test_titles_beside_points_grow_with_the_zoom_and_do_not_overlap(
    window: Browser, live: Live, island: VectorSpace
) -> None:
    show(window, live, "#space=island")
    few = window.until(lambda: window.js(LABELS), "titles")
    assert 3 <= len(few) <= 40
    assert {label[0] for label in few} <= set(island.column("title").to_pylist())
    layout = np.load(island.path / "layout.npy")
    x, y = np.abs(layout).max(axis=0)
    window.click("[aria-label=Nearer]")
    time.sleep(0.5)
    window.click("[aria-label=Nearer]")

    def share(labels: list) -> float:
        half = 0.6**2  # two steps of zoom
        inside = np.sum((np.abs(layout[:, 0]) < half * x) & (np.abs(layout[:, 1]) < half * y))
        return len(labels) / max(1, inside)

    many = window.until(lambda: (labels := window.js(LABELS)) != few and labels)
    window.until(lambda: share(window.js(LABELS)) > len(few) / len(layout), "more titles for each point")
    for labels in (few, many):
        for n, (_, ax, ay, aw, ah) in enumerate(labels):
            for _, bx, by, bw, bh in labels[:n]:
                assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by + 4 or by + bh <= ay + 4


def test_a_space_without_titles_writes_none(window: Browser, live: Live) -> None:
    show(window, live, "#space=user")
    time.sleep(0.6)
    assert window.js(LABELS) == []


def test_the_first_view_is_coloured_and_says_what_it_is(window: Browser, live: Live) -> None:
    show(window, live)
    window.until(lambda: window.texts(".legend .value"))
    assert chosen(window)["colour"] == "riches"
    assert "Each island is a vector of" in window.text("#answer")
    show(window, live, "#space=island")
    assert "colour" not in chosen(window)


def test_the_nearest_say_their_measure(window: Browser, live: Live, island: VectorSpace) -> None:
    assert island.metric == "euclidean"
    show(window, live, "#space=island&at=3")
    window.until(lambda: "Nearest, by distance" in window.texts(".below h2"))
    distance = float(
        np.linalg.norm(np.asarray(island.vectors[island.neighbors(island[3], 1)[0][0]]) - island[3].values)
    )
    window.until(lambda: window.texts(".below .entities .quiet"))
    assert float(window.texts(".below .entities .quiet")[0]) == pytest.approx(distance, abs=0.01)
    show(window, live, "#space=film&at=3")
    window.until(lambda: "Nearest, by cosine" in window.texts(".below h2"))
