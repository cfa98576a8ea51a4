"""The suite of films: every task says what is true, each says something else, and all can be written of bare facts."""

import re
from collections import defaultdict
from functools import cache
from typing import Any

import numpy as np
import pytest

from film_world import film_space
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN
from vectalk.tasks import FactsTeacher, Task, load_suite
from vectalk.tasks.corpus.plan import blocks

TASKS = (
    *("summary", "positive_review", "negative_review", "neutral_review", "five_positive_characteristics"),
    *("five_negative_characteristics", "long_description", "funnier", "sadder", "scarier", "improve"),
    *("movie_to_viewer", "pitch", "criticize", "convince_1", "convince_2", "convince_3", "dissuade_1", "dissuade_2"),
    *("similarities", "interpolation", "why_like_nn", "diff_than_nn", "common_with_nn"),
)
SUITE = load_suite("movies")
QUOTED = re.compile("“([^”]*)”")
WORLDS = pytest.mark.parametrize("figures", [True, False], ids=["with figures", "bare"])


@cache
def teacher(figures: bool) -> FactsTeacher:
    return FactsTeacher(SUITE, {"film": film_space(figures=figures)})


@cache
def texts(figures: bool, name: str) -> list[tuple[dict[str, int], str]]:
    """Return slots and text of each training example of a task."""
    writer, task = teacher(figures), SUITE.task(name)
    planned = [one for block in blocks(task, space_of(writer), TRAIN, 1, 0) for one in block.assignments]
    written = writer.write_many(planned)
    assert None not in written
    return [(dict(one.rows), text) for one, text in zip(planned, written, strict=True) if text is not None]


def space_of(writer: FactsTeacher) -> dict[str, Any]:
    return {"film": writer.readers["film"]["genres"].space}


def test_all_tasks_of_the_method_are_there_in_several_wordings() -> None:
    assert tuple(task.name for task in SUITE.tasks) == TASKS
    assert all(len(task.prompts) >= 3 for task in SUITE.tasks)
    first = [task.prompts[0] for task in SUITE.tasks]
    assert len(set(first)) == len(first)
    without = {task.name for task in SUITE.tasks if task.about is None}
    assert without == {"funnier", "sadder", "scarier", "improve"}
    assert {task.about for task in SUITE.tasks if len(task.slots) == 2} == {"lerp(a, b, 0.5)"}


@WORLDS
@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_written_in_whole_sentences_and_many_ways(figures: bool, name: str) -> None:
    found = [text for _, text in texts(figures, name)]
    assert len(found) >= 200
    for text in found:
        assert not re.search(r"\{|\}|\[\[|\]\]|  | ,|,,|\.\.|None|\bnan\b| [.;:]", text), text
        assert re.search(r"[.?!]”?\.?$", text), text
        assert all(sentence[0].isupper() or not sentence[0].isalpha() for sentence in split(text)), text
    assert len(set(found)) > 0.6 * len(found)


STATED = tuple(task.name for task in SUITE.tasks if "genres" in task.states)


@pytest.mark.parametrize("name", STATED)
def test_a_stated_list_of_genres_goes_on_after_a_comma(name: str) -> None:
    """What ends the list then stands where a genre would, and each genre competes with it on its own."""
    reader, seen = teacher(True).readers["film"]["genres"], 0
    for rows, text in texts(True, name):
        genres = reader.value(next(iter(rows.values()))) or []
        if len(genres) > 1:
            listed = ", ".join({"Sci-Fi": "science fiction", "Film-Noir": "noir"}.get(g, g) for g in genres)
            found = re.search(rf"\b{re.escape(listed)}(.)", text, re.IGNORECASE)
            assert found is None or found[1] == ",", text
            seen += found is not None
    assert seen > 20


def split(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!]) (?=\S)", QUOTED.sub("“X”", text)) if part]


@WORLDS
def test_no_two_tasks_read_alike(figures: bool) -> None:
    """About the same film, no two tasks share their text, nor more than a sentence of it."""
    by_film: dict[int, dict[str, set[str]]] = defaultdict(dict)
    for name in TASKS:
        for rows, text in texts(figures, name):
            by_film[next(iter(rows.values()))][name] = {re.sub(r"^\d\. ", "", s) for s in split(text)}
    for told in by_film.values():
        names = sorted(told)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                shared = told[one] & told[other]
                assert len(shared) <= len(min(told[one], told[other], key=len)) / 2, (one, other, shared)


@WORLDS
@pytest.mark.parametrize("name", [name for name in TASKS if len(SUITE.task(name).slots) == 1])
def test_what_is_stated_is_what_the_metadata_say(figures: bool, name: str) -> None:
    readers, stated = teacher(figures).readers["film"], SUITE.task(name).states
    seen = 0
    for rows, text in texts(figures, name):
        for attribute in stated:
            true = readers[attribute].value(rows["film"])
            read = readers[attribute].read(text)
            if true is None:
                assert not read, (attribute, text)
            else:
                assert (sorted(read) if isinstance(read, list) else read) == (
                    sorted(true) if isinstance(true, list) else true
                ), (attribute, text)
                seen += 1
    assert seen >= 200


@WORLDS
@pytest.mark.parametrize("name", TASKS)
def test_only_training_entities_are_named_and_never_the_film_itself(figures: bool, name: str) -> None:
    space = space_of(teacher(figures))["film"]
    train = {space.title(int(row)) for row in space.rows(TRAIN)}
    for rows, text in texts(figures, name):
        named = set(QUOTED.findall(text))
        assert named <= train
        assert not named & {space.title(row) for row in rows.values()}


def test_titles_are_named_in_few_tasks() -> None:
    named = {name for name in TASKS if np.mean([bool(QUOTED.search(text)) for _, text in texts(True, name)]) > 0.5}
    assert named == {"long_description", "funnier", "sadder", "scarier", "movie_to_viewer", "convince_2"}


@pytest.mark.parametrize(
    ("name", "has", "lacks"), [("funnier", "Comedy", None), ("sadder", "Drama", "Comedy"), ("scarier", "Horror", None)]
)
def test_what_to_turn_to_has_what_was_asked_for(name: str, has: str, lacks: str | None) -> None:
    space = space_of(teacher(True))["film"]
    named = [title for _, text in texts(True, name) for title in QUOTED.findall(text)]
    assert len(named) >= 200
    for title in set(named):
        genres = space.metadata(space.find(title))["genres"]
        assert has in genres
        assert lacks not in genres


def test_praise_and_blame_rest_on_different_figures() -> None:
    good, bad = ("great reviews", "good reviews"), ("bad reviews", "mixed reviews")
    readers = teacher(True).readers["film"]
    praised, blamed = dict_of("positive_review"), dict_of("negative_review")
    backed = 0
    for row, text in praised.items():
        reception, standing = readers["reception"].value(row), readers["standing"].value(row)
        assert not any(word in text for word in bad)
        assert "rated lower" not in text
        assert not any(word in blamed[row] for word in good)
        assert "rated higher" not in blamed[row]
        if reception in good:
            assert reception in text
            backed += 1
        if reception in bad:
            assert reception in blamed[row]
        if standing.startswith("rated lower") and reception in bad:
            assert standing in blamed[row]
    assert backed > 50


def dict_of(name: str) -> dict[int, str]:
    return {rows["film"]: text for rows, text in texts(True, name)}


def test_praise_and_blame_differ_of_bare_facts_too() -> None:
    for (_, praise), (_, blame) in zip(texts(False, "positive_review"), texts(False, "negative_review"), strict=True):
        assert not set(split(praise)) & set(split(blame))
        assert praise.split(":")[0].split()[:3] != blame.split(":")[0].split()[:3]


@WORLDS
def test_bare_metadata_are_never_given_figures(figures: bool) -> None:
    words = [label for name in ("reception", "audience", "agreement", "standing") for label in labels(name)]
    for name in TASKS:
        said = sum(any(word in text for word in words) for _, text in texts(figures, name))
        if not figures:
            assert said == 0, name
    if figures:
        assert sum(any(word in text for word in words) for _, text in texts(True, "long_description")) >= 200


def labels(name: str) -> list[str]:
    return SUITE.attributes["film"][name].labels


@WORLDS
@pytest.mark.parametrize("name", ["five_positive_characteristics", "five_negative_characteristics"])
def test_five_are_five(figures: bool, name: str) -> None:
    for _, text in texts(figures, name):
        assert re.findall(r"(?:^| )(\d)\. ", text) == list("12345"), text


def test_what_surroundings_have_is_what_they_have() -> None:
    """Recount, by hand, what the films around each film lean towards and rarely have."""
    writer = teacher(True)
    space, readers = space_of(writer)["film"], writer.readers["film"]
    train, genres = space.rows(TRAIN), space.column("genres").to_pylist()
    shares = {g: np.mean([g in genres[r] for r in train]) for g in {g for r in train for g in genres[r]}}
    for row in map(int, train[:40]):
        near = space.neighbors(space[row], 20, split_name=TRAIN)[0]
        counts = {g: sum(g in genres[r] for r in near) for g in shares}
        lean = {g: (n - 20 * shares[g]) / np.sqrt(20 * shares[g] * (1 - shares[g])) for g, n in counts.items()}
        likely = sorted((g for g in shares if counts[g] >= 2 and lean[g] > 2), key=lambda g: -lean[g])[:3]
        assert sorted(readers["kin"].value(row) or []) == sorted(likely)
        assert sorted(readers["odd"].value(row) or []) == sorted(g for g in shares if counts[g] < 10 * shares[g])
        rarest = min(genres[row], key=lambda g: (shares[g], g))
        assert shares[readers["rarest"].value(row)[0]] == shares[rarest]
        assert readers["rarity"].value(row) == (round(1 / shares[rarest]) if shares[rarest] < 2 / 3 else None)
        assert readers["similar"].value(row) == [space.title(int(r)) for r in near[:3]]


def test_what_lies_between_two_films_is_looked_up_there() -> None:
    writer, task = teacher(True), SUITE.task("interpolation")
    space, kin = space_of(writer)["film"], writer.readers["film"]["kin"]
    for rows, text in texts(True, "interpolation")[:40]:
        middle = (space.vectors[rows["a"]] + space.vectors[rows["b"]]) / 2
        expected = kin.at(middle[None])[0]
        assert sorted(kin.read(text)) == sorted(expected or [])
        assert text == writer.write(task, rows, f"0/{rows['a']}/0")  # alone as among many


def test_a_predicted_value_carries_what_follows_from_it() -> None:
    """A rival's guess of the genres, spelled out, must not betray the film's own rarest genre."""
    writer = teacher(False)
    task = SUITE.task("convince_3")
    guess = {
        "genres": ["Drama", "Western"],
        "decade": "1950s",
        "place": "a fair number of films are like it",
        "odd": None,
    }
    text = writer.spell(task, {"film": guess}, "0")
    assert text is not None
    assert "western" in text
    share = writer.readers["film"]["genres"].share("Western")
    assert f"one film in {round(1 / share)}" in text


def test_texts_of_a_film_without_year_or_without_genres() -> None:
    columns = {"id": ["a", "b", "c"], "title": ["A (1990)", "B (1991)", "C (1992)"]}
    bare = {**columns, "split": ["train"] * 3, "genres": [["Drama"], [], ["Drama", "War"]], "year": [None, 1991, 1992]}
    space = VectorSpace.create("film", np.eye(3, dtype=np.float32) + 1, bare)
    writer = FactsTeacher(SUITE, {"film": space})

    def about(task: Task, row: int) -> str:
        slots = {slot: row if i == 0 else 2 for i, slot in enumerate(task.slots)}
        return writer.write(task, slots, "0") or ""

    for task in SUITE.tasks:
        if len(task.slots) == 1:
            assert about(task, 0), task.name
            if "genres" in task.states or task.name == "convince_3":
                assert "drama" in about(task, 0).lower(), task.name
            assert "0s" not in about(task, 0), task.name
            if "decade" in task.states:
                assert "1990s" in about(task, 1), task.name
            assert "drama" not in about(task, 1).lower(), task.name


def test_the_brief_tells_what_a_task_is_about_and_no_titles() -> None:
    writer = teacher(True)
    task = SUITE.task("long_description")
    row = int(space_of(writer)["film"].rows(TRAIN)[0])
    values = writer.values("film", row)
    brief = writer.brief("film", row, writer.used(task)["film"])
    told = dict(part.split(": ", 1) for part in brief.split("; "))
    assert told["decade"] == values["decade"]
    assert told["kin"] == ", ".join(writer.readers["film"]["kin"].words(values["kin"]))
    assert told["place"] == values["place"]
    assert not {"similar", "rarest", "rarity", "funny_kin"} & set(told)
    assert set(dict(part.split(": ", 1) for part in writer.brief("film", row).split("; "))) == {
        *("genres", "decade", "audience", "reception", "agreement", "standing", "place")
    }
