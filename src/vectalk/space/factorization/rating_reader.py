"""Read users, items and ratings from a file; errors name the line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError
from vectalk.space.factorization import rating_columns as columns
from vectalk.space.factorization.delimited import ITEM, is_number
from vectalk.space.factorization.rating_table import RatingTable, open_ratings
from vectalk.space.factorization.rating_values import Line, Repeated, is_null, merge_pairs, numbers_of, placeholder
from vectalk.space.importing.canonical import id_text

Feedback = Literal["implicit", "explicit"]
Tell = Callable[[str], None]


def read_ratings(
    source: str | Path | pa.Table,
    *,
    user: str | None = None,
    item: str | None = None,
    rating: str | None = None,
    separator: str | None = None,
    header: bool | None = None,
    feedback: Feedback = "explicit",
    nulls: Collection[str] = (),
    valid: Collection[float] = (),
    repeated: Repeated | None = None,
    tell: Tell = lambda message: None,
) -> pa.Table:
    """Read ratings from a text file in any usual layout, from parquet or json, or from a table.

    Args:
        source: the file, or the table.
        user: name of its user column; the usual ones are known. Columns of a file without a header are called 1, 2, ...
        item: name of its item column.
        rating: name of its rating column; `none` if there is none.
        separator: the sign between the columns of a text file; detected when omitted.
        header: whether the first line of a text file holds names; detected when omitted.
        feedback: `implicit`: each line counts, with or without a rating; `explicit`: there must be ratings.
        nulls: values that mean "not rated"; their lines are dropped.
        valid: values that look like "not rated" but are ratings.
        repeated: how to merge repeated pairs, see `merge_pairs`. When omitted, repeated pairs are an error, except that
            counts (lines without a rating, plays) are added up under implicit feedback.
        tell: called with the layout that was detected, and with possible mistakes.

    Returns:
        Columns `user` and `item` (text), `rating` (float64) and, if there is one, `timestamp`.

    Raises:
        SpaceError: a column is missing, a value is not a rating or means "not rated", or a pair is repeated; the error
            names the line.
    """
    column_names = [name for name in (user, item, rating) if name is not None and not is_number(name)]
    table = open_ratings(source, lambda name: columns.is_usual(name) or name in column_names, separator, header)
    item = ITEM if table.by_item and item is None else item
    requested = {columns.USER: user, columns.ITEM: item, columns.RATING: rating}
    rated = feedback == "explicit"
    roles = columns.take(table.names, table.sample, requested, table.where, named=table.named, rated=rated)
    places = roles.places()
    names = {role: table.names[place] for role, place in places.items()}
    read = table.read(places)
    total, rows = read.num_rows, np.arange(read.num_rows)
    if not total:
        raise SpaceError(f"{table.where} has no ratings")
    if roles.rating is not None and nulls:
        rows = np.flatnonzero(~is_null(read["rating"], nulls))
        read = read.take(pa.array(rows))
        if not len(rows):
            raise SpaceError(
                f"{table.where}: no line has a rating, because all values are {' or '.join(map(repr, nulls))}"
            )

    def line(row: int) -> str:
        return table.line(int(rows[row]))

    ratings = {role: _ids(read[role], role, names[role], table.where, line) for role in (columns.USER, columns.ITEM)}
    numbers = np.ones(len(rows))
    if roles.rating is not None:
        numbers = numbers_of(read["rating"], names["rating"], table.where, line, commas=table.commas)
    ratings["rating"] = pa.chunked_array([numbers])
    if roles.time is not None:
        ratings["timestamp"] = _whole(read["timestamp"])
    tell(_description(table, places, numbers, total))
    if roles.rating is not None:
        if roles.counts:
            _check_counts(numbers, names["rating"], table.where, line)
        _check_ratings(numbers, table.where, feedback, valid, tell)
    natural: Repeated = "sum" if feedback == "implicit" and roles.counts else "refuse"
    return merge_pairs(pa.table(ratings), repeated or natural, table.where, line, tell)


def _ids(values: pa.ChunkedArray, role: str, name: str, where: str, line: Line) -> pa.ChunkedArray:
    try:
        ids = id_text(values)
    except SpaceError as error:
        raise SpaceError(f"{where}: column {name!r} of the {role}s does not contain ids: {error}") from None
    if ids.null_count:
        row = int(np.flatnonzero(np.asarray(pc.is_null(ids)))[0])
        raise SpaceError(f"{where}, {line(row)}: no {role} in column {name!r}")
    return ids


def _whole(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as whole numbers if all are whole numbers, else unchanged."""
    if pa.types.is_string(times.type):
        try:
            return times.cast(pa.int64())
        except pa.ArrowInvalid:
            return times
    return times


def _description(table: RatingTable, places: Mapping[str, int], ratings: np.ndarray, total: int) -> str:
    """Describe the layout: the columns of users, items and ratings, and the unused columns."""
    words = [f"{role} from column {table.names[place]!r}" for role, place in places.items()]
    if "rating" in places:
        words[list(places).index("rating")] += f" ({ratings.min():g} to {ratings.max():g})"
    else:
        words.append("no rating, so each line counts as 1")
    unused = [name for place, name in enumerate(table.names) if place not in places.values()]
    words += [f"not used: {', '.join(map(repr, unused))}"] if unused else []
    left_out = f"; {total - len(ratings)} of them are not rated (--null) and left out" if total > len(ratings) else ""
    return f"{table.where}: {total} ratings{table.layout}{left_out}: {'; '.join(words)}"


def _check_counts(counts: np.ndarray, name: str, where: str, line: Line) -> None:
    if counts.min() < 0:
        row = int(np.flatnonzero(counts < 0)[0])
        raise SpaceError(
            f"{where}, {line(row)}: column {name!r} has {counts[row]:g}, but a count cannot be below 0; correct or "
            f"remove the line; if this means 'not rated', --null {counts[row]:g} leaves it out"
        )


def _check_ratings(ratings: np.ndarray, where: str, feedback: Feedback, valid: Collection[float], tell: Tell) -> None:
    """Raise an error, or print a note, if a value seems to mean "not rated"; note what implicit feedback ignores."""
    suspect = placeholder(ratings, valid)
    if suspect is not None:
        value, words, apart = suspect
        how = f"leave these out with --null {value:g}"
        if feedback == "implicit":  # implicit feedback only counts that a user chose an item
            how += ", or count each line alike with --rating-column none"
        if apart:
            raise SpaceError(f"{where}: {words}; if {value:g} means 'not rated', {how}; else give --valid {value:g}")
        tell(f"note: {words}; if {value:g} means 'not rated', {how}")
    low = ratings[ratings <= 0]
    if feedback == "implicit" and len(low) and suspect is None:
        words = "below 0" if low.max() < 0 else "0" if low.min() == 0 else "0 or below"
        leave = f"--null {low[0]:g} leaves them out, " if low.min() == low.max() else ""
        tell(
            f"note: {len(low)} of {len(ratings)} ratings are {words}, and count like the others under implicit "
            f"feedback; {leave}--feedback explicit learns from the ratings themselves"
        )
