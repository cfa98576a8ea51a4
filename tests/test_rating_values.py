"""Ratings: pairs that have several, values that mean `not rated`, and weights."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rating_files import rows_of, written
from vectalk.cli.main import main
from vectalk.errors import SpaceError
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.factorization.ratings import factorize
from vectalk.space.factorization.wals import WalsConfig

# ---- pairs that have several ratings

AGAIN = "user,item,{},timestamp\n1,a,4,30\n1,b,2,20\n1,a,2,40\n2,a,5,10\n1,a,3,10\n"


@pytest.mark.parametrize(("how", "rating", "time"), [("sum", 9.0, 40), ("mean", 3.0, 40), ("last", 2.0, 40)])
def test_repeated_pairs_become_one(tmp_path: Path, how: str, rating: float, time: int) -> None:
    heard: list[str] = []
    path = written(tmp_path / "r.csv", AGAIN.format("rating"))
    table = read_ratings(path, repeated=how, tell=heard.append)
    assert rows_of(table) == [("1", "a", rating, time), ("1", "b", 2.0, 20), ("2", "a", 5.0, 10)]
    assert heard[1].startswith("1 pairs of user and item have several ratings")
    assert heard[1].endswith(f"(--repeated {how})")


@pytest.mark.parametrize(
    "times", [("2005-09-30", "2005-09-02"), ("100", "99"), ("2005-09-30 10:00:00", "2005-09-30 09:59:00")]
)
def test_the_last_is_that_by_time(tmp_path: Path, times: tuple[str, str]) -> None:
    text = "user,item,rating,date\n" + "".join(f"1,a,{n},{time}\n" for n, time in enumerate(times, 1))
    assert read_ratings(written(tmp_path / "r.csv", text), repeated="last")["rating"].to_pylist() == [1.0]
    without = "user,item,rating\n1,a,1\n1,a,2\n"
    assert read_ratings(written(tmp_path / "w.csv", without), repeated="last")["rating"].to_pylist() == [2.0]


def test_counts_add_up_and_ratings_are_refused(tmp_path: Path) -> None:
    plays, stars = (written(tmp_path / f"{name}.csv", AGAIN.format(name)) for name in ("plays", "rating"))
    assert read_ratings(plays, feedback="implicit")["rating"].to_pylist() == [9.0, 2.0, 5.0]
    lines = read_ratings(plays, feedback="implicit", rating="none")
    assert lines["rating"].to_pylist() == [3.0, 1.0, 1.0]
    for path, feedback in ((plays, "explicit"), (stars, "explicit"), (stars, "implicit")):
        with pytest.raises(SpaceError, match=r"line 4: .*already in line 2 \(2 such.*--repeated last, mean or sum"):
            read_ratings(path, feedback=feedback)
        with pytest.raises(SpaceError, match="line 4"):
            read_ratings(path, feedback=feedback, repeated="refuse")
    with pytest.raises(SpaceError, match="repeated must be one of sum, last, mean, refuse, not 'first'"):
        read_ratings(stars, repeated="first")


# ---- not rated


def anime(path: Path, value: str, column: str = "rating") -> Path:
    lines = [f"{u},{i},{value if (u + i) % 4 == 0 else 1 + (u * i) % 10}\n" for u in range(12) for i in range(10)]
    return written(path, f"user_id,anime_id,{column}\n" + "".join(lines))


@pytest.mark.parametrize("value", ["-1", "-1.0", "NaN", "", "unrated", "99"])
@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_what_is_not_rated_is_left_out(tmp_path: Path, value: str, feedback: str) -> None:
    path = anime(tmp_path / "anime.csv", value)
    with pytest.raises(SpaceError, match="not rated"):
        read_ratings(path, feedback=feedback)
    heard: list[str] = []
    table = read_ratings(path, feedback=feedback, nulls=[value], tell=heard.append)
    assert len(table) == 90
    assert set(table["rating"].to_pylist()) == {float(n) for n in range(1, 11)}
    assert (
        "120 ratings, columns separated by ',', with a header; 30 of them are not rated (--null) and left out"
        in heard[0]
    )
    with pytest.raises(SpaceError, match="no line has a rating, because all values are"):
        read_ratings(path, feedback=feedback, nulls=[value, *map(str, range(1, 11))])


def test_null_reaches_the_ratings_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = anime(tmp_path / "anime.csv", "-1")
    command = ["space", "factorize", str(path), "--dim", "2", "--feedback", "explicit", "--min-ratings", "1"]
    for more, code in (([], 2), (["--null", "-1"], 0), (["--valid", "-1"], 0)):
        with pytest.raises(SystemExit) as exit_:
            main([*command, *more, "--out", str(tmp_path / f"out{len(more)}{more[:1]}")])
        assert int(exit_.value.code or 0) == code
        err = capsys.readouterr().err
        if code:
            assert "30 of 120 ratings are -1, the others from 1 to 10; if -1 means 'not rated'" in err
            assert "--null -1; else give --valid -1" in err
    rated = pq.read_table(tmp_path / "out2['--null']" / "items" / "entities.parquet")["mean_rating"].to_pylist()
    assert min(rated) >= 1
    train = pq.read_table(tmp_path / "out2['--null']" / "ratings_train.parquet")["rating"].to_pylist()
    assert min(train) >= 1


@pytest.mark.parametrize(
    ("values", "refused", "noted"),
    [
        ([-1, 2, 4, 6], True, False),  # apart from the scale
        ([-1, 1, 3, 5], True, False),
        ([-1, 0, 1, 2, 3, 4, 5], False, True),  # perhaps
        ([-1, 1], False, False),  # thumbs
        ([-1, 0, 1], False, False),
        ([-2, -1, 0, 1, 2], False, False),
        ([-10, -9.5, 3.25, 9, 99], True, False),
        ([0, 1, 2, 3, 4, 5], False, True),
        ([0, 0, 0, 0, 5, 6, 7], True, False),
        ([0, 0.5, 1, 1.5, 2, 4.5, 5], False, True),
        ([0.5, 1, 1.5, 5], False, False),
        ([1, 2, 3, 4, 5], False, False),
        ([0, 1], False, False),
        ([0, 1, 2], False, False),
        (list(range(1, 40)) * 30 + [99], False, False),  # the longest tail of counts
        ([-1, *range(500)], True, False),
        ([0, *np.linspace(0.01, 90.5, 300).round(2)], False, True),
    ],
)
def test_values_that_may_not_be_ratings(values: list[float], refused: bool, noted: bool) -> None:
    count = max(1, 60 // len(values))
    ratings = np.array(values * count, float)
    table = pa.table({"user": np.arange(len(ratings)), "item": np.arange(len(ratings)), "rating": ratings})
    heard: list[str] = []
    if refused:
        with pytest.raises(SpaceError, match=r"if .* means 'not rated', leave these out with --null"):
            read_ratings(table)
        odd = 99.0 if values[-1] == 99 else min(values)
        assert len(read_ratings(table, valid=[odd])) == len(ratings)
        return
    read_ratings(table, tell=heard.append)
    assert [message.startswith("note: ") for message in heard[1:]] == [True] * noted


def test_nothing_is_counted_below_zero(tmp_path: Path) -> None:
    path = written(tmp_path / "p.csv", "user,item,weight\n1,a,4\n1,b,-3\n2,a,-2\n2,c,5\n")
    for feedback in ("implicit", "explicit"):
        with pytest.raises(SpaceError, match=r"line 3: column 'weight' has -3, but a count cannot be below 0"):
            read_ratings(path, feedback=feedback)
    assert len(read_ratings(path, nulls=["-3", "-2"])) == 2
    heard: list[str] = []
    jokes = written(tmp_path / "j.csv", "user,item,rating\n1,a,4.5\n1,b,-3\n2,a,-2.25\n2,c,5\n")
    assert len(read_ratings(jokes, feedback="implicit", tell=heard.append)) == 4
    assert heard[1].startswith("note: 2 of 4 ratings are below 0, and count like the others under implicit feedback")
    assert len(read_ratings(jokes, feedback="explicit")) == 4


def test_weights_are_above_zero(tmp_path: Path) -> None:
    path = anime(tmp_path / "anime.csv", "-1")
    with pytest.raises(SpaceError, match=r"a rating of -1 has the weight 1 \+ alpha \* rating = -1, .*--null -1"):
        factorize(path, tmp_path / "out", config=WalsConfig(dim=2, alpha=2.0), valid=[-1.0], min_ratings=1)
    assert not (tmp_path / "out").exists()
    made = factorize(
        path, tmp_path / "out", config=WalsConfig(dim=2, alpha=0.5, iterations=1), valid=[-1.0], min_ratings=1
    )
    with pytest.raises(SpaceError, match="must be above 0"):
        made.factors.fold_in(np.array([0, 1]), np.array([5.0, -2.0]))
