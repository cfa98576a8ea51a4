"""What the fixed extractor reads from free answers: genres, decades, and any other list or category."""

import pytest

from vectalk.evaluation.metrics.free_answers import FreeReader, free_readers
from vectalk.space import VectorSpace
from vectalk.tasks import load_suite
from vectalk.tasks.attributes import Attribute
from vectalk.tasks.surroundings import bind
from worlds import space_of

GENRES = load_suite("movies").attributes["film"]["genres"]
ALL = [value for value in GENRES.synonyms if value != "-"]


@pytest.fixture(scope="module")
def readers() -> dict[str, FreeReader]:
    space = space_of(genres=[[value] for value in ALL], year=[1950 + n for n in range(len(ALL))])
    return free_readers(bind(load_suite("movies").attributes["film"], space))[0]


@pytest.mark.parametrize(
    ("text", "genres"),
    [
        # in the suite's own words
        ("Comedy, romance, from the 1990s.", ["Comedy", "Romance"]),
        ("It is science fiction and drama.", ["Sci-Fi", "Drama"]),
        ("Animation, family, adventure.", ["Animation", "Children", "Adventure"]),
        # in the words of people
        ("A romantic story that is very funny.", ["Romance", "Comedy"]),
        ("Pure sci-fi!", ["Sci-Fi"]),
        ("A rom-com for a rainy day", ["Comedy", "Romance"]),
        ("It's scary, and suspenseful too.", ["Horror", "Thriller"]),
        ("An animated film for kids", ["Animation", "Children"]),
        ("Two comedies in one, with a heist", ["Comedy", "Crime"]),
        ("whodunits and love stories", ["Mystery", "Romance"]),
        ("a neo-noir gangster film", ["Film-Noir", "Crime"]),
        ("HILARIOUS", ["Comedy"]),
        ("a kids’ movie with cowboys", ["Children", "Western"]),
        ("science  fiction\nand fantasy", ["Sci-Fi", "Fantasy"]),
        # each value once
        ("A funny comedy with humour", ["Comedy"]),
        # inside other words, and other meanings
        ("A comedian's interactions with an adventurer and a dramaturge", []),
        ("My family would fall asleep, the whole family in fact.", []),
        ("A family film. My family loved it.", ["Children"]),
        ("Fans of Star Wars will like it", []),
        # negated
        ("No, it is not a comedy.", []),
        ("It isn't funny at all, but it is dramatic.", ["Drama"]),
        ("It isn’t scary", []),
        ("Not a comedy or a musical, rather a thriller.", ["Thriller"]),
        ("Without any romance, and with lots of action", ["Action"]),
        ("There is no horror here; expect adventure.", ["Adventure"]),
        ("A drama rather than a comedy", ["Drama"]),
        ("Neither a western nor a war film", []),
        ("Not only funny, it is also romantic.", ["Comedy", "Romance"]),
        ("No, a comedy.", ["Comedy"]),
        ("Stay away if you do not care for comedy.", ["Comedy"]),
        ("People who don't like horror should avoid it", ["Horror"]),
        ("Instead of this comedy, see something else.", ["Comedy"]),
        # quotations
        ("It reminds me of “A Horror Story” and is a drama", ["Drama"]),
        ('People who like "Crime Wave" will laugh at this comedy.', ["Comedy"]),
        ('"A hilarious ride through the night"', ["Comedy"]),
        ('The voice says: "this comedy will change your life"', ["Comedy"]),
        ('Genres: "Comedy", "Drama"', ["Comedy", "Drama"]),
        # other films
        ("It is a drama. The films around it lean to comedy.", ["Drama"]),
        ("", []),
    ],
)
def test_genres(readers: dict[str, FreeReader], text: str, genres: list[str]) -> None:
    if "lean to" in text:  # the suite says how its texts speak of other films
        leaning = load_suite("movies").attributes["film"]["kin"].within or ""
        text = text if "leans? to " in leaning else "It is a drama. These films are more likely to be comedy."
    assert readers["genres"].read(text) == genres


@pytest.mark.parametrize(
    ("text", "decade"),
    [
        # of making
        ("It is from the nineties.", "1990s"),
        ("A 1990s film.", "1990s"),
        ("A '90s film.", "1990s"),
        ("A ’90s classic", "1990s"),
        ("very 80's", "1980s"),
        ("a 60s film", "1960s"),
        ("It was made in 1994.", "1990s"),
        ("Released in 1994, it still works.", "1990s"),
        ("Heat (1995)", "1990s"),
        ("from the late Seventies", "1970s"),
        ("a mid-eighties drama", "1980s"),
        ("from the noughties", "2000s"),
        ("'00s humour", "2000s"),
        ("a '10s thriller", "2010s"),
        ("Drama, in the manner of the 1950s.", "1950s"),
        ("It came out in about 1971", "1970s"),
        ("It takes you back to the 1990s.", "1990s"),
        ("Instead of this 1990s film, see another.", "1990s"),
        ("If you do not like the 1990s, stay away.", "1990s"),
        ("2014", "2010s"),
        ("settled in the 1360s", "1360s"),
        # of the story
        ("It is set in the nineties.", None),
        ("The film takes place in 1944.", None),
        ("a story of the 1920s", None),
        ("It portrays the sixties", None),
        ("A film about the 1960s", None),
        ("A 1950s-set drama", None),
        ("a drama with a 1930s setting", None),
        ("It depicts life in 1890s Vienna.", None),
        # both
        ("Set in the sixties but made in 1994.", "1990s"),
        ("Set in Paris, this 1994 film is short.", "1990s"),
        ("A nineties film set in the fifties", "1990s"),
        ("A film from the eighties, set in 1944", "1980s"),
        # something else
        ("A woman in her thirties", None),
        ("for people in their 40s", None),
        ("It is not from the 1990s.", None),
        ("It lasts 120 minutes and cost $1950.", None),
        ("It sold 1,994 tickets, 3.1990 a day, 1990% more", None),
        ("It was made in the 1980s or the 1990s.", "1980s"),
        ("long ago", None),
    ],
)
def test_decades(readers: dict[str, FreeReader], text: str, decade: str | None) -> None:
    assert readers["decade"].read(text) == decade


def shop() -> VectorSpace:
    return space_of(
        kind=["Toy", "Garden tool", "Toy"],
        colours=[["Red"], ["Red", "Blue"], ["Green"]],
        size=[1, 2, 3],
        stars=[4, 5, 5],
    )


def test_any_list_and_category_is_read_by_its_own_words() -> None:
    attributes = {"kind": Attribute(kind="category"), "colours": Attribute(kind="list")}
    free, _ = free_readers(bind(attributes, shop()))
    assert free["kind"].read("I see two garden tools and a toy.") == "Garden tool"
    assert free["kind"].read("Nothing I know.") is None
    assert free["colours"].read("Red or green, not blue") == ["Red", "Green"]


def test_what_cannot_be_read_is_left_out_with_the_reason() -> None:
    attributes = {
        "likes": Attribute(kind="list", column="colours"),
        "avoids": Attribute(kind="list", column="colours"),
        "stars": Attribute(kind="category"),
        "size": Attribute(kind="band", labels=["small", "large"]),
        "kind": Attribute(kind="category"),
        "missing": Attribute(kind="list"),
    }
    free, reasons = free_readers(bind(attributes, shop()))
    assert list(free) == ["kind"]
    assert reasons["likes"] == "its values are also those of avoids"
    assert "no letters" in reasons["stars"]
    assert set(reasons) == {"likes", "avoids", "stars"}
