"""Titles: the key that tells two spellings of one title from two titles, and the closest matches to a mistyped name."""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

import numpy as np

LOOKED_AT = 500  # titles whose letters agree best; only these are compared sign by sign
_YEAR = re.compile(r"[(（]\d{4}[)）]")
_ARTICLES = {"the", "a", "an", "la", "le", "les", "l'", "il", "el", "los", "las", "der", "die", "das", "un", "une"}
_BLANKS = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) in "+#")}
_SELECTORS = re.compile("[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # which drawing of a sign is meant
_SIGN, _ACCENTED, _OTHER, _MARK, _INVISIBLE = range(5)


def title_key(title: str) -> str:
    """Return what the spellings of one title share, whatever its year: "Misérables, Les (1995)" -> "les miserables".

    Letters, digits and marks of every script stay, and so do + and #. Capitals and accents of Latin, Greek and
    Cyrillic letters fall, a trailing article moves to the front, and runs of other signs become one blank. A title
    that is nothing but signs keeps them.
    """
    return _key_and_year(title)[0]


def lookup_key(title: str) -> str:
    """Return the key by which a title is looked up: `title_key`, and the year in brackets where there is one."""
    key, year = _key_and_year(title)
    return f"{key} ({year})" if year else key


def _key_and_year(title: str) -> tuple[str, str]:
    bare, year = title.strip(), ""
    if _YEAR.fullmatch(bare[-6:]):
        bare, year = bare[:-6].rstrip(), bare[-5:-1]
    head, comma, last = bare.rpartition(", ")
    if comma and last.lower() in _ARTICLES and "\n" not in head:
        bare = f"{last} {head}"
    return _folded(bare) or unicodedata.normalize("NFKC", title.strip()).casefold(), year


def _folded(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().translate(_BLANKS).split())
    return " ".join(" ".join(map(_folded_word, text.split())).split())


@lru_cache(maxsize=1 << 16)
def _folded_word(word: str) -> str:
    word = _parted(word)
    # Capitals may be taken apart anew when they become small: İ gives an i with a dot above it.
    for _ in range(2):
        word = _without_accents(unicodedata.normalize("NFKD", word)).casefold()
    return "".join(" " if _kind(sign) == _SIGN else sign for sign in word)


def _parted(text: str) -> str:
    """Put a blank where taking signs apart would run them together: 8½ is 8 1/2 and not 81/2, 10² is not 102."""
    signs, last = [], ""
    for sign in text:
        category = unicodedata.category(sign)
        if "No" in (category, last) and category[0] == last[:1]:
            signs.append(" ")
        # An accent that stands alone (´ in Don´t) would become a blank and a mark, and is a sign.
        signs.append(" " if category == "Sk" else sign)
        last = category
    return "".join(signs)


def _without_accents(text: str) -> str:
    """Drop the marks of Latin, Greek and Cyrillic letters, and those of signs; in other scripts marks are letters."""
    signs: list[str] = []
    base, fall = "", False
    for sign in text:
        kind = _kind(sign)
        if kind == _MARK:
            # й and ў are letters of their own, as far from и and у as j from i.
            if not fall or (sign == "\u0306" and base in "иИуУ"):
                signs.append(sign)
        elif kind != _INVISIBLE:
            base, fall = sign, kind == _ACCENTED or (kind == _SIGN and not sign.isspace())
            signs.append(sign)
    return "".join(signs)


@cache
def _kind(sign: str) -> int:
    category = unicodedata.category(sign)
    if category == "Cf" or _SELECTORS.match(sign):
        return _INVISIBLE
    if category[0] in "PSZ" or category == "Cc":
        return _OTHER if sign in "+#" else _SIGN
    if category[0] == "M":
        return _MARK
    script = unicodedata.name(sign, "").partition(" ")[0]
    return _ACCENTED if category[0] == "L" and script in ("LATIN", "GREEK", "CYRILLIC") else _OTHER


def closest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` candidates that look most like `name`, best first."""
    name_key = title_key(name)
    keys: dict[str, list[str]] = {}
    for candidate in candidates:
        keys.setdefault(title_key(candidate), []).append(candidate)
    # A part of a title ("alien" for "Alien (1979)") is the commonest slip, and edit distance misses it.
    parts = sorted((key for key in keys if name_key and name_key in key), key=len)[:count]
    near = difflib.get_close_matches(name_key, _alike(name_key, list(keys)), n=count, cutoff=0.5)
    return list(dict.fromkeys(one for key in [*parts, *near] for one in keys[key]))[:count]


def _alike(name_key: str, keys: Sequence[str]) -> Sequence[str]:
    """Return the keys that share most letters with `wanted`: an upper bound of what difflib would find, but quick."""
    if len(keys) <= LOOKED_AT:
        return keys
    letters = np.frombuffer(name_key.encode(errors="replace"), np.uint8)
    signs = np.frombuffer("\n".join(key.replace("\n", " ") for key in keys).encode(errors="replace"), np.uint8)
    ends = signs == ord("\n")
    row = np.cumsum(ends)
    shared = np.zeros(len(keys), np.int64)
    for letter, count in zip(*np.unique(letters, return_counts=True), strict=True):
        shared += np.minimum(np.bincount(row[signs == letter], minlength=len(keys)), count)
    ratio = shared / np.maximum(len(letters) + np.bincount(row[~ends], minlength=len(keys)), 1)
    return [keys[place] for place in np.sort(np.argsort(-ratio, kind="stable")[:LOOKED_AT])]
