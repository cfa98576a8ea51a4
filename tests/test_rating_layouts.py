"""Ratings in the layouts in which people have them: each line is one rating, or the file is refused."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating_files import ROWS, SMALL, rows_of, written
from vectalk.cli.main import main
from vectalk.errors import SpaceError
from vectalk.space.factorization.item_entities import GENRES
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.factorization.ratings import factorize
from vectalk.space.factorization.wals import WalsConfig
from vectalk.space.importing.tables import Columns

# ---- text files


@pytest.mark.parametrize("sign", ["\t", "::", ",", ";", "|", " "])
@pytest.mark.parametrize(
    "header", [None, ("userId", "movieId", "rating", "timestamp"), ("UserID", "Item ID", "Score", "TS")]
)
@pytest.mark.parametrize("name", ["u.data", "ratings.dat", "ratings.csv", "ratings.tsv", "ratings.txt.gz"])
def test_every_line_is_a_rating(tmp_path: Path, sign: str, header: tuple[str, ...] | None, name: str) -> None:
    if header is not None and sign == " ":
        header = tuple(cell.replace(" ", "") for cell in header)
    lines = [*([header] if header else []), *((u, i, f"{r:g}", t) for u, i, r, t in ROWS)]
    path = written(tmp_path / name, "".join(sign.join(map(str, line)) + "\n" for line in lines))
    assert rows_of(read_ratings(path)) == ROWS


@given(
    ratings=st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10), st.integers(10**9, 2 * 10**9)),
        min_size=1,
        unique_by=lambda row: row[:2],
    ),
    sign=st.sampled_from(["\t", "::", ",", ";", "|", " "]),
    end=st.sampled_from(["\n", "\r\n"]),
    header=st.sampled_from([None, "userId movieId rating timestamp", "user_id item_id score time"]),
    mark=st.sampled_from(["", "\ufeff"]),
    empty=st.integers(0, 2),
)
@settings(deadline=None)
def test_what_is_written_is_read(ratings, sign, end, header, mark, empty, tmp_path_factory) -> None:
    lines = [sign.join(map(str, row)) for row in ratings]
    head = [header.replace(" ", sign)] if header else []
    path = tmp_path_factory.mktemp("layouts") / "ratings.txt"
    path.write_bytes((mark + end * empty + end.join([*head, *lines]) + end).encode())
    assert rows_of(read_ratings(path)) == [(str(u), str(i), float(r), t) for u, i, r, t in ratings]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("header", ["", "userID\tartist\tplays\n"])
def test_plays_with_names_of_artists(tmp_path: Path, encoding: str, header: str) -> None:
    text = header + 'user_000001\tBjörk\t239\nuser_000001\t"Weird Al" Yankovic\t3\nuser_000002\tSigur Rós, Live\t17\n'
    table = read_ratings(written(tmp_path / "plays.tsv", text, encoding), item="artist" if header else None)
    assert rows_of(table) == [
        ("user_000001", "Björk", 239.0),
        ("user_000001", '"Weird Al" Yankovic', 3.0),
        ("user_000002", "Sigur Rós, Live", 17.0),
    ]


def test_an_artist_called_like_a_column_is_no_header(tmp_path: Path) -> None:
    path = written(tmp_path / "plays.tsv", "user_1\tTime\t12\nuser_2\tBjörk\t13\n")
    with pytest.raises(SpaceError, match=r"the first line \(user_1, Time, 12\) may be .*--header or --no-header"):
        read_ratings(path)
    assert len(read_ratings(path, header=False)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2\n7,8,3\n9,8,4\n",  # as pandas names columns that have no names, or a rating
        "alice,alien\nbob,heat\n",  # as much names as data
        "who,what,2019\n1,2,3\n2,2,4\n",
    ],
)
def test_a_first_line_that_may_be_either_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "r.csv", text)
    with pytest.raises(SpaceError, match="may be column names or data; give --header or --no-header"):
        read_ratings(path, feedback="implicit")
    assert len(read_ratings(path, feedback="implicit", header=False, rating="none")) == len(text.splitlines())


def test_ids_that_look_like_those_below_are_no_names(tmp_path: Path) -> None:
    path = written(tmp_path / "clicks.tsv", "u17\tJazz\nu4\tSoul\nu17\tPunk\n")
    expected = [("u17", "Jazz", 1), ("u4", "Soul", 1), ("u17", "Punk", 1)]
    assert rows_of(read_ratings(path, feedback="implicit")) == expected


def test_columns_without_a_header_are_named_by_number(tmp_path: Path) -> None:
    path = written(tmp_path / "u.tsv", "".join(f"{t}\t{r:g}\t{i}\t{u}\n" for u, i, r, t in ROWS))
    assert rows_of(read_ratings(path, user="4", item="3", rating="2")) == ROWS
    with pytest.raises(SpaceError, match="no column '14'; it has no header, so its columns are called 1 to 4"):
        read_ratings(path, user="1", item="14")


def test_ratings_below_lines_of_items(tmp_path: Path) -> None:
    text = "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n2059652,4,2005-09-05\n\n10:\n"
    expected = [
        ("1488844", "1", 3.0, "2005-09-06"),
        ("822109", "1", 5.0, "2005-05-13"),
        ("2059652", "2", 4.0, "2005-09-05"),
    ]
    assert rows_of(read_ratings(written(tmp_path / "combined_data_1.txt", text))) == expected
    broken = written(tmp_path / "broken.txt", text.replace("2059652,4", "2059652,four"))
    with pytest.raises(SpaceError, match="line 5: column '2' has 'four'"):
        read_ratings(broken)


def test_a_third_column_of_times_is_no_rating(tmp_path: Path) -> None:
    for last in ("881250949", "2005-09-06"):
        path = written(tmp_path / "clicks.csv", f"u1,i1,{last}\nu2,i1,{last}\n")
        assert [row[2] for row in rows_of(read_ratings(path, feedback="implicit"))] == [1.0, 1.0]
        with pytest.raises(SpaceError, match="has no rating column"):
            read_ratings(path, feedback="explicit")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("u1\tb10bbbfc\tbetty blowtorch\t2137", ("u1", "b10bbbfc", 2137.0)),
        ("u1\t2009-05-04T23:08:57Z\ta7\tDeep Dish", ("u1", "a7", None)),
        ("151603712\t400000001\t4.5\t1388534400", ("151603712", "400000001", 4.5)),
        ("A1YJEY40YUW4SE\t7806397051\t1.0\t1391040000", ("A1YJEY40YUW4SE", "7806397051", 1.0)),
    ],
)
def test_columns_are_told_by_what_they_hold(tmp_path: Path, line: str, expected: tuple) -> None:
    path = written(tmp_path / "r.tsv", line + "\n" + line.replace(expected[0], "zz9") + "\n")
    if expected[2] is None:  # no numbers, so what follows is asked about
        with pytest.raises(SpaceError, match="line 1: column '4' has 'Deep Dish', which is not a rating"):
            read_ratings(path, header=False)
        read = read_ratings(path, header=False, feedback="implicit", rating="none")
        assert rows_of(read)[0][:3] == (*expected[:2], 1.0)
        return
    assert rows_of(read_ratings(path))[0][:3] == expected


def test_values_in_quotation_marks_and_blanks_around_them(tmp_path: Path) -> None:
    text = '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"7"\n'
    text += '"276726";"a;b";"5"\n"Müller ""x""";0155061224; 6\n'
    expected = [("276725", "034545104X", 7.0), ("276726", "a;b", 5.0), ('Müller "x"', "0155061224", 6.0)]
    assert rows_of(read_ratings(written(tmp_path / "BX-Book-Ratings.csv", text, "cp1252"))) == expected


def test_files_that_are_broken_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"user,item,rating\n" + b"1,2,3\n4,5,1\n" * 999)
    for name, data in (("a.csv.gz", whole[:60]), ("b.csv.gz", b"no gzip"), ("c.csv", b"a\0b"), ("d.csv", b"\n \n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SpaceError, match=f"{name} (cannot be read|is not a text file|has no rows)"):
            read_ratings(tmp_path / name)


def test_decimal_commas_and_codes(tmp_path: Path) -> None:
    path = written(tmp_path / "r.csv", "user;item;rating\n007;x;3,5\n7;x;4\n")
    assert rows_of(read_ratings(path)) == [("007", "x", 3.5), ("7", "x", 4.0)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1\t2\t3\n1\t3\n4\t5\t6\n", "Expected 3 columns, got 2"),
        ("1\t2\t3\n\n1\t3\tgood\n", "line 3: column '3' has 'good'"),
        ("1\t2\t3\n1\t3\t1_000\n", "line 2: column '3' has '1_000'"),
        ("abc\ndef\n", "no separator splits its lines into columns"),
        ("", "has no rows"),
        ("user,user,item,rating\n1,2,3,4\n", "the column of the user may be 'user' or 'user'.*--user-column"),
        ("user_id,artist_id,track_id,plays\n1,2,3,4\n", "the column of the item may be 'artist_id' or 'track_id'"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpaceError, match=words):
        read_ratings(written(tmp_path / "r.txt", text))


# ---- what was taken


def test_what_was_taken_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    read_ratings(written(tmp_path / "u.data", "1\t2\t3\t881250949\n1\t3\t5\t881250949\n"), tell=heard.append)
    assert heard == [
        f"{tmp_path}/u.data: 2 ratings, columns separated by tabs, without a header: user from column '1'; item from "
        "column '2'; rating from column '3' (3 to 5); timestamp from column '4'"
    ]
    path = written(
        tmp_path / "b.csv", "user_id,beer_id,note,overall\n" + "".join(f"{n % 4},{n},x,{n % 5}.5\n" for n in range(40))
    )
    with pytest.raises(SystemExit):
        main(
            [
                "space",
                "factorize",
                str(path),
                "--dim",
                "2",
                "--min-ratings",
                "1",
                "--out",
                str(tmp_path / "out"),
                "--json",
            ]
        )
    output = capsys.readouterr()
    assert json.loads(output.out)["users"] == 4
    assert output.err.startswith(
        f"{path}: 40 ratings, columns separated by ',', with a header: user from column 'user_id'; item from column "
        "'beer_id'; rating from column 'overall' (0.5 to 4.5); not used: 'note'\n"
    )


# ---- clicks and plays


def test_clicks_have_no_rating(tmp_path: Path) -> None:
    lines = [f"u{u},i{i},{880000000 + u}\n" for u in range(8) for i in range(6) if (u + i) % 3]
    path = written(tmp_path / "clicks.csv", "user_id,item_id,timestamp\n" + "".join(lines))
    made = factorize(path, tmp_path / "out", config=SMALL, min_ratings=1)
    assert made.summary["ratings_train"] + made.summary["ratings_test"] == len(lines)
    assert "mean_rating" not in made.items.column_names  # a mean of ones would be made up
    assert made.users.column_names == ["id", "title", "n_ratings", "split"]
    with pytest.raises(SpaceError, match=r"has no rating column .*give --feedback implicit"):
        factorize(path, tmp_path / "no", config=WalsConfig(dim=2, feedback="explicit"))


def test_a_table_of_clicks(tmp_path: Path) -> None:
    table = pa.table({"user": [1, 1, 2, 2], "item": ["a", "b", "a", "b"]})
    assert rows_of(read_ratings(table, feedback="implicit")) == [
        ("1", "a", 1.0),
        ("1", "b", 1.0),
        ("2", "a", 1.0),
        ("2", "b", 1.0),
    ]
    pq.write_table(table, tmp_path / "clicks.parquet")
    assert (
        len(factorize(tmp_path / "clicks.parquet", tmp_path / "out", config=SMALL, min_ratings=1, holdout=0).items) == 2
    )


# ---- items


def ratings_of(path: Path, ids: list[str]) -> Path:
    return written(
        path, "".join(f"{u}\t{i}\t{1 + (u + n) % 5}\t881250949\n" for u in range(6) for n, i in enumerate(ids))
    )


def test_the_films_of_movielens_100k(tmp_path: Path) -> None:
    flags = {"1": {"Animation", "Children's", "Comedy"}, "2": {"unknown"}, "3": {"Sci-Fi"}}
    titles = {"1": "Toy Story (1995)", "2": 'Léon "The Pro" (1994)', "3": "Alien (1979)"}
    lines = [
        "|".join([n, titles[n], "01-Jan-1995", "", "http://x/?a", *(str(int(g in flags[n])) for g in GENRES)])
        for n in "123"
    ]
    items = written(tmp_path / "u.item", "\n".join(lines) + "\n", "latin-1")
    ratings = ratings_of(tmp_path / "u.data", ["1", "2", "3", "4"])
    heard: list[str] = []
    columns = Columns(extract={"year": ("title", r"\((\d{4})\)$")})
    made = factorize(
        ratings, tmp_path / "out", items=items, columns=columns, config=SMALL, min_ratings=1, tell=heard.append
    )
    film = made.items.metadata(made.items.find("2"))
    assert (film["title"], film["genres"], film["year"]) == ('Léon "The Pro" (1994)', [], 1994)
    assert set(made.items.metadata(made.items.find("1"))["genres"]) == flags["1"]
    assert made.items["4"].title == "4"
    assert "columns separated by '|', without a header, in cp1252" in heard[1]
    assert heard[2] == f"{items}: 3 of 4 rated items have metadata, joined by column 'id'"


@pytest.mark.parametrize("header", ["", "MovieID::title::genres\n"])
def test_the_films_of_movielens_1m(tmp_path: Path, header: str) -> None:
    text = header + "1::Toy Story (1995)::Animation|Comedy\n2::Misérables, Les (1995)::Drama\n"
    items = written(tmp_path / "movies.dat", text, "latin-1")
    ratings = written(
        tmp_path / "ratings.dat", "".join(f"{u}::{i}::{1 + (u + i) % 5}::97830{u}\n" for u in range(5) for i in (1, 2))
    )
    columns = Columns(list_columns={"genres": "|"})
    made = factorize(ratings, tmp_path / "out", items=items, columns=columns, config=SMALL, min_ratings=1)
    assert made.items.column("genres").to_pylist() == [["Animation", "Comedy"], ["Drama"]]
    assert made.items.split_by == "title"
    assert made.items["les miserables (1995)"].row == 1


@pytest.mark.parametrize(
    ("rated", "known"),
    [
        (["1", "2"], "id,title\n 1,A\n2 ,B\n"),
        (["1.0", "2.0"], "id,title\n1,A\n2,B\n"),
        (["1", "2"], "id,title\n1.0,A\n2.0,B\n"),
        (["007", "7"], "id,title\n007,A\n7,B\n"),
    ],
)
def test_ids_of_both_files_are_written_alike(tmp_path: Path, rated: list[str], known: str) -> None:
    made = factorize(
        ratings_of(tmp_path / "u.data", rated),
        tmp_path / "out",
        items=written(tmp_path / "items.csv", known),
        config=SMALL,
        min_ratings=1,
    )
    assert sorted(made.items.column("title").to_pylist()) == ["A", "B"]


def test_liked_titles_follow_the_split_of_the_items(tmp_path: Path) -> None:
    names = [f"Фильм {n}" for n in range(40)]
    items = written(tmp_path / "items.csv", "id,title\n" + "".join(f"{n},{name}\n" for n, name in enumerate(names)))
    made = factorize(
        ratings_of(tmp_path / "u.data", [str(n) for n in range(40)]),
        tmp_path / "out",
        items=items,
        config=SMALL,
        min_ratings=1,
        holdout=0.0,
    )
    train = {made.items.title(int(row)) for row in made.items.rows("train")}
    liked = {title for titles in made.users.column("liked_titles").to_pylist() for title in titles}
    assert liked
    assert liked <= train
