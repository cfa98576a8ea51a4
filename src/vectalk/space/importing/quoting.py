"""What quotation marks mean in a text table: they enclose values (doubled or escaped inside them), or mean nothing.

The file does not say which. With the wrong reading, a quotation mark that is never closed joins all rows up to the next
mark into one value. So each reading is tried on the full file, and is rejected if a row has the wrong number of values.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path

from vectalk.errors import SpaceError
from vectalk.space.importing.text_files import CHUNK, lines_of, open_text, text_of

LONGEST = 1 << 30  # characters of a value


class Quoting(Enum):
    """The meaning of a quotation mark; values are descriptions."""

    NONE = "a sign like any other"
    DOUBLED = "around values, and doubled within them"
    ESCAPED = "around values, with a backslash within them"


@dataclass
class Reading:
    """The result of reading a file with one meaning of quotation marks.

    Attributes:
        rows: number of rows.
        problem: the first line that cannot be read in this way, and the reason.
        bare: whether a value contains a quotation mark but does not begin with one.
        values: number of values.
        enclosed: number of values that begin and end with a quotation mark.
        doubled: whether an enclosed value contains quotation marks, all of them doubled.
        swallowed: whether a value between quotation marks contains lines that look like rows.
    """

    rows: int = 0
    problem: str | None = None
    bare: bool = False
    values: int = 0
    enclosed: int = 0
    doubled: bool = False
    swallowed: bool = False


def quoting_of(path: Path, encoding: str, separator: str, before: int, width: int) -> Quoting:
    """Return what quotation marks mean in a file.

    Args:
        path: the file.
        encoding: its encoding.
        separator: separator of its columns.
        before: number of lines before its first row.
        width: number of columns.

    Raises:
        SpaceError: the file cannot be read in any of these ways; the error names the line.
    """
    if len(separator) > 1 or not _has_marks(path, encoding):
        return Quoting.NONE
    plain = read_plain(lines_of(path, encoding), separator, before, width)
    quoted = _read_quoted(lines_of(path, encoding), separator, before, width)
    if quoted.problem is None and plain.problem is None:
        # Tables with tabs mostly have no quoted values, so `5" disk` is a value.
        unquoted = plain.bare and not plain.doubled and separator not in ",;"
        return Quoting.NONE if unquoted else Quoting.DOUBLED
    if quoted.problem is None:
        return Quoting.DOUBLED
    if quoted.swallowed and separator in ",;":  # both readings give a table, but one has wrong rows
        raise SpaceError(f"{path}, {quoted.problem}")
    if plain.problem is None and plain.bare and not plain.doubled:
        return Quoting.NONE
    text = text_of(path, encoding)
    if '\\"' in text and _read_quoted(_lines(unescaped(text)), separator, before, width).problem is None:
        return Quoting.ESCAPED
    if plain.problem is None and not plain.doubled and 4 * plain.enclosed < plain.values:
        return Quoting.NONE
    raise SpaceError(f"{path}, {quoted.problem}")


def unescaped(text: str) -> str:
    """Return a text in which escaped quotation marks (after a backslash) are doubled instead."""
    return re.sub(r'\\(["\\])', lambda match: '""' if match[1] == '"' else "\\", text)


def read_plain(lines: Iterable[str], separator: str, before: int, width: int) -> Reading:
    """Read lines in which quotation marks have no special meaning."""
    reading = Reading()
    for number, line in enumerate(lines, 1):
        row = line.rstrip("\r\n")
        if number <= before or (not row and width > 1):
            continue
        values = row.split(separator)
        if len(values) != width:
            reading.problem = _width_problem(number, len(values), width, row, separator)
            return reading
        reading.rows += 1
        reading.values += width
        if '"' in row:
            marked = [value for value in values if '"' in value]
            reading.bare = reading.bare or not all(value.lstrip().startswith('"') for value in marked)
            enclosed = [value[1:-1] for value in marked if len(value) > 1 and value[0] == value[-1] == '"']
            reading.enclosed += len(enclosed)
            reading.doubled = reading.doubled or any('""' in v and '"' not in v.replace('""', "") for v in enclosed)
    return reading


def _read_quoted(lines: Iterable[str], separator: str, before: int, width: int) -> Reading:
    """Read lines in which quotation marks enclose values and are doubled inside them."""
    reading, last = Reading(), before
    physical: list[str] = []

    def remembered() -> Iterator[str]:
        for line in islice(lines, before, None):
            physical.append(line)
            yield line

    limit = csv.field_size_limit(LONGEST)
    reader = csv.reader(remembered(), delimiter=separator, strict=True)
    try:
        for record in reader:
            first, last = last + 1, before + reader.line_num
            if record and len(record) != width:
                reading.problem = _width_problem(first, len(record), width, "".join(physical), separator)
                return reading
            if _swallowed(physical, separator, width):
                reading.swallowed = True
                reading.problem = (
                    f"line {first}: a value between quotation marks continues to line {last}, over lines that look "
                    "like rows; close the quotation mark, or double it if it is a part of the value"
                )
                return reading
            reading.rows += bool(record) or width == 1
            physical.clear()
    except csv.Error as error:
        reading.problem = (
            f"line {last + 1}: a quotation mark is never closed, or does not end its value ({error}); double it if "
            "it is a part of the value"
        )
    finally:
        csv.field_size_limit(limit)
    return reading


def _swallowed(physical: list[str], separator: str, width: int) -> bool:
    """Return whether each line of a record looks like a row: with the right number of values, and with an id."""
    if len(physical) < 2 or width < 2 or any(line.count(separator) != width - 1 for line in physical):
        return False
    if separator not in ",;" or len(physical) > 3:  # commas occur in any text
        return True
    shapes = {_shape(line.split(separator)[0]) for line in physical}
    return len(shapes) == 1 and "9" in shapes.pop()


def _shape(text: str) -> str:
    return re.sub("[A-Za-z]+", "a", re.sub(r"\d+", "9", text))


def _width_problem(number: int, count: int, width: int, row: str, separator: str) -> str:
    """Return the message about a row with another number of values than the header."""
    excerpt = row.strip("\r\n")
    excerpt = excerpt if len(excerpt) <= 60 else f"{excerpt[:60]}..."
    return (
        f"line {number}: expected {width} values, as in the header, found {count}: {excerpt!r}; put quotation marks "
        f"around values that contain {separator!r}, or name the separator of the columns with --separator"
    )


def _has_marks(path: Path, encoding: str) -> bool:
    with open_text(path, encoding) as file:
        while chunk := file.read(CHUNK):
            if '"' in chunk:
                return True
    return False


def _lines(text: str) -> Iterator[str]:
    return iter(io.StringIO(text, newline=""))
