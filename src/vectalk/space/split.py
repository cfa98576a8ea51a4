"""The split of entities into train, validation and test: a rule, so that nobody can forget or redo it."""

import hashlib
from collections.abc import Iterable

import numpy as np

from vectalk.space.titles import title_key

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)


def split_of(key: str) -> str:
    """Return the split of a key: 15 % test, 5 % validation, the rest train, by a hash of the key alone."""
    bucket = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % 100
    return TEST if bucket < 15 else VALIDATION if bucket < 20 else TRAIN


def split_keys(values: Iterable[object], column: str) -> list[str]:
    """Return the keys that the rule hashes; titles are normalised, so a work has one split everywhere."""
    normalise = title_key if column == "title" else str
    return [normalise(str(value)) for value in values]


def assign_splits(values: Iterable[object], column: str = "id") -> np.ndarray:
    """Return the split name of each value of the column that the rule hashes."""
    return np.array([split_of(key) for key in split_keys(values, column)], dtype=object)
