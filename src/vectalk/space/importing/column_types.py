"""Columns of text from a file without types: numbers and truth values where all values are, text otherwise."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

HEAD = 1000  # values looked at before a whole column is
# What numbers' columns hold where a number is unknown; in a column of text these are texts.
_UNKNOWN = (
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "<NA>",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "NULL",
    "null",
    "None",
)
UNKNOWN = pa.array([*_UNKNOWN, "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"])
NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^-?(inf|Infinity)$"
# Codes that only look like numbers: leading zeros (a postcode), and letters that would be exponents (12E3).
CODE = r"^-?0\d|^\d+[eE]\d+$"
DECIMAL_COMMA = r"^-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"


def typed(texts: pa.ChunkedArray, *, decimal_commas: bool = False) -> pa.ChunkedArray:
    """Return a column of strings as whole numbers, numbers or truth values where all that are known are; else as it is.

    Codes keep their leading zeros, and numbers too long for 64 bits their digits: both stay text.

    Args:
        texts: the column.
        decimal_commas: whether `0,5` may be a number, as it is where semicolons part the columns.
    """
    head = [text.strip() for text in texts[:HEAD].to_pylist() if text is not None]
    known = [text for text in head if text not in _UNKNOWN]
    if known and not (_may_be_numbers(known, decimal_commas) or {text.lower() for text in known} <= {"true", "false"}):
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    unknown = pc.is_in(trimmed, UNKNOWN)
    values = pc.if_else(unknown, pa.scalar(None, pa.string()), trimmed)
    there = pc.drop_null(values)
    if not len(there):
        nothing = pc.all(pc.equal(pc.fill_null(trimmed, ""), "")).as_py()  # a column of "NA" alone may be a name's
        return pa.chunked_array([pa.nulls(len(texts))]) if nothing else texts
    if pc.all(pc.match_substring_regex(there, "^(?i)(true|false)$")).as_py():
        return pc.utf8_lower(values).cast(pa.bool_())
    if decimal_commas and _all_decimal_commas(there):
        dotted = pc.replace_substring(pc.replace_substring(values, ".", ""), ",", ".")
        return dotted.cast(pa.float64())
    if not pc.all(pc.match_substring_regex(there, NUMBER)).as_py():
        return texts
    if pc.any(pc.match_substring_regex(there, CODE)).as_py():
        return texts
    if pc.any(pc.match_substring_regex(there, r"[.eEf]")).as_py():
        return values.cast(pa.float64())
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:  # more digits than a number has
        return texts


def _may_be_numbers(known: list[str], decimal_commas: bool) -> bool:
    if all(re.match(NUMBER, text) for text in known):
        return True
    return decimal_commas and all(re.match(DECIMAL_COMMA, text) for text in known)


def _all_decimal_commas(there: pa.ChunkedArray) -> bool:
    """Say whether all are numbers with decimal commas; three digits after each comma may be thousands as well."""
    if not pc.all(pc.match_substring_regex(there, DECIMAL_COMMA)).as_py():
        return False
    commas = there.filter(pc.match_substring(there, ","))
    return len(commas) > 0 and not pc.all(pc.match_substring_regex(commas, r",\d{3}$")).as_py()
