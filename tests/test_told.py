"""The facts of an entity as a noun phrase, for the place of its slot."""

import re

import numpy as np
import pytest

from vectalk.errors import SuiteError
from vectalk.space import VectorSpace
from vectalk.tasks import Suite, load_suite
from vectalk.tasks.teachers.told import FactPhrases, told
from worlds import SUITE, space_of


def films(**columns: list) -> VectorSpace:
    return space_of(**columns)


def test_a_film_is_told_in_the_words_of_its_suite() -> None:
    genres = [["Drama", "Comedy"], ["Drama"], ["Drama", "Sci-Fi"], ["Drama", "Comedy"]]
    space = films(
        genres=genres, year=[1994, 1985, 2001, 1999], n_ratings=[1, 2, 3, 4], mean_rating=[1.0, 2.0, 3.0, 4.0]
    )
    phrase = told(FactPhrases.of(load_suite("movies"), "film", space), 3)
    suite = load_suite("movies").attributes["film"]
    start = f"a 1990s drama and comedy film with {suite['audience'].labels[-1]}, {suite['reception'].labels[-1]} ("
    assert phrase.startswith(start)
    assert phrase.endswith(")")


def test_facts_that_are_missing_are_left_out() -> None:
    space = films(genres=[["Drama"], [], ["Comedy"]], year=[1994, 1985, None])
    phrases = FactPhrases.of(load_suite("movies"), "film", space)
    first, second, third = (re.sub(r" \(.*", "", told(phrases, row)) for row in range(3))
    assert (first, second, third) == ("a 1990s drama film", "a 1980s film", "a comedy film")


def test_no_title_is_told() -> None:
    space = films(genres=[["Drama"]] * 5, year=[1994] * 5, liked_titles=[["Heat"]] * 5)
    phrase = told(FactPhrases.of(load_suite("movies"), "film", space), 0)
    assert not any(space.title(row) in phrase for row in range(5))
    users = FactPhrases.of(
        load_suite("users"), "user", films(liked_titles=[["Heat"]] * 5, liked_genres=[["Drama"]] * 5)
    )
    assert told(users, 0).startswith("a viewer (likes drama")
    assert "Heat" not in told(users, 0)


def test_without_a_phrase_the_facts_are_listed() -> None:
    attributes = {
        "toy_box": {
            "category": {"kind": "category"},
            "tags": {"kind": "list"},
            "price": {"kind": "number"},
            "similar": {"kind": "neighbors"},
        }
    }
    task = {"name": "t", "slots": {"toy_box": "toy_box"}, "prompts": ["Describe {toy_box}."]}
    suite = Suite.model_validate({"name": "shop", "attributes": attributes, "tasks": [task]})
    space = films(category=["toys", None], tags=[["Red", "Soft"], []], price=[12.0, np.nan])
    phrases = FactPhrases.of(suite, "toy_box", space)
    assert told(phrases, 0) == "a toy box (category: toys; tags: red, soft; price: 12)"
    assert told(phrases, 1) == "a toy box"


def test_a_phrase_may_only_use_attributes_of_its_space() -> None:
    with pytest.raises(ValueError, match="no attribute 'genre'; did you mean genres"):
        Suite.model_validate({**SUITE, "phrases": {"film": ["a {{ film.genre }} film"]}})
    task = "tasks:\n  - {name: t, slots: {film: film}, prompts: ['Is {film}?']}\n"
    text = "name: x\nphrases:\n  film: ['{{ nothing }}']\n" + task
    with pytest.raises(SuiteError, match=r"line 3: phrases\.film: phrase of 'film'"):
        Suite.parse(text, "x")


def test_phrases_survive_saving_and_joining() -> None:
    movies, users = load_suite("movies"), load_suite("users")
    assert Suite.parse(movies.dump(), "again").phrases == movies.phrases
    assert Suite.join([movies, users]).phrases == {**movies.phrases, **users.phrases}
