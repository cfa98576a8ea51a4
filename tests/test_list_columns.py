"""Columns of lists: parted text, lists written as text, objects of which the name counts; never a brace as a value."""

import json
from typing import Any

import pyarrow as pa
import pytest

from vectalk.errors import SpaceError
from vectalk.space.importing.tables import Columns

TMDB = [[{"id": 35, "name": "Comedy"}, {"id": 18, "name": "Drama"}], [], [{"id": 28, "name": "Sci-Fi & Action"}]]
NAMES = [["Comedy", "Drama"], [], ["Sci-Fi & Action"]]


def apply(values: Any, sign: str | None = None) -> tuple[list[Any], list[str]]:
    told: list[str] = []
    table = pa.table({"id": [str(n) for n in range(len(values))], "genres": values})
    columns = Columns(list_columns={} if sign is None else {"genres": sign})
    return columns.apply(table, "t", told.append)["genres"].to_pylist(), told


@pytest.mark.parametrize("sign", ["|", "name", ", ", None])
@pytest.mark.parametrize("form", ["python", "json", "structs", "large"])
def test_the_names_of_objects_are_taken(form: str, sign: str | None) -> None:
    values = {
        "python": list(map(str, TMDB)),
        "json": list(map(json.dumps, TMDB)),
        "structs": pa.array(TMDB),
        "large": pa.array(TMDB).cast(pa.large_list(pa.struct([("id", pa.int64()), ("name", pa.string())]))),
    }[form]
    read, told = apply(values, sign)
    assert read == NAMES
    note = "column 'genres' has lists of objects: 'name' is used (for another: --list-column 'genres:FIELD')"
    assert told == ([note] if sign is None else [])


@pytest.mark.parametrize("values", [list(map(str, TMDB)), pa.array(TMDB)])
def test_another_field_may_be_named(values: Any) -> None:
    assert apply(values, "id")[0] == [["35", "18"], [], ["28"]]


def test_objects_without_a_name_say_what_they_have() -> None:
    values = [[{"code": "c", "score": 1}]]
    for written in (pa.array(values), list(map(str, values))):
        with pytest.raises(
            SpaceError, match=r"has objects with the fields code, score; name one of them.*--list-column 'COLUMN:code'"
        ):
            apply(written, "|")
    assert apply(pa.array(values), "score")[0] == [["1"]]
    assert apply([[{"label": "x"}], None], "|")[0] == [["x"], []]
    assert apply([[{"only": "x"}], None], "|")[0] == [["x"], []]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("['Comedy' 'Drama']", ["Comedy", "Drama"]),  # printed by numpy; Python would join them
        ("['Comedy'\n \"Children's\"]", ["Comedy", "Children's"]),
        ("['a', 'b' ]", ["a", "b"]),
        ("{Comedy,Drama}", ["Comedy", "Drama"]),  # PostgreSQL
        ('{"Sci-Fi, Action",NULL,Drama}', ["Sci-Fi, Action", "Drama"]),
        ("{}", []),
        ("[]", []),
        ("{'id': 10194, 'name': 'Toy Story Collection'}", ["Toy Story Collection"]),
        ("[{'id': 1, 'name': None}, {'id': 2}]", []),
        ("[1, 2.0, 2.5, null]", ["1", "2", "2.5"]),
        ("a|b| a", ["a", "b"]),
        ("[x", ["[x"]),
    ],
)
def test_a_list_written_as_text(text: str, values: list[str]) -> None:
    assert apply([text, "x|y"], "|")[0] == [values, ["x", "y"]]


@pytest.mark.parametrize("text", ["[{'id': 35, 'name': 'Com", "[{'id': 35 'name': 'Comedy'}]", "{'id': 35, 'name'"])
def test_objects_that_cannot_be_read_are_no_genres(text: str) -> None:
    with pytest.raises(SpaceError, match=r"list column 'genres', row 1: .* is not a readable list of objects"):
        apply([str(TMDB[0]), text], "|")


def test_lists_are_lists_already() -> None:
    assert apply(pa.array([["a", "b", " a "], None, []]), "|")[0] == [["a", "b"], [], []]
    assert apply(pa.array([[1, 2], None]), ",")[0] == [["1", "2"], []]
    assert apply(pa.nulls(2), ",")[0] == [[], []]
    with pytest.raises(SpaceError, match="holds double, not text to split"):
        apply(pa.array([1.5]), "|")


def test_text_that_only_looks_like_objects_stays() -> None:
    for values in (["[{", "[{x}]"], ["{Comedy}", "b"], ["[]", "[]"]):
        assert apply(values)[0] == values
