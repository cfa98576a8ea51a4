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
SCALE = 101  # different values that a scale has at most; more are measurements or counts
SMALL = 3.0  # a scale that ends here may well begin at 0 or below
OFTEN, MANY = 0.01, 1 / 3  # shares of the ratings
_DECIMAL_COMMA = r"^[-+]?\d+(,\d+)?$"

Line = Callable[[int], str]  # the place of a row in its file, in words


def is_null(values: pa.ChunkedArray, nulls: Collection[str]) -> np.ndarray:
    """Return which values [n] are one of `nulls`, as they are written or as numbers."""
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
        name: of their column, for errors.
        where: the table, for errors.
        line: the place of a value.
        commas: whether a comma may be a decimal sign, since it does not separate columns.

    Raises:
        SpaceError: a value is no finite number.
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
            f"{where}, {line(row)}: column {name!r} holds {value!r}, not a rating; mend or remove the line; if this "
            f"stands for 'not rated', --null '{unrated}' leaves such lines out"
        )
    return numbers


def placeholder(ratings: np.ndarray, real: Collection[float] = ()) -> tuple[float, str, bool] | None:
    """Return the value that seems to mean "not rated".

    Args:
        ratings: [n].
        real: values that are ratings, whatever they look like.

    Returns:
        The value; how often it stands, and between what the others lie, in words; and whether it can hardly be a
        rating, such as -1 beside 1 to 10, while a rare 0 beside 1 to 5 may be one. None where there is no such value.
    """
    values, counts = np.unique(ratings, return_counts=True)
    if len(values) < 3:  # thumbs up and thumbs down are ratings
        return None
    shares, gaps = counts / len(ratings), np.diff(values)
    # Counts of plays have a long tail; a placeholder stands often.
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
        ratings: `user`, `item`, `rating` and, where there is one, `timestamp`.
        how: how to merge a repeated pair: the sum or the mean of its ratings, its last rating by time (by line where
            the times are unknown), or an error.
        where: the table, for errors.
        line: the place of a row.
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
            f"already in {line(int(first[place[row]]))} ({repeats} such ratings); keep one rating a pair, or say what "
            "becomes of them: --repeated last, mean or sum"
        )
    times = _times(ratings)
    order = np.lexsort((np.arange(len(pair)), np.zeros(len(pair)) if times is None else times, place))
    last = order[np.cumsum(count) - 1]
    values = ratings["rating"].to_numpy()
    merged = values[last] if how == "last" else np.bincount(place, values) / (1 if how == "sum" else count)
    by = f"by {'place' if times is None else 'time'}"
    words = {"sum": "their ratings are added up", "mean": "their mean is taken", "last": f"the last {by} is taken"}[how]
    tell(f"{int((count > 1).sum())} pairs of user and item stand more than once: {words} (--repeated {how})")
    in_order = np.argsort(first)
    ratings = ratings.take(pa.array(last[in_order]))
    return ratings.set_column(ratings.column_names.index("rating"), "rating", pa.array(merged[in_order]))


def _times(ratings: pa.Table) -> np.ndarray | None:
    """Return the times [n] as numbers; None where they are unknown, or written in a way that does not sort."""
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
    """Return the finite number that is written so, and not as Python alone would write it (1_000)."""
    text = str(word).strip()
    return float(text) if re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) else None
