"""The grammar: what is drawn, what is left out, and what follows where nothing else can be said."""

import random
from typing import Any

import pytest

from vectalk.errors import SuiteError
from vectalk.tasks.teachers.grammar import Facts, expand, render, scene, write

FACTS = scene({"x": Facts({"colours": ["red", "blue"], "price": "dear", "none": [], "year": "1990s", "count": 12})})


def said(*wordings: Any) -> set[str | None]:
    """Return all that a sentence can become."""
    expanded = expand(list(wordings))
    assert isinstance(expanded, list)
    return {write(expanded, FACTS, random.Random(seed)) for seed in range(60)}


def test_one_of_the_wordings_whose_facts_are_at_hand_is_drawn() -> None:
    assert said("{{ x.price }}", "{{ x.lacking }}", "{{ x.none | series }}", "plain") == {"dear", "plain"}
    assert said("{{ x.lacking }}") == {None}


def test_wordings_after_otherwise_wait_until_nothing_else_can_be_said() -> None:
    assert said("{{ x.price }}", "otherwise", "plain") == {"dear"}
    assert said("{{ x.lacking }}", "otherwise", "{{ x.none }}", "otherwise", "last", "least") == {"last", "least"}


def test_a_condition_lets_its_wordings_stand_or_fall() -> None:
    when = {"when": "x.price == 'dear'", "say": ["yes", "indeed"]}
    assert said(when, {"when": "x.price == 'cheap'", "say": "no"}) == {"yes", "indeed"}
    assert said({"when": "x.lacking == 'dear'", "say": "no"}, "otherwise", "unknown") == {"unknown"}
    assert said({"when": "not x.colours | only(['red', 'blue'])", "say": "no more"}) == {"no more"}


def test_what_is_drawn_later_does_not_depend_on_what_could_be_written_before() -> None:
    for seed in range(20):
        choices = [random.Random(seed), random.Random(seed)]
        write(["{{ x.price }}", "b", "otherwise", "c", "d", "e"], FACTS, choices[0])
        write(["{{ x.lacking }}", "{{ x.none }}", "otherwise", "c", "d", "e"], FACTS, choices[1])
        assert choices[0].random() == choices[1].random()


@pytest.mark.parametrize(
    ("wording", "text"),
    [
        (
            "with [[a: {{ x.price }} || b: {{ x.lacking }} || c: {{ x.colours | series }}]].",
            "with a: dear; c: red, blue.",
        ),
        ("[[{{ x.lacking }} || {{ x.none }}]].", None),
        ("[[{{ x.price }}]], [[{{ x.lacking }}]]", None),
        ("{{ x.colours | at(1) }}", "blue"),
        ("{{ x.colours | at(2) }}", None),
        ("{{ x.price | at(0) }}", "dear"),
        ("{{ x.colours | number }} of {{ x.count | number }}", "two of 12"),
        ("{{ x.year | halfway('1960s') }} {{ x.year | halfway('1980s') }}", "1970s 1980s"),
        ("{{ x.price | shared(['dear', 'cheap']) | series }}", "dear"),
        ("{{ ['red', 'green'] | only(x.colours) | listed }}", "green"),
        ("{{ x.colours | listed }}", "red and blue"),
    ],
)
def test_what_is_written(wording: str, text: str | None) -> None:
    assert render(wording, FACTS) == text


def test_what_cannot_be_written_is_named() -> None:
    with pytest.raises(SuiteError, match=r"x\.count \| series"):
        render("{{ x.count | series }}", FACTS)
    with pytest.raises(SuiteError, match="cannot be written"):
        render("[[{{ x.price.upper(3) }}]]", FACTS)


@pytest.mark.parametrize(
    "item", [{"when": "x"}, {"say": "x"}, {"when": 1, "say": "x"}, {"when": "x", "say": "y", "z": 1}]
)
def test_a_condition_has_two_parts(item: Any) -> None:
    with pytest.raises(ValueError, match=r"\{when: CONDITION, say: WORDINGS\}"):
        expand([item])
