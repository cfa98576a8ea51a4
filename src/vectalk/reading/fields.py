"""Kinds of fields that cards share."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _a_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("it must be a path, without a zero byte")
    return text


def _a_name(text: str) -> str:
    if not text or text.startswith(".") or set(text) & set("/\\\0"):
        raise ValueError("it names a folder, so it holds no slash and begins with no dot")
    return text


PathText = Annotated[str, AfterValidator(_a_path)]
"""Where something is."""

FolderName = Annotated[str, AfterValidator(_a_name)]
"""The name of a folder right below another, so that a card never leads out of its own."""

Figure = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A measured number; not NaN, and not so large that a scale could not hold it."""
