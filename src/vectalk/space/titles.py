"""Titles: a key that the same work has in every catalogue, and the closest matches to a mistyped name."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|el|los|las|der|die|das|un|une)$", re.IGNORECASE)


def title_key(title: str) -> str:
    """Normalise a title: "Misérables, Les (1995)" -> "les miserables".

    The year is dropped, a trailing article moves to the front, accents are stripped, the rest is lower case
    with one blank for each run of other signs.
    """
    bare = _YEAR.sub("", title.strip())
    bare = _ARTICLE.sub(r"\2 \1", bare)
    letters = (sign for sign in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(sign))
    key = re.sub(r"[^a-z0-9]+", " ", "".join(letters).casefold()).strip()
    return key or title.strip().lower()


def closest(name: str, candidates: Sequence[str], count: int = 3) -> list[str]:
    """Return up to `count` candidates that look most like `name`, best first."""
    wanted = title_key(name)
    keys: dict[str, str] = {}
    for candidate in candidates:
        keys.setdefault(title_key(candidate), candidate)
    # A part of a title ("alien" for "Alien (1979)") is the commonest slip, and edit distance misses it.
    parts = sorted((key for key in keys if wanted and wanted in key), key=len)[:count]
    near = difflib.get_close_matches(wanted, list(keys), n=count, cutoff=0.5)
    return [keys[key] for key in dict.fromkeys([*parts, *near])][:count]
