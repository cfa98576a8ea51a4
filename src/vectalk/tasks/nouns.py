"""Nouns for the entities of a space and for their attributes, in questions and phrases that fit any domain."""

from __future__ import annotations

import re

from vectalk.tasks.attributes import Attribute
from vectalk.tasks.generic import plural_of


def noun_of(space: str) -> str:
    """Return the noun for one entity of a space, which is the name of the space in words."""
    return " ".join(space.replace("_", " ").split())


def nouns_of(space: str) -> str:
    """Return the noun for several entities of a space."""
    return plural_of(noun_of(space))


def with_article(noun: str) -> str:
    """Return a noun after "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def slot_of(space: str) -> str:
    """Return the name of the slot for one entity of a space."""
    return re.sub(r"^(?=\d)|\W", "_", space)


def label_of(name: str, attribute: Attribute) -> str:
    """Return the name of an attribute in words, e.g. "genres", or "uniqueness" for a density of neighbours."""
    if attribute.kind == "density":
        return "uniqueness"
    if attribute.kind == "relative":
        return f"relative {noun_of(attribute.column or name)}"
    return noun_of(name)
