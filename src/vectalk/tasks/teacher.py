"""Teachers write the target texts; they are never used at ask time."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vectalk.errors import CorpusError
from vectalk.space import VectorSpace
from vectalk.space.titles import closest
from vectalk.tasks import grammar
from vectalk.tasks.attributes import UNREAD, AttributeReader
from vectalk.tasks.suite import Suite, Task

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
        self.readers = {
            space: {
                name: AttributeReader(name, a, spaces[space]) for name, a in suite.attributes.get(space, {}).items()
            }
            for space in suite.spaces
        }
        self._values: dict[tuple[str, int], Values] = {}

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
                if not reader.present:
                    near = closest(reader.column, reader.space.column_names, 1)
                    hint = f" (did you mean {near[0]!r}?)" if near else ""
                    said.append(f"{space} has no column {reader.column!r}{hint}: {name!r} is left out of all texts")
        return said

    def prepare(self, task: Task, rows: Mapping[str, list[int]]) -> None:
        """Look up the neighbours of many rows at once."""
        for slot, space in task.slots.items():
            for reader in self.readers[space].values():
                reader.prepare(rows[slot])

    def values(self, space: str, row: int) -> Values:
        """Return all attribute values of an entity; None where the metadata lack one."""
        if (space, row) not in self._values:
            if len(self._values) >= REMEMBERED:
                self._values.clear()
            self._values[space, row] = {name: reader.value(row) for name, reader in self.readers[space].items()}
        return self._values[space, row]

    def words(self, space: str, values: Values) -> grammar.Facts:
        """Turn attribute values into the words that the grammar takes."""
        said = {name: self.readers[space][name].words(value) for name, value in values.items()}
        return grammar.Facts(said)

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Write the reference texts of many assignments, looking up all neighbours at once."""
        asked: dict[str, tuple[Task, dict[str, set[int]]]] = {}
        for one in assignments:
            _, rows = asked.setdefault(one.task.name, (one.task, {slot: set() for slot in one.task.slots}))
            for slot, row in one.rows.items():
                rows[slot].add(row)
        for task, rows in asked.values():
            self.prepare(task, {slot: sorted(found) for slot, found in rows.items()})
        return [self.write(one.task, one.rows, one.seed) for one in assignments]

    def write(self, task: Task, rows: Mapping[str, int], seed: str) -> str | None:
        """Write the reference text of a task about entities; None where no sentence can be written."""
        return self.spell(task, {slot: self.values(space, rows[slot]) for slot, space in task.slots.items()}, seed)

    def spell(self, task: Task, values: Mapping[str, Values], seed: str) -> str | None:
        """Write a text from attribute values, known or predicted; the same seed picks the same wordings."""
        if not task.facts:
            raise CorpusError(f"task {task.name!r} has no `facts`, so the facts teacher cannot write it")
        facts = {slot: self.words(task.slots[slot], v) for slot, v in values.items()}
        choice = random.Random(f"{seed}/{task.name}")
        sentences = []
        for wordings in task.facts:
            # The order is drawn also where nothing can be written, so that later choices do not shift.
            order = choice.sample(range(len(wordings)), len(wordings))
            text = next(filter(None, (grammar.render(wordings[i], facts) for i in order)), None)
            if text:
                sentences.append(text[:1].upper() + text[1:])
        return " ".join(sentences) or None

    def brief(self, space: str, row: int) -> str:
        """Describe an entity in a few bare words (no titles), as one might to a model without vectors."""
        readers = self.readers[space]
        parts = []
        for name, value in self.values(space, row).items():
            if value is None or readers[name].kind in ("number", *UNREAD):
                continue
            said = readers[name].words(value if isinstance(value, list) else [value])
            parts.append(f"{name.replace('_', ' ')}: {', '.join(said)}")
        return "; ".join(parts)
