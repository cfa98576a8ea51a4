"""Attributes that nobody wrote: what the metadata columns of a space are, and how they can be said."""

from __future__ import annotations

import keyword
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import regex

from vectalk.space import VectorSpace
from vectalk.space.importing.column_types import CODE
from vectalk.space.importing.tables import is_list, is_text
from vectalk.space.letters import IN_WORD
from vectalk.space.split import TRAIN
from vectalk.tasks.attributes import Attribute, is_missing

SKIPPED = ("id", "title", "split")
MOST = 8  # attributes stated: more make a text that nobody learns
SAMPLE = 20_000  # training entities looked at
KNOWN = 0.05  # a column known for fewer entities is left out
REPEATED = 3.0  # entities that a value must have on average, else the column names entities instead of describing them
CATEGORIES, VALUES = 100, 2_000  # different values of a category and of a list at most
FEW = 10  # whole numbers with at most so many values are categories
BANDS = ("very low", "rather low", "rather high", "very high")
LIKELY_YEARS, POSSIBLE_YEARS = (1500, 2100), (1000, 2200)
_YEAR = re.compile(r"year|date|vintage|founded|released?|published|born|built|since|settled|decade", re.I)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_YEAR_HINT = r"; make a year of it with --extract 'year={}:(\d{{4}})'"
_IDENTIFIER = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|url|uri|href|link|path)$|[a-z]Id$", re.I)
_INTRODUCED = r"(?:^|[;:.?!] |\b(?:with|has|wants) )"  # what stands before `label:` in the generic texts


@dataclass
class Derived:
    """What was found out about the columns of a space.

    Attributes:
        attributes: name -> attribute, the most telling first.
        labels: name -> how the attribute is called in a text.
        left_out: column -> why nothing is said of it.
        counted: names of the categories that are whole numbers.
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)

    @property
    def numbers(self) -> list[str]:
        """Names of the attributes made from numbers."""
        return [name for name, attribute in self.attributes.items() if attribute.kind == "band"]


def derive_attributes(space: VectorSpace, *, most: int = MOST) -> Derived:
    """Find out what the metadata columns of a space are, from its training entities, and how they can be said.

    Lists of text become `list`, text and flags with few values `category`, years `decade`, other numbers `band`.
    What names entities instead of describing them (ids, titles, free text), says the same of all, or is known of
    hardly any is left out, with the reason.

    Args:
        space: the space.
        most: attributes at most; lists and categories come before years, and these before other numbers.
    """
    found: list[tuple[int, str, Attribute]] = []
    derived = Derived()
    for column in space.column_names:
        if column in SKIPPED:
            continue
        made = _derive(space, column)
        if isinstance(made, str):
            derived.left_out[column] = made
        else:
            found.append((("list", "category", "decade", "band").index(made.kind), column, made))
    for place, (_, column, attribute) in enumerate(sorted(found, key=lambda item: item[0])):
        if place >= most:
            derived.left_out[column] = f"there are {most} attributes already"
            continue
        name = _name(column, derived.attributes)
        label = label_of(column)
        derived.labels[name] = label
        kind = space.column(column).type
        if attribute.kind == "category" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            derived.counted.add(name)
        pattern = rf"(?i:{_INTRODUCED}{re.escape(label)}): (.*?)(?=; |\.\s|\.$|$)"
        derived.attributes[name] = attribute.model_copy(update={"column": column, "within": pattern})
    return derived


def label_of(column: str) -> str:
    """Return how a column is called in a text: `alcoholPct` and `alcohol_pct` become "alcohol pct"."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column)
    return " ".join(regex.sub(rf"[^{IN_WORD}]|_", " ", parted).split()).lower() or "value"


def _name(column: str, taken: Iterable[str]) -> str:
    name = re.sub(r"\W+", "_", label_of(column)).strip("_")
    if not name or not name[0].isalpha() or keyword.iskeyword(name) or not name.isascii():
        name = f"column_{re.sub(r'[^a-z0-9]+', '_', name).strip('_')}".rstrip("_")
    number, wanted = 2, name
    while name in (*taken, "place", "similar"):
        name, number = f"{wanted}_{number}", number + 1
    return name


def _derive(space: VectorSpace, column: str) -> Attribute | str:
    """Return the attribute that a column makes, or why it makes none."""
    kind = space.column(column).type
    rows = space.rows(TRAIN)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)]
    values = space.column(column).take(pa.array(rows)).to_pylist()
    inner = kind.value_type if is_list(kind) or pa.types.is_dictionary(kind) else kind
    known = [value for value in values if not is_missing(value) and value != []]
    if len(known) < max(2, KNOWN * len(values)):
        return f"known for {len(known)} of {len(values)} training entities only"
    if is_list(kind):
        return _list(known) if is_text(inner) else f"holds {kind}, and nothing is known of saying that"
    if _IDENTIFIER.search(column):
        return "its name is that of an identifier"
    if pa.types.is_boolean(inner):
        return _category(known, {"True": "yes", "False": "no"})
    if pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner):
        return _numbers(column, [float(value) for value in known])
    if is_text(inner):
        numbers = _as_numbers(known)
        return _numbers(column, numbers) if numbers is not None else _text(column, known)
    hint = _YEAR_HINT.format(column) if pa.types.is_temporal(inner) else ""
    return f"holds {kind}, and nothing is known of saying that{hint}"


def _list(known: list[list[Any]]) -> Attribute | str:
    counts = Counter(str(value) for values in known for value in values if not is_missing(value))
    if not counts:
        return "its lists are empty"
    if len(counts) > VALUES or sum(counts.values()) < REPEATED * len(counts):
        return f"its lists hold {len(counts)} different values, most of them seldom: they name entities"
    if all(count == len(known) for count in counts.values()):
        return "its lists are all the same"
    return Attribute(kind="list", order="common", words=_words(counts, str.lower))


def _text(column: str, known: list[str]) -> Attribute | str:
    shares = {"|": 0.25, ";": 0.5}  # a semicolon may also stand in a name
    signs = [sign for sign, share in shares.items() if sum(sign in value for value in known) > share * len(known)]
    if all(_DATE.match(value) for value in known):
        return f"it holds dates, and nothing is known of saying these{_YEAR_HINT.format(column)}"
    if signs:
        return f"its text looks like lists; part them with --list-column '{column}:{signs[0]}' at import"
    return _category(known, {})


def _category(known: list[Any], words: dict[str, str]) -> Attribute | str:
    counts = Counter(str(value) for value in known)
    if len(counts) < 2:
        return f"it is {next(iter(counts))!r} for all"
    if len(counts) > CATEGORIES or len(known) < REPEATED * len(counts):
        return f"it has {len(counts)} different values for {len(known)} entities: it names entities"
    return Attribute(kind="category", words={**_words(counts, str), **words})


def _words(counts: Counter[str], say: Any) -> dict[str, str]:
    """Return how the values are said that cannot stand in a text as they are: marks that part clauses, blanks."""

    def cleaned(value: str) -> str:
        value = re.sub(r"[“”\"]", "'", value)
        value = re.sub(r"\s*[;:]\s+|\s*;\s*", ", ", value)
        return " ".join(re.sub(r"\.(?=\s|$)", "", value).split())

    return {value: cleaned(say(value)) for value in counts if cleaned(say(value)) not in (say(value), "")}


def _as_numbers(known: list[str]) -> list[float] | None:
    """Return texts as numbers where all are; codes such as 01067 are none."""
    if any(re.search(CODE, value) for value in known):
        return None
    numbers = []
    for value in known:
        try:
            numbers.append(float(value))
        except ValueError:
            return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _numbers(column: str, known: list[float]) -> Attribute | str:
    values = np.array([value for value in known if math.isfinite(value)])
    different = np.unique(values)
    whole = bool((values == np.round(values)).all())
    if len(different) < 2:
        return f"it is {values[0]:g} for all" if len(values) else "it holds no numbers"
    low, high = POSSIBLE_YEARS if _YEAR.search(column) else LIKELY_YEARS
    if whole and low <= values.min() and values.max() <= high:
        return Attribute(kind="decade")
    if whole and len(different) <= FEW:
        return _category([int(value) for value in values], {f"{value:.1f}": f"{value:.0f}" for value in different})
    if whole and len(different) == len(values) and (np.diff(values) > 0).all():
        return "it counts up from entity to entity: it names them"
    for bands in (4, 3, 2):  # ties may leave no room for as many
        edges = np.quantile(values, np.arange(1, bands) / bands)
        if len(np.unique(edges)) == bands - 1 and edges[0] > values.min():
            chosen = {4: BANDS, 3: ("low", "middling", "high"), 2: ("low", "high")}[bands]
            return Attribute(kind="band", labels=list(chosen))
    return "too many of its numbers are the same"
