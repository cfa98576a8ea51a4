"""Types of fields that several cards use."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _check_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("it must be a path, without a zero byte")
    return text


def _check_name(text: str) -> str:
    if not text or text.startswith(".") or set(text) & set("/\\\0"):
        raise ValueError("it is the name of a folder, so it must not contain a slash or begin with a dot")
    return text


PathText = Annotated[str, AfterValidator(_check_path)]
"""A path of a file or folder."""

FolderName = Annotated[str, AfterValidator(_check_name)]
"""The name of a direct subfolder, so a card never points outside of its own folder."""

Figure = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A measured number; not NaN, and small enough for a chart."""
