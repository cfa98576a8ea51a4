"""Cards: the JSON files that say what a folder holds, in which format, and which version of vectalk wrote it.

A version reads the formats up to its own: what a newer one wrote may mean something else by the same words.
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

SHOWN = 3  # mistakes named in one error


def stamp(format: int) -> dict[str, Any]:
    """Return what a card begins with: its format, and the version that writes it."""
    return {"format": format, "vectalk": __version__}


def read_card(path: str | Path, newest: int, shape: Any, error: type[VectalkError] = VectalkError) -> Any:
    """Read a card and check it.

    Args:
        path: the JSON file.
        newest: the newest format that is read.
        shape: what it must hold: any type that pydantic knows, such as a model or a TypedDict.
        error: what to raise.

    Returns:
        An object of the shape's type.

    Raises:
        VectalkError: it is missing, broken, of a newer format, or not of the shape; the first fields are named.
    """
    values = read_json(path, error)
    refuse_newer(values, newest, path, error)
    return checked(values, shape, path, error)


def refuse_newer(card: Any, newest: int, path: str | Path, error: type[VectalkError] = VectalkError) -> None:
    """Raise an error where a card is of a newer format than this version reads.

    A card without a format is as old as can be; what is no card at all is left to `checked`.
    """
    format = card.get("format", 1) if isinstance(card, dict) else 1
    if not isinstance(format, int) or isinstance(format, bool) or format < 1:
        raise error(f"{path} is malformed: format: {format!r} is no whole number from 1 on")
    if format > newest:
        versions = card.get("versions")
        writer = card.get("vectalk") or (versions.get("vectalk") if isinstance(versions, dict) else None)
        raise error(
            f"{path} is of format {format}, written by {f'vectalk {writer}' if writer else 'a newer vectalk'}; this is "
            f"vectalk {__version__}, which reads formats up to {newest}: update vectalk"
        )


def read_rows(path: str | Path, shape: Any, error: type[VectalkError] = VectalkError) -> list[Any]:
    """Read a file of JSON lines and return them as they are, if each fits a shape; see `read_card`."""
    rows = read_jsonl(path, error)
    checked(rows, list[shape], path, error)
    return rows


def checked(values: Any, shape: Any, where: object, error: type[VectalkError] = VectalkError) -> Any:
    """Return values as an object of a type, or raise an error that names what does not fit.

    Args:
        values: what was read.
        shape: any type that pydantic knows.
        where: the file, for the error.
        error: what to raise.
    """
    from pydantic import ValidationError

    try:
        return _adapter(shape).validate_python(values)
    except ValidationError as problems:
        raise error(f"{where} is malformed: {described(problems.errors())}") from None
    except RecursionError:
        raise error(f"{where} is malformed: it is nested too deeply") from None


def described(problems: Sequence[Any]) -> str:
    """Return the first of what pydantic found wrong, each with its field."""
    said = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}".removeprefix(": ") for p in problems[:SHOWN]]
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return "; ".join(said) + more


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)
