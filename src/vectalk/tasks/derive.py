"""Derive attributes from the metadata columns of a space, for suites without attributes of their own."""

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
MOST = 8  # attributes in a text; longer texts are too hard to learn
SAMPLE = 20_000  # training entities looked at
KNOWN = 0.05  # share of entities with a value, below which a column is left out
REPEATED = 3.0  # mean number of entities per value, below which a column identifies entities instead of describing them
CATEGORIES, VALUES = 100, 2_000  # the most different values of a category, of a list
FEW = 10  # a column of whole numbers with at most this many values is a category
BANDS = ("very low", "rather low", "rather high", "very high")
LIKELY_YEARS, POSSIBLE_YEARS = (1500, 2100), (1000, 2200)
_YEAR = re.compile(r"year|date|vintage|founded|released?|published|born|built|since|settled|decade", re.I)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_YEAR_HINT = r"; make a year of it with --extract 'year={}:(\d{{4}})'"
_IDENTIFIER = re.compile(r"(^|[_\W])(id|ids|uuid|guid|key|index|url|uri|href|link|path)$|[a-z]Id$", re.I)
_BEFORE = r"(?:^|[;:,.?!] )"  # text before an introduction in the generic texts
_PARTICIPLE = re.compile(r"(?:ed|\bborn|\bbuilt)$")
_PLURAL = re.compile(r"[^sui]s$")


@dataclass
class Derived:
    """Attributes derived from the columns of a space.

    Attributes:
        attributes: name -> attribute, the most informative first.
        labels: name -> name of the attribute in a text.
        left_out: column -> why it becomes no attribute.
        counted: names of the categories whose values are whole numbers.
        introductions: name -> text before the value in a sentence, such as "the price is ".
    """

    attributes: dict[str, Attribute] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)
    introductions: dict[str, str] = field(default_factory=dict)

    @property
    def numbers(self) -> list[str]:
        """Names of the attributes that are bands of numbers."""
        return [name for name, attribute in self.attributes.items() if attribute.kind == "band"]


def derive_attributes(space: VectorSpace, *, most: int = MOST) -> Derived:
    """Derive attributes from the metadata columns of a space, by looking at its training entities.

    Lists of text become `list`, text and flags with few values `category`, years `decade`, other numbers `band`.
    A column is left out, with the reason, if it identifies entities instead of describing them (ids, titles, free
    text), if all entities have the same value, or if few entities have a value.

    Args:
        space: the space.
        most: the most attributes; lists come first, then categories, years and other numbers.
    """
    candidates: list[tuple[int, str, Attribute]] = []
    derived = Derived()
    for column in space.column_names:
        if column in SKIPPED:
            continue
        outcome = _derive(space, column)
        if isinstance(outcome, str):
            derived.left_out[column] = outcome
        else:
            candidates.append((("list", "category", "decade", "band").index(outcome.kind), column, outcome))
    for place, (_, column, attribute) in enumerate(sorted(candidates, key=lambda item: item[0])):
        if place >= most:
            derived.left_out[column] = f"there are already {most} attributes"
            continue
        name = _name(column, derived.attributes)
        label = label_of(column)
        derived.labels[name] = label
        kind = space.column(column).type
        if attribute.kind == "category" and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            derived.counted.add(name)
        introduction = derived.introductions[name] = _introduction(label, attribute, name in derived.counted)
        pattern = rf"(?i:{_BEFORE}(?:{re.escape(introduction)}|{re.escape(label)}: ))(.*?)(?=; |\.\s|\.$|$)"
        derived.attributes[name] = attribute.model_copy(update={"column": column, "within": pattern})
    return derived


def label_of(column: str) -> str:
    """Return the name of a column in a text: `alcoholPct` and `alcohol_pct` become "alcohol pct"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column)
    return " ".join(regex.sub(rf"[^{IN_WORD}]|_", " ", spaced).split()).lower() or "value"


def _introduction(label: str, attribute: Attribute, counted: bool) -> str:
    """Return the text before a value in a sentence, such as "the price is ", "founded in the " or "organic: "."""
    plural = bool(_PLURAL.search(label))
    if attribute.kind == "decade":
        return f"{label} in the " if _PARTICIPLE.search(label) else f"the {label} is in the "
    if set(attribute.words.values()) >= {"yes", "no"} or (plural and counted):
        return f"{label}: "
    return f"the {label} {'are' if plural else 'is'} "


def _name(column: str, taken: Iterable[str]) -> str:
    name = re.sub(r"\W+", "_", label_of(column)).strip("_")
    if not name or not name[0].isalpha() or keyword.iskeyword(name) or not name.isascii():
        name = f"column_{re.sub(r'[^a-z0-9]+', '_', name).strip('_')}".rstrip("_")
    number, base = 2, name
    while name in (*taken, "place", "similar"):
        name, number = f"{base}_{number}", number + 1
    return name


def _derive(space: VectorSpace, column: str) -> Attribute | str:
    """Return the attribute of a column, or the reason why it becomes none."""
    kind = space.column(column).type
    rows = space.rows(TRAIN)
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)]
    values = space.column(column).take(pa.array(rows)).to_pylist()
    inner = kind.value_type if is_list(kind) or pa.types.is_dictionary(kind) else kind
    known = [value for value in values if not is_missing(value) and value != []]
    if len(known) < max(2, KNOWN * len(values)):
        return f"only {len(known)} of {len(values)} training entities have a value"
    if is_list(kind):
        return _list(known) if is_text(inner) else f"holds {kind}, which the generic suite cannot put into words"
    if _IDENTIFIER.search(column):
        return "its name is the name of an identifier"
    if pa.types.is_boolean(inner):
        return _category(known, {"True": "yes", "False": "no"})
    if pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner):
        return _numbers(column, [float(value) for value in known])
    if is_text(inner):
        numbers = _as_numbers(known)
        return _numbers(column, numbers) if numbers is not None else _text(column, known)
    hint = _YEAR_HINT.format(column) if pa.types.is_temporal(inner) else ""
    return f"holds {kind}, which the generic suite cannot put into words{hint}"


def _list(known: list[list[Any]]) -> Attribute | str:
    counts = Counter(str(value) for values in known for value in values if not is_missing(value))
    if not counts:
        return "its lists are empty"
    if len(counts) > VALUES or sum(counts.values()) < REPEATED * len(counts):
        return f"its lists hold {len(counts)} different values, most of them rare: they identify entities"
    if all(count == len(known) for count in counts.values()):
        return "its lists are all the same"
    return Attribute(kind="list", order="common", words=_words(counts, str.lower))


def _text(column: str, known: list[str]) -> Attribute | str:
    shares = {"|": 0.25, ";": 0.5}  # a semicolon may also be part of a name
    signs = [sign for sign, share in shares.items() if sum(sign in value for value in known) > share * len(known)]
    if all(_DATE.match(value) for value in known):
        return f"it holds dates, which the generic suite cannot put into words{_YEAR_HINT.format(column)}"
    if signs:
        return f"its text looks like lists; split them with --list-column '{column}:{signs[0]}' at import"
    return _category(known, {})


def _category(known: list[Any], words: dict[str, str]) -> Attribute | str:
    counts = Counter(str(value) for value in known)
    if len(counts) < 2:
        return f"it is {next(iter(counts))!r} for all"
    if len(counts) > CATEGORIES or len(known) < REPEATED * len(counts):
        return f"it has {len(counts)} different values for {len(known)} entities: it identifies entities"
    return Attribute(kind="category", words={**_words(counts, str), **words})


def _words(counts: Counter[str], say: Any) -> dict[str, str]:
    """Return the words of values that would break a text: values with clause separators, full stops or extra blanks."""

    def cleaned(value: str) -> str:
        value = re.sub(r"[“”\"]", "'", value)
        value = re.sub(r"\s*[;:]\s+|\s*;\s*", ", ", value)
        return " ".join(re.sub(r"\.(?=\s|$)", "", value).split())

    return {value: cleaned(say(value)) for value in counts if cleaned(say(value)) not in (say(value), "")}


def _as_numbers(known: list[str]) -> list[float] | None:
    """Return texts as numbers if all are numbers, else None; a code such as 01067 is no number."""
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
        return "it counts up from entity to entity: it identifies them"
    for bands in (4, 3, 2):  # with many ties, fewer bands are possible
        edges = np.quantile(values, np.arange(1, bands) / bands)
        if len(np.unique(edges)) == bands - 1 and edges[0] > values.min():
            labels = {4: BANDS, 3: ("low", "middling", "high"), 2: ("low", "high")}[bands]
            return Attribute(kind="band", labels=list(labels))
    return "too many of its numbers are the same"
