"""Teachers write the target texts; they are never used at ask time."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vectalk.errors import CorpusError
from vectalk.space import VectorSpace
from vectalk.space.expression import evaluate as evaluate_expression
from vectalk.space.titles import closest
from vectalk.tasks.attributes import DERIVED, MADE, UNREAD, AttributeReader
from vectalk.tasks.suite import ABOUT, Suite, Task
from vectalk.tasks.surroundings import SpaceReader, bind
from vectalk.tasks.teachers import grammar

Values = dict[str, Any]
REMEMBERED = 100_000  # entities whose values are kept, since each is written about many times


@dataclass(frozen=True, slots=True)
class Assignment:
    """One answer that a teacher is asked for.

    Attributes:
        task: what is asked.
        rows: slot -> row of its space.
        seed: decides what is drawn for this answer alone.
        copy: its number among the training examples of this task about the same first entity.
    """

    task: Task
    rows: Mapping[str, int]
    seed: str = "0"
    copy: int = 0


class Teacher(Protocol):
    """What writes target texts. `name` goes into the corpus with every example."""

    name: str

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Return a text for each assignment, in their order, or None where nothing can be said."""
        ...

    def provenance(self) -> dict[str, Any]:
        """Return what the card of a corpus is to say of how its texts came about, beyond the name."""
        ...

    def notes(self) -> list[str]:
        """Return what people should be told when the corpus is written."""
        ...


def check_spaces(suite: Suite, spaces: Mapping[str, VectorSpace]) -> None:
    """Raise a CorpusError where a space that the suite's tasks need is not given."""
    missing = [name for name in suite.spaces if name not in spaces]
    if missing:
        raise CorpusError(
            f"suite {suite.name!r} needs the spaces {', '.join(suite.spaces)}; missing: "
            + ", ".join(f"--space {name}=DIR" for name in missing)
        )


class _Known(dict[str, Any]):
    """The words for an entity's attributes, each made when a wording first asks for it."""

    def __init__(self, readers: Mapping[str, AttributeReader], row: int) -> None:
        super().__init__()
        self.readers, self.row = readers, row

    def __missing__(self, name: str) -> Any:
        reader = self.readers[name]
        self[name] = reader.words(reader.value(self.row))
        return self[name]


def _key(task: Task, rows: Mapping[str, int]) -> tuple[Any, ...]:
    return task.name, *(rows[slot] for slot in task.slots)


class FactsTeacher:
    """Writes what the metadata say, in the words of the suite's grammar, with real variety.

    Args:
        suite: tasks with their grammar, and the attributes.
        spaces: spaces by name.
    """

    name = "facts"

    def __init__(self, suite: Suite, spaces: Mapping[str, VectorSpace]) -> None:
        self.suite = suite
        check_spaces(suite, spaces)
        self.readers = {space: bind(suite.attributes.get(space, {}), spaces[space]) for space in suite.spaces}
        self._known: dict[tuple[str, int], _Known] = {}
        self._used: dict[str, tuple[Task, dict[str, set[str]]]] = {}
        self._about: dict[tuple[Any, ...], Values] = {}  # of the assignments at hand

    def provenance(self) -> dict[str, Any]:
        """Return nothing: the suite and the seed, which the card names anyhow, say all."""
        return {}

    def notes(self) -> list[str]:
        """Return what is never stated."""
        return self.absent()

    def absent(self) -> list[str]:
        """Say which attributes are never stated because their column is not there, and what may have been meant."""
        said = []
        for space, readers in self.readers.items():
            for name, reader in readers.items():
                if not reader.present and reader.kind not in MADE:
                    near = closest(reader.column, reader.space.column_names, 1)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    said.append(f"{space} has no column {reader.column!r}{hint}: {name!r} is left out of all texts")
        return said

    def used(self, task: Task) -> dict[str, set[str]]:
        """Return the attributes that the texts of a task are made from, and what these follow from, by slot."""
        known = self._used.get(task.name)
        if known is None or known[0] is not task:
            found: dict[str, set[str]] = {slot: set() for slot in (*task.slots, ABOUT)}
            for wording in (w for wordings in task.facts for w in wordings):
                for slot, name in grammar.facts_used(wording):
                    space = task.slots.get(slot) or str(task.between)
                    attribute = self.readers[space][str(name)].attribute
                    found[slot] |= {str(name), *([str(attribute.of)] if attribute.kind in DERIVED else [])}
            known = self._used[task.name] = (task, found)
        return known[1]

    def prepare(self, task: Task, rows: Mapping[str, list[int]]) -> None:
        """Look up the surroundings of many rows at once."""
        for slot, space in task.slots.items():
            for name in self.used(task)[slot]:
                self.readers[space][name].prepare(rows[slot])

    def values(self, space: str, row: int) -> Values:
        """Return all attribute values of an entity; None where the metadata lack one."""
        return {name: reader.value(row) for name, reader in self.readers[space].items()}

    def words(self, space: str, values: Values) -> grammar.Facts:
        """Turn attribute values, known or predicted, into the words that the grammar takes."""
        readers = self.readers[space]
        said = {name: readers[name].words(value) for name, value in values.items()}
        for name, reader in readers.items():  # what follows from a predicted value follows it, not the metadata
            if isinstance(reader, SpaceReader) and reader.kind in DERIVED and reader.attribute.of in values:
                said[name] = reader.words(reader.derive(values[reader.attribute.of]))
        return grammar.Facts(said)

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Write the reference texts of many assignments, looking up all neighbours at once."""
        asked: dict[str, tuple[Task, dict[str, set[int]]]] = {}
        for one in assignments:
            _, rows = asked.setdefault(one.task.name, (one.task, {slot: set() for slot in one.task.slots}))
            for slot, row in one.rows.items():
                rows[slot].add(row)
        self._about.clear()
        for task, rows in asked.values():
            self.prepare(task, {slot: sorted(found) for slot, found in rows.items()})
            pairs = [one.rows for one in assignments if one.task.name == task.name]
            self._about |= {_key(task, pair): said for pair, said in zip(pairs, self.about(task, pairs), strict=True)}
        return [self.write(one.task, one.rows, one.seed) for one in assignments]

    def write(self, task: Task, rows: Mapping[str, int], seed: str) -> str | None:
        """Write the reference text of a task about entities; None where no sentence can be written."""
        facts = {slot: grammar.Facts(self._of(space, rows[slot])) for slot, space in task.slots.items()}
        if self.used(task)[ABOUT]:
            said = self._about.get(_key(task, rows)) or self.about(task, [rows])[0]
            facts[ABOUT] = self.words(str(task.between), said)
        return self._compose(task, facts, seed)

    def about(self, task: Task, rows: Sequence[Mapping[str, int]]) -> list[Values]:
        """Return what lies around the points that a two-slot task is about, as far as its texts say it."""
        used = self.used(task)[ABOUT]
        if not used or not rows:
            return [{} for _ in rows]
        readers = self.readers[str(task.between)]
        space = next(iter(readers.values())).space
        points = [{slot: space[row] for slot, row in slots.items()} for slots in rows]
        vectors = np.stack([evaluate_expression(str(task.about), space, names=slots).values for slots in points])
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        columns = {name: r.at(vectors, found) for name in used if isinstance(r := readers[name], SpaceReader)}
        return [{name: column[i] for name, column in columns.items()} for i in range(len(rows))]

    def spell(self, task: Task, values: Mapping[str, Values], seed: str) -> str | None:
        """Write a text from attribute values, known or predicted; the same seed picks the same wordings.

        Args:
            task: the task.
            values: slot -> attribute -> value; `about` -> the same of the point that a two-slot task is about.
            seed: picks the wordings.
        """
        facts = {slot: self.words(task.slots.get(slot) or str(task.between), v) for slot, v in values.items()}
        return self._compose(task, facts, seed)

    def _of(self, space: str, row: int) -> "_Known":
        if (space, row) not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[space, row] = _Known(self.readers[space], row)
        return self._known[space, row]

    def _compose(self, task: Task, facts: Mapping[str, grammar.Facts], seed: str) -> str | None:
        if not task.facts:
            raise CorpusError(f"task {task.name!r} has no `facts`, so the facts teacher cannot write it")
        choice = random.Random(f"{seed}/{task.name}")
        scene = grammar.scene({ABOUT: grammar.Facts({}), **facts})
        sentences: list[str] = []
        for wordings in task.facts:
            text = grammar.write(wordings, scene, choice)
            if text:
                number = f"{len(sentences) + 1}. " if task.numbered else ""
                sentences.append(number + text[:1].upper() + text[1:])
                if len(sentences) == task.most:
                    break
        return " ".join(sentences) or None

    def brief(self, space: str, row: int, names: Collection[str] | None = None) -> str:
        """Describe an entity in a few bare words (no titles), as one might to a model without vectors.

        Args:
            space: name of the space.
            row: the entity.
            names: attributes to tell of, e.g. those that a task's texts are `used` for; when omitted, all that can be
                read back.
        """
        known, parts = self._of(space, row), []
        for name, reader in self.readers[space].items():
            told = reader.kind not in ("number", *UNREAD) if names is None else name in names and _brief(reader)
            said = known[name] if told and reader.present else None
            if said is not None:
                parts.append(f"{name.replace('_', ' ')}: {', '.join(said) if isinstance(said, list) else said}")
        return "; ".join(parts)


def _brief(reader: AttributeReader) -> bool:
    """Say whether an attribute can be told in a few words: no titles, no long list, nothing derived."""
    around = reader.kind == "around" and reader.attribute.lean == "more"
    return around or reader.kind not in ("number", *UNREAD)
