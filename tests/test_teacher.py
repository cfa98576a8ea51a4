"""The facts teacher and the reader of attributes: what is written is true, and is read back."""

import datetime
import re
from typing import Any

import numpy as np
import pytest

from vectalk.demo.world import RICHES, World, islands_suite
from vectalk.errors import CorpusError, SuiteError
from vectalk.space import VectorSpace
from vectalk.tasks import FactsTeacher, Suite, load_suite
from vectalk.tasks.attributes import Attribute, AttributeReader
from worlds import SUITE, space_of


def alike(read: Any, true: Any) -> bool:
    """Compare what was read with what is true; a list is said in an order of its own, commonest first."""
    return sorted(read) == sorted(true) if isinstance(true, list) else read == true


# ---- the teacher


def small_teacher(**columns: Any) -> FactsTeacher:
    return FactsTeacher(Suite.model_validate(SUITE), {"film": space_of(**columns)})


def test_the_teacher_writes_what_the_metadata_say() -> None:
    teacher = small_teacher(genres=[["Comedy", "Sci-Fi", "Drama"], ["Drama"]], year=[1999, 2000])
    task = teacher.suite.task("summary")
    assert teacher.write(task, {"film": 0}, "0") == "A film of comedy, sci-fi and drama. Made in the 1990s."
    assert teacher.write(task, {"film": 1}, "0") == "A film of drama. Made in the 2000s."


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_missing_fact_drops_its_sentence(nothing: Any) -> None:
    teacher = small_teacher(genres=[["Drama"], [], None, [None]], year=[nothing, 1980.0, nothing, nothing])
    task = teacher.suite.task("summary")
    texts = [teacher.write(task, {"film": row}, "0") for row in range(4)]
    assert texts == ["A film of drama.", "Made in the 1980s.", None, None]


def test_blank_values_are_missing() -> None:
    teacher = small_teacher(genres=[["", "Drama"], [" "]], year=[1980, 1980])
    task = teacher.suite.task("summary")
    assert teacher.write(task, {"film": 0}, "0") == "A film of drama. Made in the 1980s."
    assert teacher.write(task, {"film": 1}, "0") == "Made in the 1980s."


def test_a_missing_column_drops_its_sentence() -> None:
    teacher = small_teacher(year=[1999])
    assert teacher.write(teacher.suite.task("summary"), {"film": 0}, "0") == "Made in the 1990s."


@pytest.mark.parametrize("nothing", [None, float("nan")])
@pytest.mark.parametrize("column", ["riches", "settled", "inhabitants"])
def test_no_text_states_what_the_metadata_lack(column: str, nothing: Any, islands: VectorSpace) -> None:
    if column == "riches" and nothing is not None:
        nothing = [None]
    table = islands.entities.to_pydict()
    table[column] = [nothing if n % 2 else value for n, value in enumerate(table[column])]
    space = VectorSpace.create("island", np.asarray(islands.vectors), table, metric="euclidean")
    suite = islands_suite()
    teacher = FactsTeacher(suite, {"island": space})
    name = {"riches": "riches", "settled": "decade", "inhabitants": "people"}[column]
    reader = teacher.readers["island"][name]
    stated = 0
    for row in range(100):
        for task in suite.tasks:
            for seed in range(3):
                text = teacher.write(task, dict.fromkeys(task.slots, row), f"{seed}") or ""
                assert not re.search(r"\b(None|nan|NaN|Undefined|null)\b", text), text
                if row % 2:
                    assert not reader.read(text), text
                else:
                    stated += bool(reader.read(text))
    assert stated >= 150  # where the metadata have it, it is said


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("list", ["Comedy|Drama"], r"holds string, .*'x' of kind 'list' needs lists of text; .*--list-column 'x:\|'"),
        ("titles", ["Alien"], r"holds string, .* needs lists of text; .*--list-column"),
        ("list", [[1.5]], r"holds list<.*double>, .* needs lists of text"),
        ("category", [["Drama"]], r"holds list<.*string>, .* needs one value per entity"),
        ("decade", [datetime.date(1995, 5, 1)], r"holds date32\[day\], .* needs numbers; .*--extract 'year=x:"),
        ("band", [["Drama"]], r"holds list<.*string>, .* needs numbers"),
        ("number", [True], r"holds bool, .* needs numbers"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused(kind: Any, values: list, words: str) -> None:
    attribute = Attribute(kind=kind, labels=["few", "many"])
    with pytest.raises(CorpusError, match=r"space 'film': column 'x' " + words):
        AttributeReader("x", attribute, space_of(x=values))


@pytest.mark.parametrize("kind", ["decade", "band", "number"])
def test_a_value_that_is_no_number_is_named_by_its_row(kind: Any) -> None:
    space = space_of(x=["1995", "1995-05-01", None, " ", "nan"])
    reader = AttributeReader("x", Attribute(kind=kind, labels=["few", "many"]), space)
    named = r"space 'film': column 'x' holds '1995-05-01' in row 1 \(id '1'\), .* needs a number; .*--extract"
    with pytest.raises(CorpusError, match=named):
        reader.value(1)
    assert reader.value(2) is reader.value(3) is None
    if kind != "band":
        assert reader.value(0) == {"decade": "1990s", "number": 1995.0}[kind]
        with pytest.raises(CorpusError, match="holds 'nan' in row 4"):
            reader.value(4)


def test_columns_of_text_that_is_a_number_or_of_nothing_do() -> None:
    assert AttributeReader("x", Attribute(kind="decade"), space_of(x=["1995", "2001.0"])).value(1) == "2000s"
    assert AttributeReader("x", Attribute(kind="category"), space_of(x=[7, 8])).value(0) == "7"
    for kind in ("list", "titles", "category", "decade", "number"):
        for nothing in (None, []) if kind in ("list", "titles") else (None,):
            assert AttributeReader("x", Attribute(kind=kind), space_of(x=[nothing, nothing])).value(0) is None


def test_bands_are_quantiles_of_known_training_values() -> None:
    counts = [1.0, 2.0, 4.0, 5.0, None, float("nan")]
    attribute = Attribute(kind="band", column="n", labels=["few", "many"])
    reader = AttributeReader("audience", attribute, space_of(n=counts))
    assert [reader.value(row) for row in range(6)] == ["few", "few", "many", "many", None, None]


def test_seeds_give_variety_and_the_same_again(islands: VectorSpace) -> None:
    suite = islands_suite()
    teacher, again = FactsTeacher(suite, {"island": islands}), FactsTeacher(suite, {"island": islands})
    task = suite.task("summary")
    texts = [teacher.write(task, {"island": 5}, str(seed)) for seed in range(40)]
    assert texts == [again.write(task, {"island": 5}, str(seed)) for seed in range(40)]
    assert len(set(texts)) == 6  # 3 wordings of the first sentence, 2 of the second


def test_a_fact_that_is_missing_does_not_shift_the_other_choices() -> None:
    suite = Suite.model_validate(SUITE)
    task = suite.tasks[0].model_copy(update={"facts": [["A {{ film.genres | listed }}"], ["x", "y", "z"]]})
    teacher = small_teacher(genres=[["Drama"], None], year=[1990, 1990])
    for seed in range(10):
        full, bare = (teacher.write(task, {"film": row}, str(seed)) for row in (0, 1))
        assert full is not None
        assert full.split()[-1].lower() == (bare or "").lower()


def test_a_wording_that_cannot_be_rendered_is_named() -> None:
    suite = Suite.model_validate(SUITE)
    task = suite.tasks[0].model_copy(update={"facts": [["{{ film.decade.upper(3) }}"]]})
    with pytest.raises(SuiteError, match=r"film\.decade\.upper"):
        small_teacher(genres=[["Drama"]], year=[1990]).write(task, {"film": 0}, "0")


def test_tasks_without_grammar_and_suites_without_their_spaces_are_refused(islands: VectorSpace) -> None:
    task = islands_suite().tasks[0].model_copy(update={"facts": []})
    teacher = FactsTeacher(islands_suite(), {"island": islands})
    with pytest.raises(CorpusError, match="'summary' has no `facts`"):
        teacher.write(task, {"island": 0}, "0")
    with pytest.raises(CorpusError, match="--space film=DIR"):
        FactsTeacher(load_suite("movies"), {"island": islands})


def test_the_brief_names_no_titles_and_no_numbers(islands: VectorSpace) -> None:
    teacher = FactsTeacher(islands_suite(), {"island": islands})
    values = teacher.values("island", 3)
    brief = teacher.brief("island", 3)
    assert brief == f"riches: {', '.join(values['riches'])}; decade: {values['decade']}; people: {values['people']}"


# ---- the reader


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_reader_inverts_what_the_teacher_wrote(corpus, split: str) -> None:
    teacher = FactsTeacher(corpus.suite, corpus.spaces)
    seen = 0
    for example in corpus.examples(split):
        task = corpus.suite.task(example.task)
        for name in task.states:
            row = example.slots["island"][1]
            read = teacher.readers["island"][name].read(example.target)
            assert read == teacher.values("island", row)[name], example.target
            seen += 1
    assert seen == corpus.card["tasks"][f"{split}/summary"] * 3 + corpus.card["tasks"][f"{split}/visitor"]


def test_the_truth_of_the_world_is_what_the_teacher_says(world: World, islands: VectorSpace) -> None:
    teacher = FactsTeacher(islands_suite(), {"island": islands})
    for row in range(50):
        truth, values = world.truth(islands.vectors[row]), teacher.values("island", row)
        assert values["riches"] == truth["riches"]
        assert values["decade"] == f"{truth['settled'] // 10 * 10}s"


def test_every_stated_attribute_of_the_packaged_films_is_read_back() -> None:
    rng = np.random.default_rng(0)
    genres = ["Sci-Fi", "Film-Noir", "Children", "IMAX", "Comedy", "Drama", "War", "Crime"]
    rows = 120
    space = space_of(
        genres=[[str(g) for g in rng.choice(genres, rng.integers(1, 4), replace=False)] for _ in range(rows)],
        year=[int(y) for y in rng.integers(1930, 2020, rows)],
        n_ratings=[int(n) for n in rng.integers(1, 1000, rows)],
        mean_rating=[float(x) for x in rng.uniform(1, 5, rows)],
        rating_sd=[float(x) for x in rng.uniform(0, 2, rows)],
    )
    suite = load_suite("movies")
    teacher = FactsTeacher(suite, {"film": space})
    checked = 0
    for task in suite.tasks:
        if len(task.slots) > 1:
            continue
        for row in range(rows):
            text = teacher.write(task, dict.fromkeys(task.slots, row), f"{row}")
            for name in task.states:
                assert text is not None
                assert alike(teacher.readers["film"][name].read(text), teacher.values("film", row)[name]), text
                checked += 1
    assert checked >= 6 * rows


def test_every_stated_attribute_of_the_packaged_users_is_read_back() -> None:
    rng = np.random.default_rng(0)
    genres, rows = ["Sci-Fi", "Film-Noir", "Children", "Comedy", "Drama", "War"], 80

    def some(pool: list[str], most: int) -> list[list[str]]:
        return [[str(g) for g in rng.choice(pool, rng.integers(1, most), replace=False)] for _ in range(rows)]

    vectors = rng.standard_normal((rows, 4)).astype(np.float32)
    table = {
        "id": [str(n) for n in range(rows)],
        "split": ["train"] * rows,
        "liked_genres": some(genres, 4),
        "top_genres": some(genres, 4),
        "disliked_genres": some(genres, 3),
        "liked_decades": some(["1980s", "1990s", "2000s"], 3),
        "mean_rating": [float(x) for x in rng.uniform(1, 5, rows)],
        "n_ratings": [int(n) for n in rng.integers(1, 1000, rows)],
        "liked_titles": [["War and Comedy (1990)", "Drama"]] * rows,
    }
    suite = load_suite("users")
    teacher = FactsTeacher(suite, {"user": VectorSpace.create("user", vectors, table)})
    task = suite.task("user_profile")
    for row in range(rows):
        text = teacher.write(task, {"user": row}, f"{row}")
        assert text is not None
        for name in task.states:
            assert alike(teacher.readers["user"][name].read(text), teacher.values("user", row)[name]), text


def test_quoted_titles_are_not_read(islands: VectorSpace) -> None:
    reader = FactsTeacher(islands_suite(), {"island": islands}).readers["island"]["riches"]
    assert reader.read("It pleases friends of “Salt and Honey” and of “Amber”.") == []
    assert reader.read("Friends of “Salt and Honey” who want pearls.") == ["pearls"]


def test_a_title_that_holds_a_value_is_not_read_as_one() -> None:
    titles = ["A Comedy of Horrors (1999)", "Drama Queen (1980)", "Plain “Comedy” (1999)", "War"]
    space = VectorSpace.create(
        "film",
        np.eye(4, dtype=np.float32) + 1,
        {
            "id": list("abcd"),
            "title": titles,
            "genres": [["Comedy"], ["Drama"], ["Horror"], ["War"]],
            "year": [1999, 1980, 1999, 1970],
            "split": ["train"] * 4,
        },
    )
    suite = load_suite("movies")
    teacher, task = FactsTeacher(suite, {"film": space}), suite.task("movie_to_viewer")
    named = set()
    for row in range(4):
        for seed in range(12):
            text = teacher.write(task, {"film": row}, str(seed)) or ""
            named |= {title for title in titles if title in text}
            assert teacher.readers["film"]["genres"].read(text) == teacher.values("film", row)["genres"], text
            assert teacher.readers["film"]["decade"].read(text) == teacher.values("film", row)["decade"], text
    assert {titles[0], titles[1]} <= named  # the trap was set


def test_words_inside_words_are_not_read(islands: VectorSpace) -> None:
    reader = FactsTeacher(islands_suite(), {"island": islands}).readers["island"]["riches"]
    assert reader.read("Salty honeymoon with Timbers.") == []
    assert reader.read("SALT, Honey; salt") == ["salt", "honey"]
    assert set(reader.vocabulary) == set(RICHES)


def test_numbers_and_parts_of_a_text(islands: VectorSpace) -> None:
    number = AttributeReader("n", Attribute(kind="number", column="settled", within=r"in (\S+)"), islands)
    assert number.read("3 ships came in 1750.") == 1750.0
    assert number.read("3 ships came.") is None
    part = AttributeReader("riches", Attribute(kind="list", within=r"wants ([^.]*)\."), islands)
    assert part.read("Rich in salt. Someone wants honey and pearls.") == ["honey", "pearls"]
    assert AttributeReader("colour", Attribute(kind="category"), islands).read("red") is None
    assert AttributeReader("colours", Attribute(kind="list"), islands).read("red") == []


def test_a_list_is_said_commonest_first_where_the_suite_asks_for_it() -> None:
    space = space_of(genres=[["Crime", "Drama"]] * 30 + [["Animation", "Drama"]] * 20 + [["Crime", "Animation"]] * 10)
    teacher = FactsTeacher(load_suite("movies"), {"film": space})
    reader = teacher.readers["film"]["genres"]
    order = [reader.say(value) for value in reader.vocabulary]
    assert reader.words(["Animation", "Crime", "Drama"]) == order


def test_a_category_keeps_its_case_and_a_list_does_not() -> None:
    space = space_of(origin=["Brazil", "Colombia"] * 3, notes=[["Cocoa"]] * 6)
    category = AttributeReader("origin", Attribute(kind="category"), space)
    notes = AttributeReader("notes", Attribute(kind="list"), space)
    assert (category.words("Brazil"), notes.words(["Cocoa"])) == ("Brazil", ["cocoa"])
    assert category.read("From Colombia, washed.") == "Colombia"


def test_a_column_that_is_not_there_is_told_with_the_nearest_name() -> None:
    teacher = FactsTeacher(Suite.model_validate(SUITE), {"film": space_of(genre=[["Drama"]] * 5, year=[1990] * 5)})
    assert teacher.absent() == [
        "space 'film' has no column 'genres' (did you mean 'genre'?): no text states 'genres'"
    ]
