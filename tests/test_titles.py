"""Titles: what is one title in two spellings, and what never answers for another."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vectalk.errors import SpaceError, UnknownEntityError
from vectalk.space import VectorSpace
from vectalk.space.split import SPLITS, _first_key, assign_splits, split_keys
from vectalk.space.titles import closest, lookup_key, title_key

DEMO = Path(__file__).parents[1] / "demo-data"
# Letters, digits and marks of many scripts, signs, and the two signs that tell titles apart.
SIGNS = "aAeé5 7+#-!'.&ßñıİЖжйиёїαάςΣкシガハば親二한글ابَكلहिन्दीไทยမြתּם٣४²½①™"
titles = st.text(st.one_of(st.sampled_from(SIGNS), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=12)


def space_of(titles: list[str | None], **options) -> VectorSpace:
    vectors = np.eye(len(titles), max(len(titles), 2), dtype=np.float32) + 1
    table = pa.table({"id": [f"#{n}" for n in range(len(titles))], "title": pa.array(titles, pa.string())})
    return VectorSpace.create("film", vectors, table.append_column("split", [["train"] * len(titles)]), **options)


def letters(title: str) -> str:
    """The letters, digits, marks, + and # of a title: small, in one Unicode form, but for accents that may fall."""
    plain = ""
    for sign in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", title.casefold()).casefold()):
        category, base = unicodedata.category(sign), unicodedata.name(plain[-1:] or " ", "")
        if category[0] == "M" and base.startswith(("LATIN", "GREEK", "CYRILLIC")):
            continue
        if category[0] in "LN" or sign in "+#" or (category[0] == "M" and plain):
            plain += sign
    return plain


# ---- looking up


@given(st.lists(titles, min_size=1, max_size=8, unique_by=lookup_key), st.data())
@settings(deadline=None)
def test_a_title_finds_itself_and_no_other(known: list[str], data: st.DataObject) -> None:
    space = space_of(known)
    for row, title in enumerate(known):
        point = space[title]
        assert (point.row, point.notes) == (row, ())
    asked = data.draw(titles)
    if asked not in known:
        try:
            row = space.find(asked)
        except UnknownEntityError:
            return
        assert lookup_key(known[row]) == lookup_key(asked)


@given(titles, titles)
@settings(deadline=None)
def test_titles_that_differ_in_a_letter_a_digit_or_a_plus_have_two_keys(one: str, other: str) -> None:
    assume(letters(one) != letters(other))
    assert lookup_key(one) != lookup_key(other)


@given(titles, st.integers(0, 12), st.sampled_from("кヤ한हไ٣४7+#ब親"))
@settings(deadline=None)
def test_a_letter_more_makes_another_title(title: str, place: int, letter: str) -> None:
    """Of every script, and a digit, a plus or a #."""
    assert lookup_key(title[:place] + letter + title[place:]) != lookup_key(title)


@given(titles)
@settings(deadline=None)
def test_capitals_and_forms_of_unicode_make_no_other_title(title: str) -> None:
    key = lookup_key(title)
    assert lookup_key(unicodedata.normalize("NFD", title)) == key == lookup_key(unicodedata.normalize("NFC", title))
    assert lookup_key(f"  {title} ") == key


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("Ведьмак 77", "Чужой 77"),
        ("C++", "C#"),
        ("C", "C#"),
        ("Galaxy S10+", "Galaxy S10"),
        ("Galaxy S10e", "Galaxy S10"),
        ("ワンピース 7", "ナルト 7"),
        ("ハハ 1", "パパ 1"),  # a mark is a letter there
        ("친구 2", "범죄도시 2"),
        ("हेरा 2", "हरा 2"),
        ("بريق 2", "بريد 2"),
        ("Бои 2", "Бой 2"),  # й is a letter of its own
        ("Lodz", "Łódź"),  # ł is a letter, no accent
        ("Aeon Flux", "Æon Flux"),
        ("8½", "81/2"),
        ("Formel 10²", "Formel 102"),
        ("Vol. 12", "Vol. 1.2"),
        ("Death Race (2000)", "Death Race 2000"),  # a year is another matter than a number in the title
        ("The Matrix (1998)", "Matrix, The (1999)"),
    ],
)
def test_other_titles_are_not_found_but_named(asked: str, there: str) -> None:
    space = space_of([there, *(f"Other {n}" for n in range(5))])
    for text in (asked, f"'{asked}'"):
        with pytest.raises(UnknownEntityError, match="has no entity"):
            space.point(text)


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("The Matrix (1999)", "Matrix, The (1999)"),
        ("les misérables (1995)", "Misérables, Les (1995)"),
        ("Мотылек 2", "Мотылёк 2"),
        ("ΕΛΛΑΔΑ", "Ελλάδα"),
        ("Viet Nam", "Việt Nam"),
        ("Strasse 7", "Straße 7"),
        ("c++", "C++"),
        ("galaxy s10+", "Galaxy  S10＋"),
        ("wall-e (2008)", "WALL·E (2008)"),
        ("Mamma Mia?", "Mamma Mia!"),
        ("Don't Look", "Don´t Look"),
        ("8 1/2", "8½"),
        ("\uff9c\uff9d\uff8b\uff9f\uff70\uff7d 12", "ワンピース 12"),
        ("七人の侍(1954)", "七人の侍（1954）"),
        ("I \u2764 NY", "I \u2764\ufe0f NY"),
    ],
)
def test_another_spelling_is_taken_and_says_so(asked: str, there: str) -> None:
    space = space_of([*(f"Other {n}" for n in range(5)), there])
    point = space.point(asked)
    assert (point.row, point.title) == (5, there)
    assert point.notes == (f"{asked!r} is taken as another spelling of {there!r}",)
    blend = 0.5 * space[asked] - space["Other 1"] + space[asked]
    assert blend.notes == point.notes
    middle = space.point(f"lerp({json.dumps(asked, ensure_ascii=False)}, 'Other 2', 0.5)")
    assert (middle.notes, middle.sources) == (point.notes, (there, "Other 2"))


def test_the_exact_title_comes_before_other_spellings() -> None:
    space = space_of(["up", "Up", "UP!"])
    assert [space[title].row for title in ("up", "Up", "UP!")] == [0, 1, 2]
    assert space["Up"].notes == ()


def test_several_spellings_are_an_error_that_lists_them() -> None:
    space = space_of(["Up", "UP!", "Down"])
    with pytest.raises(UnknownEntityError, match=r"2 titles .* spellings of 'up': 'Up' \(id '#0'\), 'UP!' \(id '#1'\)"):
        space.find("up")
    with pytest.raises(UnknownEntityError, match="2 titles"):
        space.point("lerp('up', 'Down', 0.5)")


def test_beyond_the_titles_that_errors_look_at_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectalk.space.lookup.CLOSEST_LIMIT", 3)
    monkeypatch.setattr("vectalk.space.lookup.BLOCK", 2)
    space = space_of(["A", "B", "C", "D", None, "Éa", "éA", "Last"])
    assert space.find("LAST") == 7
    with pytest.raises(UnknownEntityError, match="2 titles"):
        space.find("ea")


def test_an_id_that_is_also_a_title_says_so() -> None:
    table = {"id": ["300", "x", "y"], "title": ["Alien", "300", "Heat"], "split": ["train"] * 3}
    space = VectorSpace.create("film", np.eye(3), table)
    assert space["300"].row == 0
    assert space["300"].notes == ("'300' is taken as the entity of that id, 'Alien'; that is also the title of id 'x'",)
    assert space["x"].notes == ()


def test_a_title_that_reads_as_an_expression() -> None:
    space = space_of(["WALL·E", "Romeo + Juliet", "Alien", "Heat"])
    assert space.point("wall-e").row == 0
    assert space.point("romeo + juliet").row == 1
    assert space.point("Alien + Heat").row is None
    with pytest.raises(UnknownEntityError, match="no entity 'heart'"):
        space.point("alien - heart")


def test_titles_of_one_name_are_all_named_as_closest() -> None:
    assert closest("Les Miserable", ["Misérables, Les (1995)", "Misérables, Les (1998)", "Heat"]) == [
        "Misérables, Les (1995)",
        "Misérables, Les (1998)",
    ]
    assert closest("Ведьмак 77", ["Чужой 77", "Ведьмак 7", "Пила 77"])[0] == "Ведьмак 7"


# ---- the split


@given(st.text(st.characters(codec="ascii", exclude_characters="+#")))
@settings(deadline=None)
def test_ascii_titles_keep_their_split(title: str) -> None:
    assert title_key(title) == _first_key(title)


def test_the_split_follows_the_whole_title() -> None:
    series = ["Ведьмак", "ワンピース", "친구", "بريق", "हेरा", "หมานคร"]
    keys = split_keys([f"{name} {n}" for name in series for n in range(1, 13)], "title")
    assert len(set(keys)) == 72
    assert set(split_keys([f"{name} 7" for name in series], "title", 1)) == {"7"}  # as older spaces were parted
    shares = [np.mean(assign_splits([f"Фильм {n}" for n in range(3000)], "title") == name) for name in SPLITS]
    np.testing.assert_allclose(shares, [0.80, 0.05, 0.15], atol=0.02)


def test_a_work_has_one_split_in_every_catalogue() -> None:
    same = ["Amélie (2001)", "Amelie", "AMÉLIE"], ["Мотылёк (1973)", "мотылек"], ["C++ (1985)", "c++"]
    for spellings in same:
        assert len(set(split_keys(spellings, "title"))) == 1


def test_the_demos_spaces_load_as_they_were_made() -> None:
    """They were made before the rules had numbers."""
    films, users = (VectorSpace.load(DEMO / name) for name in ("films", "users"))
    for space in (films, users):
        space.verify()  # ids, vectors and split are what was saved
        assert space.split_hash == json.loads((DEMO / space.path.name / "space.json").read_text())["split_hash"]
    assert [len(films.rows(part)) for part in SPLITS] == [1770, 112, 363]
    assert films.split_hash.startswith("c418b2eb1ed3")
    assert users.split_hash.startswith("c6ccb0949d0a")
    assert (films.split_by, films.split_rule) == ("title", 1)
    assert (users.split_by, users.split_rule) == ("given", None)


@pytest.mark.parametrize("rule", [1, 2])
def test_the_demos_films_are_parted_as_ever(rule: int) -> None:
    films = VectorSpace.load(DEMO / "films")
    titles, splits = films.column("title").to_pylist(), films.column("split").to_pylist()
    assert assign_splits(titles, "title", rule).tolist() == splits


def test_the_rule_is_kept_with_the_space(tmp_path: Path) -> None:
    names = [f"Фильм {n}" for n in range(200)]
    table = {"id": [str(n) for n in range(200)], "title": names}
    new = VectorSpace.create("film", np.ones((200, 2)), table, split_by="title").save(tmp_path / "new")
    assert new.split_rule == json.loads((tmp_path / "new" / "space.json").read_text())["split_rule"] == 2
    old = VectorSpace.create("film", np.ones((200, 2)), table, split_by="title", split_rule=1).save(tmp_path / "old")
    assert old.split_rule == 1
    assert old.column("split").to_pylist() == assign_splits(names, "title", 1).tolist()
    assert old.column("split").to_pylist() != new.column("split").to_pylist()
    card = json.loads((tmp_path / "old" / "space.json").read_text())
    del card["split_rule"]  # as it was saved before the rules had numbers
    (tmp_path / "old" / "space.json").write_text(json.dumps(card))
    assert VectorSpace.load(tmp_path / "old").split_rule == 1
    again = VectorSpace.load(tmp_path / "old").save(tmp_path / "copy")
    assert (again.split_rule, again.split_hash) == (1, old.split_hash)
    with pytest.raises(SpaceError, match="split rule 3 is unknown; the rules are 1, 2"):
        VectorSpace.create("film", np.ones((200, 2)), table, split_by="title", split_rule=3)
