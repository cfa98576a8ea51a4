"""The built page belongs to its sources, and says what it contains."""

import hashlib
import re
from pathlib import Path

import pytest

from vectalk.serving.page import FOLDER, POLICY

WEB = Path(__file__).parents[2] / "web"


def test_the_page_was_built_from_these_sources() -> None:
    names = [
        "index.html",
        "package-lock.json",
        "vite.config.mjs",
        *(f"src/{one.name}" for one in (WEB / "src").iterdir()),
    ]
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(f"{name}\n".encode() + (WEB / name).read_bytes())
    built = (FOLDER / "SOURCE").read_text().strip()
    assert built == digest.hexdigest(), "the sources of the page have changed: run `npm ci && npm run build` in web/"


@pytest.mark.parametrize("name", ["regl", "regl-scatterplot", "pub-sub-es", "gl-matrix", "dom-2d-camera", "kdbush"])
def test_the_licences_of_the_page(name: str) -> None:
    text = (FOLDER / "LICENSES.txt").read_text(encoding="utf-8")
    assert re.search(rf"^{name} ", text, re.MULTILINE)
    assert "names this licence and holds no text" not in text


def test_the_page_has_no_inline_script_and_names_no_other_host() -> None:
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>([^<]*)", page) == [""]
    assert re.findall(r"(?:src|href)=\"(?!\./|data:)([^\"]*)", page) == []
    assert "url(" not in (FOLDER / "map.css").read_text(encoding="utf-8")
    assert "'unsafe-inline'" not in POLICY.split("style-src")[0]
