"""A served run with odd titles, and a browser."""

import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from steps import ODD

import vectalk as vt
from browser import Browser, browser
from live_server import Live, served
from vectalk.concepts import Concept, shelf
from vectalk.files import write_json
from vectalk.model.run import Run
from vectalk.serving import Limits
from vectalk.space import VectorSpace
from vectalk.space.layout import build_layout
from vectalk.talk import ELM
from worlds import make_films


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
