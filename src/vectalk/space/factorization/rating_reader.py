"""Ratings from a file: who rated what, and how, with every fault named by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.importing.table_files import kind_of
from vectalk.space.importing.tables import as_text, column, read_table

GUESSES = {
    "user": ("user", "userId", "user_id", "userid", "uid"),
    "item": ("item", "movieId", "item_id", "itemId", "movie_id", "itemid", "iid"),
    "rating": ("rating", "ratings", "score", "stars"),
    "timestamp": ("timestamp", "time", "ts"),
}


def read_ratings(
    path: str | Path, *, user: str | None = None, item: str | None = None, rating: str | None = None
) -> pa.Table:
    """Read ratings from a csv, tsv, parquet or jsonl file.

    Args:
        path: the file.
        user: name of its user column; the usual ones are known.
        item: name of its item column.
        rating: name of its rating column.

    Returns:
        Columns `user` and `item` (text), `rating` (float64) and, where there is one, `timestamp`.

    Raises:
        SpaceError: a column is missing, a rating is no number, or a pair stands twice; with the line.
    """
    wanted = {"user": user, "item": item, "rating": rating, "timestamp": None}
    every = [name for key in ("user", "item") for name in (wanted[key], *GUESSES[key]) if name]
    table = read_table(path, text=every)
    if not table.num_rows:
        raise SpaceError(f"{path} holds no ratings")
    names = {key: _find_column(table, key, wanted[key], path) for key in GUESSES}
    read = {key: as_text(table[names[key]]) for key in ("user", "item")}
    for key, values in read.items():
        empty = pc.or_kleene(pc.is_null(values), pc.equal(values, ""))
        if pc.any(empty).as_py():
            raise SpaceError(f"{path}, {_line(path, int(np.flatnonzero(empty)[0]))}: no {key} in column {names[key]!r}")
    read["rating"] = _numbers(table[names["rating"]], names["rating"], path)
    if names["timestamp"]:
        read["timestamp"] = table[names["timestamp"]]
    ratings = pa.table(read)
    _check_pairs(ratings, path)
    return ratings


def _find_column(table: pa.Table, key: str, wanted: str | None, path: str | Path) -> str:
    if wanted is not None:
        return column(table, wanted, str(path))
    found = next((name for name in GUESSES[key] if name in table.column_names), None)
    if found is None and key != "timestamp":
        raise SpaceError(
            f"{path} has no {key} column ({', '.join(GUESSES[key])}); "
            f"it has {', '.join(table.column_names)}; name it with --{key}-column"
        )
    return found or ""


def _line(path: str | Path, row: int) -> str:
    return f"line {row + 2}" if kind_of(Path(path)) in ("csv", "tsv") else f"row {row}"


def _numbers(values: pa.ChunkedArray, name: str, path: str | Path) -> pa.ChunkedArray:
    try:
        numbers = values.cast(pa.float64())
        bad = np.flatnonzero(~np.isfinite(pc.fill_null(numbers, float("nan")).to_numpy()))
    except pa.ArrowInvalid:
        bad = np.array([next(row for row, value in enumerate(values.to_pylist()) if not _is_number(value))])
    if len(bad):
        row = int(bad[0])
        raise SpaceError(
            f"{path}, {_line(path, row)}: column {name!r} holds {values[row].as_py()!r}, not a rating; "
            "mend or remove the line"
        )
    return numbers


def _is_number(value: Any) -> bool:
    try:
        return bool(np.isfinite(float(value)))
    except (TypeError, ValueError):
        return False


def _check_pairs(table: pa.Table, path: str | Path) -> None:
    codes = [
        table[key].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64) for key in ("user", "item")
    ]
    pair = codes[0] * (int(codes[1].max()) + 1) + codes[1]
    order = np.argsort(pair, kind="stable")
    again = order[1:][pair[order[1:]] == pair[order[:-1]]]
    if len(again):
        row = int(again.min())
        first = int(np.flatnonzero(pair == pair[row])[0])
        raise SpaceError(
            f"{path}, {_line(path, row)}: user {table['user'][row].as_py()!r} rated item "
            f"{table['item'][row].as_py()!r} already in {_line(path, first)} "
            f"({len(again)} such ratings); keep one rating a pair"
        )
