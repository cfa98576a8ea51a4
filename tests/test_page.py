"""The page of the map in a real browser. Skipped, visibly, where there is no chromium."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest

import vectalk as vt
from browser import Browser, CuttingProxy, browser
from live_server import Live, served
from vectalk.concepts import Concept, shelf
from vectalk.files import write_json
from vectalk.model.run import Run
from vectalk.serving import Limits
from vectalk.serving.guard import Keys
from vectalk.serving.page import FOLDER
from vectalk.space import VectorSpace
from vectalk.space.layout import build_layout
from vectalk.talk import ELM
from worlds import make_films

pytestmark = pytest.mark.slow

SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
ODD = {0: f"{SCRIPT} (1950)", 1: f"{IMAGE} &amp; \"quotes' {{film}} (1951)"}


def odd_films() -> VectorSpace:
    """Films of which two have titles that are markup."""
    films = make_films(60)
    titles = [ODD.get(row, films.title(row)) for row in range(60)]
    place = films.entities.column_names.index("title")
    return VectorSpace.create("film", films.vectors, films.entities.set_column(place, "title", [titles]))


def users_without_titles() -> VectorSpace:
    users = make_films(12)
    return VectorSpace.create("user", users.vectors, users.entities.drop_columns(["title", "genres"]))


@pytest.fixture(scope="module")
def elm(short_run: Run, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    folder = tmp_path_factory.mktemp("page")
    here = vt.ELM.from_pretrained(short_run.path, device="cpu").spaces["island"].path
    shutil.copytree(here, folder / "islands")
    elm = vt.ELM.from_pretrained(short_run.path, device="cpu", spaces={"island": str(folder / "islands")})
    items, users = folder / "factors" / "items", folder / "factors" / "users"
    elm.spaces |= {"film": odd_films().save(items), "user": users_without_titles().save(users)}
    write_json(folder / "factors" / "factors.json", {"dim": 8, "feedback": "implicit", "l2": 0.5})
    for space in elm.spaces.values():
        build_layout(space, method="pca").save()
    island = elm.spaces["island"]
    rows = island.rows("train")
    high = rows[np.asarray(island.vectors)[rows][:, 0] > np.median(np.asarray(island.vectors)[:, 0])]
    shelf.keep(Concept.fit(island, high, name="east"))
    return elm


@pytest.fixture(scope="module")
def island(elm: ELM) -> VectorSpace:
    return elm.spaces["island"]


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm, Limits(max_tokens=12)) as live:
        yield live


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    with browser() as window:
        yield window


@pytest.fixture
def window(started: Browser) -> Browser:
    """The browser in its first size, light, with nothing left of other tests."""
    started.emulate()
    started.log()
    return started


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


def test_a_click_on_an_empty_place_asks_about_the_place(window: Browser, live: Live) -> None:
    show(window, live)
    window.click_map(25, 25)
    window.until(lambda: title(window).startswith("A place near"))
    assert answered(window)
    assert "," in chosen(window)["at"]
    assert "Made from" in window.texts(".below h2")
    assert window.text(".support")


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
    window.click("#theme", "Auto")
    assert window.js("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    window.click("#theme", "Light")
    window.click("#theme", "Dark")


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
