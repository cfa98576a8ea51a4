"""Requests that schemathesis makes from `/openapi.json`: no answer is a failure, and each has the format described."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

import vectalk as vt
from live_server import NAME, served
from test_serve import run_with_texts  # noqa: F401 (a fixture)
from vectalk.concepts import Concept, shelf
from vectalk.files import write_json
from vectalk.serving import Limits
from vectalk.space.layout import Layout
from worlds import make_films

CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.unsupported_method,
]
# What is replaced in every second request: made from the schema alone, hardly one would name a space or a model.
PATHS = {"space": "film", "name": "genres"}
QUERY = {"rows": "0,3", "id": "1001", "row": None, "value": None}
BODY = {
    "model": NAME,
    "messages": [{"role": "user", "content": "Describe island:lerp('1', '2', 0.5)."}],
    "bindings": {},
    "likes": ["1001", "1004"],
    "input": ["An island of salt."],
    "dimensions": None,
    "expression": "lerp('1001', '1002', 0.5) + concept('first')",
    "values": None,
    "base64": None,
    "space": "film",
}


def named(values: Any, known: dict[str, Any]) -> Any:
    """Return values of which those that are known are replaced, in about every second request."""
    if not isinstance(values, dict) or zlib.crc32(repr(values).encode()) % 2:
        return values
    return {**values, **{name: value for name, value in known.items() if name in values}}


@pytest.fixture(scope="module")
def described(run_with_texts: Path, tmp_path_factory: pytest.TempPathFactory):  # noqa: F811
    """The schema of a live server that has all that the map's API can show."""
    folder = tmp_path_factory.mktemp("schema") / "factors"
    elm = vt.ELM.from_pretrained(run_with_texts, device="cpu")
    films, users = make_films(60), make_films(12)
    users.name = "user"
    elm.spaces |= {"film": films.save(folder / "items"), "user": users.save(folder / "users")}
    write_json(folder / "factors.json", {"dim": 8, "feedback": "implicit", "l2": 0.5})
    film = elm.spaces["film"]
    rows = film.rows("train")
    shelf.keep(Concept.fit(film, rows[np.asarray(film.vectors)[rows][:, 0] > 0], name="first"))
    with served(elm, Limits(max_tokens=16, default_tokens=4)) as live:
        coordinates = np.linspace(-1, 1, 2 * len(film), dtype=np.float32).reshape(-1, 2)
        live.service.layouts.add(Layout(film, coordinates, "pca", 0, len(film)))
        schema = schemathesis.openapi.from_url(f"{live.url}/openapi.json")

        @schema.hook
        def map_path_parameters(context: Any, path_parameters: Any) -> Any:
            model = {"name": NAME} if context.operation.path.startswith("/v1/models") else {}
            return named(path_parameters, {**PATHS, **model})

        @schema.hook
        def map_query(context: Any, query: Any) -> Any:
            query = dict(query or {})
            if context.operation.path.endswith("/entity"):
                query.setdefault("id", "1002")
            return {name: value for name, value in named(query, QUERY).items() if value is not None}

        @schema.hook
        def map_body(context: Any, body: Any) -> Any:
            model = {"model": f"{NAME}:island"} if context.operation.path == "/v1/embeddings" else {}
            return named(body, {**BODY, **model})

        yield schema


@pytest.mark.slow
def test_answers_are_as_described(described) -> None:
    answered, all_operations = set(), set()
    for result in described.get_all_operations():
        operation = result.ok()
        all_operations.add(operation.label)

        @given(case=operation.as_strategy())
        @settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case) -> None:
            reply = case.call_and_validate(checks=CHECKS)
            if reply.status_code == 200:
                answered.add(case.operation.label)

        check()
    assert answered == all_operations  # so that the formats of all answers were compared
