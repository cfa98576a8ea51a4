"""Ids and titles as text: the same value has the same text, whatever type a file stores it in."""

from __future__ import annotations

import re
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import SpaceError

EXACT = {16: 2**11, 32: 2**24, 64: 2**53}  # by bits of a float: the whole number from which on floats are not exact
HEAD = 1000  # values that are checked before the full column
WHOLE_FLOAT = r"^-?(0|[1-9]\d*)\.\d+$"
MOMENT = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:?00)?$"
UUID = r"^(?i:urn:uuid:|\{)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?$"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column has strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column has lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a column has bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values of any simple type as strings; text stays unchanged.

    Whole floats and decimals lose their fraction (1.0 is 1). Dates and times are ISO 8601 with a blank between date and
    time; at midnight, only the date is written. UUIDs have hyphens. Bytes are UTF-8, or else hexadecimal. NaN and
    infinity become null.

    Raises:
        SpaceError: the values are lists, structs or maps.
    """
    values = plain(values)
    kind = values.type
    if pa.types.is_nested(kind):
        raise SpaceError(f"a column of {kind} cannot be written as text")
    if pa.types.is_floating(kind):
        return _floats(values)
    if pa.types.is_decimal(kind):
        return _without_zeros(values.cast(pa.string()))
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:  # the same moment has the same text, whatever the zone
            values = values.cast(pa.timestamp(kind.unit, "UTC"))
        return _moments(values.cast(pa.string()))
    if pa.types.is_time(kind):
        return _without_zeros(values.cast(pa.string()))
    if is_bytes(kind):
        return _bytes(values)
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SpaceError(f"a column of {kind} cannot be written as text: {error}") from None


def id_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return ids of a file as strings that match the same ids of another file.

    In addition to `as_text`, blanks and byte order marks around an id are removed. If all texts of a column are
    numbers, times or UUIDs (`7.0`, `2020-01-01T00:00:00`), they are written as these types are. An empty id is null.

    Raises:
        SpaceError: the values cannot be ids.
    """
    values = plain(values)
    if pa.types.is_floating(values.type):
        bits = values.type.bit_width
        limit, values = EXACT[bits], values.cast(pa.float32()) if bits == 16 else values
        largest = pc.max(pc.abs(pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type)))).as_py()
        if largest is not None and largest >= limit:
            raise SpaceError(
                f"they are floats of {bits} bits, and {largest:.0f} is too large to be exact, so ids may have "
                "changed; save them as whole numbers or as text"
            )
    text = as_text(values)
    if is_text(values.type):
        text = pc.utf8_trim(pc.utf8_trim_whitespace(text), "\ufeff \t\r\n")
        if _all_match(text, WHOLE_FLOAT):
            text = pc.replace_substring_regex(text, r"\.0+$", "")
        elif _all_match(text, MOMENT):
            text = _moments(text)
        elif _all_match(text, UUID):
            text = pc.replace_substring_regex(pc.utf8_lower(text), r"^urn:uuid:|[{}]", "")
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without wrapper types: dictionaries, views, run-end encoding, extension types."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in values.chunks]
        values = pa.chunked_array(storage, kind.storage_type)
        return _uuids(values) if kind.extension_name == "arrow.uuid" else plain(values)
    if pa.types.is_dictionary(kind):
        return plain(pa.chunked_array([chunk.dictionary_decode() for chunk in values.chunks], kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return plain(pa.chunked_array([pc.run_end_decode(chunk) for chunk in values.chunks], kind.value_type))
    if pa.types.is_string_view(kind):
        return values.cast(pa.string())
    if pa.types.is_binary_view(kind):
        return values.cast(pa.binary())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pa.chunked_array([_lists(chunk) for chunk in values.chunks], pa.large_list(kind.value_type))
    return values


def _lists(views: pa.Array) -> pa.Array:
    """Return list views as lists. (The cast of arrow 26.0 loses the end of the last list.)"""
    lengths = pc.fill_null(pc.list_value_length(views), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    mask = views.is_null() if views.null_count else None
    return pa.LargeListArray.from_arrays(offsets, views.flatten(), mask=mask)


def _floats(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    finite = pc.is_finite(values)
    whole = pc.and_(finite, pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**63)))
    numbers = pc.if_else(whole, values, pa.scalar(0.0, values.type)).cast(pa.int64())
    texts = pc.if_else(whole, numbers.cast(pa.string()), values.cast(pa.string()))
    return pc.if_else(finite, texts, pa.scalar(None, pa.string()))


def _without_zeros(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$|\.0+$", r"\1")


def _moments(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    for pattern, replacement in (
        (r"^(\d{4,}-\d\d-\d\d)T", r"\1 "),
        (r"\+00:?00$", "Z"),
        (r"( \d\d:\d\d)(Z?)$", r"\1:00\2"),
        (r"(\.\d*[1-9])0+(Z?)$|\.0+(Z?)$", r"\1\2\3"),
        (r" 00:00:00$", ""),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _bytes(values: pa.ChunkedArray) -> pa.ChunkedArray:
    binary = values.cast(pa.binary())
    try:
        texts = binary.cast(pa.string())
    except pa.ArrowInvalid:
        texts = None
    if texts is not None and not pc.any(pc.match_substring_regex(texts, r"[\x00-\x08\x0e-\x1f]")).as_py():
        return texts
    lengths = pc.unique(pc.drop_null(pc.binary_length(binary))).to_pylist()
    if lengths == [16]:
        return _uuids(binary)
    return pa.chunked_array(
        [[None if value is None else value.hex() for value in chunk.to_pylist()] for chunk in binary.chunks],
        pa.string(),
    )


def _uuids(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array(
        [[None if value is None else str(uuid.UUID(bytes=value)) for value in c.to_pylist()] for c in values.chunks],
        pa.string(),
    )


def _all_match(texts: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether there are texts and all of them match; the first values are checked first, for speed."""
    head = [text for text in texts[:HEAD].to_pylist() if text]
    if not all(re.match(pattern, text) for text in head):
        return False
    there = texts.filter(pc.not_equal(texts, ""))
    return len(there) > 0 and pc.all(pc.match_substring_regex(there, pattern)).as_py()
