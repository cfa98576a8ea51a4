"""Write files so that a reader never sees half of one."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vectalk.errors import VectalkError


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


def check_free(path: str | Path, marker: str, *, overwrite: bool = False) -> None:
    """Raise a VectalkError where something is in the way of a new folder that may not be replaced.

    Args:
        path: the folder.
        marker: the file that tells its kind, e.g. `space.json`. Only a folder of the same kind is ever replaced: a
            slip in a name must not cost somebody's files, or the very space that a corpus is built on.
        overwrite: whether a folder of this kind may be replaced.
    """
    path = Path(path)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise VectalkError(f"{path} exists already; name another folder, or pass --overwrite to replace it")
    if not (path / marker).is_file():
        raise VectalkError(
            f"{path} is not replaced, since it is nothing of the kind (it has no {marker}); "
            "name another folder, or remove it yourself"
        )


def new_folder(path: str | Path, marker: str, *, overwrite: bool = False) -> Path:
    """Make an empty folder for work that is resumed rather than written whole, and return it."""
    path = Path(path)
    check_free(path, marker, overwrite=overwrite)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


@contextmanager
def atomic_folder(path: str | Path, marker: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well.

    Raises:
        VectalkError: something is in the way (see `check_free`).
    """
    path = Path(path)
    check_free(path, marker, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically, readable by people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or broken one is named in the error."""
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise VectalkError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise VectalkError(f"{path} is not valid JSON: {error}") from None


def read_jsonl(path: str | Path) -> list[Any]:
    """Read one JSON value a line; a missing or broken file is named in the error."""
    path = Path(path)
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise VectalkError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise VectalkError(f"{path} is not valid JSON, a value a line: {error}") from None


def sha256_of(paths: Iterable[str | Path]) -> str:
    """Return the sha256 over the content of files, in their order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()
