"""One random table, written in each format that can hold it, is read back the same, whatever the order of the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import search
from import_formats import FACTS, METADATA, VECTORS, Table, parquet
from vectalk.space.importing.readers import take
from vectalk.space.importing.tables import Columns, Layout

SIMPLE = {"backslashes", "unquoted tab", "unquoted ::", "unquoted |"}  # cannot hold all texts


LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Cn", "Co", "Zs", "Zl", "Zp"), exclude_characters="\ufeff\\")
ODD = st.sampled_from([*"\"',;|\t\n :{}[]()#=-+.0e\u00a0\u2028\u0085éß", "\r\n", "::", "null", "NA", "1"])


def words(least: int) -> st.SearchStrategy[str]:
    """Text that keeps its ends when blanks are trimmed."""
    inner = st.lists(st.one_of(LETTERS, ODD), max_size=12).map("".join)
    ends = st.text(LETTERS, min_size=least, max_size=3)
    return st.tuples(ends, inner, ends).map("".join).map(normal)


def normal(text: str) -> str:
    return pa.compute.utf8_normalize(pa.array([text]), "NFC")[0].as_py()


@st.composite
def tables(draw: st.DrawFn) -> Table:
    count, dim = draw(st.integers(2, 9)), draw(st.integers(4, 6))
    number = st.integers(0, 2**63 - 1)
    code = st.integers(0, 999).map("{:05d}".format)
    name = st.text(st.characters(categories=("Lu", "Ll", "Nd", "Lo")), min_size=1, max_size=8)
    kind = draw(st.sampled_from([number, code, name]))
    ids = draw(st.lists(kind, min_size=count, max_size=count, unique_by=str))
    # The first titles have a letter, so that not all are nothing, and a table of one row is no other table.
    titles = [draw(words(1)) for _ in range(2)] + [draw(st.none() | words(1)) for _ in range(count - 2)]
    tag = st.text(st.characters(categories=("L",)), min_size=1, max_size=5).map(normal)
    tags = [draw(st.lists(tag, max_size=3, unique=True)) for _ in range(count)]
    parts = st.floats(0.015625, 4, width=32)
    signs = st.sampled_from([-1.0, 1.0])
    values = [[draw(parts) * draw(signs) for _ in range(dim)] for _ in range(count)]
    return Table(ids, titles, tags, np.array(values, np.float32), draw(st.permutations(range(count))))


def check(table: Table, source: Path, metadata: Path, sign: str = "|", **options: Any) -> None:
    """Import two files, and compare each entity with what was written, by its id."""
    read = take(source, metadata=metadata, columns=Columns(list_columns={"tags": sign}), **options)
    rows = {row["id"]: (place, row) for place, row in enumerate(read.entities.to_pylist())}
    assert len(rows) == len(table.ids) == len(read.vectors)
    for name, title, tags, vector in zip(map(str, table.ids), table.titles, table.tags, table.vectors, strict=True):
        place, row = rows[name]
        assert (row["title"], row["tags"]) == (title, tags)
        np.testing.assert_array_equal(read.vectors[place], vector)


@pytest.mark.parametrize("form", VECTORS)
@search
@given(table=tables())
def test_vectors_meet_their_metadata(form: str, table: Table, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    source, options = VECTORS[form](table, folder)
    pq.write_table(pa.Table.from_pylist(table.rows, FACTS), folder / "facts.parquet")
    check(table, source, folder / "facts.parquet", **options)


def fits(form: str, title: str | None) -> bool:
    """Say whether a form can hold a title."""
    if title is None or form not in SIMPLE:
        # A value that goes on over lines which look like rows is an error in either reading.
        return title is None or not ("\n" in title and any(sign in title for sign in ",;\t|"))
    if form == "backslashes":
        return not any(sign in title for sign in ('""', "\n", "\r"))
    sign = {"unquoted tab": "\t", "unquoted ::": ":", "unquoted |": "|"}[form]
    return not any(one in title for one in (sign, "\n", "\r")) and not title.startswith('"')


@pytest.mark.parametrize("form", METADATA)
@search
@given(table=tables())
def test_metadata_meet_their_vectors(form: str, table: Table, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    table = table._replace(titles=[title if fits(form, title) else "Plain" for title in table.titles])
    source, _ = parquet("list")(table, folder)
    layout = Layout(separator={"unquoted ::": "::", "unquoted |": "|"}.get(form))
    sign = "," if form.startswith("unquoted") else "|"
    check(table, source, METADATA[form](table, folder), sign, layout=layout)
