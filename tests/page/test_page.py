"""The page of the map in a real browser. Skipped, visibly, where there is no chromium."""

import json
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from steps import alone, answered, chosen, pixel_of, search, show, title

from browser import Browser
from live_server import Live
from vectalk.concepts import shelf
from vectalk.serving.page import FOLDER
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout

pytestmark = pytest.mark.slow


def test_the_page_draws_all_points_and_asks_no_other_host(window: Browser, live: Live) -> None:
    window.driver.get_log("performance")
    show(window, live)
    assert window.js("document.querySelector('#map').dataset.drawn") == "island:400"
    assert "vectalk" in window.driver.title
    assert window.texts(".top .tabs button") == ["island", "film", "user"]
    events = [json.loads(entry["message"])["message"] for entry in window.driver.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert len(urls) > 5
    assert {urlsplit(url).netloc for url in urls if not url.startswith(("data:", "blob:", "about:"))} == {
        urlsplit(live.url).netloc
    }
    assert window.log() == []  # neither an error nor a breach of the content security policy
    with live.http() as client:
        assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
        assert (client.get("/LICENSES.txt").status_code, "regl-scatterplot" in client.get("/LICENSES.txt").text) == (
            200,
            True,
        )
    assert (FOLDER / "map.js").is_file()


def test_points_are_drawn_up_to_the_edges(window: Browser, live: Live, island: VectorSpace) -> None:
    layout = np.load(island.path / "layout.npy")
    window.emulate(1600, 1000)
    assert window.js("screen.availWidth") < 1600  # as where the page is zoomed out
    for row in (layout[:, 0].argmin(), layout[:, 0].argmax()):
        x, y = pixel_of(window, live, int(row))
        pixel = "document.querySelector('#map canvas').getContext('2d').getImageData(arguments[0], arguments[1], 1, 1)"
        assert window.until(lambda x=x, y=y, pixel=pixel: window.js(f"{pixel}.data[3]", round(x), round(y))) > 100


def test_control_and_influence(window: Browser, live: Live) -> None:
    show(window, live, "#space=island&at=3")
    answered(window)
    window.click("#compare")
    window.click("#shade")
    window.click("#ask")
    window.until(lambda: window.text(".control h2").startswith("Control: the same about"))
    window.until(lambda: window.text(".control .text").strip())
    tokens = "document.querySelectorAll('#answer span[title^=\"log-likelihood\"]').length"
    assert window.js(tokens) > 2


def test_search_and_an_answer_with_its_grounds(window: Browser, live: Live, island: VectorSpace) -> None:
    show(window, live)
    wanted = island.title(7)
    assert search(window, wanted)[0] == wanted
    window.click("#hits li")
    window.until(lambda: title(window) == wanted)
    assert answered(window)
    assert window.text(".support").startswith("A real entity")
    near = [island.title(int(row)) for row in island.neighbors(island[7], 10)[0]]
    assert window.texts(".below .entities li .link") == near
    assert "Stored facts" in window.texts(".below h2")
    window.click(".below .entities li .link", near[1])
    window.until(lambda: title(window) == near[1])
    assert chosen(window)["at"] == str(island.find(near[1]))
    field = window.one("#search")
    field.clear()
    field.send_keys("no such island")
    window.until(lambda: "No title contains" in window.text(".search"))


def test_a_click_on_a_point_asks_about_its_entity(window: Browser, live: Live, island: VectorSpace) -> None:
    row = alone(island, island.path)
    x, y = pixel_of(window, live, row)
    show(window, live)
    window.click_map(x + 2, y)
    window.until(lambda: title(window) == island.title(row))
    assert answered(window)
    assert chosen(window)["at"] == str(row)


def test_a_click_on_an_empty_place_asks_about_the_place(window: Browser, live: Live, island: VectorSpace) -> None:
    show(window, live)
    window.click_map(25, 25)
    window.until(lambda: title(window).startswith("A place near"))
    assert answered(window)
    assert "," in chosen(window)["at"]
    assert "Made from" in window.texts(".below h2")
    assert window.text(".support")
    accuracy = Layout.load(island).accuracy
    assert f"for {accuracy.count} held-out entities of this map" in window.text(".worth")
    assert f"mean cosine of {accuracy.place:.2f} with the true vector" in window.text(".worth")
    show(window, live, "#space=island&at=3")
    answered(window)
    assert window.text(".worth") == ""


def test_a_path_and_its_slider(window: Browser, live: Live, island: VectorSpace) -> None:
    from selenium.webdriver.common.keys import Keys

    show(window, live, "#space=island&at=3")
    answered(window)
    window.click("[data-tool=path]")
    window.until(lambda: "choose where it ends" in window.text(".toolbody"))
    search(window, island.title(9))
    window.click("#hits li")
    window.until(lambda: title(window).startswith("50 % of the way"))
    assert window.js("document.querySelectorAll('.overlay .step').length") == 9
    window.one("input#share").send_keys(Keys.ARROW_RIGHT * 10)
    window.until(lambda: title(window).startswith("100 % of the way"))
    near = window.until(
        lambda: window.texts(".below .entities li .link")[:1] == [island.title(9)], "the end of the path"
    )
    assert near
    assert chosen(window)["share"] == "1"
    assert answered(window)


def test_a_concept_moves_the_point(window: Browser, live: Live, island: VectorSpace) -> None:
    from selenium.webdriver.common.keys import Keys

    show(window, live, "#space=island&at=3")
    window.click("[data-tool=concept]")
    window.until(lambda: title(window) == f"{island.title(3)} + 2 sd of east")
    assert window.js("document.querySelector('.overlay .trail') !== null")
    window.one("input#steps").send_keys(Keys.END)
    window.until(lambda: title(window) == f"{island.title(3)} + 4 sd of east")
    expected = island.point(f"'{island.title(3)}' + 4 * concept('east')", shelf.FUNCTIONS)
    near = [island.title(int(row)) for row in island.neighbors(expected, 10)[0]]
    window.until(lambda: window.texts(".below .entities li .link") == near, "the neighbours of the moved point")
    assert answered(window)


def test_a_free_question_about_one_and_two_points(window: Browser, live: Live) -> None:
    show(window, live, "#space=island&at=3&tool=path&to=9")
    answered(window)
    box = window.one("#question")
    box.clear()
    box.send_keys("What do {a} and {b} share?\n")
    window.until(lambda: chosen(window).get("question") == "What do {a} and {b} share?")
    assert answered(window)
    window.click("[data-tool=point]")
    window.until(lambda: "about two points" in window.text(".status"))
    box = window.one("#question")
    box.clear()
    box.send_keys("Is it large?\n")
    window.until(lambda: "Asked: Is it large? {island}" in window.text(".answer"))


def test_likes_are_folded_in(window: Browser, live: Live) -> None:
    show(window, live, "#space=film&at=6")
    window.click("[data-tool=likes]")
    window.until(lambda: title(window) == "Somebody who likes Film 6 (1956)")
    assert "Would want next" in window.until(lambda: window.texts(".below h2"))
    search(window, "Film 11")
    window.click("#hits li")
    window.click(".toolbody button", "Like Film 11 (1961)")
    window.until(lambda: title(window) == "Somebody who likes these 2")
    assert chosen(window)["likes"] == "6,11"
    window.until(lambda: window.js("document.querySelector('.overlay .visitor') !== null"), "the mark of the visitor")
    labels = "[...document.querySelectorAll('.overlay text')].map((e) => e.textContent)"
    assert "the visitor" in window.js(labels)
    assert "the diamond is the visitor" in window.text(".toolbody")
    window.click("[data-tool=point]")
    window.until(lambda: window.js("document.querySelector('.overlay .visitor') === null"))


def test_a_lasso_lists_points_with_their_facts(window: Browser, live: Live, island: VectorSpace) -> None:
    show(window, live)
    window.driver.execute_script("document.querySelector('#map').focus()")
    window.keys("l")
    window.until(lambda: window.text(".selection h2") == "30 points")
    window.until(lambda: len(window.texts(".selection .titles li")) == 30)
    window.until(lambda: "here" in window.text(".selection table"))
    window.click(".selection button", "Clear")
    window.until(lambda: window.js("document.querySelector('.selection').hidden"))


def test_a_lasso_is_drawn_with_the_mouse(window: Browser, live: Live) -> None:
    show(window, live)
    window.click(".maptools button", "Lasso")
    box = window.js("document.querySelector('#map canvas').getBoundingClientRect().toJSON()")
    w, h = box["width"] - 4, box["height"] - 60  # the buttons lie below
    window.drag([(2, 2), (w / 2, 2), (w, 2), (w, h / 2), (w, h), (w / 2, h), (2, h), (2, h / 2), (2, 4)])
    window.until(lambda: window.text(".selection h2").endswith(" points"))
    assert int(window.text(".selection h2").split()[0]) > 350
    window.until(lambda: "more" in "".join(window.texts(".selection .titles li")[-1:]))
    assert title(window) == "Ask the map"  # drawing a lasso asks nothing
    window.click_map(25, 25)  # and the next click does
    window.until(lambda: title(window).startswith("A place near"))


def test_colours_and_a_value(window: Browser, live: Live) -> None:
    show(window, live, "#space=film&colour=genres")
    window.until(lambda: len(window.texts(".legend .value")) == 2)
    window.click(".legend .value")
    window.until(lambda: chosen(window).get("value") == "Drama")
    window.click("#colour option", "kind")
    window.until(lambda: "median" in window.text(".legend"))
    assert chosen(window)["colour"] == "kind"


def test_a_link_brings_everything_back(window: Browser, live: Live, island: VectorSpace) -> None:
    question = "Describe {island}."
    show(window, live, f"#space=island&at=3&tool=concept&concept=east&steps=-3&question={quote(question)}")
    window.until(lambda: title(window) == f"{island.title(3)} − 3 sd of east")
    link = window.driver.current_url
    assert answered(window)
    window.open(link)
    window.until(lambda: title(window) == f"{island.title(3)} − 3 sd of east")
    assert window.js("document.querySelector('#question').value") == question
    assert island.fingerprint.startswith(chosen(window)["version"])
    window.open(link.replace(chosen(window)["version"], "00000000"))
    window.until(lambda: "other vectors" in window.text(".message"))
    window.open(f"{live.url}/#space=nowhere&at=99999,x&tool=fly&share=NaN")
    window.until(lambda: title(window) == "Ask the map")


def test_by_keyboard_alone(window: Browser, live: Live, island: VectorSpace) -> None:
    from selenium.webdriver.common.keys import Keys

    show(window, live)
    window.keys("/")
    assert window.js("document.activeElement.id") == "search"
    window.keys(island.title(12)[:4].lower())
    window.until(lambda: window.texts("#hits li"))
    expected = window.texts("#hits li")[1] if len(window.texts("#hits li")) > 1 else window.texts("#hits li")[0]
    window.keys(*([Keys.ARROW_DOWN] * min(2, len(window.texts("#hits li")))), Keys.ENTER)
    window.until(lambda: title(window) == expected)
    for _ in range(40):
        window.keys(Keys.TAB)
        if window.js("document.activeElement.id") == "map":
            break
    assert window.js("document.activeElement.id") == "map"
    window.keys(Keys.ARROW_UP)
    window.until(lambda: window.js("document.querySelector('.overlay .cross')"))
    window.keys(*[Keys.ARROW_UP] * 40, *[Keys.ARROW_LEFT] * 40, Keys.ENTER)
    window.until(lambda: title(window).startswith("A place near"))
    assert answered(window)


def test_dark_and_light(window: Browser, live: Live) -> None:
    window.emulate(dark=True)
    show(window, live)
    assert window.js("getComputedStyle(document.body).backgroundColor") == "rgb(22, 24, 28)"
    window.click("#theme", "Theme: auto")
    assert window.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    window.click("#theme", "Theme: light")
    window.click("#theme", "Theme: dark")
