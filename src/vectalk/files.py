"""Files and folders that a reader never sees half of, and that are never lost while others take their place."""

import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vectalk.errors import VectalkError

# The only one: a string in a line of JSON may hold U+2028, U+2029 or U+0085, at which `str.splitlines` would part it.
LINE_END = b"\n"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # half of a sign, unless the other half follows


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept because some writers (numpy) append their own when it is missing.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_files(folder: str | Path) -> Iterator[Path]:
    """Yield a temporary folder; its files take the places of those in `folder` when all of them are written."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=folder, ignore_cleanup_errors=True) as part:
        yield Path(part)
        for path in sorted(Path(part).iterdir()):
            os.replace(path, folder / path.name)


# ---- folders


def check_free(path: str | Path, marker: str, *, overwrite: bool = False) -> None:
    """Raise a VectalkError where something is in the way of a new folder that may not be replaced.

    Args:
        path: the folder.
        marker: the file that tells its kind, e.g. `space.json`. Only a folder of the same kind is ever replaced: a
            slip in a name must not cost somebody's files, or the very space that a corpus is built on.
        overwrite: whether a folder of this kind may be replaced.
    """
    path = Path(path)
    put_back(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise VectalkError(f"{path} exists already; name another folder, or pass --overwrite to replace it")
    if not (path / marker).is_file():
        raise VectalkError(
            f"{path} is not replaced, since it is nothing of the kind (it has no {marker}); "
            "name another folder, or remove it yourself"
        )


def holds(path: str | Path, marker: str) -> bool:
    """Return whether a folder holds the file that tells its kind; one that waits aside is put back first."""
    put_back(path)
    return (Path(path) / marker).is_file()


def put_back(path: str | Path) -> None:
    """Put a folder back that waits aside, where a process was killed before another could take its place."""
    path = _target(path)
    if not path.exists() and _aside(path).is_dir():
        os.replace(_aside(path), path)


@contextmanager
def atomic_folder(path: str | Path, marker: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well.

    A folder that is replaced is moved aside (`.NAME.old`), and removed when the new one stands in its place. Whatever
    stops the process, one of the two is whole; where it is the old one, the next reader or writer puts it back.

    Raises:
        VectalkError: something is in the way (see `check_free`).
    """
    path = _target(path)
    check_free(path, marker, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        _remove(_aside(path))  # of an earlier replacement that was complete but for this
        with _moved_aside(path):
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_folder(path: str | Path, marker: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder at `path` itself, for work that is looked at while it grows.

    A folder that is replaced waits aside (`.NAME.old`) until the block ends well. Where the block fails it comes back,
    and the unfinished work is removed; where the process is killed both stay, and the next attempt says so.

    Args:
        path: the folder.
        marker: the file that tells its kind; the block writes it first, so that unfinished work is known too.
        overwrite: whether a folder of this kind may be replaced.

    Raises:
        VectalkError: something is in the way (see `check_free`).
    """
    path = _target(path)
    waiting = _aside(path)
    if path.exists() and waiting.is_dir():
        if not overwrite:
            raise VectalkError(
                f"{path} is the unfinished work of a process that was stopped; what it was to replace is kept in "
                f"{waiting}. Rename that back by hand, or pass --overwrite to start anew"
            )
        _remove(path)
    check_free(path, marker, overwrite=overwrite)
    with _moved_aside(path):
        try:
            path.mkdir(parents=True)
            yield path
        except BaseException:
            if waiting.is_dir():
                _remove(path)
            raise


@contextmanager
def _moved_aside(path: Path) -> Iterator[None]:
    """Move a folder aside, if there is one, while the block puts another in its place; back again if that fails."""
    there = path.exists()
    if there:
        os.replace(path, _aside(path))
    try:
        yield
    except BaseException:
        put_back(path)
        raise
    if there:
        _remove(_aside(path))


def _target(path: str | Path) -> Path:
    """Return the folder itself where a link stands for it: what is replaced is the folder, not the link."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path


def _aside(path: Path) -> Path:
    """Return where a folder waits while another takes its place."""
    return path.parent / f".{path.name}.old"


def _remove(path: Path) -> None:
    """Remove a folder, if there is one: renamed first, so that what is half removed can pass for nothing else."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.removed"):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    if path.exists():
        going = path.parent / f".{path.name}.{secrets.token_hex(4)}.removed"
        os.replace(path, going)
        shutil.rmtree(going, ignore_errors=True)


# ---- text, JSON, lines


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, with line ends as they are in the text."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: str | Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_text(path: str | Path, error: type[VectalkError] = VectalkError) -> str:
    """Read a text file; one that is missing, unreadable or no UTF-8 is named in the error."""
    content = _read_bytes(path, error)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path} is no text in UTF-8: {problem}") from None


def read_json(path: str | Path, error: type[VectalkError] = VectalkError) -> Any:
    """Read a JSON file; a missing or broken one is named in the error."""
    content = _read_bytes(path, error)
    try:
        return parse_json(content.decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise error(f"{path} is not valid JSON: {problem}") from None


def read_jsonl(path: str | Path, error: type[VectalkError] = VectalkError) -> list[Any]:
    """Read one JSON value a line; a missing or broken file is named in the error."""
    rows, content = [], _read_bytes(path, error)
    for number, line in enumerate(content.split(LINE_END), 1):
        try:
            if line.strip():
                rows.append(parse_json(line.decode("utf-8")))
        except (ValueError, RecursionError) as problem:
            raise error(f"{path} is not valid JSON, a value a line: line {number}: {problem}") from None
    return rows


def whole_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file that grows line by line, without what an interrupted writer left torn."""
    rows = []
    for line in Path(path).read_bytes().split(LINE_END):
        try:
            row = parse_json(line.decode("utf-8"))
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: it is no JSON, or a string in it is no text (half of a surrogate pair).
        RecursionError: it is nested too deeply.
    """
    value = json.loads(text)
    if _SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    return value


def _read_bytes(path: str | Path, error: type[VectalkError]) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise error(f"{path} does not exist") from None
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}") from None


def sha256_of(paths: Iterable[str | Path]) -> str:
    """Return the sha256 over the content of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()
