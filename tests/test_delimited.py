"""Tables of delimited text as people have them: separators, quotation marks, encodings, codes; bad lines by number."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vectalk.errors import SpaceError
from vectalk.space import VectorSpace
from vectalk.space.importing.readers import take
from vectalk.space.importing.tables import Layout, read_table
from vectalk.tasks.derive import derive_attributes

TITLES = ["Toy Story (1995)", "Misérables, Les (1995)", "7 – “Seven”", "Am; Ende | x"]


def write(path: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> Path:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return path


def titles(path: Path, **layout: str) -> list[str | None]:
    return read_table(path, layout=Layout(**layout) if layout else None)["title"].to_pylist()


# ---- what parts the columns


@pytest.mark.parametrize("sign", [",", ";", "\t", "|", "::"])
@pytest.mark.parametrize("ending", ["csv", "txt", "dat", "csv.gz"])
def test_what_parts_the_columns_is_found_out(tmp_path: Path, sign: str, ending: str) -> None:
    lines = [sign.join(row) for row in (["id", "title", "n"], ["01", "Toy's", "5"], ["02", "Heat", "6"])]
    path = write(tmp_path / f"t.{ending}", lines)
    if ending.endswith("gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    expected = [{"id": "01", "title": "Toy's", "n": 5}, {"id": "02", "title": "Heat", "n": 6}]
    assert read_table(path).to_pylist() == expected
    assert read_table(path, layout=Layout(sign)).to_pylist() == expected


def test_a_sign_that_stands_in_the_names_alone_parts_nothing(tmp_path: Path) -> None:
    lines = ["id;title, original;price, EUR", *(f"{n};Film {n};{n},5" for n in range(3))]
    read = read_table(write(tmp_path / "t.csv", lines))
    assert read.to_pylist()[2] == {"id": "2", "title, original": "Film 2", "price, EUR": 2.5}


def test_any_sign_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "movies.lst", ["id~title", "1~A|B", "2~C, D"])
    assert titles(path, separator="~") == ["A|B", "C, D"]
    with pytest.raises(SpaceError, match="unknown kind of table 'lst'"):
        read_table(path)
    for wrong in ("", '"', "\n"):
        with pytest.raises(SpaceError, match="cannot separate columns"):
            Layout(separator=wrong)


def test_a_table_without_names_takes_them_from_its_reader(tmp_path: Path) -> None:
    """As ml-1m has its films: `::`, latin-1, and a film in the first line."""
    lines = [f"{n + 1}::{title}::Drama|Comedy" for n, title in enumerate(TITLES[:2])]
    path = write(tmp_path / "movies.dat", lines, "latin-1")
    layout = Layout(names=["id", "title", "genres"])
    assert read_table(path, layout=layout).to_pylist() == [
        {"id": "1", "title": TITLES[0], "genres": "Drama|Comedy"},
        {"id": "2", "title": TITLES[1], "genres": "Drama|Comedy"},
    ]
    np.save(tmp_path / "v.npy", np.ones((2, 2)))
    with pytest.raises(SpaceError, match=r"the column of the ids is not clear.*name the columns with --column-names"):
        take(tmp_path / "v.npy", metadata=path)
    read = take(tmp_path / "v.npy", metadata=path, layout=layout)
    assert read.entities["title"].to_pylist() == TITLES[:2]
    with pytest.raises(SpaceError, match="has 3 columns; --column-names gives 4"):
        read_table(path, layout=Layout(names=["id", "title", "genres", "year"]))
    with pytest.raises(SpaceError, match="each column needs its own name"):
        Layout(names=["id", "id"])


def test_a_vector_in_the_first_line_is_no_name(tmp_path: Path) -> None:
    """As the embedding projector has its vectors, and as word vectors are written: no line of names."""
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    write(tmp_path / "vectors.tsv", ["\t".join(map(str, row)) for row in vectors])
    write(tmp_path / "metadata.tsv", ["word", *"abcde"])
    told: list[str] = []
    read = take(tmp_path / "vectors.tsv", metadata=tmp_path / "metadata.tsv", tell=told.append)
    np.testing.assert_array_equal(read.vectors, vectors)
    assert read.entities["id"].to_pylist() == list("abcde")
    assert "vectors.tsv: it has no header" in told[0]
    lines = [",".join([name, *map(str, row)]) for name, row in zip("abcde", vectors, strict=True)]
    read = take(write(tmp_path / "words.csv", lines))
    np.testing.assert_array_equal(read.vectors, vectors)
    assert read.entities["id"].to_pylist() == list("abcde")
    quantiles = read_table(write(tmp_path / "t.csv", ["id,0.1,0.25,0.5,0.75,0.9", "a,1,2,3,4,5"]))
    assert quantiles.column_names == ["id", "0.1", "0.25", "0.5", "0.75", "0.9"]


def test_one_column_alone_may_hold_any_sign(tmp_path: Path) -> None:
    values = ["A, B; C", "x|y::z", 'say "so"', "\ttab"]
    assert titles(write(tmp_path / "t.csv", ["title", *values])) == values


def test_lines_before_the_names_are_passed_over(tmp_path: Path) -> None:
    rows = ["id,title", "1,A", "2,B"]
    for before in (["# exported 2024-01-01", "#"], ["", " "], ["sep=,"], ['"sep=,"']):
        assert titles(write(tmp_path / "t.csv", [*before, *rows])) == ["A", "B"]
    assert titles(write(tmp_path / "t.csv", ["sep=~", "id~title", "1~A, B"])) == ["A, B"]
    assert titles(write(tmp_path / "t.csv", ["#id,title", "1,A", "2,B"])) == ["A", "B"]


def test_empty_columns_and_rows_at_the_end_are_no_entities(tmp_path: Path) -> None:
    read = read_table(write(tmp_path / "t.csv", ["id,title,", "1,A,", "2,B,", ",,", ",,"]))
    assert read.to_pylist() == [{"id": "1", "title": "A"}, {"id": "2", "title": "B"}]
    read = read_table(write(tmp_path / "t.csv", ["id,title,", "1,A,x"]))
    assert read.to_pylist() == [{"id": "1", "title": "A", "column_3": "x"}]


def test_a_blank_line_in_a_list_of_ids_is_an_id_that_is_missing(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.ones((3, 2)))
    path = write(tmp_path / "ids.csv", ["sku", "a", "", "c"])
    with pytest.raises(SpaceError, match="row 1 has no id"):
        take(tmp_path / "v.npy", ids=path)


# ---- quotation marks


def rows(*values: str) -> list[str]:
    return [f"{n},{value},x" for n, value in enumerate(values)]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('"He said ""yes"", twice"', 'He said "yes", twice'),
        (r'"A \"quoted\" word"', 'A "quoted" word'),
        (r'"He said \"yes\", twice"', 'He said "yes", twice'),
        (r'"ends with \""', 'ends with "'),
        (r'"C:\temp\\"', "C:\\temp\\\\"),  # nothing is escaped here
        ('5" disk', '5" disk'),
        ('"Weird" Al', '"Weird" Al'),
        ('Al "Weird', 'Al "Weird'),
        ('"two\nlines"', "two\nlines"),
        ('"one, and\ntwo, and\nthree"', "one, and\ntwo, and\nthree"),
        ('" blanks "', " blanks "),
    ],
)
def test_quotation_marks_are_what_the_whole_file_says(tmp_path: Path, written: str, read: str) -> None:
    path = write(tmp_path / "t.csv", ["id,title,genre", *rows("Plain", written, "Last")])
    assert titles(path) == ["Plain", read, "Last"]


def test_backslashes_before_quotation_marks(tmp_path: Path) -> None:
    """Book-Crossing: semicolons, all values quoted, and `\\"` within."""
    lines = ['"ISBN";"title";"Year"', r'"0195153448";"A Book\"quoted\" 7";"1957"', r'"0002005018";"Back\\slash";"1990"']
    read = read_table(write(tmp_path / "t.csv", lines)).to_pylist()
    assert [row["title"] for row in read] == ['A Book"quoted" 7', "Back\\slash"]
    assert read[1] == {"ISBN": "0002005018", "title": "Back\\slash", "Year": 1990}


@pytest.mark.parametrize("sign", ["\t", "|"])
@pytest.mark.parametrize("mark", ['"Unbalanced', 'Un"balanced', '"Weird" Al', '"'])
def test_a_mark_that_is_never_closed_swallows_no_rows(tmp_path: Path, sign: str, mark: str) -> None:
    """Tables parted by tabs, as databases dump them: nothing is quoted, and what is unknown is `\\N`."""
    names = [mark if n in (5, 105) else f"Film {n}" for n in range(200)]
    lines = [sign.join(("id", "title", "year")), *(sign.join((f"tt{n:04d}", t, r"\N")) for n, t in enumerate(names))]
    read = read_table(write(tmp_path / "title.basics.tsv", lines), layout=Layout(sign))
    assert read["title"].to_pylist() == names
    assert read["id"].to_pylist() == [f"tt{n:04d}" for n in range(200)]
    assert read["year"].null_count == 200


@pytest.mark.parametrize("closing", ['B"', '"B', 'B""'])
def test_a_mark_that_swallows_rows_parted_by_commas_is_an_error(tmp_path: Path, closing: str) -> None:
    names = ['"Unbalanced' if n == 5 else closing if n == 105 else f"Film {n}" for n in range(200)]
    path = write(tmp_path / "t.csv", ["id,title,genre", '900,"Film, A",b', *rows(*names)])
    with pytest.raises(SpaceError, match=r"line 8: a (quotation mark|value between quotation marks)"):
        read_table(path)


def test_where_values_are_quoted_a_broken_mark_is_an_error(tmp_path: Path) -> None:
    for broken in ('"3","Wei"rd","x"', '"3","Weird,"x"', '"3","Say ""it"","x"'):
        path = write(
            tmp_path / "t.csv", ['"id","title","genre"', '"1","A","x"', '"2","Say ""it""","x"', broken, '"4","B","x"']
        )
        with pytest.raises(SpaceError, match=r"t\.csv, line [45]: "):
            read_table(path)


def test_a_text_of_several_lines_with_commas_is_one_value(tmp_path: Path) -> None:
    """Each line of the value has the width of a row, but none begins with an id."""
    path = write(tmp_path / "t.csv", ["id,title,genre", *rows("Plain", '"Hello, you\nBye, you"', "Last")])
    assert titles(path) == ["Plain", "Hello, you\nBye, you", "Last"]


def test_a_row_of_another_width_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", ["id,title,genre", "1,A,x", "2,Misérables, Les,x"])
    with pytest.raises(SpaceError, match=r"t\.csv, line 3: expected 3 values, as in the header, found 4: '2,Misé"):
        read_table(path)
    path = write(tmp_path / "t.csv", ["id,title,genre", '1,"A, B",x', "2,C"])
    with pytest.raises(SpaceError, match=r"t\.csv, line 3: expected 3 values, as in the header, found 2"):
        read_table(path)


# ---- encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ["id;title", *(f'{n};"{title}"' for n, title in enumerate(TITLES))]
    told: list[str] = []
    read = read_table(write(tmp_path / "t.csv", lines, encoding, end), tell=told.append)
    assert read.to_pylist() == [{"id": str(n), "title": title} for n, title in enumerate(TITLES)]
    assert len(told) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("encoding", "title"), [("cp1251", "Ирония судьбы"), ("shift_jis", "七人の侍"), ("gb18030", "霸王别姬")]
)
def test_other_encodings_are_named_rather_than_guessed(tmp_path: Path, encoding: str, title: str) -> None:
    path = write(tmp_path / "t.csv", ["id,title", f"1,{title}"], encoding)
    with pytest.raises(
        SpaceError, match=r"(line 2 is neither UTF-8 nor Western|UTF-8 except for .* line 2;).*--encoding"
    ):
        read_table(path)
    assert titles(path, encoding=encoding) == [title]
    with pytest.raises(SpaceError, match="unknown encoding 'klingon'"):
        titles(path, encoding="klingon")
    with pytest.raises(SpaceError, match="is not in the encoding ascii"):
        titles(path, encoding="ascii")


def test_a_damaged_utf_8_is_no_other_encoding(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("id,title\n1,São Paulo\n2,Köln\n".encode() + b"3,S\xe3o\n")
    with pytest.raises(SpaceError, match="is UTF-8 except for 1 bytes, the first in line 4"):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04sheet", "is not text; it is a zip archive or a spreadsheet"),
        (b"PAR1....", "is not text; it is parquet"),
        (b"\x93NUMPY\x01", "is not text; it is an array of numpy"),
        (b"id,title\n1,\x00\n", "zero byte"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\x1f\x8bnot gzip", "cannot be read as csv"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(SpaceError, match=words):
        read_table(tmp_path / "t.csv")


def test_a_table_of_names_alone_has_no_rows(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "t.csv", ["id,title"])).num_rows == 0
    np.save(tmp_path / "v.npy", np.ones((2, 2)))
    with pytest.raises(SpaceError, match=r"2 vectors, .*t\.csv has 0 ids"):
        take(tmp_path / "v.npy", metadata=tmp_path / "t.csv")


# ---- names and types


def test_two_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"t\.csv: columns 3 and 4 are both called 'tag'"):
        read_table(write(tmp_path / "t.csv", ["id,title,tag,tag ", "1,A,a,b"]))


def test_blanks_around_names_are_left_out(tmp_path: Path) -> None:
    read = read_table(write(tmp_path / "t.csv", ["id, title ,\u00a0year", "1,A,1990"]))
    assert read.column_names == ["id", "title", "year"]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["01067", "10115", "20095"], ["01067", "10115", "20095"]),
        (["030", "040", "-05"], ["030", "040", "-05"]),
        (["0", "10", "-5"], [0, 10, -5]),
        (["0.5", "00.5", "1"], ["0.5", "00.5", "1"]),
        (["0.50", "-1e-3", "7"], [0.5, -0.001, 7.0]),
        (["12E3", "45E6", "7"], ["12E3", "45E6", "7"]),
        (["0x1F", "10", "11"], ["0x1F", "10", "11"]),
        (["+49", "+43", "1"], ["+49", "+43", "1"]),
        (["18446744073709551615", "1", "2"], ["18446744073709551615", "1", "2"]),
        (["1,100", "2,200", "3"], ["1,100", "2,200", "3"]),
        (["NA", "3", ""], [None, 3, None]),
        (["NA", "x", ""], ["NA", "x", ""]),
        (["true", "False", ""], [True, False, None]),
        (["yes", "no", "yes"], ["yes", "no", "yes"]),
        (["2020-01-05", "2020-01-06", ""], ["2020-01-05", "2020-01-06", ""]),
        (["", "", ""], [None, None, None]),
        ([r"\N", "x", r"\N"], [None, "x", None]),
        ([r"\N", "7", r"\N"], [None, 7, None]),
    ],
)
def test_numbers_are_numbers_and_codes_stay_text(tmp_path: Path, values: list[str], read: list[object]) -> None:
    lines = [
        "id,v,title",
        *(f'{n},"{value}",7' if "," in value else f"{n},{value},7" for n, value in enumerate(values)),
    ]
    table = read_table(write(tmp_path / "t.csv", lines))
    assert table["v"].to_pylist() == read
    assert table["title"].to_pylist() == ["7"] * 3


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["0,5", "1.234,75", "-3"], [0.5, 1234.75, -3.0]),
        (["1,100", "2,200", "3,300"], ["1,100", "2,200", "3,300"]),  # thousands, or thousandths
        (["1.100", "2.200", "3"], [1.1, 2.2, 3.0]),
        (["a,5", "1,5", ""], ["a,5", "1,5", ""]),
    ],
)
def test_decimal_commas_where_semicolons_part_the_columns(
    tmp_path: Path, values: list[str], read: list[object]
) -> None:
    table = read_table(write(tmp_path / "t.csv", ["id;v", *(f"{n};{value}" for n, value in enumerate(values))]))
    assert table["v"].to_pylist() == read


def test_codes_are_said_as_they_are_written(tmp_path: Path) -> None:
    """The suite of columns takes a code for a category, not for a number."""
    table = pa.table(
        {"id": [str(n) for n in range(60)], "zip": ["01067", "10115", "20095"] * 20, "day": ["2020-01-05"] * 60}
    )
    derived = derive_attributes(VectorSpace.create("shop", np.random.default_rng(0).standard_normal((60, 3)), table))
    assert derived.attributes["zip"].kind == "category"
    assert derived.attributes["zip"].words == {}
    assert "--extract 'year=day:" in derived.left_out["day"]
