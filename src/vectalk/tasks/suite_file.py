"""Suites as YAML text: where in the file each value stands, so that a mistake is named with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

Path = tuple[str | int, ...]


class Misplaced(ValueError):  # noqa: N818 - pydantic takes any ValueError for a message to the user
    """Something that a validator found wrong, with where it lies below the model that is validated."""

    def __init__(self, path: Path, message: str, wording: str | None = None) -> None:
        super().__init__(message)
        self.path, self.wording = path, wording


class Several(ValueError):  # noqa: N818
    """All that one validator found wrong."""

    def __init__(self, problems: Sequence[Misplaced]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = list(problems)


@dataclass(frozen=True)
class Problem:
    """One mistake in a suite.

    Attributes:
        line: where it stands in the file, from 1 on; None where the suite is no file.
        field: the field, e.g. `tasks.3.prompts`.
        message: what is wrong, and what is allowed.
    """

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        return f"{f'line {self.line}: ' if self.line else ''}{self.field}: {self.message}"


def problems_of(error: ValidationError, root: yaml.Node | None = None) -> list[Problem]:
    """Return what a validation found wrong, with lines where the nodes of the YAML text are given."""
    found = []
    for item in error.errors():
        cause = item.get("ctx", {}).get("error")
        parts = cause.problems if isinstance(cause, Several) else [cause if isinstance(cause, Misplaced) else None]
        for part in parts:
            path: Path = (*item["loc"], *(part.path if part is not None else ()))
            message = str(part) if part is not None else item["msg"].removeprefix("Value error, ")
            field = ".".join(map(str, path)) or "suite"
            found.append(Problem(line_of(root, path, part.wording if part else None), field, message))
    return sorted(found, key=lambda p: p.line or 0)


def line_of(node: yaml.Node | None, path: Path, wording: str | None = None) -> int | None:
    """Return the line, from 1 on, of the value at a path, or of the nearest thing above it that is there.

    Args:
        node: root of the composed YAML.
        path: keys and indices.
        wording: a text below that place to look for.
    """
    if node is None:
        return None
    line = node.start_mark.line + 1
    for step in path:
        below = _child(node, step)
        if below is None:
            break
        line, node = below
    if wording is not None:
        lines = [leaf.start_mark.line + 1 for leaf in _leaves(node) if leaf.value and wording.endswith(leaf.value)]
        line = lines[0] if lines else line
    return line


def _child(node: yaml.Node, step: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def _leaves(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _leaves(key)
            yield from _leaves(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _leaves(value)


def repeated_keys(root: yaml.Node | None) -> list[Problem]:
    """Return the keys that stand twice in one mapping: YAML takes the last and forgets the others."""
    found = []

    def visit(node: yaml.Node, path: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: dict[Any, int] = {}
            for key, value in node.value:
                here, line = (*path, key.value), key.start_mark.line + 1
                if key.value in seen:
                    said = f"stands twice, in lines {seen[key.value]} and {line}; only the last would count"
                    found.append(Problem(line, ".".join(map(str, here)), said))
                seen[key.value] = line
                visit(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                visit(value, (*path, i))

    if root is not None:
        visit(root, ())
    return found


# ---- writing


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and writes out what stands twice."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(values: Any) -> str:
    """Return a suite's values as YAML, wordings with a condition as `when` and `say`."""
    for task in values.get("tasks", []):
        task["facts"] = [_folded(sentence) for sentence in task.get("facts", [])]
        if not task["facts"]:
            del task["facts"]
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


NEEDS, END = "{{ '' | needs(", ") }}"


def _folded(wordings: list[str]) -> Any:
    items: list[Any] = []
    for wording in wordings:
        if not wording.startswith(NEEDS):
            items.append(wording)
            continue
        condition, _, said = wording.removeprefix(NEEDS).partition(END)
        if items and isinstance(items[-1], dict) and items[-1]["when"] == condition:
            items[-1]["say"].append(said)
        else:
            items.append({"when": condition, "say": [said]})
    return items
