"""The probe of the map's API: what the nearest training entities have in common, and never the entity itself."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import vectalk as vt
from live_server import Live, served
from vectalk.model.run import Run
from vectalk.serving.api.probe import facts_in_common
from vectalk.space import VectorSpace


def towns() -> VectorSpace:
    """Towns on a line: 0 to 19 by the sea, 20 to 39 in the hills; each fifth one is held out."""
    vectors = np.column_stack([np.arange(40) + 1.0, np.ones(40)]).astype(np.float32)
    columns = {
        "id": [f"t{n}" for n in range(40)],
        "split": ["test" if n % 5 == 4 else "train" for n in range(40)],
        "land": ["sea" if n < 20 else "hills" for n in range(40)],
        "trades": [["fish", f"only {n}"] if n < 20 else ["wood"] for n in range(40)],
        "people": [None if n == 0 else 10 * n for n in range(40)],
        "motto": [f"motto of {n}" for n in range(40)],
    }
    return VectorSpace.create("town", vectors, columns, metric="euclidean")


@pytest.fixture(scope="module")
def live(short_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    elm = vt.ELM.from_pretrained(short_run.path, device="cpu")
    elm.spaces["town"] = towns().save(tmp_path_factory.mktemp("probe") / "towns")
    with served(elm) as live:
        yield live


def probe(live: Live, status: int = 200, **body: Any) -> Any:
    with live.http() as client:
        reply = client.post("/api/spaces/town/probe", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


def test_a_point_between_towns(live: Live) -> None:
    reply = probe(live, values=[11.4, 1.0], k=4)  # rows 10, 11, 8 and 12; row 9 is held out
    assert sorted(one["row"] for one in reply["entities"]) == [8, 10, 11, 12]
    assert reply["numbers"] == [{"attribute": "people", "median": 105.0, "low": 80.0, "high": 120.0}]
    assert reply["values"] == [
        {"attribute": "land", "value": "sea", "share": 1.0},
        {"attribute": "trades", "value": "fish", "share": 1.0},
    ]


def test_an_entity_does_not_count_for_itself(live: Live) -> None:
    vector = base64.b64encode(np.array([11.0, 1.0], "<f4").tobytes()).decode()
    assert probe(live, base64=vector, k=1)["entities"][0]["row"] == 10
    assert probe(live, base64=vector, k=1, exclude=10)["entities"][0]["row"] != 10
    assert probe(live, expression="'t10'", k=1)["entities"][0]["row"] != 10


def test_held_out_towns_never_count(live: Live) -> None:
    rows = {one["row"] for one in probe(live, values=[10.0, 1.0], k=100)["entities"]}
    assert rows == {row for row in range(40) if row % 5 != 4}


def test_the_most_frequent_value_is_shown_where_none_has_half() -> None:
    space = towns()
    common = facts_in_common(space, np.array([0, 1, 2, 20, 21, 22, 23]))
    assert {"attribute": "land", "value": "hills", "share": 4 / 7} in common["values"]
    columns = {"id": list("abcde"), "split": ["train"] * 5, "kind": ["x", "x", "y", "z", "w"]}
    small = VectorSpace.create("thing", np.eye(5, dtype=np.float32), columns)
    expected = [{"attribute": "kind", "value": "x", "share": 0.4}]
    assert facts_in_common(small, np.arange(5))["values"] == expected


def test_a_malformed_request_is_refused(live: Live) -> None:
    probe(live, 400, values=[1.0])
    probe(live, 400, values=[1.0, 1.0], k=0)
    probe(live, 400, values=[1.0, 1.0], exclude=-1)
