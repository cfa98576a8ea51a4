"""Read YAML from any source: the result is plain values, or one error with the line of the mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from vectalk.errors import VectalkError
from vectalk.files import read_text

INT, DIGITS = "tag:yaml.org,2002:int", 300
MOST = 1_000_000  # most values; the values of an alias count at each use


class YamlError(VectalkError):
    """A text is not YAML of plain values. Attribute: `line`, counted from 1, or None if the line is not known."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(f"not valid YAML: {problem}" if line is None else f"line {line}: not valid YAML: {problem}")
        self.problem, self.line = problem, line


def read_yaml(path: str | Path, error: type[VectalkError] = VectalkError) -> Any:
    """Read a YAML file; if it is missing or malformed, raise an error that names the file."""
    text = read_text(path, error)
    try:
        return parse_yaml(text)
    except YamlError as problem:
        raise error(f"{path}: {problem}") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text: mappings, lists and plain values; None for an empty text.

    Raises:
        YamlError: the text is not YAML or not Unicode, contains itself, or is too large with its aliases expanded.
    """
    return construct(compose(text))


def compose(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, with their lines; `construct` converts the nodes to values.

    Raises:
        YamlError: see `parse_yaml`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None and _size(root, {}) > MOST:
            raise YamlError(f"with its aliases expanded, it has more than {MOST:,} values; that is the limit")
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise _named(error) from None
    except RecursionError:
        raise YamlError("it is nested too deeply") from None
    except (ValueError, OverflowError):
        raise YamlError("an escape sequence is not a valid character") from None
    return root


def construct(root: yaml.Node | None) -> Any:
    """Return the value of composed nodes.

    Raises:
        YamlError: a value does not fit its tag, or its type is not allowed.
    """
    if root is None:
        return None
    try:
        return yaml.SafeLoader("").construct_document(root)
    except yaml.YAMLError as error:
        raise _named(error) from None
    except Exception as error:  # PyYAML passes on errors of its constructors, such as for a date that does not exist
        raise YamlError(f"a value does not fit its type: {error}") from None


def _named(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    return YamlError(getattr(error, "problem", None) or str(error), None if mark is None else mark.line + 1)


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return the number of values in a node; `known`: id of a node -> its size, or None while it is being counted."""
    line = node.start_mark.line + 1
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise YamlError("an anchor contains itself", line)
        return size
    known[id(node)] = None
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag == INT and len(node.value) > DIGITS:  # Python refuses to print such a number
            raise YamlError(f"a number has more than {DIGITS} digits", line)
        try:
            node.value.encode()
        except UnicodeEncodeError:
            raise YamlError("half of a surrogate pair is not a character", line) from None
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError("a key is a list or a mapping; it must be a plain value", key.start_mark.line + 1)
            size += _size(key, known) + _size(value, known)
    else:
        size += sum(_size(item, known) for item in node.value)
    known[id(node)] = size
    return size
