"""The split of entities into train, validation and test: assigned by a fixed rule, which always gives the same split.

The rule hashes a key of each entity: its id, the value of a named column, or its title, normalised so that a work has
the same split in every space. Each way to normalise titles is a numbered rule:

1. Remove accents, then keep only a-z and 0-9; a title without any of these stays as it is.
2. Keep letters, digits and marks of every script, and + and #. For ASCII titles without these two signs, both rules
   give the same key.

A space stores the split of each entity and the number of its rule; opening a space does not compute the split again.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable

import numpy as np

from vectalk.errors import SpaceError
from vectalk.space.titles import title_key

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
RULE = 2  # of spaces that are made now
RULES = (1, RULE)

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|el|los|las|der|die|das|un|une)$", re.IGNORECASE)


def split_of(key: str) -> str:
    """Return the split of a key: 15 % test, 5 % validation, the rest train, by a hash of the key alone."""
    bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100
    return TEST if bucket < 15 else VALIDATION if bucket < 20 else TRAIN


def split_keys(values: Iterable[object], column: str, rule: int = RULE) -> list[str]:
    """Return the keys that a rule hashes; titles are normalised, so a work has one split everywhere.

    Raises:
        SpaceError: there is no such rule.
    """
    if rule not in RULES:
        raise SpaceError(f"split rule {rule!r} is unknown; the rules are {', '.join(map(str, RULES))}")
    if column != "title":
        return [str(value) for value in values]
    normalise = title_key if rule == RULE else _first_key
    return [normalise(str(value)) for value in values]


def assign_splits(values: Iterable[object], column: str = "id", rule: int = RULE) -> np.ndarray:
    """Return the split name of each value of the column that the rule hashes."""
    return np.array([split_of(key) for key in split_keys(values, column, rule)], dtype=object)


def _first_key(title: str) -> str:
    """Normalise a title as rule 1 does, which knows no letters but a-z."""
    bare = _ARTICLE.sub(r"\2 \1", _YEAR.sub("", title.strip()))
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(sign))
    return re.sub(r"[^a-z0-9]+", " ", plain.casefold()).strip() or title.strip().lower()
