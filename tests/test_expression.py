"""The little language of points."""

import numpy as np
import pytest

from vectalk.errors import ExpressionError, UnknownEntityError
from vectalk.space import Point, VectorSpace
from vectalk.space import expression as language

TITLES = ["Alien (1979)", "Annie Hall (1977)", "Schindler's List (1993)", 'The "Burbs" (1989)', "Up (2009)"] + [
    f"Film {n}" for n in range(35)
]


@pytest.fixture(scope="module")
def space() -> VectorSpace:
    vectors = np.random.default_rng(0).standard_normal((len(TITLES), 6)).astype(np.float32)
    return VectorSpace.create("film", vectors, {"id": [f"f{n}" for n in range(len(TITLES))], "title": TITLES})


def at(space: VectorSpace, row: int) -> np.ndarray:
    return np.asarray(space.vectors[row])


def test_names(space: VectorSpace) -> None:
    for text in ("Alien (1979)", "f0", "'Alien (1979)'", '"Alien (1979)"', "('f0')"):
        np.testing.assert_array_equal(space.point(text).values, at(space, 0))
    assert space.point("Schindler's List (1993)").row == 2
    assert space.point('"Schindler\'s List (1993)"').row == 2
    assert space.point(r"'Schindler\'s List (1993)'").row == 2


@pytest.mark.parametrize("row", range(5))
def test_the_source_of_a_point_leads_back_to_it(space: VectorSpace, row: int) -> None:
    point = space[row]
    assert space.point(point.source).row == row
    blend = 0.5 * point + space["f7"] - 2.0 * space["f8"]
    np.testing.assert_allclose(space.point(blend.source).values, blend.values, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("'f0' + 'f1' * 2 - 0.5 * 'f2'", (1, 2, -0.5)),
        ("'f0' - 'f1' - 'f2'", (1, -1, -1)),  # from the left
        ("'f0' - ('f1' - 'f2')", (1, -1, 1)),
        ("2 * 3 * 'f0'", (6, 0, 0)),
        ("(1 + 2) * 'f0' + -'f1'", (3, -1, 0)),
        ("-2 * 'f0'", (-2, 0, 0)),
        ("1e-1 * f0 + .5*f1", (0.1, 0.5, 0)),
        ("f0-f1", (1, -1, 0)),  # with or without blanks
        ("f0-2*f1+f2", (1, -2, 1)),
        ("lerp('f0', 'f1', 0.25)", (0.75, 0.25, 0)),
        ("lerp(f0, mean(f1, f2), 1 - 0.5)", (0.5, 0.25, 0.25)),
        ("mean('f0', 'f1', 'f2')", (1 / 3, 1 / 3, 1 / 3)),
        ("analogy('f0', 'f1', 'f2')", (-1, 1, 1)),
    ],
)
def test_arithmetic(space: VectorSpace, text: str, weights: tuple[float, ...]) -> None:
    wanted = sum(weight * at(space, row) for row, weight in enumerate(weights))
    np.testing.assert_allclose(space.point(text).values, wanted, rtol=1e-4, atol=1e-6)


def test_slerp_keeps_to_the_arc(space: VectorSpace) -> None:
    a, b = at(space, 0), at(space, 1)
    middle = space.point("slerp('f0', 'f1', 0.5)").values
    cosines = [middle @ end / np.linalg.norm(middle) / np.linalg.norm(end) for end in (a, b)]
    assert cosines[0] == pytest.approx(cosines[1], abs=1e-5)
    assert np.linalg.norm(middle) == pytest.approx((np.linalg.norm(a) + np.linalg.norm(b)) / 2, rel=1e-5)
    np.testing.assert_allclose(space.point("slerp(f0, f1, 0)").values, a, atol=1e-6)
    np.testing.assert_allclose(space.point("slerp(f0, f1, 1)").values, b, atol=1e-6)


def test_a_blend_names_its_sources_once(space: VectorSpace) -> None:
    assert space.point("lerp('f0', 'f1', 0.5) + 'f0'").sources == ("Alien (1979)", "Annie Hall (1977)")


def test_random_points_have_a_seed(space: VectorSpace) -> None:
    np.testing.assert_array_equal(space.point("random(3)").values, space.point("random(3)").values)
    assert not np.allclose(space.point("random(3)").values, space.point("random(4)").values)


def test_later_rooms_add_functions(space: VectorSpace) -> None:
    def shout(space: VectorSpace, text: language.Name, strength: float) -> Point:
        return Point(np.full(space.dim, len(text.text) * strength), space)

    values = space.point('shout("not a title", 2) * 0.5', {"shout": shout}).values
    np.testing.assert_array_equal(values, np.full(6, 11.0))


@pytest.mark.parametrize("error", [ValueError("no such thing"), OverflowError("no such thing")])
def test_a_function_that_fails_is_named(space: VectorSpace, error: Exception) -> None:
    def fail(space: VectorSpace) -> Point:
        raise error

    with pytest.raises(ExpressionError, match=r"position 5: fail\(\.\.\.\) cannot be computed: no such thing"):
        space.point("2 * (fail())", {"fail": fail})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lerp('f0', 'f1')", "wrong arguments"),
        ("lerp('f0', 'f1', 'f2')", "expected a number, not 'f2'"),
        ("mean()", "at least one point"),
        ("'f0' +", "found 'the end'"),
        ("('f0'", "expected '\\)'"),
        ("'f0' 'f1'", "position 5: expected an operator"),
        ("'f0' * 'f1'", "two points"),
        ("1 + 2 * 'f0'", "found the number 1"),
        ("larp('f0', 'f1', 0.5)", "did you mean lerp"),
        ("'f0' / 2", "unexpected '/ 2'"),
        ("__import__('os')", "unknown function"),
        ("random(-1)", r"random\(\.\.\.\) has wrong arguments: .*whole number from 0 on, not -1"),
        ("random(1.5)", "whole number from 0 on, not 1.5"),
        ("random(1e999)", "whole number from 0 on, not inf"),
        ("'unclosed", "unexpected"),
    ],
)
def test_mistakes_are_named_with_their_place(space: VectorSpace, text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words):
        space.point(text)


def test_unknown_names_get_the_closest(space: VectorSpace) -> None:
    with pytest.raises(UnknownEntityError, match=r"did you mean 'Alien \(1979\)'"):
        space.point("lerp('Alein (1979)', 'f1', 0.5)")
    with pytest.raises(UnknownEntityError, match=r"Annie Hall \(1977\)"):
        space.point("Anny Hall")


def test_titles_that_hold_quotation_marks() -> None:
    titles = ["Don't Look Now", 'She Said "Wait"', "Olé"]
    space = VectorSpace.create("film", np.eye(3), {"id": list("abc"), "title": titles, "split": ["train"] * 3})
    for title in titles:
        point = space.point(title)
        assert point.title == title
        assert space.point(f"1 * {point.source}").sources == (title,)
    assert space.point("Ole\u0301").row == 2  # the accent as a sign of its own
    assert space.point('She said "Wait').row == 1
    for slip in ("Don't Look Nowe", 'She Said "Waitt'):
        with pytest.raises(UnknownEntityError, match="did you mean"):
            space.point(slip)
    with pytest.raises(ExpressionError, match="a title that holds ' must be in double quotes"):
        space.point("lerp('Don't Look Now', 'Olé', 0.5)")
