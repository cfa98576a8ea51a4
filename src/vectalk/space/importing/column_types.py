"""Guess the types of text columns: numbers or truth values if all values are such, else text."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

HEAD = 1000  # values that are checked before the full column
# Values that mean "unknown" in columns of numbers; in columns of text they are texts.
MISSING = ("", "NA", "N/A", "n/a", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None")
UNKNOWN = pa.array([*MISSING, "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"])
NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$|^-?(inf|Infinity)$"
# Codes that look like numbers but are not: with leading zeros (a postcode), or a letter like an exponent (12E3).
CODE = r"^-?0\d|^\d+[eE]\d+$"
# Texts that a parser reads as numbers, but people do not (+49, 0x1F), and whole numbers that are not exact as floats.
NO_NUMBER = rf"{CODE}|^\+|^-?0[xX]|^-?\d{{17,}}$"
DECIMAL_COMMA = r"^-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"


def typed(texts: pa.ChunkedArray, *, decimal_commas: bool = False) -> pa.ChunkedArray:
    """Return strings as whole numbers, floats or truth values if all known values are such; else return them unchanged.

    Codes with leading zeros and numbers that are too long for 64 bits stay text.

    Args:
        texts: the column.
        decimal_commas: whether `0,5` may be a number, as in tables with semicolons between columns.
    """
    head = [text.strip() for text in texts[:HEAD].to_pylist() if text is not None]
    known = [text for text in head if text not in _UNKNOWN]
    if known and not (_may_be_numbers(known, decimal_commas) or {text.lower() for text in known} <= {"true", "false"}):
        return texts
    numbers = _numbers(texts)
    if numbers is not None:
        return numbers
    trimmed = pc.utf8_trim_whitespace(texts)
    values = pc.if_else(pc.is_in(trimmed, UNKNOWN), pa.scalar(None, pa.string()), trimmed)
    there = pc.drop_null(values)
    if not len(there):
        nothing = pc.all(pc.equal(pc.fill_null(trimmed, ""), "")).as_py()  # a column with only "NA" may be names
        return pa.chunked_array([pa.nulls(len(texts))]) if nothing else texts
    if pc.all(pc.match_substring_regex(there, "^(?i)(true|false)$")).as_py():
        return pc.utf8_lower(values).cast(pa.bool_())
    if decimal_commas and _all_decimal_commas(there):
        values = pc.replace_substring(pc.replace_substring(values, ".", ""), ",", ".")
    numbers = _numbers(values)
    return texts if numbers is None or pa.types.is_string(numbers.type) else numbers


_UNKNOWN = set(UNKNOWN.to_pylist())


def _numbers(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return strings as numbers, or unchanged if some are codes; None if some are not numbers."""
    for kind in (pa.int64(), pa.float64()):
        try:
            numbers = values.cast(kind)
        except pa.ArrowInvalid:
            continue
        if numbers.null_count == len(numbers) or (kind == pa.float64() and pc.any(pc.is_nan(numbers)).as_py()):
            return None
        pattern = rf"{CODE}|^-?0[xX]" if kind == pa.int64() else NO_NUMBER
        return values if pc.any(pc.match_substring_regex(values, pattern)).as_py() else numbers
    return None


def _may_be_numbers(known: list[str], decimal_commas: bool) -> bool:
    if all(re.match(NUMBER, text) for text in known):
        return True
    return decimal_commas and all(re.match(DECIMAL_COMMA, text) for text in known)


def _all_decimal_commas(there: pa.ChunkedArray) -> bool:
    """Return whether all are numbers with decimal commas; not if each comma may separate thousands."""
    if not pc.all(pc.match_substring_regex(there, DECIMAL_COMMA)).as_py():
        return False
    commas = there.filter(pc.match_substring(there, ","))
    return len(commas) > 0 and not pc.all(pc.match_substring_regex(commas, r",\d{3}$")).as_py()
