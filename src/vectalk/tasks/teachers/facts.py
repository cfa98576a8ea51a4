"""Teachers write the target texts of a corpus; answering a question never uses a teacher."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vectalk.errors import CorpusError
from vectalk.space import VectorSpace
from vectalk.space.expression import evaluate as evaluate_expression
from vectalk.space.titles import closest
from vectalk.tasks.attributes import COMPUTED, DERIVED, UNREAD, AttributeReader
from vectalk.tasks.suite import ABOUT, Suite, Task
from vectalk.tasks.surroundings import SpaceReader, bind
from vectalk.tasks.teachers import grammar

Values = dict[str, Any]
REMEMBERED = 100_000  # entities whose values are cached, since a teacher writes many texts about each


@dataclass(frozen=True, slots=True)
class Assignment:
    """One target text that a teacher has to write.

    Attributes:
        task: the task.
        rows: slot -> row of its space.
        seed: seed of the random choices for this text.
        copy: number of this text, from 0, among the training examples of the task about the same first entity.
    """

    task: Task
    rows: Mapping[str, int]
    seed: str = "0"
    copy: int = 0


class Teacher(Protocol):
    """Writes target texts. Every example of the corpus records the `name` of its teacher."""

    name: str

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Return the text of each assignment, in order, or None if no text can be written."""
        ...

    def provenance(self) -> dict[str, Any]:
        """Return how the texts were written, for the card of the corpus; the name is recorded elsewhere."""
        ...

    def notes(self) -> list[str]:
        """Return messages to show to the user after the corpus is written."""
        ...


def check_spaces(suite: Suite, spaces: Mapping[str, VectorSpace]) -> None:
    """Raise a CorpusError if `spaces` lacks a space that the tasks of the suite need."""
    missing = [name for name in suite.spaces if name not in spaces]
    if missing:
        raise CorpusError(
            f"suite {suite.name!r} needs the spaces {', '.join(suite.spaces)}; missing: "
            + ", ".join(f"--space {name}=DIR" for name in missing)
        )


class _Known(dict[str, Any]):
    """The words of an entity's attributes; each is computed when a wording first uses it."""

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
    """Writes texts that state the metadata, with the varied wordings of the suite's grammar.

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
        self._about: dict[tuple[Any, ...], Values] = {}  # values at the points of the current assignments

    def provenance(self) -> dict[str, Any]:
        """Return an empty dictionary: the card already records the suite and the seed, which determine the texts."""
        return {}

    def notes(self) -> list[str]:
        """Return a message for each attribute that no text states."""
        return self.absent()

    def absent(self) -> list[str]:
        """Return a message for each attribute whose column does not exist, with the closest name of a column."""
        messages = []
        for space, readers in self.readers.items():
            for name, reader in readers.items():
                if not reader.present and reader.kind not in COMPUTED:
                    near = closest(reader.column, reader.space.column_names, 1)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    messages.append(f"space {space!r} has no column {reader.column!r}{hint}: no text states {name!r}")
        return messages

    def used(self, task: Task) -> dict[str, set[str]]:
        """Return, for each slot, the attributes that a task's texts use, and the attributes that these depend on."""
        known = self._used.get(task.name)
        if known is None or known[0] is not task:
            attributes: dict[str, set[str]] = {slot: set() for slot in (*task.slots, ABOUT)}
            for wording in (w for wordings in task.facts for w in wordings):
                for slot, name in grammar.facts_used(wording):
                    space = task.slots.get(slot) or str(task.between)
                    attribute = self.readers[space][str(name)].attribute
                    attributes[slot] |= {str(name), *([str(attribute.of)] if attribute.kind in DERIVED else [])}
            known = self._used[task.name] = (task, attributes)
        return known[1]

    def prepare(self, task: Task, rows: Mapping[str, list[int]]) -> None:
        """Look up the surroundings of many rows at once."""
        for slot, space in task.slots.items():
            for name in self.used(task)[slot]:
                self.readers[space][name].prepare(rows[slot])

    def values(self, space: str, row: int) -> Values:
        """Return all attribute values of an entity; None for missing values."""
        return {name: reader.value(row) for name, reader in self.readers[space].items()}

    def words(self, space: str, values: Values) -> grammar.Facts:
        """Return attribute values, known or predicted, as words for the grammar."""
        readers = self.readers[space]
        facts = {name: readers[name].words(value) for name, value in values.items()}
        for name, reader in readers.items():  # derived attributes must follow the values passed, not the metadata
            if isinstance(reader, SpaceReader) and reader.kind in DERIVED and reader.attribute.of in values:
                facts[name] = reader.words(reader.derive(values[reader.attribute.of]))
        return grammar.Facts(facts)

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Write the reference texts of many assignments, looking up all neighbours at once."""
        tasks: dict[str, tuple[Task, dict[str, set[int]]]] = {}
        for one in assignments:
            _, rows = tasks.setdefault(one.task.name, (one.task, {slot: set() for slot in one.task.slots}))
            for slot, row in one.rows.items():
                rows[slot].add(row)
        self._about.clear()
        for task, rows in tasks.values():
            self.prepare(task, {slot: sorted(numbers) for slot, numbers in rows.items()})
            pairs = [one.rows for one in assignments if one.task.name == task.name]
            self._about |= {_key(task, pair): known for pair, known in zip(pairs, self.about(task, pairs), strict=True)}
        return [self.write(one.task, one.rows, one.seed) for one in assignments]

    def write(self, task: Task, rows: Mapping[str, int], seed: str) -> str | None:
        """Write the reference text of a task about entities; None if no sentence can be written."""
        facts = {slot: grammar.Facts(self._of(space, rows[slot])) for slot, space in task.slots.items()}
        if self.used(task)[ABOUT]:
            values = self._about.get(_key(task, rows)) or self.about(task, [rows])[0]
            facts[ABOUT] = self.words(str(task.between), values)
        return self._compose(task, facts, seed)

    def about(self, task: Task, rows: Sequence[Mapping[str, int]]) -> list[Values]:
        """Return the attribute values that a two-slot task's texts use, at the points that the task is about."""
        used = self.used(task)[ABOUT]
        if not used or not rows:
            return [{} for _ in rows]
        readers = self.readers[str(task.between)]
        space = next(iter(readers.values())).space
        points = [{slot: space[row] for slot, row in slots.items()} for slots in rows]
        vectors = np.stack([evaluate_expression(str(task.about), space, names=slots).values for slots in points])
        lookups: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        columns = {name: r.at(vectors, lookups) for name in used if isinstance(r := readers[name], SpaceReader)}
        return [{name: column[i] for name, column in columns.items()} for i in range(len(rows))]

    def spell(self, task: Task, values: Mapping[str, Values], seed: str) -> str | None:
        """Write a text from attribute values, known or predicted; the same seed picks the same wordings.

        Args:
            task: the task.
            values: slot -> attribute -> value; the key `about` holds values of the point that a two-slot task is about.
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
            raise CorpusError(
                f"task {task.name!r} has no `facts`, so the facts teacher cannot write its texts; "
                "add `facts` to the task, or use another teacher"
            )
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
        """Describe an entity in a few words without titles, for a model that gets no vectors.

        Args:
            space: name of the space.
            row: the entity.
            names: attributes to include, e.g. those that the texts of a task use (see `used`); when omitted, all
                attributes that can be read back.
        """
        known, parts = self._of(space, row), []
        for name, reader in self.readers[space].items():
            included = reader.kind not in ("number", *UNREAD) if names is None else name in names and _is_brief(reader)
            words = known[name] if included and reader.present else None
            if words is not None:
                parts.append(f"{name.replace('_', ' ')}: {', '.join(words) if isinstance(words, list) else words}")
        return "; ".join(parts)


def _is_brief(reader: AttributeReader) -> bool:
    """Return whether a few words can state an attribute: it holds no titles, is no long list and is not derived."""
    around = reader.kind == "around" and reader.attribute.lean == "more"
    return around or reader.kind not in ("number", *UNREAD)
