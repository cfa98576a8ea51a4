"""Titles: a key that the same work has in every catalogue, and the closest matches to a mistyped name."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

LOOKED_AT = 500  # titles whose letters agree best; only these are compared sign by sign
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|el|los|las|der|die|das|un|une)$", re.IGNORECASE)
_SIGNS = re.compile(r"[^a-z0-9]+")


def title_key(title: str) -> str:
    """Normalise a title: "Misérables, Les (1995)" -> "les miserables".

    The year is dropped, a trailing article moves to the front, accents are stripped, the rest is lower case
    with one blank for each run of other signs.
    """
    bare = _YEAR.sub("", title.strip())
    bare = _ARTICLE.sub(r"\2 \1", bare)
    if not bare.isascii():
        bare = "".join(sign for sign in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(sign))
    key = _SIGNS.sub(" ", bare.casefold()).strip()
    return key or title.strip().lower()


def spelling(title: str) -> tuple[str, str]:
    """Return what two spellings of one title share: its key and its year: "Matrix, The (1999)", "The Matrix (1999)"."""
    year = _YEAR.search(title.strip())
    return title_key(title), year.group().strip() if year else ""


def closest(name: str, candidates: Sequence[str], count: int = 3) -> list[str]:
    """Return up to `count` candidates that look most like `name`, best first."""
    wanted = title_key(name)
    keys: dict[str, str] = {}
    for candidate in candidates:
        keys.setdefault(title_key(candidate), candidate)
    # A part of a title ("alien" for "Alien (1979)") is the commonest slip, and edit distance misses it.
    parts = sorted((key for key in keys if wanted and wanted in key), key=len)[:count]
    near = difflib.get_close_matches(wanted, _alike(wanted, list(keys)), n=count, cutoff=0.5)
    return [keys[key] for key in dict.fromkeys([*parts, *near])][:count]


def _alike(wanted: str, keys: list[str]) -> list[str]:
    """Return the keys that share most letters with `wanted`: an upper bound of what difflib would find, but quick."""
    if len(keys) <= LOOKED_AT:
        return keys
    letters = np.frombuffer(wanted.encode(errors="replace"), np.uint8)
    signs = np.frombuffer("\n".join(key.replace("\n", " ") for key in keys).encode(errors="replace"), np.uint8)
    ends = signs == ord("\n")
    row = np.cumsum(ends)
    shared = np.zeros(len(keys), np.int64)
    for letter, count in zip(*np.unique(letters, return_counts=True), strict=True):
        shared += np.minimum(np.bincount(row[signs == letter], minlength=len(keys)), count)
    ratio = shared / np.maximum(len(letters) + np.bincount(row[~ends], minlength=len(keys)), 1)
    return [keys[place] for place in np.sort(np.argsort(-ratio, kind="stable")[:LOOKED_AT])]
