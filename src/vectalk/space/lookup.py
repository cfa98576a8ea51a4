"""Find entities by name: an id, a title, or another spelling of a title."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vectalk.errors import UnknownEntityError
from vectalk.space.titles import closest, lookup_key

CLOSEST_LIMIT = 200_000  # most names that are searched for the closest matches in an error
BLOCK = 100_000  # titles whose keys are computed at once
LISTED = 5  # entities that an error lists


class Match(NamedTuple):
    """The row of an entity, and a note on the assumption of the lookup; empty without an assumption."""

    row: int
    note: str = ""


class Lookup:
    """Finds entities of a space by name.

    Args:
        space: name of the space, for errors.
        ids: [N] text.
        titles: [N], null where an entity has none; None where the space has no titles.
    """

    def __init__(self, space: str, ids: pa.ChunkedArray, titles: pa.ChunkedArray | None) -> None:
        self.space, self.ids = space, ids
        self.titles = None if titles is None else titles.cast(pa.string())

    def find(self, name: str) -> Match:
        """Return the entity of an id or a title, or of the one title that `name` is another spelling of.

        Raises:
            UnknownEntityError: no entity has that name (the error lists the closest), or several entities have it.
        """
        by_id, titled = self._rows(self.ids, name), self._titled(name)
        rows = by_id if len(by_id) else titled
        if len(rows) > 1:
            ids = ", ".join(repr(self.ids[int(row)].as_py()) for row in rows[:LISTED])
            raise UnknownEntityError(
                f"{len(rows)} entities of space {self.space!r} are called {name!r}: use an id ({ids})"
            )
        if len(rows):
            others = np.setdiff1d(titled, rows)
            return Match(int(rows[0]), self._also(name, int(rows[0]), others) if len(others) else "")
        match = self.spelled(name)
        if match is not None:
            return match
        names = self.ids if self.titles is None else pc.coalesce(self.titles[:CLOSEST_LIMIT], self.ids[:CLOSEST_LIMIT])
        near = closest(name, [known for known in names[:CLOSEST_LIMIT].to_pylist() if known])
        hint = f"did you mean {', '.join(map(repr, near))}?" if near else "nothing comes close"
        raise UnknownEntityError(f"space {self.space!r} has no entity {name!r}; {hint}")

    def spelled(self, name: str) -> Match | None:
        """Return the entity whose title is another spelling of `name`; None where there is none.

        Raises:
            UnknownEntityError: there are several.
        """
        key = lookup_key(name)
        rows = [int(row) for row in np.flatnonzero(self._keys == hash(key)) if lookup_key(self._title(int(row))) == key]
        if len(rows) > 1:
            listed = ", ".join(f"{self._title(row)!r} (id {self.ids[row].as_py()!r})" for row in rows[:LISTED])
            raise UnknownEntityError(
                f"{len(rows)} titles of space {self.space!r} are spellings of {name!r}: {listed}"
                f"{', ...' if len(rows) > LISTED else ''}; write one of them exactly, or use an id"
            )
        if not rows:
            return None
        return Match(rows[0], f"{name!r} is taken as another spelling of {self._title(rows[0])!r}")

    def __contains__(self, name: str) -> bool:
        """Return whether an id, or exactly one title, is `name`."""
        return len(self._rows(self.ids, name)) > 0 or len(self._titled(name)) == 1

    def _titled(self, name: str) -> np.ndarray:
        return np.zeros(0, np.int64) if self.titles is None else self._rows(self.titles, name)

    @staticmethod
    def _rows(names: pa.ChunkedArray, name: str) -> np.ndarray:
        """Return the rows of a name; if there are none, try its composed and decomposed Unicode forms."""
        for forms in ([name], [unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]):
            rows = np.flatnonzero(np.asarray(pc.is_in(names, pa.array(forms, names.type))))
            if len(rows):
                return rows
        return np.zeros(0, np.int64)

    def _also(self, name: str, row: int, others: np.ndarray) -> str:
        mine = self._title(row)
        called = f"the entity of that id, {mine!r}" if mine else "the entity of that id"
        ids = ", ".join(repr(self.ids[int(other)].as_py()) for other in others[:LISTED])
        return f"{name!r} is taken as {called}; that is also the title of id {ids}"

    def _title(self, row: int) -> str:
        return str((self.titles[int(row)].as_py() if self.titles is not None else None) or "")

    @cached_property
    def _keys(self) -> np.ndarray:
        """The hash [N] of each title's key, computed when another spelling is first searched."""
        return np.fromiter(self._hashes(), np.int64, 0 if self.titles is None else len(self.titles))

    def _hashes(self) -> Iterator[int]:
        for start in range(0, 0 if self.titles is None else len(self.titles), BLOCK):
            for title in self.titles[start : start + BLOCK].to_pylist():  # type: ignore[index]
                yield hash(lookup_key(title)) if title else 0
