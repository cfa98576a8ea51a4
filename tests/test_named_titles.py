"""Titles are found where a text names them, and words that only happen to be titles are left alone."""

import pytest

from vectalk.tasks.named_titles import TitleFinder, loose_forms, title_forms


def own(title: str, text: str) -> list[bool]:
    return [mention.sure for mention in TitleFinder([title], own=True).find(text)]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Heat (1995)", "A thief and a policeman; “Heat” is long."),
        ("Heat (1995)", 'People call it "Heat".'),
        ("Heat (1995)", "People call it *Heat*."),
        ("Heat (1995)", "In Heat, a thief meets a policeman."),
        ("Heat (1995)", "Made as Heat (1995)."),
        ("Her (2013)", "The film “Her” is a romance."),
        ("It (1990)", "Like “It (1990)”, it scares."),
        ("Alien (1979)", "“Alien (1979)” is a film of the 1970s."),
        ("Matrix, The (1999)", "It is The Matrix, of course."),
        ("Matrix, The (1999)", "The Matrix is a film of machines."),
        ("Matrix, The (1999)", "In the Matrix nothing is real."),
        ("Misérables, Les (1995)", "A version of Les Miserables."),
        ("Postino, Il (The Postman) (1994)", "In The Postman a poet is befriended."),
        ("Postino, Il (The Postman) (1994)", "In Il Postino a poet is befriended."),
        ("Seven (a.k.a. Se7en) (1995)", "One calls it Se7en."),
        ("Star Wars: Episode IV - A New Hope (1977)", "The first Star Wars of all."),
        ("Fast & Furious (2009)", "Cars race in Fast and Furious."),
        ("Fast and Furious (2009)", "Cars race in Fast & Furious."),
        ("Ocean's Eleven (2001)", "The gang of Ocean’s Eleven robs again."),
        ("eXistenZ (1999)", "Players of eXistenZ lose themselves."),
        ("Dumb & Dumber (1994)", "Two men, Dumb and Dumber, drive on."),
        ("WALL·E (2008)", "A robot, WALL·E, cleans up."),
        ("300 (2007)", "The battle of “300”."),
        ("Beauty and the Beast (1991)", "Once more Beauty and the Beast is told."),
    ],
)
def test_a_title_that_is_named(title: str, text: str) -> None:
    assert own(title, text) == [True]


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Heat (1995)", "The heat of the desert; a policeman is hunted."),
        ("Her (2013)", "Her voice is all he has. Her body is not there."),
        ("It (1990)", "It scares. It is long; It ends."),
        ("Up (2009)", "Up goes the house, up and away."),
        ("The Game (1997)", "The game is long, the game of the rich."),
        ("300 (2007)", "Some 300 people saw it."),
        ("1984 (1984)", "Made in 1984, or near it."),
        ("Dead Man Walking (1995)", "He is a dead man walking the last mile."),
        ("American Beauty (1999)", "An American beauty parlour."),
        ("Alien (1979)", "Aliens of all sorts, an alien world."),
        ("In & Out (1997)", "In and out of love."),
        ("House (1986)", "Like “Animal House (1978)”, it is loud."),
        ("House (1986)", "Like Animal House (1978), it is loud."),
        ("Police Academy: Mission to Moscow (1994)", "Those who liked “Police Academy (1984)” like it."),
        ("Batman (1989)", "“Batman Returns (1992)” is near it."),
        ("Airport (1970)", "Near it: “Airport '77 (1977)”."),
        ("King Kong (2005)", "Much like King Kong (1933)."),
        ("Others, The (2001)", "It scares. Others scare more."),
        ("Beauty and the Beast (1991)", "Of beauty and the beast in us."),
    ],
)
def test_words_that_are_no_title(title: str, text: str) -> None:
    assert own(title, text) == []


def test_one_word_at_the_start_of_a_sentence_may_be_a_title() -> None:
    assert own("Heat (1995)", "Heat is a crime film.") == [False]
    assert own("Heat (1995)", "A crime film. Heat tells of a thief.") == [False]
    assert own("Heat (1995)", "Heat is a crime film. It is “Heat”.") == [True]  # the surest mention counts


def test_titles_of_others_need_more_evidence() -> None:
    titles = ["Heat (1995)", "Chicago (2002)", "Mad Max (1979)", "Matrix, The (1999)", "It (1990)"]
    finder = TitleFinder(titles)

    def named(text: str) -> dict[str, bool]:
        return {mention.title: mention.sure for mention in finder.find(text)}

    assert named("Set in Chicago, in the heat. It is told well. Heat is felt.") == {"Chicago (2002)": False}
    assert named("Fans of “Heat (1995)” and “It (1990)” like it.") == {"Heat (1995)": True, "It (1990)": True}
    assert named("As fast as Mad Max.") == {"Mad Max (1979)": True}
    assert named("Close to the Matrix, and to machines") == {"Matrix, The (1999)": False}
    assert named("matrix of numbers, mad max") == {}


def test_a_year_tells_works_of_one_name_apart() -> None:
    finder = TitleFinder(["King Kong (1933)", "King Kong (2005)", "Solaris"])
    assert [m.title for m in finder.find("Like “King Kong (2005)”.")] == ["King Kong (2005)"]
    assert [m.title for m in finder.find("Like “King Kong (1976)”.")] == []
    assert [m.title for m in finder.find("Like “Solaris (1972)”.")] == ["Solaris"]


def test_the_longest_title_is_meant() -> None:
    finder = TitleFinder(["Star Trek (2009)", "Star Trek Beyond (2016)"])
    assert [m.title for m in finder.find("In Star Trek Beyond they fly.")] == ["Star Trek Beyond (2016)"]


def test_forms_of_a_title() -> None:
    assert title_forms("Postino, Il (The Postman) (1994)") == {
        ("postino", "il", "the", "postman"),
        ("il", "postino"),
        ("the", "postman"),
    }
    assert title_forms("Matrix, The (1999)") == {("the", "matrix")}
    assert loose_forms("Matrix, The (1999)") == {("matrix",)}
    assert loose_forms("Star Wars: Episode IV (1977)") == {("star", "wars")}
    assert title_forms("(2000)") == set()
