"""The names in a text, and the titles that they mean."""

import pytest

from vectalk.tasks.name_spans import TitleIndex, name_spans

TITLES = [
    "Alien (1979)",
    "Aliens (1986)",
    "King Kong (1933)",
    "King Kong (2005)",
    '"Great Performances" Cats (1998)',
    "Plain “Comedy” (1999)",
    "Lord of the Rings, The (1978)",
    "eXistenZ",
    "Сталкер (1979)",
]


def names(text: str) -> list[str]:
    index = TitleIndex(TITLES)
    spans = name_spans(text, index.__contains__, index.means)
    for span in spans:
        assert text[span.start : span.end].startswith(span.name)
    return [span.name for span in spans]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Like "Alien (1979)" and “Heat”.', ["Alien (1979)", "Heat"]),
        ("Like *Alien* or **bold** words, 2 * 3 * 4.", ["Alien"]),
        ("Near Alien (1979) and Heat (1995).", ["Alien (1979)", "Heat (1995)"]),
        ("It recalls Lord of the Rings, The (1978) most.", ["Lord of the Rings, The (1978)"]),
        ("It recalls The House of Wax (1953), a film.", ["The House of Wax (1953)"]),
        (
            "Watch The Lord of the Rings (1978) and Likes Aliens (1986).",
            ["The Lord of the Rings (1978)", "Aliens (1986)"],
        ),
        ("Watch The Lord of Rings (1978).", ["Watch The Lord of Rings (1978)"]),
        ('Fans of ""Great Performances" Cats (1998)" like it.', ['"Great Performances" Cats (1998)']),
        ("Fans of “Plain “Comedy” (1999)” like it.", ["Plain “Comedy” (1999)"]),
        ('A "feel-good" comedy, “dark” at times.', []),
        ("Like “eXistenZ” and “Сталкер (1979)”.", ["eXistenZ", "Сталкер (1979)"]),
        ("He said “Alien,” and left.", ["Alien"]),
        ("It was made (1995) by many.", []),
        ('An open "Alien', []),
        ("", []),
    ],
)
def test_names_in_a_text(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Alien (1979)", "Alien (1979)"),
        ("alien", "Alien (1979)"),
        ("The Lord of the Rings (1978)", "Lord of the Rings, The (1978)"),
        ("King Kong (2005)", "King Kong (2005)"),
        ("King Kong", None),  # two films
        ("Alien (1999)", None),
        ("Adventustin Powers", None),
        ("", None),
    ],
)
def test_a_name_means_a_title(name: str, title: str | None) -> None:
    assert TitleIndex(TITLES).resolve(name) == title
