"""Decades of making that a free answer states; decades in which a story is set do not count."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = {
    "noughties": 2000, "aughts": 2000, "nineties": 1990, "eighties": 1980, "seventies": 1970, "sixties": 1960,
    "fifties": 1950, "forties": 1940, "thirties": 1930, "twenties": 1920,
}  # fmt: skip
_DECADE = re.compile(
    r"(?<![\w.,$€£'])(?P<year>[1-9]\d\d0(?='?s)|1[5-9]\d\d|20[0-4]\d)(?:'?s)?(?!\w|[.,]\d|%)"
    r"|(?<![\w.,$€£])'?(?P<short>\d0)'?s(?!\w)"
    rf"|(?<!\w)(?P<word>{'|'.join(_WORDS)})(?!\w)",
    re.IGNORECASE,
)
# The cue that is nearest before a decade says what the decade is of.
_CUE = re.compile(
    r"(?P<made>\b(?:from|made|released?|filmed|shot|produced|premier\w+|date[sd]?|dating|came out|comes? out)\b)"
    r"|\b(?:set|sets|setting|unfold\w*|happen\w*|depict\w*|portray\w*|recreat\w*|evok\w*|nostalgi\w*"
    r"|tak(?:es|ing) place|took place|plays? out|story (?:of|in)|stories (?:of|in)|world of|life in"
    r"|homage to|tribute to|reminiscent of|inspired by|about\s+\w+)\b",
    re.IGNORECASE,
)
_SET_AFTERWARDS = re.compile(r"\s*-?\s*(?:set\b|setting|era\b|period piece)", re.IGNORECASE)
_AGE = re.compile(r"\b(?:his|her|their|your|my|our)(?:\s+(?:early|mid|late))?[\s-]*$", re.IGNORECASE)
CLAUSE = re.compile(r"[.,;:!?()\n—–]|\bbut\b")


def find_decades(text: str) -> Iterator[tuple[int, str]]:
    """Yield (position, decade) of each decade of making that a text states, e.g. (12, "1990s").

    "From the nineties", "a '90s film", "1990s" and "made in 1994" count; "set in the nineties", "a 1950s-set drama" and
    "in her thirties" do not. A decade without a century is one of the years 1920 to 2019.

    Args:
        text: the text, with straight apostrophes.
    """
    for match in _DECADE.finditer(text):
        clause = CLAUSE.split(text[: match.start()])[-1]
        cues = list(_CUE.finditer(clause))
        if (cues and cues[-1]["made"] is None) or _SET_AFTERWARDS.match(text, match.end()):
            continue
        if match["year"] is None and _AGE.search(clause):
            continue
        yield match.start(), f"{_year(match) // 10 * 10}s"


def _year(match: re.Match[str]) -> int:
    if match["year"] is not None:
        return int(match["year"])
    if match["word"] is not None:
        return _WORDS[match["word"].lower()]
    short = int(match["short"])
    return (1900 if short >= 20 else 2000) + short
