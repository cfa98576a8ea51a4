"""`Body`: what the bodies of all requests have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, model_validator


class Body(BaseModel):
    """A body whose texts are all valid Unicode: JSON can escape half of a character, which no tokenizer takes."""

    @model_validator(mode="before")
    @classmethod
    def _unicode(cls, value: Any) -> Any:
        if not _encodable(value):
            raise ValueError("a text holds half of a character (a lone surrogate)")
        return value


def _encodable(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)
    if isinstance(value, dict):
        return all(_encodable(key) and _encodable(item) for key, item in value.items())
    return all(map(_encodable, value)) if isinstance(value, list) else True
