"""Read vectors from text, as databases, numpy and PyTorch print them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
NOTHING = pa.array(["", "[]", "()", "{}", "None", "none", "null", "NULL", "nan", "NaN", "NA", "<NA>"])
_BRACKETS = "[](){} \t\r\n"
_BETWEEN = r"\s*[,;|]\s*|\s+"  # separators between the numbers of a text
_COMMAS = r"[-+]?\d*(,\d+)?([eE][-+]?\d+)?"  # a number with a decimal comma
_WITH_COMMAS = rf"^[\[({{\s]*{_COMMAS}([\s;|]+{_COMMAS})+[\])}}\s]*$"
_CALL = r"(?s)^\s*(?:Parameter containing:\s*)?(?:\w+\.)?(?:array|tensor|Tensor|DeviceArray|Array)\((.*)\)\s*$"
_SETTINGS = r"(?s),\s*(?:dtype|device|grad_fn|requires_grad|weak_type)=.*$"
_SCALAR = r"(?:(?:\w+\.)?(?:float|double|half|int|float16|float32|float64|bfloat16))?\(([^(),]*)\)"
_UNKNOWN = r"\b(?:None|null|NULL|NaN|nan)\b"
_SPARSE = re.compile(rf"\s*\{{\s*((?:\d+\s*:\s*{NUMBER}\s*,?\s*)*)\}}\s*/\s*(\d+)\s*")


def looks_like_vectors(values: pa.ChunkedArray) -> bool:
    """Return whether the first texts of a column are numbers in brackets, or several numbers, most with a point."""
    head = [text.strip() for text in values[:50].to_pylist() if text is not None]
    there = [text for text in head if text not in _NOTHING]
    return bool(there) and all(_looks(text) for text in there)


def parsed(texts: pa.Array, where: str, path: Path, start: int = 0) -> pa.Array:
    """Return texts such as `[0.1, 0.2]` or `0.1 0.2` as lists of numbers; an empty text gives null.

    Args:
        texts: the column, or a part of it.
        where: name of the column in errors.
        path: the file, for errors.
        start: row of the first text.

    Raises:
        SpaceError: a text is not a vector; the error names its row.
    """
    texts = texts.cast(pa.string())
    missing = pc.fill_null(pc.is_in(pc.utf8_trim_whitespace(texts), NOTHING), True)
    if pc.all(missing).as_py():
        return pa.nulls(len(texts), pa.list_(pa.float32()))
    known = texts.filter(pc.invert(missing))
    rows = np.flatnonzero(~np.asarray(missing))
    if pc.any(pc.match_substring(known, "...")).as_py():
        row = start + int(rows[np.flatnonzero(np.asarray(pc.match_substring(known, "...")))[0]])
        raise SpaceError(
            f"{path}: row {row} of {where} was shortened with '...' when it was printed, so numbers are lost; save "
            "the vectors again: numpy.save('vectors.npy', numpy.stack(rows))"
        )
    if _SPARSE.fullmatch(known[0].as_py()):
        lists = _sparse(known, start + rows, where, path)
    else:
        lists = _numbers(_with_points(known, start + rows, where, path), start + rows, where, path)
    if len(lists) == len(texts):
        return lists
    place = np.full(len(texts), -1)
    place[rows] = np.arange(len(rows))
    return lists.take(pa.array(place, pa.int64(), mask=place < 0))


def _looks(text: str) -> bool:
    if _SPARSE.fullmatch(text) or re.match(_CALL, text):
        return True
    known = re.sub(_UNKNOWN, "0", text)
    if re.fullmatch(r"[\[({]{1,2}[-+\d.eE,;|\s]+[\])}]{1,2}", known) and re.search(r"\d", text):
        return True
    if re.match(r"\[\s*(?:np|numpy)\.\w+\(", text) or re.fullmatch(r"[\[({].*\.\.\..*[\])}]", text, re.DOTALL):
        return True
    if re.match(r"\[\s*\(", text) and re.fullmatch(r"[\[\](){}\-+\d.eE,;|\s]+", text):
        return True
    if len(text.split()) > 3 and re.search(r"\d,\d", text) and re.fullmatch(_WITH_COMMAS, text):
        return True
    numbers = re.split(_BETWEEN, text)
    return (
        len(numbers) > 3
        and all(re.fullmatch(NUMBER, number) for number in numbers)
        and 2 * sum("." in number for number in numbers) > len(numbers)
    )


def _with_points(texts: pa.Array, rows: np.ndarray, where: str, path: Path) -> pa.Array:
    """Return texts with decimal points. If blanks separate the numbers, a comma is a decimal comma."""
    decimal = pc.and_(pc.match_substring_regex(texts, r"\d,\d"), pc.match_substring_regex(texts, r"\d[\s;|]+[-+\d,]"))
    if not pc.any(decimal).as_py():
        return texts
    whole = pc.match_substring_regex(texts, _WITH_COMMAS)
    if not pc.all(whole).as_py():
        bad = np.flatnonzero(np.asarray(decimal))[0]
        excerpt = texts[int(bad)].as_py()[:40]
        raise SpaceError(
            f"{path}: row {rows[bad]} of {where} separates its numbers in two ways: {excerpt!r}; write '[0.1, 0.2]'"
        )
    return pc.replace_substring(texts, ",", ".")


def _numbers(texts: pa.Array, rows: np.ndarray, where: str, path: Path) -> pa.Array:
    lists = _split(texts)
    try:
        numbers = lists.flatten().cast(pa.float32())
    except pa.ArrowInvalid:
        for pattern, replacement in ((_CALL, r"\1"), (_SETTINGS, ""), (_SCALAR, r"\1"), (_UNKNOWN, "nan")):
            texts = pc.replace_substring_regex(texts, pattern, replacement)
        lists = _split(texts)
        try:
            numbers = lists.flatten().cast(pa.float32())
        except pa.ArrowInvalid:
            _name_the_row(texts, rows, where, path)
            raise
    return pa.ListArray.from_arrays(lists.offsets, numbers)


def _split(texts: pa.Array) -> pa.Array:
    return pc.split_pattern_regex(pc.utf8_trim(texts, _BRACKETS), _BETWEEN)


def _name_the_row(texts: pa.Array, rows: np.ndarray, where: str, path: Path) -> None:
    for row, text in zip(rows, texts.to_pylist(), strict=True):
        for part in re.split(_BETWEEN, text.strip(_BRACKETS)):
            if not re.fullmatch(rf"{NUMBER}|[-+]?(?:nan|inf|infinity)", part, re.IGNORECASE):
                raise SpaceError(
                    f"{path}: row {row} of {where} has {part[:40]!r}, which is not a number; write vectors as "
                    "numbers with commas or blanks between them, e.g. '[0.1, 0.2]'"
                )


def _sparse(texts: pa.Array, rows: np.ndarray, where: str, path: Path) -> pa.Array:
    """Return dense vectors from the sparse form of pgvector, `{1:0.5,3:2}/8`, whose positions count from 1."""
    vectors = []
    for row, text in zip(rows, texts.to_pylist(), strict=True):
        match = _SPARSE.fullmatch(text)
        if match is None:
            raise SpaceError(
                f"{path}: row {row} of {where} has {text[:40]!r}, which is not a sparse vector such as '{{1:0.5}}/8'"
            )
        vector = np.zeros(int(match[2]), np.float32)
        for place, number in re.findall(rf"(\d+)\s*:\s*({NUMBER})", match[1]):
            if not 1 <= int(place) <= len(vector):
                raise SpaceError(
                    f"{path}: row {row} of {where} has position {place} in a vector of length {len(vector)}"
                )
            vector[int(place) - 1] = float(number)
        vectors.append(vector)
    return pa.array(vectors, pa.list_(pa.float32()))


_NOTHING = set(NOTHING.to_pylist())
