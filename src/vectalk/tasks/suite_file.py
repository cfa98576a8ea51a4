"""Suites as YAML text: the line of each value, so that an error can name the line of a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

Path = tuple[str | int, ...]


class FieldError(ValueError):
    """A mistake that a validator reports, with its path below the model that is validated."""

    def __init__(self, path: Path, message: str, wording: str | None = None) -> None:
        super().__init__(message)
        self.path, self.wording = path, wording


class FieldErrors(ValueError):  # noqa: N818
    """All mistakes that one validator reports."""

    def __init__(self, problems: Sequence[FieldError]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = list(problems)


@dataclass(frozen=True)
class Problem:
    """One mistake in a suite.

    Attributes:
        line: line of the mistake, counted from 1; None if the suite was not read from text.
        field: the field, e.g. `tasks.3.prompts`.
        message: what is wrong and what is allowed.
    """

    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        return f"{f'line {self.line}: ' if self.line else ''}{self.field}: {self.message}"


def problems_of(error: ValidationError, root: yaml.Node | None = None) -> list[Problem]:
    """Return the mistakes of a validation error, with their lines if the root node of the YAML text is passed."""
    problems = []
    for item in error.errors():
        cause = item.get("ctx", {}).get("error")
        parts = cause.problems if isinstance(cause, FieldErrors) else [cause if isinstance(cause, FieldError) else None]
        for part in parts:
            path: Path = (*item["loc"], *(part.path if part is not None else ()))
            message = str(part) if part is not None else item["msg"].removeprefix("Value error, ")
            field = ".".join(map(str, path)) or "suite"
            problems.append(Problem(line_of(root, path, part.wording if part else None), field, message))
    return sorted(problems, key=lambda p: p.line or 0)


def line_of(node: yaml.Node | None, path: Path, wording: str | None = None) -> int | None:
    """Return the line, counted from 1, of the value at a path, or of its nearest existing parent.

    Args:
        node: root node of the composed YAML; None returns None.
        path: keys and list indices, from the root down.
        wording: a text below the path; if it is present, the line of this text is returned.
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
    """Return the keys that appear twice in one mapping: YAML would silently keep only the last value."""
    problems = []

    def visit(node: yaml.Node, path: Path) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: dict[Any, int] = {}
            for key, value in node.value:
                here, line = (*path, key.value), key.start_mark.line + 1
                if key.value in seen:
                    message = f"appears twice, in lines {seen[key.value]} and {line}; only the last would count"
                    problems.append(Problem(line, ".".join(map(str, here)), message))
                seen[key.value] = line
                visit(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(node.value):
                visit(value, (*path, i))

    if root is not None:
        visit(root, ())
    return problems


# ---- writing


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and writes repeated values in full instead of as aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(values: Any) -> str:
    """Return a suite's values as YAML; wordings with a condition are written as `when` and `say`."""
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
        condition, _, text = wording.removeprefix(NEEDS).partition(END)
        if items and isinstance(items[-1], dict) and items[-1]["when"] == condition:
            items[-1]["say"].append(text)
        else:
            items.append({"when": condition, "say": [text]})
    return items
