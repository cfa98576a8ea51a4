"""What a person does on the page, and what they read there."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

from browser import Browser
from live_server import Live
from vectalk.space import VectorSpace

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
ODD = {0: f"{SCRIPT} (1950)", 1: f"{IMAGE} &amp; \"quotes' {{film}} (1951)"}


def show(window: Browser, live: Live, link: str = "") -> None:
    """Open the page, or a link into it, and wait for the points."""
    window.open(f"{live.url}/{link}")
    window.until(lambda: window.js("document.querySelector('#map')?.dataset.drawn"), "the points")


def title(window: Browser) -> str:
    return window.text(".answer h1")


def answered(window: Browser) -> str:
    """Wait for an answer and return it."""
    window.until(
        lambda: (
            window.js("document.querySelector('#answer').getAttribute('aria-busy')") == "false"
            and window.text("#answer").strip()
            and window.texts(".below h2")
        ),
        "an answer",
    )
    return window.text("#answer")


def chosen(window: Browser) -> dict[str, str]:
    """Return the parts of the link."""
    return {name: values[0] for name, values in parse_qs(urlsplit(window.driver.current_url).fragment).items()}


def search(window: Browser, text: str) -> list[str]:
    """Search a title, wait for matches, and return them."""
    field = window.one("#search")
    field.clear()
    field.send_keys(text)
    return window.until(lambda: window.texts("#hits li"), "matches")


def pixel_of(window: Browser, live: Live, row: int) -> tuple[float, float]:
    """Return where an island lies on the map, in pixels."""
    show(window, live, f"#space=island&at={row}")
    circle = "document.querySelector('.overlay circle.point')"
    window.until(lambda: window.js(circle))
    return window.js(f"[Number({circle}.getAttribute('cx')), Number({circle}.getAttribute('cy'))]")


def alone(space: VectorSpace, path: Path) -> int:
    """Return the row of the entity that is farthest from its nearest one on the map."""
    layout = np.load(path / "layout.npy")
    distances = np.linalg.norm(layout[:, None] - layout[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    return int(distances.min(axis=1).argmax())
