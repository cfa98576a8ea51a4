"""YAML from anywhere: plain values, or one error with the line where it goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vectalk.errors import VectalkError
from vectalk.files import read_text

INT, DIGITS = "tag:yaml.org,2002:int", 300
MOST = 1_000_000  # values, with what an alias stands for counted wherever it stands


class YamlError(VectalkError):
    """A text is no YAML of plain values. Attribute: `line`, from 1 on, or None where it is not known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(f"not valid YAML: {problem}" if line is None else f"line {line}: not valid YAML: {problem}")
        self.problem, self.line = problem, line


def read_yaml(path: str | Path, error: type[VectalkError] = VectalkError) -> Any:
    """Read a YAML file; a missing or broken one is named in the error."""
    text = read_text(path, error)
    try:
        return parse_yaml(text)
    except YamlError as problem:
        raise error(f"{path}: {problem}") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text: mappings, lists and plain values; None for an empty text.

    Raises:
        YamlError: it is no YAML, holds itself, is huge once its aliases are written out, or is no text of Unicode.
    """
    return construct(compose(text))


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, which know their lines, and which `construct` makes values of.

    Raises:
        YamlError: see `parse_yaml`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _size(root, {}) > MOST:
            raise YamlError(f"its aliases stand for more than {MOST:,} values")
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise _named(error) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None
    except (ValueError, OverflowError):
        raise YamlError("an escape stands for no character") from None
    return root


def construct(root: yaml.Node | None) -> Any:
    """Return the value of composed nodes.

    Raises:
        YamlError: a value does not fit its tag, or is of a kind that is not allowed.
    """
    if root is None:
        return None
    try:
        return yaml.SafeLoader("").construct_document(root)
    except yaml.YAMLError as error:
        raise _named(error) from None
    except Exception as error:  # such as of a date that is none: PyYAML lets through what its constructors raise
        raise YamlError(f"a value does not fit its kind: {error}") from None


def _named(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    return YamlError(getattr(error, "problem", None) or str(error), None if mark is None else mark.line + 1)


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return how many values there are below a node; `known` holds the sizes of nodes, None while one is counted."""
    line = node.start_mark.line + 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise YamlError("an anchor stands for something that holds itself", line)
        return size
    known[id(node)] = None
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag == INT and len(node.value) > DIGITS:  # Python would not print it
            raise YamlError(f"a number has more than {DIGITS} digits", line)
        try:
            node.value.encode()
        except UnicodeEncodeError:
            raise YamlError("half of a surrogate pair is no character", line) from None
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key is a list or a mapping; it must be a plain value", key.start_mark.line + 1)
            size += _size(key, known) + _size(value, known)
    else:
        size += sum(_size(item, known) for item in node.value)
    known[id(node)] = size
    return size
