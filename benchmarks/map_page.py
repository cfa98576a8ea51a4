"""Draw random points in headless Chromium: with the page of the map, and with regl-scatterplot alone (the baseline)."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from common import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser, browser
from live_server import served

MODULES = ROOT / "web" / "node_modules"
LONGEST = 300.0  # seconds that a page may take to draw
OURS = ("#map canvas", "#map[data-drawn]")  # the canvas, and what is there once points are drawn
FRAMES, SECONDS = 600, 6.0  # frames are counted until either limit
# The first example of the library's page, with points and a canvas of the sizes that the map has.
PLAIN = """<!doctype html>
<meta charset="utf-8" />
<style>body { margin: 0 } canvas { width: WIDTHpx; height: HEIGHTpx; display: block }</style>
<canvas id="canvas"></canvas>
<script src="regl/dist/regl.min.js"></script>
<script type="importmap">
  { "imports": { "regl": "./regl-module.js", "pub-sub-es": "./pub-sub-es/dist/index.js" } }
</script>
<script type="module">
  import createScatterplot from "./regl-scatterplot/dist/regl-scatterplot.esm.js";
  const numbers = new Float32Array(await (await fetch("points.bin")).arrayBuffer());
  const x = numbers.filter((_, i) => i % 2 === 0), y = numbers.filter((_, i) => i % 2 === 1);
  const canvas = document.querySelector("#canvas");
  const { width, height } = canvas.getBoundingClientRect();
  const scatterplot = createScatterplot({ canvas, width, height, pointSize: POINT_SIZE });
  await scatterplot.draw({ x, y });
  document.body.dataset.drawn = String(x.length);
</script>
"""
# Turns the wheel before each frame and reads pixels after it, so that a frame counts only once it is drawn.
COUNT = """
const [selector, frames, seconds, done] = arguments;
const canvas = document.querySelector(selector);
const { x, y, width, height } = canvas.getBoundingClientRect();
const place = { clientX: x + width / 2, clientY: y + height / 2, bubbles: true, cancelable: true };
const picture = canvas.getContext("2d");
let count = 0, start = 0;
const sums = new Set();
canvas.dispatchEvent(new MouseEvent("mouseenter", place));
const step = (now) => {
  const data = picture.getImageData(canvas.width >> 1, canvas.height >> 1, 8, 8).data;
  sums.add(data.join());
  if (!start) start = now;
  else count++;
  if (count >= frames || now - start > 1000 * seconds) return done([(1000 * count) / (now - start), sums.size]);
  canvas.dispatchEvent(new WheelEvent("wheel", { ...place, deltaY: count % 40 < 20 ? -4 : 4 }));
  requestAnimationFrame(step);
};
requestAnimationFrame(step);
"""


def library_version() -> str:
    """Return the version of regl-scatterplot in web/node_modules."""
    return json.loads((MODULES / "regl-scatterplot" / "package.json").read_text())["version"]


def measure(run: str, sizes: list[int], pairs: int) -> dict[str, float]:
    """Return medians of the seconds to the first picture and of the frames a second, for both pages and all sizes.

    Args:
        run: folder of the run whose space is replaced by random points.
        sizes: numbers of points.
        pairs: how often each page is measured, in turns.
    """
    figures: dict[str, float] = {}
    for size in sizes:
        coordinates = np.random.default_rng(0).uniform(-1, 1, (size, 2)).astype(np.float32)
        with our_page(run, coordinates) as ours, plain_page(coordinates, canvas_of(ours)) as plain:
            pages = {"map": (ours, *OURS), "map_plain": (plain, "#canvas", "[data-drawn]")}
            seen: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
            for pair in range(pairs):
                for name in list(pages)[:: 1 if pair % 2 == 0 else -1]:
                    with browser() as window:  # a fresh one, so that nothing is cached
                        first = first_picture(window, *pages[name])
                        seen[name].append((first, frames_a_second(window, *pages[name])))
        for name, values in seen.items():
            first, frames = np.median(values, axis=0)
            figures[f"{name}_first_s_{size}"], figures[f"{name}_fps_{size}"] = float(first), float(frames)
        print(f"{size:,} points: {seen}", file=sys.stderr, flush=True)
    return figures


def canvas_of(url: str) -> tuple[int, int]:
    """Return width and height of the canvas of our page, in pixels. Opening the page also warms up its server."""
    with browser() as window:
        first_picture(window, url, *OURS)
        box = window.js("document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", OURS[0])
    return round(box["width"]), round(box["height"])


def first_picture(window: Browser, url: str, canvas: str, ready: str) -> float:
    """Open a page and return the seconds until its points are drawn."""
    start = time.perf_counter()
    window.driver.get(url)
    while not window.js("document.querySelector(arguments[0]) !== null", ready):
        if time.perf_counter() - start > LONGEST:
            sys.exit(f"{url} drew no points within {LONGEST:g} s: {window.log()}")
        time.sleep(0.02)
    pixel = "document.querySelector(arguments[0]).getContext('2d').getImageData(0, 0, 1, 1).data[0]"
    window.js(pixel, canvas)  # the picture is complete once it can be read
    return time.perf_counter() - start


def frames_a_second(window: Browser, url: str, canvas: str, _ready: str) -> float:
    """Zoom in and out on a drawn page, and return how many frames a second it draws."""
    window.driver.set_script_timeout(LONGEST)
    frames, pictures = window.driver.execute_async_script(COUNT, canvas, FRAMES, SECONDS)
    if pictures < 3:
        sys.exit(f"{url}: the view did not move, so its frames say nothing")
    return float(frames)


@contextmanager
def our_page(run: str, coordinates: np.ndarray) -> Iterator[str]:
    """Serve the page with a space of random points; yields its address."""
    from vectalk.serving import Limits
    from vectalk.space import VectorSpace
    from vectalk.space.layout import Layout
    from vectalk.talk import ELM

    elm = ELM.from_pretrained(run, device="cpu")
    name = next(iter(elm.spaces))
    vectors = np.random.default_rng(1).standard_normal((len(coordinates), 8)).astype(np.float32)
    space = VectorSpace.create(name, vectors, {"id": [str(row) for row in range(len(vectors))]})
    elm.spaces.clear()
    elm.spaces[name] = space
    with served(elm, Limits(max_tokens=4)) as live:
        live.service.layouts.add(Layout(space, coordinates, "random", 0, len(space)))
        yield f"{live.url}/"


@contextmanager
def plain_page(coordinates: np.ndarray, canvas: tuple[int, int]) -> Iterator[str]:
    """Serve a page with the library alone and a canvas of this width and height; yields its address."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        for package in ("regl", "pub-sub-es", "regl-scatterplot"):
            (folder / package).symlink_to(MODULES / package)
        size = len(coordinates)
        point = 5 if size < 5_000 else 3.5 if size < 50_000 else 2.5 if size < 300_000 else 1.5  # as the map has it
        page = (
            PLAIN.replace("POINT_SIZE", str(point)).replace("WIDTH", str(canvas[0])).replace("HEIGHT", str(canvas[1]))
        )
        (folder / "index.html").write_text(page)
        (folder / "regl-module.js").write_text("export default window.createREGL;\n")
        (folder / "points.bin").write_bytes(np.ascontiguousarray(coordinates, "<f4").tobytes())
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=place))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/index.html"
        finally:
            server.shutdown()
            server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Print nothing for each request."""
