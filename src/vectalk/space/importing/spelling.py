"""Ids of two files that differ only in how they are written: the hint that a failed join gives."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

# Differences that are never removed without asking, because `007` and `7` may be two entities.
_DIFFERENCES: tuple[tuple[str, Callable[[pa.Array], pa.Array]], ...] = (
    ("leading zeros", lambda ids: pc.replace_substring_regex(ids, r"^0+([0-9A-Za-z])", r"\1")),
    ("the difference between capital and small letters", pc.utf8_lower),
    ("'.0' at the end", lambda ids: pc.replace_substring_regex(ids, r"\.0+$", "")),
    ("the time zone 'Z' at the end", lambda ids: pc.replace_substring_regex(ids, r"( 00:00:00)?Z$", "")),
    ("hyphens, blanks, quotation marks and braces", lambda ids: pc.replace_substring_regex(ids, r"[-{}\s\"']", "")),
)


def spelling_hint(ids: pa.Array, others: pa.Array) -> str:
    """Return a hint, to be added to an error, if most ids would match those of another file in another spelling.

    Args:
        ids: the ids that did not match.
        others: the ids of the other file.
    """
    for words, plain in _DIFFERENCES:
        count = pc.sum(pc.is_in(plain(ids), pc.drop_null(plain(others)))).as_py() or 0
        if 2 * count > len(ids):
            return f"; {count} of them would match without {words}: write the ids alike in both files"
    return ""
