"""The values of ratings: numbers, placeholders for "not rated", and repeated pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError

Repeated = Literal["sum", "last", "mean", "refuse"]
PLACEHOLDERS = (99.0, 999.0, 9999.0, 99999.0)  # usual for "not rated" above all real ratings
SCALE = 101  # most different values of a rating scale; more are measurements or counts
SMALL = 3.0  # a scale that ends here may begin at 0 or below
OFTEN, MANY = 0.01, 1 / 3  # shares of the ratings
_DECIMAL_COMMA = r"^[-+]?\d+(,\d+)?$"

Line = Callable[[int], str]  # the place of a row in its file, in words


def is_null(values: pa.ChunkedArray, nulls: Collection[str]) -> np.ndarray:
    """Return a mask [n] of the values that are in `nulls`, compared as text or as numbers."""
    written = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(values.cast(pa.string()), "")))
    words = [word.strip().lower() for word in nulls]
    numbers = [number for word in words if (number := _number(word)) is not None]
    if numbers:
        words += [word for word in pc.unique(written).to_pylist() if _number(word) in numbers]
    return np.asarray(pc.is_in(written, pa.array(words, pa.string())))


def numbers_of(values: pa.ChunkedArray, name: str, where: str, line: Line, *, commas: bool) -> np.ndarray:
    """Return values as finite numbers [n].

    Args:
        values: text or numbers.
        name: name of their column, for errors.
        where: name of the table, for errors.
        line: returns the line of a value, for errors.
        commas: whether a comma may be a decimal comma, because it does not separate columns.

    Raises:
        SpaceError: a value is not a finite number.
    """
    written = values
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        if commas and pc.all(pc.fill_null(pc.match_substring_regex(values, _DECIMAL_COMMA), False)).as_py():
            values = pc.replace_substring(values, ",", ".")
    try:
        numbers = pc.fill_null(values.cast(pa.float64()), np.nan).to_numpy()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the error of pyarrow names no row
        numbers = np.array([np.nan if (number := _number(value)) is None else number for value in values.to_pylist()])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        row, value = int(bad[0]), written[int(bad[0])].as_py()
        unrated = "" if value is None else value
        raise SpaceError(
            f"{where}, {line(row)}: column {name!r} has {value!r}, which is not a rating; correct or remove the line; "
            f"if this means 'not rated', --null '{unrated}' leaves such lines out; under implicit feedback, "
            "--rating-column none counts each line as 1"
        )
    return numbers


def placeholder(ratings: np.ndarray, real: Collection[float] = ()) -> tuple[float, str, bool] | None:
    """Return the value that seems to mean "not rated".

    Args:
        ratings: [n].
        real: values that are ratings, even if they look like "not rated".

    Returns:
        The value; its count and the range of the other values, in words; and whether it is certainly not a rating
        (-1 if the others are 1 to 10), or only possibly (a rare 0 if the others are 1 to 5). None without such a value.
    """
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) < 3:  # thumbs up and thumbs down are ratings
        return None
    shares, gaps = counts / len(ratings), np.diff(values)
    # Counts of plays have a long tail of rare values; a placeholder is frequent.
    top = values[-1] in PLACEHOLDERS and values[-2] <= values[-1] / 2 and shares[-1] > OFTEN
    at, others = (-1, values[:-1]) if top else (0, values[1:])
    value, scale = float(values[at]), len(values) <= SCALE
    if value in real or not value.is_integer() or not (top or value <= 0 <= others[0]):
        return None
    alone = gaps[0] > gaps[1:].min()
    if top:
        apart = True
    elif value < 0:
        apart = bool(alone or others[0] >= 1 or not scale)
    else:
        apart = bool(scale and others[0] >= 1 and (alone or shares[0] > MANY))
    if not apart and others[-1] <= SMALL:
        return None
    words = f"{counts[at]} of {len(ratings)} ratings are {value:g}, the others from {others[0]:g} to {others[-1]:g}"
    return value, words, apart


def merge_pairs(ratings: pa.Table, how: Repeated, where: str, line: Line, tell: Callable[[str], None]) -> pa.Table:
    """Return one rating for each pair of a user and an item, in the order of their first occurrence.

    Args:
        ratings: `user`, `item`, `rating` and, if known, `timestamp`.
        how: how to merge a repeated pair: the sum or the mean of its ratings, its last rating by time (by line if the
            times are unknown), or an error.
        where: name of the table, for errors.
        line: returns the line of a row, for errors.
        tell: called with the number of repeated pairs.

    Raises:
        SpaceError: `how` is `refuse`, and a pair is repeated.
    """
    if how not in get_args(Repeated):
        raise SpaceError(f"repeated must be one of {', '.join(get_args(Repeated))}, not {how!r}")
    encoded = [ratings[key].combine_chunks().dictionary_encode() for key in ("user", "item")]
    codes = [column.indices.to_numpy().astype(np.int64) for column in encoded]
    pair = codes[0] * (int(codes[1].max(initial=0)) + 1) + codes[1]
    pairs, first, place, count = np.unique(pair, return_index=True, return_inverse=True, return_counts=True)
    repeats = len(pair) - len(pairs)
    if not repeats:
        return ratings
    if how == "refuse":
        row = int(np.setdiff1d(np.arange(len(pair)), first)[0])
        raise SpaceError(
            f"{where}, {line(row)}: user {ratings['user'][row].as_py()!r} rated item {ratings['item'][row].as_py()!r} "
            f"already in {line(int(first[place[row]]))} ({repeats} such ratings); keep one rating for each pair, or "
            "merge them with --repeated last, mean or sum"
        )
    times = _times(ratings)
    order = np.lexsort((np.arange(len(pair)), np.zeros(len(pair)) if times is None else times, place))
    last = order[np.cumsum(count) - 1]
    values = ratings["rating"].to_numpy()
    merged = values[last] if how == "last" else np.bincount(place, values) / (1 if how == "sum" else count)
    by = f"by {'line' if times is None else 'time'}"
    words = {"sum": "their sum is used", "mean": "their mean is used", "last": f"the last {by} is used"}[how]
    tell(f"{int((count > 1).sum())} pairs of user and item have several ratings: {words} (--repeated {how})")
    in_order = np.argsort(first)
    ratings = ratings.take(pa.array(last[in_order]))
    return ratings.set_column(ratings.column_names.index("rating"), "rating", pa.array(merged[in_order]))


def _times(ratings: pa.Table) -> np.ndarray | None:
    """Return the times [n] as numbers; None if some are unknown or cannot be parsed."""
    if "timestamp" not in ratings.column_names:
        return None
    times = ratings["timestamp"]
    for kind in (pa.float64(), pa.timestamp("us")):
        try:
            numbers = times.cast(kind).cast(pa.int64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        return None if numbers.null_count else numbers.to_numpy()
    return None


def _number(word: Any) -> float | None:
    """Return the value of a finite number; None for other texts, also for Python's `1_000`."""
    text = str(word).strip()
    return float(text) if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) else None
