"""Ratings from a file: users, items and ratings; each error names its line."""

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
from vectalk.space.importing.tables import as_text

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
        rating: name of its rating column; `none` says that there is none.
        separator: the sign between the columns of a text file; detected when omitted.
        header: whether the first line of a text file holds names; detected when omitted.
        feedback: `implicit`: each line counts, with or without a rating; `explicit`: there must be ratings.
        nulls: values that mean "not rated"; their lines are dropped.
        valid: values that look like "not rated" but are ratings.
        repeated: how to merge repeated pairs, see `merge_pairs`. When omitted, repeated pairs are an error, except that
            counts (lines without a rating, plays) are added up under implicit feedback.
        tell: called with the layout that was detected, and with possible mistakes.

    Returns:
        Columns `user` and `item` (text), `rating` (float64) and, where there is one, `timestamp`.

    Raises:
        SpaceError: a column is missing, a value is no rating or stands for "not rated", or a pair stands twice; with
            the line.
    """
    column_names = [name for name in (user, item, rating) if name is not None and not is_number(name)]
    table = open_ratings(source, lambda name: columns.is_usual(name) or name in column_names, separator, header)
    item = ITEM if table.by_item and item is None else item
    requested = {columns.USER: user, columns.ITEM: item, columns.RATING: rating}
    rated = feedback == "explicit"
    taken = columns.take(table.names, table.sample, requested, table.where, named=table.named, rated=rated)
    places = taken.places()
    names = {role: table.names[place] for role, place in places.items()}
    read = table.read(places)
    total, rows = read.num_rows, np.arange(read.num_rows)
    if not total:
        raise SpaceError(f"{table.where} holds no ratings")
    if taken.rating is not None and nulls:
        rows = np.flatnonzero(~is_null(read["rating"], nulls))
        read = read.take(pa.array(rows))
        if not len(rows):
            raise SpaceError(f"{table.where}: no line is rated, since all hold {' or '.join(map(repr, nulls))}")

    def line(row: int) -> str:
        return table.line(int(rows[row]))

    ratings = {role: _ids(read[role], role, names[role], table.where, line) for role in (columns.USER, columns.ITEM)}
    numbers = np.ones(len(rows))
    if taken.rating is not None:
        numbers = numbers_of(read["rating"], names["rating"], table.where, line, commas=table.commas)
    ratings["rating"] = pa.chunked_array([numbers])
    if taken.time is not None:
        ratings["timestamp"] = _whole(read["timestamp"])
    tell(_description(table, places, numbers, total))
    if taken.rating is not None:
        if taken.counts:
            _check_counts(numbers, names["rating"], table.where, line)
        _check_ratings(numbers, table.where, feedback, valid, tell)
    natural: Repeated = "sum" if feedback == "implicit" and taken.counts else "refuse"
    return merge_pairs(pa.table(ratings), repeated or natural, table.where, line, tell)


def _ids(values: pa.ChunkedArray, role: str, name: str, where: str, line: Line) -> pa.ChunkedArray:
    ids = canonical_ids(values)
    empty = pc.or_kleene(pc.is_null(ids), pc.equal(ids, ""))
    if pc.any(empty).as_py():
        raise SpaceError(f"{where}, {line(int(np.flatnonzero(np.asarray(empty))[0]))}: no {role} in column {name!r}")
    return ids


def canonical_ids(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids as text in one form, so that those of two files meet: trimmed; `7.0` is 7 where all are such."""
    ids = pc.utf8_trim_whitespace(as_text(values))
    if pc.all(pc.fill_null(pc.match_substring_regex(ids, r"^\d+\.0$"), True)).as_py():
        ids = pc.replace_substring(ids, ".0", "")
    return ids


def _whole(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as whole numbers where all are such."""
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
            f"{where}, {line(row)}: column {name!r} holds {counts[row]:g}, and nothing is counted below 0; mend or "
            f"remove the line; if this stands for 'not rated', --null {counts[row]:g} leaves it out"
        )


def _check_ratings(ratings: np.ndarray, where: str, feedback: Feedback, valid: Collection[float], tell: Tell) -> None:
    """Raise an error, or tell, where a value seems to stand for "not rated"; tell what implicit feedback ignores."""
    suspect = placeholder(ratings, valid)
    if suspect is not None:
        value, words, apart = suspect
        how = f"leave these out with --null {value:g}"
        if feedback == "implicit":  # that a user met an item is what counts there
            how += ", or count each line alike with --rating-column none"
        if apart:
            raise SpaceError(
                f"{where}: {words}; if {value:g} stands for 'not rated', {how}; else say --valid {value:g}"
            )
        tell(f"note: {words}; if {value:g} stands for 'not rated', {how}")
    negative = ratings[ratings < 0]
    if feedback == "implicit" and len(np.unique(negative)) > 1:
        tell(
            f"note: {len(negative)} of {len(ratings)} ratings are below 0, and count like the others under implicit "
            "feedback; --feedback explicit learns from the ratings themselves"
        )
