"""Examples of a concept, found by conditions on metadata and by tags."""

import numpy as np
import pytest

import vectalk as vt
from vectalk.concepts import examples
from vectalk.errors import ConceptError, SpaceError


def films() -> vt.VectorSpace:
    rng = np.random.default_rng(0)
    table = {
        "id": [str(n) for n in range(6)],
        "title": [f"Film {n}" for n in range(6)],
        "genres": [["Comedy"], ["Comedy", "Drama"], ["Drama"], [], None, ["Horror"]],
        "year": [1980, 1990, None, 2000, 2010, 1995],
        "split": ["train"] * 6,
    }
    return vt.VectorSpace.create("film", rng.standard_normal((6, 3)), table)


@pytest.mark.parametrize(
    ("conditions", "positive", "negative"),
    [
        (["genres=Comedy"], [0, 1], [2, 5]),  # what has no genres listed is on neither side
        (["year>=1995"], [3, 4, 5], [0, 1]),
        (["year<1990"], [0], [1, 3, 4, 5]),
        (["year=1990"], [1], [0, 3, 4, 5]),
        (["genres=Comedy", "year>=1990"], [1], [0, 5]),
    ],
)
def test_conditions(conditions, positive, negative) -> None:
    found = examples.by_metadata(films(), conditions)
    assert (found.positive.tolist(), found.negative.tolist()) == (positive, negative)


@pytest.mark.parametrize(
    ("condition", "error", "says"),
    [
        ("genres=Comdy", ConceptError, "did you mean Comedy"),
        ("genres", ConceptError, "COLUMN=VALUE"),
        ("genres>=Comedy", ConceptError, "has no order"),
        ("year>=old", ConceptError, "'old' cannot be in it"),
        ("style=new", SpaceError, "has no column 'style'"),
    ],
)
def test_bad_conditions_are_named(condition, error, says) -> None:
    with pytest.raises(error, match=says):
        examples.by_metadata(films(), [condition])


def test_every_value_of_a_column() -> None:
    found = examples.every_value(films(), "genres", 2)
    assert {name: e.positive.tolist() for name, e in found.items()} == {"Comedy": [0, 1], "Drama": [1, 2]}


def test_tags(tmp_path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("userId,movieId,tag\n1,0,Violent\n2,0,violent \n1,1,violent\n1,5,dull\n1,77,violent\n")
    found = examples.read_tags(path, films())
    assert {tag: (e.positive.tolist(), e.negative.tolist()) for tag, e in found.items()} == {
        "violent": ([0, 1], [5]),
        "dull": ([5], [0, 1]),
    }
    assert list(examples.read_tags(path, films(), least=2)) == ["violent"]
    with pytest.raises(ConceptError, match="the closest tags are violent"):
        examples.named(found, ["violet"], "tags.csv")
    path.write_text("who,movieId,tag\n1,99,violent\n")
    with pytest.raises(ConceptError, match="no id in column 'movieId'"):
        examples.read_tags(path, films())
