"""The page with odd titles, without WebGL or a layout, and with servers that die or refuse."""

import asyncio
from pathlib import Path

import pytest
from steps import ODD, answered, search, show, title

from browser import Browser, CuttingProxy, browser
from live_server import Live, served
from vectalk.serving import Limits
from vectalk.serving.guard import Keys
from vectalk.space import VectorSpace
from vectalk.talk import ELM

pytestmark = pytest.mark.slow


def test_titles_are_text(window: Browser, live: Live) -> None:
    show(window, live, "#space=film&at=0")
    window.until(lambda: title(window) == ODD[0])
    assert search(window, "onerror") == [ODD[1]]
    window.click("#hits li")
    window.until(lambda: title(window) == ODD[1])
    window.until(lambda: window.texts(".below .entities li .link"))
    window.driver.execute_script("document.querySelector('#map').focus()")
    window.keys("l")
    window.until(lambda: len(window.texts(".selection .titles li")) == 30)
    assert window.driver.title == "film · vectalk"
    assert window.js("document.querySelectorAll('#app img, #app script').length") == 0


def test_users_without_titles_go_by_their_ids(window: Browser, live: Live) -> None:
    show(window, live, "#space=user&at=4")
    window.until(lambda: title(window) == "1004")
    assert search(window, "1007") == ["1007"]
    assert len(window.until(lambda: window.texts(".below .entities li .link"))) == 10


def test_a_phone_shows_search_and_answer(window: Browser, live: Live, island: VectorSpace) -> None:
    window.emulate(390, 844)
    window.open(live.url)
    search(window, island.title(7))
    window.click("#hits li")
    window.until(lambda: title(window) == island.title(7))
    assert answered(window)
    assert not window.js("document.querySelector('#map')")
    assert window.js("document.documentElement.scrollWidth") <= 390


def test_without_webgl_there_is_a_list(live: Live, island: VectorSpace) -> None:
    with browser("--disable-3d-apis") as window:
        window.open(live.url)
        window.until(lambda: "no WebGL" in window.text("#list"))
        window.until(lambda: window.texts("#list .titles li")[:1] == [island.title(0)])
        window.click("#list button", "Next")
        window.until(lambda: window.texts("#list .titles li")[:1] == [island.title(100)])
        window.click("#list .titles button", island.title(103))
        window.until(lambda: title(window) == island.title(103))
        assert answered(window)


def test_a_space_without_a_layout_is_a_list(window: Browser, elm: ELM, island: VectorSpace, tmp_path: Path) -> None:
    bare = VectorSpace.create("island", island.vectors, island.entities).save(tmp_path / "bare")
    spaces = dict(elm.spaces)
    elm.spaces["island"] = bare
    try:
        with served(elm, Limits(max_tokens=12)) as live:
            window.open(live.url)
            window.until(lambda: "vectalk space layout" in window.text("#list"))
    finally:
        elm.spaces.update(spaces)


def test_a_server_that_dies_within_an_answer(window: Browser, live: Live, island: VectorSpace) -> None:
    proxy = CuttingProxy(live.port)
    try:
        window.open(f"http://127.0.0.1:{proxy.port}/")
        window.until(lambda: window.js("document.querySelector('#map')?.dataset.drawn"))
        proxy.arm()
        search(window, island.title(7))
        window.click("#hits li")
        window.until(lambda: "The connection was lost" in window.text(".status"))
        window.click(".status button", "Try again")
        window.until(lambda: "Is `vectalk serve` still running?" in window.text(".answer"))
    finally:
        proxy.close()


def test_a_busy_server(window: Browser, elm: ELM) -> None:
    with served(elm, Limits(rows=1, waiting=0, max_tokens=12)) as live:
        show(window, live)
        place = asyncio.run(live.service.gate.enter())  # the only row is taken
        window.click_map(25, 25)
        window.until(lambda: "The server is busy" in window.text(".status"))
        assert "Try again" in window.text(".status button")
        place.release()
        assert answered(window)  # the page tries again by itself


def test_a_key_is_asked_for(window: Browser, elm: ELM) -> None:
    key = "a-key-of-this-test-0123456789"
    with served(elm, Limits(max_tokens=12), keys=Keys([key])) as live:
        window.open(live.url)
        window.one("#key").send_keys("wrong\n")
        window.until(lambda: window.js("document.querySelector('#key')?.value === ''"))
        window.one("#key").send_keys(f"{key}\n")
        window.until(lambda: window.js("document.querySelector('#map')?.dataset.drawn"))
