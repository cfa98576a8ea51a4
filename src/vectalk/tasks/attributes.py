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
import pyarrow as pa
import regex
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vectalk.errors import CorpusError
from vectalk.space import VectorSpace
from vectalk.space.importing.tables import is_list, is_text
from vectalk.space.letters import APART, ValueFinder
from vectalk.space.split import TRAIN

Kind = Literal[
    "list", "category", "decade", "band", "number", "titles",  # from a column
    "neighbors", "around", "density", "relative", "rarest", "rarity",  # from the space, or from another attribute
]  # fmt: skip
MADE = ("neighbors", "around", "density", "relative", "rarest", "rarity")  # not from a column of its own
SURROUNDINGS = ("neighbors", "around", "density")  # known of any vector, whatever its metadata
DERIVED = ("rarest", "rarity")  # follow from the value of another attribute, known or predicted
UNREAD = ("titles", "neighbors", "around", *DERIVED)  # never read back
NEEDS_LABELS = ("band", "density", "relative")
NEEDS_OF = ("around", *DERIVED)
_EXTRACT = r"make a column of numbers when the space is imported, e.g. with --extract 'year={}:(\d{{4}})'"
_QUOTED = re.compile("“[^”]*”|《[^》]*》|『[^』]*』")
_DECADE = regex.compile(rf"(?V1)(?<!{APART}|-)-?\d*0s(?!{APART})")


class Attribute(BaseModel):
    """How one attribute is made from the metadata.

    Attributes:
        kind: from a column: `list` (several values), `category` (one), `decade` (a year, said as "1990s"), `band` (a
            number, said as the label of its quantile band among training entities), `number`, `titles` (a column of
            titles). From the space: `neighbors` (titles of the nearest training entities), `around` (values that
            these hold more often than the catalogue does), `density` (a band: how near they lie), `relative` (a band:
            a number against that of the nearest training entities). From another attribute: `rarest` (its values,
            the one that fewest training entities have first), `rarity` (one training entity in how many has the
            rarest of them).
        column: metadata column; the attribute's own name when omitted.
        words: how values are said, where not as they are (`category`) or in lower case (`list`).
        labels: names of the bands, lowest first.
        count: how many titles or values at most.
        of: the attribute whose values `around`, `rarest` and `rarity` are about.
        near: how many of the nearest training entities count as the surroundings.
        lean: whether `around` takes the values that the surroundings hold `more` often than chance explains, or `less`
            than half as often as the catalogue.
        where: take only training entities that have these values: attribute -> value.
        without: leave out training entities that have these values.
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
    of: str | None = None
    near: int = Field(20, ge=1, le=200)
    lean: Literal["more", "less"] = "more"
    where: dict[str, str] = Field(default_factory=dict)
    without: dict[str, str] = Field(default_factory=dict)
    order: Literal["given", "common"] = "given"
    within: str | None = None
    pattern: str = r"-?\d+(?:\.\d+)?"

    @model_validator(mode="after")
    def _check(self) -> "Attribute":
        if self.kind in NEEDS_LABELS and len(self.labels) < 2:
            raise ValueError(f"kind {self.kind!r} needs at least two labels, lowest first")
        if self.kind in NEEDS_OF and self.of is None:
            raise ValueError(f"kind {self.kind!r} needs `of`: the attribute whose values it is about")
        if (self.where or self.without) and self.kind not in ("neighbors", "around"):
            raise ValueError(f"`where` and `without` are for the kinds 'neighbors' and 'around', not for {self.kind!r}")
        for field in ("within", "pattern"):
            try:
                groups = re.compile(getattr(self, field) or "").groups
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{field} is not a valid pattern: {error}") from None
            if field == "within" and self.within is not None and not groups:
                raise ValueError("within has no group: its first group is the part of a text that is read")
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
        self.apart: list[AttributeReader] = []  # what says values of this attribute, but not of the entity
        self.present = self.kind not in MADE and self.column in space.column_names
        if self.present:
            self._check_type(space.column(self.column).type)

    def _check_type(self, found: pa.DataType) -> None:
        """Raise a CorpusError where the column cannot hold what this kind of attribute is made from."""
        inner = found.value_type if is_list(found) else found
        inner = inner.value_type if pa.types.is_dictionary(inner) else inner
        plain = is_text(inner) or pa.types.is_null(inner)
        number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner)
        if self.kind in ("list", "titles"):
            fits, needed = is_list(found) and plain, "lists of text"
            fix = f"split text with --list-column '{self.column}:|' when the space is imported"
        elif self.kind == "category":
            fits, needed = not pa.types.is_nested(found), "one value an entity"
            fix = "name another column in the suite, or say kind: list"
        else:
            fits, needed = not is_list(found) and (plain or number), "numbers"
            fix = f"{_EXTRACT.format(self.column)}, and name that column in the suite"
        if not fits and not pa.types.is_null(found):
            raise CorpusError(
                f"space {self.space.name!r}: column {self.column!r} holds {found}, but attribute {self.name!r} of kind "
                f"{self.kind!r} needs {needed}; {fix}"
            )

    # ---- from metadata

    def value(self, row: int) -> Any:
        """Return the value of a row, or None where it is missing."""
        if not self.present:
            return None
        raw = self._raw(row)
        return None if is_missing(raw) else self.from_metadata(raw, row)

    def _raw(self, row: int) -> Any:
        return self.space.column(self.column)[row].as_py()

    def from_metadata(self, raw: Any, row: int | None = None) -> Any:
        """Return the value that a metadata entry stands for; `row` is where it stands, for an error."""
        if self.kind in ("list", "titles"):
            return [str(item) for item in raw if not is_missing(item)] or None
        if self.kind == "decade":
            return f"{int(self._number(raw, row)) // 10 * 10}s"
        if self.kind == "band":
            return self.attribute.labels[int(np.searchsorted(self.edges, self._number(raw, row), side="right"))]
        return self._number(raw, row) if self.kind == "number" else str(raw)

    def _number(self, raw: Any, row: int | None) -> float:
        try:
            number = float(raw)
            if math.isfinite(number):
                return number
        except (TypeError, ValueError):
            pass
        place = "" if row is None else f" in row {row} (id {self.space.column('id')[row].as_py()!r})"
        raise CorpusError(
            f"space {self.space.name!r}: column {self.column!r} holds {raw!r}{place}, but attribute {self.name!r} of "
            f"kind {self.kind!r} needs a number; {_EXTRACT.format(self.column)}"
        )

    def prepare(self, rows: Iterable[int]) -> None:
        """Do once, for many rows, what is dear for one."""

    @cached_property
    def edges(self) -> np.ndarray:
        """Quantiles of the training entities that part the bands."""
        raw = {row: self._raw(row) for row in map(int, self.space.rows(TRAIN))}
        bands = len(self.attribute.labels)
        known = [self._number(value, row) for row, value in raw.items() if not is_missing(value)]
        return np.quantile(known, np.arange(1, bands) / bands) if known else np.zeros(bands - 1)

    @cached_property
    def _counts(self) -> tuple[dict[str, int], int]:
        """How many training entities hold each value, and how many hold any."""
        counts: Counter[str] = Counter()
        known = 0
        if self.present and self.kind not in ("number", *UNREAD):
            for row in self.space.rows(TRAIN):
                value = self.value(int(row))
                known += value is not None
                counts.update(value if isinstance(value, list) else [] if value is None else [value])
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))), known

    @cached_property
    def vocabulary(self) -> list[str]:
        """All values of training entities, commonest first; empty for numbers and titles."""
        return list(self._counts[0])

    def share(self, value: str) -> float:
        """Return the share of training entities with known values that hold this one."""
        counts, known = self._counts
        return counts.get(value, 0) / max(known, 1)

    @cached_property
    def rank(self) -> dict[str, int]:
        """Place of each value, commonest first."""
        return {value: place for place, value in enumerate(self.vocabulary)}

    # ---- to and from words

    def words(self, value: Any) -> Any:
        """Return how a value is said: a list of strings in its order, a string, or a number as it is."""
        if isinstance(value, list):
            if self.attribute.order == "common":
                value = sorted(value, key=lambda v: self.rank.get(v, len(self.rank)))
            return [self.say(v) for v in value]
        return self.say(value) if isinstance(value, str) else value

    def say(self, value: str) -> str:
        """Return how one value is written in a text."""
        if self.kind in ("titles", "decade", "band"):
            return value
        return self.attribute.words.get(value, value.lower() if self.kind == "list" else value)

    @cached_property
    def _spoken(self) -> tuple[ValueFinder, dict[str, str]]:
        values = {self.say(value).lower(): value for value in reversed(self.vocabulary)}
        return ValueFinder(values), values

    def read(self, text: str) -> Any:
        """Read this attribute from a text, by fixed rules: the inverse of what the facts teacher writes.

        Quoted titles are skipped, since they may hold any word, and so is what a text says of the surroundings
        (`apart`). Returns a list of values (`list`), one value, a float, or None where the text says nothing.
        """
        found = self.stated(text)
        if self.kind in ("list", "around"):
            return list(dict.fromkeys(found))
        return found[0] if found else None

    def stated(self, text: str) -> list[Any]:
        """Return all values of this attribute that a text states, in its order, by the rules of `read`."""
        text = _QUOTED.sub("", text)
        for other in self.apart:
            text = re.sub(str(other.attribute.within), "", text)
        if self.attribute.within is not None:
            text = " ".join(m.group(1) for m in re.finditer(self.attribute.within, text))
        if self.kind == "number":
            return [float(found.group()) for found in re.finditer(self.attribute.pattern, text)]
        if self.kind == "decade":  # any decade, not only those of training entities
            return _DECADE.findall(text)
        finder, values = self._spoken
        return [values[said] for said in finder.find(text.lower())]
