"""`TextsTeacher`: the targets are the user's own texts, from a column of the metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from vectalk.errors import TeacherError
from vectalk.space import VectorSpace
from vectalk.space.importing.tables import is_text
from vectalk.space.titles import closest
from vectalk.tasks.attributes import is_missing
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teachers.facts import Assignment, check_spaces


class TextsTeacher:
    """Takes each target from a metadata column of the entity; counts and leaves out entities without a text.

    Args:
        suite: the tasks, each with one slot.
        spaces: spaces by name.
        columns: task name -> column; the key "" gives the column of all other tasks.
    """

    def __init__(self, suite: Suite, spaces: Mapping[str, VectorSpace], columns: Mapping[str, str]) -> None:
        check_spaces(suite, spaces)
        self.columns = {task.name: self._column(task, spaces, columns) for task in suite.tasks}
        for name in set(columns) - {""}:
            suite.task(name)
        self.spaces = {task.name: spaces[next(iter(task.slots.values()))] for task in suite.tasks}
        self.name = "texts:" + ",".join(dict.fromkeys(self.columns.values()))
        self.left_out: Counter[str] = Counter()

    @staticmethod
    def _column(task: Task, spaces: Mapping[str, VectorSpace], columns: Mapping[str, str]) -> str:
        name = columns.get(task.name, columns.get(""))
        if name is None:
            raise TeacherError(
                f"task {task.name!r} has no column of texts; add --column {task.name}=COLUMN, or leave "
                "the task out (list the other tasks with --task)"
            )
        if len(task.slots) > 1:
            raise TeacherError(
                f"task {task.name!r} is about two entities, but a text of a column is about one entity; leave the task "
                "out (list the other tasks with --task)"
            )
        space = spaces[next(iter(task.slots.values()))]
        if name not in space.column_names:
            near = ", ".join(map(repr, closest(name, space.column_names) or space.column_names))
            raise TeacherError(f"space {space.name!r} has no column {name!r}; did you mean {near}?")
        kind = space.column(name).type
        if not is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise TeacherError(f"space {space.name!r}: column {name!r} holds {kind}, not texts; name a column of texts")
        return name

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Return the texts of the entities, without blanks and line breaks at both ends; None for missing texts."""
        texts: list[str | None] = []
        for one in assignments:
            column = self.spaces[one.task.name].column(self.columns[one.task.name])
            text = column[next(iter(one.rows.values()))].as_py()
            texts.append(None if is_missing(text) else str(text).strip())
            if texts[-1] is None and one.copy == 0:
                self.left_out[one.task.name] += 1
        return texts

    def provenance(self) -> dict[str, Any]:
        """Return the column of each task, and the number of entities without a text."""
        return {"columns": self.columns, "left_out": dict(self.left_out)}

    def notes(self) -> list[str]:
        """Return a message for each task with entities that have no text."""
        return [
            f"{name}: {count} entities have no text in column {self.columns[name]!r} and are left out"
            for name, count in self.left_out.items()
        ]
