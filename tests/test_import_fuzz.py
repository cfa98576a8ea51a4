"""Damaged and odd files are refused in the project's own words, or read: no traceback, and nobody has another's row."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import search
from import_formats import FACTS, METADATA, VECTORS, Table, npy_and_ids
from vectalk.errors import SpaceError
from vectalk.space.importing.ids import read_ids
from vectalk.space.importing.readers import take
from vectalk.space.importing.tables import Columns, Layout, read_table

ROWS = 40
SIGNS = b"\"',;|\t\n\r\\{}[]:-. \x00\xe9\xff"
WORDS = [*"\"',;|\t\n\\{}[]:01aé# \u2028\ufeff", "\r\n", "::", "2.5", "-3", "1e5", "id", "title", "NaN", "null", "\\N"]
WORDS += ["sep=;", "[0.1, 0.2]", '{"id": 1}', "..."]
KINDS = ["csv", "tsv", "dat", "csv.gz", "jsonl", "json", "txt", "npy", "npz", "parquet", "arrow", "safetensors"]
Damage = Callable[[bytes], bytes]


def table() -> Table:
    rng = np.random.default_rng(0)
    titles = [["Film, The {}", 'Say "{}"', "It's {}", "Ünï {}", "Plain {}"][n % 5].format(n) for n in range(ROWS)]
    tags = [["Drama", "Comedy", "Noir"][: n % 4] for n in range(ROWS)]
    order = rng.permutation(ROWS).tolist()
    vectors = rng.standard_normal((ROWS, 4)).astype(np.float32)
    return Table([f"a{n}" for n in range(ROWS)], titles, tags, vectors, order)


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """One place of a file changed: other bytes, bytes too many or too few, or the end cut off."""
    share, length = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(0, 6))
    inserted = bytes(draw(st.lists(st.sampled_from(SIGNS) | st.integers(0, 255), max_size=4)))
    cut = draw(st.booleans()) and draw(st.booleans())

    def damage(content: bytes) -> bytes:
        place = int(share * len(content))
        return content[:place] if cut else content[:place] + inserted + content[place + length :]

    return damage


def check(source: Path, written: Table, metadata: Path, **options: object) -> None:
    """Take files; where they are read, a vector has its own id and, but for what the damage hit, its own title."""
    try:
        read = take(source, metadata=metadata, **options)  # type: ignore[arg-type]
    except SpaceError:
        return
    titles = read.entities["title"].to_pylist() if "title" in read.entities.column_names else [None] * ROWS
    rows = dict(zip(read.entities["id"].to_pylist(), zip(titles, read.vectors, strict=True), strict=True))
    wrong = 0
    for name, title, vector in zip(written.ids, written.titles, written.vectors, strict=True):
        if name in rows:
            wrong += rows[name][0] not in (title, None)
            np.testing.assert_array_equal(rows[name][1], vector)
    assert wrong <= 3 or metadata.suffix == ".parquet"  # whose titles stand in a dictionary


@pytest.mark.parametrize("form", METADATA)
@search
@given(damage=damages())
def test_damaged_metadata(form: str, damage: Damage, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, written = tmp_path_factory.mktemp("t"), table()
    source, options = npy_and_ids(written, folder)
    plain = [title if form != "backslashes" else title.replace('"', "'") for title in written.titles if title]
    written = written._replace(titles=plain)
    path = METADATA[form](written, folder)
    path.write_bytes(damage(path.read_bytes()))
    layout = Layout({"unquoted ::": "::", "unquoted |": "|"}.get(form))
    columns = Columns(list_columns={"tags": "," if form.startswith("unquoted") else "|"})
    check(source, written, path, layout=layout, columns=columns, missing="keep", **options)


@pytest.mark.parametrize("form", VECTORS)
@search
@given(damage=damages(), drop=st.booleans())
def test_damaged_vectors(form: str, damage: Damage, drop: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes of numbers may change unseen; what is read is still one vector for each id."""
    folder, written = tmp_path_factory.mktemp("t"), table()
    source, options = VECTORS[form](written, folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    paths[0].write_bytes(damage(paths[0].read_bytes()))
    pq.write_table(pa.Table.from_pylist(written.rows, FACTS), folder / "facts.parquet")
    try:
        read = take(source, metadata=folder / "facts.parquet", missing="drop", drop_bad_rows=drop, **options)
    except SpaceError:
        return
    titles = dict(zip(written.ids, written.titles, strict=True))
    assert len(read.vectors) == read.entities.num_rows
    for row in read.entities.to_pylist():
        assert row["title"] == titles[row["id"]]


@search
@given(
    values=st.lists(st.none() | st.lists(st.sampled_from(WORDS), max_size=12).map("".join), min_size=1, max_size=5),
    sign=st.sampled_from(["|", ",", "name", "\\"]),
    null=st.sampled_from(["", "1", "a", "2.5"]),
)
def test_odd_columns(values: list[str | None], sign: str, null: str) -> None:
    """What a row's list holds is from its own text."""
    columns = Columns(list_columns={"x": sign}, null_values=[null])
    table = pa.table({"id": [f"a{n}" for n in range(len(values))], "x": pa.array(values, pa.string()), "y": values})
    with suppress(SpaceError):
        read = columns.apply(table, "t")
        assert read["id"].to_pylist() == table["id"].to_pylist()
        if not any("{" in (value or "") for value in values):  # of objects, one field is taken for the whole column
            alone = [columns.apply(table.slice(row, 1), "t")["x"][0].as_py() for row in range(len(values))]
            assert read["x"].to_pylist() == alone


@pytest.mark.parametrize("kind", KINDS)
@search
@given(words=st.lists(st.sampled_from(WORDS), max_size=40), encoding=st.sampled_from(["utf-8", "cp1252", "utf-16"]))
def test_odd_files(kind: str, words: list[str], encoding: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / f"odd.{kind}"
    path.write_bytes("".join(words).encode(encoding, "replace"))
    for read in (
        lambda: take(path),
        lambda: take(path, key="*", drop_bad_rows=True),
        lambda: Columns().apply(read_table(path), "t"),
        lambda: read_ids(path),
    ):
        with suppress(SpaceError):
            read()
