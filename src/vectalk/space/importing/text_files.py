"""Text files: open them, also if gzipped, and recognise their encoding."""

from __future__ import annotations

import ast
import codecs
import gzip
import io
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from vectalk.errors import SpaceError

Tell = Callable[[str], None]
UTF8 = "utf-8-sig"  # UTF-8, with a byte order mark or without
MARKS = {  # encoding by the first bytes of a file
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHERS = {  # other kinds of files by their first bytes
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save the sheet as csv",
    b"\xd0\xcf\x11\xe0": "a spreadsheet: save it as csv",
    b"PAR1": "parquet: call it .parquet",
    b"ARROW1": "arrow: call it .arrow",
    b"\x93NUMPY": "an array of numpy: call it .npy",
    b"SQLite format 3": "a SQLite database: export the table as csv",
    b"%PDF": "a PDF",
    b"BZh": "compressed with bzip2: unpack it",
    b"\xfd7zXZ": "compressed with xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it",
}
CHUNK = 1 << 20
NO_TEXT = "it is not text, or it is UTF-16 without a byte order mark; save it as UTF-8"
NOT_WESTERN = re.compile(rb"[\x80-\xff]{4}")  # Western European words never have four such letters in a row


def opened(path: Path) -> BinaryIO:
    """Open a file for reading; if it is gzipped (whatever its name), unpack it."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def lines_of(path: Path, encoding: str) -> Iterator[str]:
    """Yield the lines of a text file with their ends; only `\\n`, `\\r\\n` and `\\r` end a line."""
    with opened(path) as file, io.TextIOWrapper(file, encoding, newline="") as text:
        yield from text


def text_of(path: Path, encoding: str) -> str:
    """Return the whole text of a file."""
    with opened(path) as file:
        return file.read().decode(encoding)


def open_text(path: Path, encoding: str) -> TextIO:
    """Open a file as text, with unchanged line ends."""
    return io.TextIOWrapper(opened(path), encoding, newline="")


def encoding_of(path: Path, requested: str | None = None, tell: Tell = lambda message: None) -> str:
    """Return the encoding of a text file: that of its byte order mark, UTF-8, or else cp1252 (Windows).

    Args:
        path: the file.
        requested: the encoding, if the user gives it.
        tell: called with an encoding that was guessed.

    Raises:
        SpaceError: the file is not text, or has none of these encodings.
    """
    with opened(path) as file:
        head = file.read(16)
    for mark, kind in OTHERS.items():
        if head.startswith(mark):
            raise SpaceError(f"{path} is not text; it is {kind}")
    guessed = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), UTF8)
    try:
        encoding = codecs.lookup(requested).name if requested is not None else guessed
    except LookupError:
        raise SpaceError(f"{path}: unknown encoding {requested!r}; use e.g. cp1252, shift_jis or gb18030") from None
    encoding = UTF8 if encoding == "utf-8" else encoding
    try:
        line = _check(path, encoding)
    except UnicodeError as error:
        if requested is not None or encoding != UTF8:
            raise SpaceError(f"{path} is not in the encoding {requested or encoding}: {reason_of(error)}") from None
        return _western(path, tell)
    if line is not None:
        raise SpaceError(f"{path}, line {line} holds a zero byte: {NO_TEXT}")
    return encoding


def _check(path: Path, encoding: str) -> int | None:
    """Decode a file, and return the line of its first zero byte, or None if it has none."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    with opened(path) as file:
        while chunk := file.read(CHUNK):
            text = decoder.decode(chunk)
            if "\0" in text:
                return line + text[: text.index("\0")].count("\n")
            line += text.count("\n")
        decoder.decode(b"", final=True)
    return None


def _western(path: Path, tell: Tell) -> str:
    """Return cp1252 for a file that is not UTF-8.

    Raises:
        SpaceError: the file cannot be cp1252 either.
    """
    right = wrong = 0
    first: int | None = None
    line, foreign = 1, False
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    strict = codecs.getincrementaldecoder("cp1252")()
    with opened(path) as file:
        while chunk := file.read(CHUNK):
            if b"\0" in chunk:
                raise SpaceError(f"{path} holds zero bytes: {NO_TEXT}")
            text = decoder.decode(chunk)
            escaped = re.findall("[\udc80-\udcff]", text)
            if escaped and first is None:
                first = line + text[: text.index(escaped[0])].count("\n")
            line += text.count("\n")
            wrong += len(escaped)
            right += sum(1 for sign in text if sign > "\x7f") - len(escaped)
            foreign = foreign or NOT_WESTERN.search(chunk) is not None
            try:
                strict.decode(chunk)
            except UnicodeError:
                foreign = True
    if 10 * right >= wrong and right:
        raise SpaceError(
            f"{path} is UTF-8 except for {wrong} bytes, the first in line {first}; correct these bytes, or name the "
            "encoding of the file with --encoding"
        )
    if foreign:
        raise SpaceError(
            f"{path}, line {first} is neither UTF-8 nor Western European text (cp1252); save it as UTF-8, or name its "
            "encoding with --encoding, e.g. cp1251, shift_jis, gb18030"
        )
    tell(f"{path} is not in UTF-8: read as cp1252 (Western European, Windows); name another with --encoding")
    return "cp1252"


def literal_of(text: str) -> Any:
    """Return the value of a Python literal, without running code.

    Raises:
        ValueError: the text is not a literal.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings about backslashes in the text
        try:
            return ast.literal_eval(text)
        except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise ValueError(str(error)) from None


def reason_of(error: Exception) -> str:
    """Return the message of a library's error, on one line of at most 200 characters."""
    text = " ".join(str(getattr(error, "reason", error)).split()) or repr(error)
    return text if len(text) <= 200 else f"{text[:200]}..."
