"""The generic suite: any space with metadata can be asked about, and what its columns are is found out."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from film_world import film_space, wine_space
from vectalk.errors import SuiteError
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN
from vectalk.tasks import FactsTeacher, Suite, load_suite
from vectalk.tasks.corpus.plan import blocks
from vectalk.tasks.derive import derive_attributes, label_of
from vectalk.tasks.generic import plural_of
from vectalk.tasks.teachers.trial import try_suite


def column(values: Any, name: str = "x", **options: Any) -> tuple[Any, str]:
    """Return the kind of attribute that a column makes, and why it makes none."""
    rows = len(values)
    vectors = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    table = {"id": [str(n) for n in range(rows)], "split": ["train"] * rows, name: values}
    derived = derive_attributes(VectorSpace.create("thing", vectors, table), **options)
    made = next(iter(derived.attributes.values()), None)
    return (made.kind if made else None), derived.left_out.get(name, "")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["red", "white"] * 30, "category"),
        ([True, False, None] * 20, "category"),
        ([1, 2, 3, 3] * 15, "category"),
        ([1.0, 2.0, None, 3.0] * 15, "category"),
        (["3", "4"] * 30, "category"),
        ([["a"], ["a", "b"], []] * 20, "list"),
        (list(range(1950, 2010)), "decade"),
        ([str(year) for year in range(1950, 2010)], "decade"),
        ([1.5 * n % 7.3 for n in range(60)], "band"),
        ([n * n % 91 for n in range(60)], "band"),
        ([0] * 20 + list(range(40)), "band"),
        (pa.array(["red", "white"] * 30).dictionary_encode(), "category"),
    ],
)
def test_what_a_column_is(values: Any, kind: str) -> None:
    assert column(values)[0] == kind


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        ([None] * 59 + ["gold"], "x", "only 1 of 60"),
        (["EUR"] * 60, "x", "'EUR' for all"),
        ([f"text {n}" for n in range(60)], "x", "identifies entities"),
        (list(range(60)), "x", "counts up"),
        ([n * 7 % 60 for n in range(60)], "imdbId", "identifier"),
        (["a|b", "b|c"] * 30, "x", "--list-column 'x:|'"),
        ([[0.1, 0.2]] * 60, "x", "which the generic suite cannot put into words"),
        ([[f"tag {n}"] for n in range(60)], "x", "identify entities"),
        ([["a", "b"]] * 60, "x", "all the same"),
        ([0.0] * 59 + [1.5], "x", "too many of its numbers are the same"),
        (np.array(["2001-01-01", "2002-01-01"] * 30, "datetime64[D]"), "x", r"--extract 'year=x:"),
    ],
)
def test_what_is_left_out_and_why(values: Any, name: str, why: str) -> None:
    kind, reason = column(values, name)
    assert kind is None
    assert why in reason


def test_years_are_told_from_other_numbers_by_name_where_they_could_be_either() -> None:
    early = [1200 + n for n in range(0, 120, 2)]
    assert column(early, "founded")[0] == "decade"
    assert column(early[::-1], "height")[0] == "band"


def test_there_are_only_so_many_attributes_and_lists_come_first() -> None:
    derived = derive_attributes(wine_space(), most=3)
    assert [a.kind for a in derived.attributes.values()] == ["list", "category", "category"]
    assert "there are already 3 attributes" in derived.left_out["vintage"]


def test_how_columns_and_nouns_are_called() -> None:
    assert [label_of(n) for n in ("priceEUR", "alcohol_pct", "Retail price", "__")] == [
        "price eur",
        "alcohol pct",
        "retail price",
        "value",
    ]
    assert [plural_of(n) for n in ("wine", "city", "box", "day", "batch")] == [
        "wines",
        "cities",
        "boxes",
        "days",
        "batches",
    ]


def test_odd_names_of_columns_become_attributes() -> None:
    table = {"id": [str(n) for n in range(60)], "split": ["train"] * 60}
    odd = {name: ["red", "white"] * 30 for name in ("class", "2nd colour", "größe", "a-b", "a b", "place", "_x")}
    vectors = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    space = VectorSpace.create("thing", vectors, {**table, **odd})
    suite = load_suite("generic:thing", {"thing": space})
    teacher = FactsTeacher(suite, {"thing": space})
    text = teacher.write(suite.task("describe"), {"thing": 0}, "0") or ""
    for name in suite.task("describe").states:
        assert teacher.readers["thing"][name].read(text) == "red", (name, text)
    assert len(suite.task("describe").states) == len(odd)


WINES = wine_space()


@pytest.mark.parametrize(
    "space", [WINES, film_space(120), film_space(120, figures=False)], ids=["wine", "film", "bare"]
)
def test_every_task_is_written_and_read_back(space: VectorSpace) -> None:
    suite = load_suite("generic", {space.name: space})
    trials = {trial.task: trial for trial in try_suite(suite, {space.name: space})}
    assert list(trials) == [task.name for task in suite.tasks]
    for trial in trials.values():
        assert trial.written == 1.0, trial
        assert trial.distinct > 0.5, trial
        assert not trial.problems
        assert all(share == 1.0 for share in trial.read_back.values()), trial
    assert set(trials["describe"].read_back) == set(suite.task("describe").states)


def test_wines_are_told_from_their_columns_alone() -> None:
    suite = load_suite("generic:wine=bottle/bottles of wine", {"wine": WINES})
    assert suite.spaces == ["wine"]
    teacher = FactsTeacher(suite, {"wine": WINES})
    known = {"grapes", "region", "stars", "organic", "vintage", "price_eur", "retail_price", "points"}
    assert set(suite.task("describe").states) == known
    row = int(next(r for r in WINES.rows(TRAIN) if WINES.metadata(int(r))["region"] == "St. Emilion; Grand Cru"))
    text = teacher.write(suite.task("describe"), {"wine": row}, "0") or ""
    assert "bottle" in text
    assert "the region is St Emilion, Grand Cru;" in text
    assert teacher.readers["wine"]["region"].read(text) == "St. Emilion; Grand Cru"
    missing = int(next(r for r in WINES.rows(TRAIN) if WINES.metadata(int(r))["region"] is None))
    bare = teacher.write(suite.task("describe"), {"wine": missing}, "0") or ""
    assert "region" not in bare
    assert teacher.readers["wine"]["region"].read(bare) is None


def test_typical_and_untypical_are_parts_of_what_is_so() -> None:
    suite = load_suite("generic:wine", {"wine": WINES})
    teacher = FactsTeacher(suite, {"wine": WINES})
    readers = teacher.readers["wine"]
    for row in map(int, WINES.rows(TRAIN)[:60]):
        own = readers["grapes"].value(row) or []
        around, odd = (readers[f"grapes_{which}"].value(row) or [] for which in ("around", "odd"))
        for task, wanted in (("typical_traits", around), ("untypical_traits", odd)):
            first = (teacher.write(suite.task(task), {"wine": row}, "0") or "").split(". ")[0]
            for grape in own:
                assert (grape.lower() in re.split("[:;,] ", first.rstrip("."))) == (grape in wanted), first


def test_a_derived_suite_can_be_kept_and_edited(tmp_path: Path) -> None:
    suite = load_suite("generic:wine", {"wine": WINES})
    (tmp_path / "mine.yaml").write_text(suite.dump(), encoding="utf-8")
    assert Suite.load(tmp_path / "mine.yaml") == suite
    assert "when:" not in suite.dump()


def test_a_space_that_says_nothing_and_a_space_that_is_not_there() -> None:
    vectors = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    bare = VectorSpace.create("thing", vectors, {"id": [str(n) for n in range(40)], "sku": list(range(40))})
    with pytest.raises(SuiteError, match=r"no column that the generic suite .*sku: it counts up.*--metadata"):
        load_suite("generic:thing", {"thing": bare})
    with pytest.raises(SuiteError, match=r"generated from a space, but there is none; .*generic:SPACE"):
        load_suite("generic")
    with pytest.raises(SuiteError, match=r"names the unknown space 'beer'; the spaces are wine"):
        load_suite("generic:beer", {"wine": WINES})
    with pytest.raises(SuiteError, match=r"names no space; the spaces are a, b"):
        load_suite("generic", {"a": bare, "b": bare})
    with pytest.raises(SuiteError, match=r"has the name 'wine'; pass it .* --space wine=DIR"):
        load_suite("generic:item", {"item": WINES})


def test_titles_of_wines_without_one_are_their_ids() -> None:
    suite = load_suite("generic:wine", {"wine": WINES})
    teacher = FactsTeacher(suite, {"wine": WINES})
    names = {WINES.title(int(row)) for row in WINES.rows(TRAIN)}
    task = suite.task("who_wants")
    planned = [one for block in blocks(task, {"wine": WINES}, TRAIN, 1, 0) for one in block.assignments]
    for text in teacher.write_many(planned):
        quoted = [part.split("”")[0] for part in (text or "").split("“")[1:]]
        assert len(quoted) == 2
        assert set(quoted) <= names


@pytest.mark.parametrize(
    ("column", "values", "introduction"),
    [
        ("price", [1.5 * n % 7.3 for n in range(60)], "the price is "),
        ("points", [1.5 * n % 7.3 for n in range(60)], "the points are "),
        ("glass", ["clear", "green"] * 30, "the glass is "),
        ("tags", [["dry"], ["dry", "red"]] * 30, "the tags are "),
        ("stars", [1, 2, 3] * 20, "stars: "),
        ("organic", [True, False] * 30, "organic: "),
        ("vintage", list(range(1950, 2010)), "the vintage is in the "),
        ("founded", list(range(1950, 2010)), "founded in the "),
    ],
)
def test_texts_introduce_a_value_as_its_column_needs(column: str, values: list[Any], introduction: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32)
    table = {"id": [str(n) for n in range(60)], "split": ["train"] * 60, column: values}
    space = VectorSpace.create("thing", vectors, table)
    assert derive_attributes(space).introductions == {column: introduction}
    suite = load_suite("generic", {"thing": space})
    teacher = FactsTeacher(suite, {"thing": space})
    for task in ("describe", "who_wants"):
        text = teacher.write(suite.task(task), {"thing": 1}, "0") or ""
        assert introduction in text
        assert teacher.readers["thing"][column].read(text) == teacher.readers["thing"][column].value(1)
