"""Cards: JSON files that describe a folder: its content, its format, and the version of vectalk that wrote it.

A version reads all formats up to its own, but no newer format: the same fields may have another meaning there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vectalk.errors import VectalkError
from vectalk.files import read_json, read_jsonl
from vectalk.version import __version__

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SHOWN = 3  # most mistakes that one error names


def stamp(format: int) -> dict[str, Any]:
    """Return the first fields of a card: its format, and the version of vectalk that writes it."""
    return {"format": format, "vectalk": __version__}


def read_card(path: str | Path, newest: int, shape: Any, error: type[VectalkError] = VectalkError) -> Any:
    """Read a card and check it.

    Args:
        path: the JSON file.
        newest: the newest format that this version reads.
        shape: the type of the content: any type that pydantic knows, such as a model or a TypedDict.
        error: class of the error that is raised.

    Returns:
        An object of type `shape`.

    Raises:
        VectalkError: the card is missing or damaged, has a newer format, or does not fit `shape`; the error names the
            first wrong fields.
    """
    values = read_json(path, error)
    refuse_newer(values, newest, path, error)
    return checked(values, shape, path, error)


def refuse_newer(card: Any, newest: int, path: str | Path, error: type[VectalkError] = VectalkError) -> None:
    """Raise an error if a card has a newer format than this version reads.

    A card without a format has format 1. The function accepts values that are not a card; `checked` refuses these.
    """
    format = card.get("format", 1) if isinstance(card, dict) else 1
    if not isinstance(format, int) or isinstance(format, bool) or format < 1:
        raise error(f"{path} is malformed: format: {format!r} must be a whole number of at least 1")
    if format > newest:
        versions = card.get("versions")
        writer = card.get("vectalk") or (versions.get("vectalk") if isinstance(versions, dict) else None)
        raise error(
            f"{path} has format {format}, written by {f'vectalk {writer}' if writer else 'a newer vectalk'}; this is "
            f"vectalk {__version__}, which reads formats up to {newest}: update vectalk"
        )


def read_rows(path: str | Path, shape: Any, error: type[VectalkError] = VectalkError) -> list[Any]:
    """Read a file of JSON lines, check that each line fits a type (see `read_card`), and return the lines unchanged."""
    rows = read_jsonl(path, error)
    checked(rows, list[shape], path, error)
    return rows


def checked(values: Any, shape: Any, where: object, error: type[VectalkError] = VectalkError) -> Any:
    """Return values as an object of a type, or raise an error that names what does not fit.

    Args:
        values: the content of a file.
        shape: any type that pydantic knows.
        where: the file that the error names.
        error: class of the error that is raised.
    """
    from pydantic import ValidationError

    try:
        return _adapter(shape).validate_python(values)
    except ValidationError as problems:
        raise error(f"{where} is malformed: {described(problems.errors())}") from None
    except RecursionError:
        raise error(f"{where} is malformed: it is nested too deeply") from None


def described(problems: Sequence[Any]) -> str:
    """Return the first problems that pydantic reports, each with its field."""
    messages = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}".removeprefix(": ") for p in problems[:SHOWN]]
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "; ".join(messages) + more


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)
