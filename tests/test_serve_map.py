"""The map's API: entities, points, attributes, layout, likes; and answers to requests that hypothesis invents."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import vectalk as vt
from live_server import NAME, Live, served
from vectalk.concepts import Concept, shelf
from vectalk.files import write_json
from vectalk.model.run import Run
from vectalk.serving import Limits
from vectalk.serving.api.mentions import entities_in
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout
from vectalk.talk import ELM
from vectalk.talk.mentions import Linker
from worlds import make_films, space_of


@pytest.fixture(scope="module")
def elm(short_run: Run, tmp_path_factory: pytest.TempPathFactory) -> ELM:
    folder = tmp_path_factory.mktemp("map")
    elm = vt.ELM.from_pretrained(short_run.path, device="cpu")
    films, users = make_films(60), make_films(12)
    users.name = "user"
    elm.spaces |= {"film": films.save(folder / "factors" / "items"), "user": users.save(folder / "factors" / "users")}
    write_json(folder / "factors" / "factors.json", {"dim": 8, "feedback": "implicit", "l2": 0.5})
    rows = films.rows("train")
    shelf.keep(Concept.fit(elm.spaces["film"], rows[np.asarray(films.vectors)[rows][:, 0] > 0], name="first"))
    return elm


@pytest.fixture(scope="module")
def films(elm: ELM) -> VectorSpace:
    return elm.spaces["film"]


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm, Limits(max_tokens=16)) as live:
        yield live


def get(live: Live, path: str, **query: Any) -> Any:
    with live.http() as client:
        reply = client.get(f"/api/spaces{path}", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def post(live: Live, path: str, status: int = 200, **body: Any) -> Any:
    with live.http() as client:
        reply = client.post(f"/api/spaces/{path}", json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_spaces_and_concepts(live: Live, films: VectorSpace) -> None:
    described = {one["name"]: one for one in get(live, "")["spaces"]}
    assert set(described) == {"island", "film", "user"}
    film = described["film"]
    assert (film["rows"], film["dim"], film["concepts"], film["likes"]) == (60, 8, ["first"], "user")
    assert not film["layout"]
    assert described["user"]["likes"] is None
    assert described["island"]["wordings"]
    (concept,) = get(live, "/film/concepts")["concepts"]
    assert concept["statistics"]["auc"] == pytest.approx(shelf.find(films, "first").statistics.auc)


def test_titles_search_and_facts(live: Live, films: VectorSpace) -> None:
    assert get(live, "/film/titles", rows="3,0")["entities"] == [
        {"row": 3, "id": "1003", "title": "Film 3 (1953)"},
        {"row": 0, "id": "1000", "title": "Film 0 (1950)"},
    ]
    rows = [one["row"] for one in get(live, "/film/search", q="FILM 5", limit=20)["entities"]]
    assert rows[0] == 5
    assert set(rows) == {5, *range(50, 60)}
    assert [one["row"] for one in get(live, "/film/search", q="1007")["entities"]] == [7]
    assert get(live, "/film/search", q="nothing like it")["entities"] == []
    assert [one["row"] for one in get(live, "/film/search", q="1957 film")["entities"]] == [7]
    facts = get(live, "/film/entity", id="1002")
    assert facts["title"] == "Film 2 (1952)"
    assert facts["facts"]["genres"] == films.metadata(2)["genres"]
    assert get(live, "/film/entity", row=2) == facts == get(live, "/film/entity", id="film 2 (1952)")


def test_a_point_its_neighbours_and_support(live: Live, films: VectorSpace) -> None:
    point = films.point("lerp('1001', '1002', 0.5)")
    answer = post(live, "film/resolve", expression="lerp('1001', '1002', 0.5)")
    assert np.array_equal(unpacked(answer["base64"]), point.values)
    assert answer["sources"] == list(point.sources)
    assert answer["support"]["percentile"] == pytest.approx(films.support(point).percentile)
    again = post(live, "film/resolve", **{k: answer["part"][k] for k in ("space", "base64")})
    assert again["base64"] == answer["base64"]
    near = post(live, "film/neighbors", values=point.values.tolist(), k=4)["neighbors"]
    rows, scores = films.neighbors(point, 4)
    assert [one["row"] for one in near] == rows.tolist()
    assert [one["similarity"] for one in near] == pytest.approx(scores.tolist())
    assert post(live, "film/neighbors", expression="'1001'", split="test", k=1000)["neighbors"][0]["row"] in films.rows(
        "test"
    )
    moved = post(live, "film/resolve", expression="'1001' + 2 * concept('first')")
    step = shelf.find(films, "first").step.values
    assert np.allclose(unpacked(moved["base64"]), films["1001"].values + 2 * step, atol=1e-5)
    assert post(live, "film/support", expression="'1001'")["support"]["entity"]


def test_a_resolved_point_can_be_asked_about(live: Live) -> None:
    part = post(live, "island/resolve", expression="lerp('1', '2', 0.5)")["part"]
    parts = [{"type": "text", "text": "Describe "}, part, {"type": "text", "text": "."}]
    by_part = live.ask(messages=[{"role": "user", "content": parts}]).json()["choices"][0]["message"]
    asked = {"role": "user", "content": "Describe island:lerp('1', '2', 0.5)."}
    assert live.ask(messages=[asked]).json()["choices"][0]["message"] == by_part


def test_attributes_to_colour_by(live: Live, films: VectorSpace) -> None:
    kinds = {one["name"]: one for one in get(live, "/film/attributes")["attributes"]}
    assert kinds["kind"] == {"name": "kind", "kind": "number", "low": 0.0, "high": 4.0}
    assert kinds["genres"]["values"] == ["Drama", "Comedy"]
    assert kinds["split"]["kind"] == "category"
    with live.http() as client:
        numbers = client.get("/api/spaces/film/attribute/kind")
        assert numbers.headers["x-kind"] == "number"
        assert np.array_equal(np.frombuffer(numbers.content, "<f4"), np.arange(60) % 5)
        mask = client.get("/api/spaces/film/attribute/genres", params={"value": "Comedy"})
        assert np.array_equal(np.flatnonzero(np.frombuffer(mask.content, np.uint8)), films.where("genres", "Comedy"))
        codes = np.frombuffer(client.get("/api/spaces/film/attribute/genres").content, "<u2")
        assert [int(code) for code in codes[:4]] == [65535, 0, 1, 0]  # nothing, Drama, Comedy first, Drama
        reply = client.get("/api/spaces/film/attribute/genre")
        assert (reply.status_code, "did you mean genres" in reply.json()["error"]["message"]) == (404, True)
        reply = client.get("/api/spaces/film/attribute/genres", params={"value": "Comdy"})
        assert (reply.status_code, "did you mean Comedy" in reply.json()["error"]["message"]) == (400, True)


def test_a_place_of_the_map_is_a_vector(live: Live, films: VectorSpace) -> None:
    coordinates = np.random.default_rng(0).uniform(-0.5, 0.5, (60, 2)).astype(np.float32)
    coordinates[:2] = [[0.75, 0], [1, 0]]
    with live.http() as client:
        assert client.get("/api/spaces/film/layout").json()["error"]["code"] == "no_layout"
        assert "vectalk space layout" in post(live, "film/place", 404, x=0, y=0)["error"]["message"]
        assert post(live, "film/resolve", expression="'1001'")["at"] is None
        layout = Layout(films, coordinates, "pca", 0, 60)
        layout.save()
        card = (films.path / "layout.json").read_text()
        (films.path / "layout.json").write_text(card.replace(films.fingerprint, "0" * 64))
        message = post(live, "film/place", 404, x=0, y=0)["error"]["message"]
        assert "the space has changed" in message
        assert str(films.path) not in message  # clients learn no path of the server
        layout.save()
        reply = client.get("/api/spaces/film/layout")
        assert np.array_equal(np.frombuffer(reply.content, "<f4").reshape(60, 2), coordinates)
        assert (
            client.get("/api/spaces/film/layout", headers={"if-none-match": reply.headers["etag"]}).status_code == 304
        )
    assert next(one for one in get(live, "")["spaces"] if one["name"] == "film")["layout"]
    on_it = post(live, "film/place", x=0.75, y=0)
    assert on_it["entity"]["row"] == 0
    between = post(live, "film/place", x=0.8125, y=0, k=2)
    expected = 0.75 * films.vectors[0] + 0.25 * films.vectors[1]
    assert np.allclose(unpacked(between["part"]["base64"]), expected, atol=1e-6)
    assert [(one["row"], one["weight"]) for one in between["nearest"]] == [(0, 0.75), (1, 0.25)]
    assert between["support"]["verdict"] in ("real", "far", "central")
    assert between["at"] == [0.8125, 0]
    assert between["accuracy"] is None  # nobody measured this layout
    assert post(live, "film/resolve", expression="'1001'")["at"] == [1, 0]
    moved = post(live, "film/resolve", expression="lerp('1003', '1008', 0.5)")
    point = films.point("lerp('1003', '1008', 0.5)")
    assert moved["at"] == pytest.approx(layout.locate(point.values).tolist())


def test_an_entity_has_its_vector(live: Live, films: VectorSpace) -> None:
    point = get(live, "/film/entity", row=7)["point"]
    assert np.array_equal(unpacked(point["base64"]), films.vectors[7])
    assert point["support"]["entity"]


def test_facts_of_a_selection(live: Live, films: VectorSpace) -> None:
    rows = films.where("genres", "Comedy").tolist()
    facts = post(live, "film/facts", rows=[*rows, rows[0]])
    assert facts["count"] == len(rows)
    first = facts["shares"][0]
    assert (first["attribute"], first["value"], first["inside"], first["outside"]) == ("genres", "Comedy", 1.0, 0.0)
    assert {"id", "title", "split"}.isdisjoint(share["attribute"] for share in facts["shares"])
    kinds = [row % 5 for row in rows]
    others = [row % 5 for row in range(60) if row not in rows]
    assert {"attribute": "kind", "inside": np.median(kinds), "outside": np.median(others)} in facts["numbers"]
    assert post(live, "film/facts", rows=list(range(60))) == {"count": 60, "shares": [], "numbers": []}
    assert "0 to 59" in post(live, "film/facts", 400, rows=[60])["error"]["message"]
    for wrong in ([], [-1], [2**70]):
        assert post(live, "film/facts", 400, rows=wrong)["error"]["param"].startswith("rows")


def test_titles_that_a_text_names(live: Live) -> None:
    text = "It is like “Film 6 (1956)” and Film 3 (1953), unlike Film 999 (1953)."
    reply = post(live, "film/mentions", text=text)
    assert reply["searched"]
    assert [one["row"] for one in reply["mentions"]] == [6, 3]


def test_a_title_is_found_as_the_catalogue_spells_it() -> None:
    films = space_of(title=["Matrix, The (1999)", "Heat (1995)"])
    linker = Linker({films.name: films})

    def named(text: str) -> list[int]:
        return [one["row"] for one in entities_in(text, films, linker)]

    assert named("Likes “Matrix, The (1999)” and “Heat (1995)”, and Heat (1995) again.") == [0, 1]
    assert named("Likes The Matrix (1999).") == [0]
    assert named("In the heat of the matrix.") == []


def test_likes_are_folded_in(live: Live, films: VectorSpace) -> None:
    visitor = post(live, "film/likes", likes=["1001", "Film 6 (1956)"])
    assert visitor["liked"] == ["Film 1 (1951)", "Film 6 (1956)"]
    assert visitor["part"]["space"] == "user"
    user = unpacked(visitor["base64"])
    # The ridge solution of implicit feedback: targets 1 at the liked films, weight 0.1 and target 0 elsewhere.
    items = np.asarray(films.vectors, np.float64)
    liked = items[[1, 6]]
    gram = 0.9 * liked.T @ liked + 0.1 * items.T @ items + 0.5 * np.eye(8)
    assert np.allclose(user, np.linalg.solve(gram, liked.sum(0)), atol=1e-4)
    scores = items @ user
    scores[[1, 6]] = -np.inf
    assert [one["row"] for one in visitor["next"]] == np.argsort(-scores)[:5].tolist()
    assert "did you mean" in post(live, "film/likes", 400, likes=["Film 1 (1950)"])["error"]["message"]
    assert post(live, "user/likes", 404, likes=["1001"])["error"]["code"] == "no_users"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("flim/resolve", {"expression": "'1'"}, 404, "did you mean film"),
        ("film/resolve", {"expression": "'Flim 1 (1951)'"}, 400, "did you mean 'Film 1 (1951)'"),
        ("film/resolve", {"expression": "lerp('1001')"}, 400, "wrong arguments"),
        ("film/resolve", {"space": "user", "expression": "'1001'"}, 400, "'film' is addressed"),
        ("film/resolve", {}, 400, "exactly one of"),
        ("film/resolve", {"expression": "'1001' + concept('frist')"}, 400, "space 'film' has no concept 'frist'"),
        ("film/resolve", {"folder": "/etc/passwd"}, 400, "folder: Extra inputs"),
        ("film/neighbors", {"expression": "'1001'", "k": 0}, 400, "greater than or equal to 1"),
        ("film/place", {"x": 1e300, "y": 0}, 400, "less than or equal"),
    ],
)
def test_wrong_points_are_named(live: Live, path: str, body: dict, status: int, text: str) -> None:
    error = post(live, path, status, **body)["error"]
    assert text in error["message"]


def test_wrong_rows_are_named(live: Live) -> None:
    with live.http() as client:
        for rows in ("-1", "60", "1,x", "", "1" * 40, ",".join(["1"] * 1001)):
            reply = client.get("/api/spaces/film/titles", params={"rows": rows})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "rows")
        assert client.get("/api/spaces/film/entity").status_code == 400
        assert client.get("/api/spaces/film/entity", params={"row": 60}).status_code == 404


# ---- requests that nobody would write

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["'1'", "'2'", "1", '"3"', "'Nobody'", "random(7)", "concept('x')", "0.5", "1e999", "-2"])
EXPRESSIONS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from("+-*"), inner),
        st.builds("lerp({}, {}, {})".format, inner, inner, inner),
        st.builds("mean({}, {})".format, inner, inner),
        st.builds("-({})".format, inner),
    ),
    max_leaves=6,
) | st.text(max_size=30)
VECTORS = st.one_of(
    EXPRESSIONS,
    st.lists(st.floats(width=32) | st.integers(-3, 3), max_size=18),
    st.lists(st.floats(-3, 3), min_size=16, max_size=16),
    st.fixed_dictionaries({}, optional={"space": st.sampled_from(["island", "film", ""]), "expression": EXPRESSIONS,
                                        "values": st.lists(st.floats(-1e30, 1e30), max_size=17),
                                        "base64": st.text(max_size=90) | st.binary(max_size=70).map(
                                            lambda data: base64.b64encode(data).decode())}),
)  # fmt: skip
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=20) | st.just("Describe {island}.")),
    VECTORS.map(lambda v: {"type": "vector", **(v if isinstance(v, dict) else {"expression": str(v)})}),
    JSON,
)
BODIES = st.fixed_dictionaries(
    {
        "model": st.just(NAME),
        "messages": st.lists(
            st.fixed_dictionaries(
                {
                    "role": st.sampled_from(["user"] * 6 + ["assistant", "system", "tool"]),
                    "content": st.one_of(
                        st.just("Describe {island}."),
                        EXPRESSIONS.map("Describe island:{}.".format),
                        st.lists(PARTS, max_size=4),
                        JSON,
                    ),
                }
            ),
            max_size=3,
        ),
    },
    optional={
        "bindings": st.dictionaries(st.sampled_from(["island", "a", "ü", ""]), VECTORS, max_size=2) | JSON,
        "max_tokens": st.integers(-1, 18) | JSON,
        "temperature": st.floats(-1, 3) | JSON,
        "top_p": st.floats(0, 1.1),
        "stop": st.lists(st.text(max_size=3), max_size=5) | st.text(max_size=3),
        "stream": st.booleans() | JSON,
        "stream_options": JSON,
        "seed": st.integers(-1, 2**70),
        "neighbors": st.integers(-1, 120),
        "influence": st.booleans(),
        "strict": st.booleans(),
        "logit_bias": JSON,
    },
)
PATHS = st.sampled_from(
    ["/v1/chat/completions"] * 4 + ["/v1/embeddings", *(f"/api/spaces/film/{name}" for name in (
        "resolve", "neighbors", "support", "place", "probe", "likes", "facts", "mentions"))]
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(path=PATHS, body=BODIES | JSON | st.builds(dict, expression=EXPRESSIONS, k=st.integers(0, 5)))
def test_no_body_breaks_the_server(live: Live, path: str, body: Any) -> None:
    with live.http() as client:
        content = json.dumps(body, ensure_ascii=True)
        reply = client.post(path, content=content, headers={"content-type": "application/json"})
    assert reply.status_code in (200, 400, 404), (path, body, reply.text)
    if reply.status_code != 200:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    elif not reply.headers["content-type"].startswith("text/event-stream"):
        json.loads(reply.text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    path=st.sampled_from(["titles", "search", "entity", "attribute/kind", "attribute/genres", "concepts"]),
    query=st.dictionaries(
        st.sampled_from(["rows", "q", "limit", "id", "row", "value"]), st.text(max_size=12) | EXPRESSIONS
    ),
    space=st.sampled_from(["film"] * 5 + ["island", "x"]),
)
def test_no_query_breaks_the_server(live: Live, path: str, query: dict, space: str) -> None:
    with live.http() as client:
        reply = client.get(f"/api/spaces/{space}/{path}", params=query)
    assert reply.status_code in (200, 400, 404), (path, query, reply.text)


def test_surrogates_and_depth_and_bytes(live: Live) -> None:
    bodies = [
        '{"model": "islands", "messages": [{"role": "user", "content": "\\ud800"}]}',
        '{"model": "\\udc00", "messages": []}',
        '{"model": "islands", "messages": [], "\\ud800": 1}',
        '{"model": "islands", "messages": [{"role": "user", "content": "x"}], "bindings": {"\\ud800": "1"}}',
        "[" * 100_000,
        '{"a":' * 20_000,
        "1" * 10_000,
        "\x00",
        '{"model": "islands", "messages": [{"role": "user", "content": "{island}"}], "bindings": {"island": [1'
        + "0" * 5000 + "]}}",
    ]  # fmt: skip
    with live.http(headers={"content-type": "application/json"}) as client:
        for body in [*bodies, b"\xff\xfe", b""]:
            reply = client.post("/v1/chat/completions", content=body)
            assert reply.status_code in (400, 404), reply.text
            assert reply.json()["error"]["message"]
        reply = client.post("/v1/embeddings", content='{"model": "islands:island", "input": ["\\ud800"]}')
        assert reply.status_code in (400, 404)
