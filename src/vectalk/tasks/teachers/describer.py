"""`Describer`: the facts of a space's entities, in words for a reader who does not know the suite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from vectalk.errors import TeacherError
from vectalk.space import VectorSpace
from vectalk.space.titles import closest
from vectalk.tasks.attributes import COMPUTED, AttributeReader, is_missing
from vectalk.tasks.named_titles import own_title

LONGEST = 600  # characters of one fact


class Describer:
    """Returns the facts of a space's entities in words: title, attributes, and values of other columns.

    Args:
        name: what the suite calls the space.
        space: the space.
        readers: its attributes by name.
        columns: attributes and columns to include. When omitted, all attributes from metadata are included, and those
            computed attributes that the texts of the task use.

    Attributes:
        known: names that `columns` may contain.
    """

    def __init__(
        self,
        name: str,
        space: VectorSpace,
        readers: Mapping[str, AttributeReader],
        columns: Sequence[str] | None = None,
    ) -> None:
        self.kind, self.space = spaced(name), space
        self.known = {*readers, *space.column_names}
        titled = any(self.title(row) for row in range(min(len(space), 5)))
        included = {n: r for n, r in readers.items() if r.present and (titled or r.kind != "neighbors")}
        if columns is not None:
            included = {name: included[name] for name in columns if name in included}
        self._always = {n: r for n, r in included.items() if columns is not None or r.kind not in COMPUTED}
        self._sometimes = {n: r for n, r in included.items() if n not in self._always}
        used = {reader.column for reader in readers.values()} | {"id", "title", "split"}
        others = [name for name in space.column_names if name not in used]
        self.columns = (
            others if columns is None else [n for n in columns if n in space.column_names and n not in self._always]
        )

    def title(self, row: int) -> str | None:
        """Return the title of an entity; None if it has none, or if the title only repeats its id."""
        return own_title(self.space, row, self.kind)

    def _readers(self, used: Collection[str]) -> dict[str, AttributeReader]:
        return self._always | {name: reader for name, reader in self._sometimes.items() if name in used}

    def prepare(self, rows: Iterable[int], used: Collection[str] = ()) -> None:
        """Look up the surroundings of many rows at once."""
        rows = list(rows)
        for reader in self._readers(used).values():
            reader.prepare(rows)

    def facts(self, row: int, used: Collection[str] = ()) -> list[tuple[str, str]]:
        """Return the facts of an entity as (name, words) pairs; `used`: attributes that the task's texts use."""
        pairs = []
        for name, reader in self._readers(used).items():
            value = reader.value(row)
            if not is_missing(value) and value != []:
                words = reader.words(value)
                quoted = reader.kind in ("titles", "neighbors")
                pairs.append((self._label(name, reader), _as_text([f"“{w}”" for w in words] if quoted else words)))
        for name in self.columns:
            value = self.space.column(name)[row].as_py()
            if not is_missing(value) and value != []:
                pairs.append((spaced(name), _as_text(value)))
        return [(name, words) for name, words in pairs if words]

    def _label(self, name: str, reader: AttributeReader) -> str:
        """Return the name of an attribute for a reader who does not know the suite."""
        attribute, things = reader.attribute, f"{self.kind}s"
        conditions = [f"with {n} {v}" for n, v in attribute.where.items()]
        conditions += [f"without {n} {v}" for n, v in attribute.without.items()]
        kind = " ".join([things, *conditions])
        if reader.kind == "neighbors":
            return f"most similar {kind}"
        if reader.kind == "around":
            lean = "lean to" if attribute.lean == "more" else "seldom have"
            return f"{spaced(str(attribute.of))} that similar {kind} {lean}"
        if reader.kind == "rarest":
            return f"rarest of its {spaced(str(attribute.of))}"
        if reader.kind == "rarity":
            return f"of how many {things} one has the rarest of its {spaced(str(attribute.of))}"
        return spaced(name)


def check_columns(describers: Mapping[str, Describer], columns: Sequence[str] | None) -> None:
    """Raise a TeacherError if no space has a column or attribute of one of these names."""
    known = set().union(*(describer.known for describer in describers.values()))
    for name in columns or ():
        if name not in known:
            near = closest(name, sorted(known)) or sorted(known)
            raise TeacherError(f"--fact: no space has an attribute or column {name!r}; did you mean {', '.join(near)}?")


def _as_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(_as_text(item) for item in value if not is_missing(item))
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"


def spaced(name: str) -> str:
    """Return a name as words."""
    return name.replace("_", " ")
