"""Attributes: facts about the entities of a space, how texts state them, and how they are read back from texts.

One object does all three, so that writing and reading always follow the same rules.
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
COMPUTED = ("neighbors", "around", "density", "relative", "rarest", "rarity")  # no column of their own
SURROUNDINGS = ("neighbors", "around", "density")  # known for any vector, even without metadata
DERIVED = ("rarest", "rarity")  # computed from the value of another attribute, which may be known or predicted
UNREAD = ("titles", "neighbors", "around", *DERIVED)  # never read back
NO_VALUE = "-"  # in `synonyms`: phrases that contain the word of a value and mean none
NEEDS_LABELS = ("band", "density", "relative")
NEEDS_OF = ("around", *DERIVED)
_EXTRACT = r"make a column of numbers when the space is imported, e.g. with --extract 'year={}:(\d{{4}})'"
_QUOTED = re.compile("“[^”]*”|《[^》]*》|『[^』]*』")
_DECADE = regex.compile(rf"(?V1)(?<!{APART}|-)-?\d*0s(?!{APART})")


class Attribute(BaseModel):
    """Definition of one attribute.

    Attributes:
        kind: from a column: `list` (several values), `category` (one), `decade` (a year, written as "1990s"), `band` (a
            number, written as the label of its quantile band among training entities), `number`, `titles` (a column
            of titles). From the space: `neighbors` (titles of the nearest training entities), `around` (values that
            are more frequent among the nearest training entities than in the catalogue), `density` (a band: the mean
            similarity of the nearest training entities), `relative` (a band: a number minus its mean among the
            nearest training entities). From another attribute: `rarest` (its values, rarest among training entities
            first), `rarity` (N where one training entity in N has its rarest value).
        column: metadata column; by default the name of the attribute.
        words: value -> its words in a text. Other values are written unchanged (`category`) or in lower case (`list`).
        synonyms: value -> all words that mean it in answers to free questions, e.g. `Comedy: [comedy, funny]`; a value
            without synonyms is found by its own word. The key `-` has phrases that mean no value, e.g. `my family`.
        labels: names of the bands, lowest first.
        count: the most titles or values.
        of: the attribute whose values `around`, `rarest` and `rarity` use.
        near: how many of the nearest training entities count as the surroundings.
        lean: which values `around` takes: `more` frequent in the surroundings than chance explains, or `less` than
            half as frequent as in the catalogue.
        where: take only training entities that have these values: attribute -> value.
        without: leave out training entities that have these values: attribute -> value.
        order: order of a list: `given` as in the metadata, or `common`: values that more training entities have come
            first. A model that decodes greedily can then still add rarer values; after a rare value it could not go
            back. (The lists of MovieLens are alphabetical, which carries no information.)
        within: a pattern whose first group is the part of a text that states this attribute; needed if a text names
            values of several attributes.
        pattern: pattern of a number in a text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    column: str | None = None
    words: dict[str, str] = Field(default_factory=dict)
    synonyms: dict[str, list[str]] = Field(default_factory=dict)
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
            raise ValueError(f"kind {self.kind!r} needs `of`: the attribute whose values it uses")
        if (self.where or self.without) and self.kind not in ("neighbors", "around"):
            raise ValueError(f"`where` and `without` are for the kinds 'neighbors' and 'around', not for {self.kind!r}")
        for field in ("within", "pattern"):
            try:
                groups = re.compile(getattr(self, field) or "").groups
            except (re.error, OverflowError, RecursionError) as error:
                raise ValueError(f"{field} is not a valid pattern: {error}") from None
            if field == "within" and self.within is not None and not groups:
                raise ValueError("`within` has no group; put the part of the text to read into its first group, in ( )")
        return self


def is_missing(raw: Any) -> bool:
    """Return whether a metadata entry has no value: null, blank text, NaN or infinity."""
    if isinstance(raw, str):
        return not raw.strip()
    return raw is None or (isinstance(raw, float) and not math.isfinite(raw))


class AttributeReader:
    """An attribute bound to a space: returns values of rows, their words, and values stated in texts.

    Values are lists of strings (`list`, `titles`, `neighbors`), strings (`category`, `decade`, `band`) or floats
    (`number`); None if the metadata have no value.
    """

    def __init__(self, name: str, attribute: Attribute, space: VectorSpace) -> None:
        self.name, self.attribute, self.space = name, attribute, space
        self.column = attribute.column or name
        self.kind = attribute.kind
        self.apart: list[AttributeReader] = []  # attributes that state values of this one about the surroundings
        self.present = self.kind not in COMPUTED and self.column in space.column_names
        if self.present:
            self._check_type(space.column(self.column).type)

    def _check_type(self, column_type: pa.DataType) -> None:
        """Raise a CorpusError if this kind of attribute cannot use a column of this type."""
        inner = column_type.value_type if is_list(column_type) else column_type
        inner = inner.value_type if pa.types.is_dictionary(inner) else inner
        plain = is_text(inner) or pa.types.is_null(inner)
        number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner)
        if self.kind in ("list", "titles"):
            fits, needed = is_list(column_type) and plain, "lists of text"
            fix = f"split text with --list-column '{self.column}:|' when the space is imported"
        elif self.kind == "category":
            fits, needed = not pa.types.is_nested(column_type), "one value per entity"
            fix = "name another column in the suite, or set `kind: list`"
        else:
            fits, needed = not is_list(column_type) and (plain or number), "numbers"
            fix = f"{_EXTRACT.format(self.column)}, and name that column in the suite"
        if not fits and not pa.types.is_null(column_type):
            raise CorpusError(
                f"space {self.space.name!r}: column {self.column!r} holds {column_type}, but attribute {self.name!r} "
                f"of kind {self.kind!r} needs {needed}; {fix}"
            )

    # ---- from metadata

    def value(self, row: int) -> Any:
        """Return the value of a row, or None if it is missing."""
        if not self.present:
            return None
        raw = self._raw(row)
        return None if is_missing(raw) else self.from_metadata(raw, row)

    def _raw(self, row: int) -> Any:
        return self.space.column(self.column)[row].as_py()

    def from_metadata(self, raw: Any, row: int | None = None) -> Any:
        """Return the value of a metadata entry; an error names `row`, the row of the entry."""
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
        """Look up many rows at once if single look-ups are expensive, before `value` reads them."""

    @cached_property
    def edges(self) -> np.ndarray:
        """Boundaries between the bands: quantiles among training entities."""
        raw = {row: self._raw(row) for row in map(int, self.space.rows(TRAIN))}
        bands = len(self.attribute.labels)
        known = [self._number(value, row) for row, value in raw.items() if not is_missing(value)]
        return np.quantile(known, np.arange(1, bands) / bands) if known else np.zeros(bands - 1)

    @cached_property
    def _counts(self) -> tuple[dict[str, int], int]:
        """Number of training entities with each value, most frequent first, and number with any value."""
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
        """All values of training entities, most frequent first; empty for numbers and titles."""
        return list(self._counts[0])

    def share(self, value: str) -> float:
        """Return how many of the training entities with known values have this value, as a share."""
        counts, known = self._counts
        return counts.get(value, 0) / max(known, 1)

    @cached_property
    def rank(self) -> dict[str, int]:
        """Rank of each value; 0 is the most frequent."""
        return {value: place for place, value in enumerate(self.vocabulary)}

    # ---- to and from words

    def words(self, value: Any) -> Any:
        """Return a value in words: strings in the order of the attribute, one string, or an unchanged number."""
        if isinstance(value, list):
            if self.attribute.order == "common":
                value = sorted(value, key=lambda v: self.rank.get(v, len(self.rank)))
            return [self.say(v) for v in value]
        return self.say(value) if isinstance(value, str) else value

    def say(self, value: str) -> str:
        """Return one value as it is written in a text."""
        if self.kind in ("titles", "decade", "band"):
            return value
        return self.attribute.words.get(value, value.lower() if self.kind == "list" else value)

    @cached_property
    def _spoken(self) -> tuple[ValueFinder, dict[str, str]]:
        values = {self.say(value).lower(): value for value in reversed(self.vocabulary)}
        return ValueFinder(values), values

    def read(self, text: str) -> Any:
        """Read this attribute from a text by fixed rules, the inverse of how the facts teacher writes it.

        Quoted titles are skipped, since a title may contain any word. Statements about the surroundings (`apart`) are
        skipped too. Returns a list of values (`list`), one value, a float, or None if the text states no value.
        """
        values = self.stated(text)
        if self.kind in ("list", "around"):
            return list(dict.fromkeys(values))
        return values[0] if values else None

    def stated(self, text: str) -> list[Any]:
        """Return all values of this attribute that a text states, in the order of the text, by the rules of `read`."""
        text = _QUOTED.sub("", text)
        for other in self.apart:
            text = re.sub(str(other.attribute.within), "", text)
        if self.attribute.within is not None:
            text = " ".join(m.group(1) for m in re.finditer(self.attribute.within, text))
        if self.kind == "number":
            return [float(match.group()) for match in re.finditer(self.attribute.pattern, text)]
        if self.kind == "decade":  # any decade, not only those of training entities
            return _DECADE.findall(text)
        finder, values = self._spoken
        return [values[word] for word in finder.find(text.lower())]
