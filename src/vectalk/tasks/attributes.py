"""Attributes: what a suite knows about the entities of a space, how it is said, and how it is read back.

One object does all three, so that what a text states and what is read from a text cannot drift apart.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN

Kind = Literal["list", "category", "decade", "band", "number", "titles", "neighbors"]
UNREAD = ("titles", "neighbors")  # said in quotes, never read back as an attribute
_QUOTED = re.compile("“[^”]*”")
_DECADE = re.compile(r"(?<![\w-])-?\d*0s(?!\w)")


class Attribute(BaseModel):
    """How one attribute is made from the metadata.

    Attributes:
        kind: `list` (several values), `category` (one), `decade` (a year, said as "1990s"), `band` (a number,
            said as the label of its quantile band among training entities), `number`, `titles` (a column of
            titles), or `neighbors` (titles of the nearest training entities).
        column: metadata column; the attribute's own name when omitted.
        words: how values are said, where not as lower case.
        labels: names of the bands, lowest first.
        count: how many neighbours.
        order: how a list is said: `given` as the metadata have it, or `common`: the value that most training entities
            have comes first. A greedy reader of vectors can then still add what is rarer, while after a rare value
            it could not go back; the lists of MovieLens are alphabetical, which means nothing.
        within: a pattern whose first group is the part of a text that states this attribute, for texts that
            name values of several attributes.
        pattern: what a number looks like in a text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    column: str | None = None
    words: dict[str, str] = Field(default_factory=dict)
    labels: list[str] = Field(default_factory=list)
    count: int = Field(3, ge=1, le=20)
    order: Literal["given", "common"] = "given"
    within: str | None = None
    pattern: str = r"-?\d+(?:\.\d+)?"

    @model_validator(mode="after")
    def _check(self) -> "Attribute":
        if self.kind == "band" and len(self.labels) < 2:
            raise ValueError("kind 'band' needs at least two labels, lowest first")
        for field in ("within", "pattern"):
            try:
                re.compile(getattr(self, field) or "")
            except re.error as error:
                raise ValueError(f"{field} is not a valid pattern: {error}") from None
        return self


def is_missing(raw: Any) -> bool:
    """Return whether a metadata entry says nothing: null, a blank, or a number that is none (NaN, infinity)."""
    if isinstance(raw, str):
        return not raw.strip()
    return raw is None or (isinstance(raw, float) and not math.isfinite(raw))


class AttributeReader:
    """An attribute bound to a space: values of rows, their words, and what a text says of them.

    Values are lists of strings (`list`, `titles`, `neighbors`), strings (`category`, `decade`, `band`) or floats
    (`number`); None where the metadata lack them.
    """

    def __init__(self, name: str, attribute: Attribute, space: VectorSpace) -> None:
        self.name, self.attribute, self.space = name, attribute, space
        self.column = attribute.column or name
        self.kind = attribute.kind
        self.present = self.kind == "neighbors" or self.column in space.column_names
        self._near: dict[int, list[str]] = {}

    # ---- from metadata

    def value(self, row: int) -> Any:
        """Return the value of a row, or None where it is missing."""
        if not self.present:
            return None
        if self.kind == "neighbors":
            if row not in self._near:
                self.prepare([row])
            return self._near[row]
        raw = self.space.column(self.column)[row].as_py()
        return None if is_missing(raw) else self.from_metadata(raw)

    def from_metadata(self, raw: Any) -> Any:
        """Return the value that a metadata entry stands for."""
        if self.kind in ("list", "titles"):
            return [str(item) for item in raw if not is_missing(item)] or None
        if self.kind == "decade":
            return f"{int(raw) // 10 * 10}s"
        if self.kind == "band":
            return self.attribute.labels[int(np.searchsorted(self.edges, float(raw), side="right"))]
        return float(raw) if self.kind == "number" else str(raw)

    def prepare(self, rows: Iterable[int]) -> None:
        """Look up the neighbours of many rows at once."""
        wanted = np.array([row for row in rows if row not in self._near], np.int64)
        if self.kind != "neighbors" or not len(wanted):
            return
        space = self.space
        found, _ = nearest(
            space.vectors[wanted],
            space.vectors,
            self.attribute.count,
            space.metric,
            rows=space.rows(TRAIN),
            exclude=wanted,
        )
        for row, near in zip(wanted, found, strict=True):
            self._near[int(row)] = [space.title(int(other)) for other in near]

    @cached_property
    def edges(self) -> np.ndarray:
        """Quantiles of the training entities that part the bands."""
        raw = [self.space.column(self.column)[int(r)].as_py() for r in self.space.rows(TRAIN)]
        bands = len(self.attribute.labels)
        known = [float(x) for x in raw if not is_missing(x)]
        return np.quantile(known, np.arange(1, bands) / bands) if known else np.zeros(bands - 1)

    @cached_property
    def vocabulary(self) -> list[str]:
        """All values of training entities, commonest first; empty for numbers and neighbours."""
        if self.kind in ("number", *UNREAD) or not self.present:
            return []
        counts: Counter[str] = Counter()
        for row in self.space.rows(TRAIN):
            value = self.value(int(row))
            counts.update(value if isinstance(value, list) else [] if value is None else [value])
        return [value for value, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {value: place for place, value in enumerate(self.vocabulary)}

    # ---- to and from words

    def words(self, value: Any) -> Any:
        """Return how a value is said: a list of strings in its order, a string, or a number as it is."""
        if isinstance(value, list):
            if self.attribute.order == "common":
                value = sorted(value, key=lambda v: self._rank.get(v, len(self._rank)))
            return [self.say(v) for v in value]
        return self.say(value) if isinstance(value, str) else value

    def say(self, value: str) -> str:
        """Return how one value is written in a text."""
        if self.kind in (*UNREAD, "decade", "band"):
            return value
        return self.attribute.words.get(value, value.lower())

    @cached_property
    def _spoken(self) -> tuple[re.Pattern[str], dict[str, str]]:
        values = {self.say(value).lower(): value for value in reversed(self.vocabulary)}
        longest_first = sorted(values, key=len, reverse=True)
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)"), values

    def read(self, text: str) -> Any:
        """Read this attribute from a text, by fixed rules: the inverse of what the facts teacher writes.

        Quoted titles are skipped, since they may hold any word. Returns a list of values (`list`), one value,
        a float, or None where the text says nothing.
        """
        text = _QUOTED.sub("", text)
        if self.attribute.within is not None:
            text = " ".join(m.group(1) for m in re.finditer(self.attribute.within, text))
        if self.kind == "number":
            found = re.search(self.attribute.pattern, text)
            return None if found is None else float(found.group())
        if self.kind == "decade":  # any decade, not only those of training entities
            found = _DECADE.search(text)
            return None if found is None else found.group()
        if not self.vocabulary:
            return [] if self.kind == "list" else None
        pattern, values = self._spoken
        said = [values[match] for match in pattern.findall(text.lower())]
        if self.kind == "list":
            return list(dict.fromkeys(said))
        return said[0] if said else None
