"""Pictures of the map for the docs, taken in headless Chromium: `docs/images/map.png` and `docs/images/map-dark.png`.

    python benchmarks/pictures.py runs/demo/run

RUN is a run with a space of films, such as the demo's. The first picture shows a point between two films, the second an
empty place that was clicked. Needs chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import urlencode

from common import ROOT, shown_path

sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser, browser
from live_server import served
from map import layout_of
from vectalk.serving import Limits
from vectalk.talk import ELM

SIZE = (1360, 800)
ENDS = ("Alien (1979)", "Annie Hall (1977)")
DONE = "document.querySelector('#answer')?.getAttribute('aria-busy') === 'false' && document.querySelector('.below h2')"


def main() -> None:
    """Serve the run, and take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of the run")
    parser.add_argument("--space", default="film", help="name of the space of films")
    parser.add_argument("--ends", nargs=2, default=ENDS, metavar="TITLE", help="both ends of the path")
    parser.add_argument("--place", nargs=2, type=float, default=(0.0, 0.0), metavar=("X", "Y"), help="from -1 to 1")
    parser.add_argument("--colour", default="genres", help="attribute that colours the points")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options = parser.parse_args()
    elm = ELM.from_pretrained(options.run, device="cpu")
    space = elm.spaces[options.space]
    first, second = (space.find(title) for title in options.ends)
    here = {"space": options.space, "colour": options.colour}
    links = {
        "map": (False, {**here, "at": first, "to": second, "tool": "path", "share": 0.5}),
        "map-dark": (True, {**here, "at": ",".join(f"{part:g}" for part in options.place)}),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    with served(elm, Limits()) as live, browser() as window:
        live.service.name = "films"
        live.service.layouts.add(layout_of(space))
        for name, (dark, link) in links.items():
            window.emulate(*SIZE, dark=dark)
            take(window, f"{live.url}/#{urlencode(link)}", options.out / f"{name}.png")
            print(f"written to {shown_path(options.out / (name + '.png'))}")


def take(window: Browser, url: str, path: Path) -> None:
    """Open a link, wait for the points and the answer, and save a picture of the window."""
    window.open(url)
    window.until(lambda: window.js("document.querySelector('#map')?.dataset.drawn"), "the points")
    window.until(lambda: window.js(DONE), "the answer")
    temporary = path.with_name(f".{path.name}")
    window.driver.save_screenshot(str(temporary))
    temporary.replace(path)


if __name__ == "__main__":
    main()
