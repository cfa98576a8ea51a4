"""Find the names in a text: what stands in quotation marks or italics, or before a year in brackets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import NamedTuple

from vectalk.space.titles import lookup_key, title_key

LONGEST = 200  # most characters of a name
CLOSING = {'"': '"', "“": "”", "«": "»", "„": "“", "《": "》", "「": "」", "『": "』"}
_ITALICS = re.compile(r"(?<![*\w])\*(?![*\s])([^*\n]{1,200}?)(?<!\s)\*(?![*\w])")
_YEAR = re.compile(r" ?\((\d{4})\)")
# A run of capitalised words before a year, with small words in between: "Lord of the Rings, The".
_WORD = r"(?:[^\W\d_a-z]|\d)[^\s\"“”«»]*"
_CAPITALISED = re.compile(rf"{_WORD}(?:\s+(?:[a-z&-]{{1,3}}\s+){{0,3}}{_WORD})*$")
_ENDS = ".,;:!?…"


class NameSpan(NamedTuple):
    """A name in a text.

    Attributes:
        start: place of its first character.
        end: place after its last.
        name: the name as it is written.
    """

    start: int
    end: int
    name: str


class TitleIndex:
    """Finds the title that a name means: exactly, in another spelling, or without the year.

    Args:
        titles: the titles.
    """

    def __init__(self, titles: Iterable[str]) -> None:
        self.titles = dict.fromkeys(titles)

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        """Key -> the only title with this key, with and without its year."""
        keys: dict[str, str] = {}
        several: set[str] = set()
        for title in self.titles:
            for key in {lookup_key(title), title_key(title)}:
                if keys.setdefault(key, title) != title:
                    several.add(key)
        return {key: title for key, title in keys.items() if key not in several or lookup_key(title) == key}

    def resolve(self, name: str) -> str | None:
        """Return the title that a name means; None where there is none, or where several have the name."""
        if name in self.titles:
            return name
        return self._keys.get(lookup_key(name)) if name.strip() else None

    def means(self, name: str) -> bool:
        """Return whether a name means a title, in whatever spelling."""
        return self.resolve(name) is not None

    def __contains__(self, name: str) -> bool:
        return name in self.titles


def name_spans(
    text: str, known: Callable[[str], bool] = lambda name: False, meant: Callable[[str], bool] = lambda name: False
) -> list[NameSpan]:
    """Return the names in a text, in order: in quotation marks, in *italics*, and before a year in brackets.

    A quotation in lower case, such as a "feel-good" comedy, is not a name unless it is known.

    Args:
        text: the text.
        known: whether a title exists; titles may contain quotation marks and more, so known ones come first.
        meant: whether a name before a year means a title in another spelling; it tells where a name begins after
            another capitalised word, as in "Likes The Matrix (1999)".
    """
    spans = _quoted(text, known)
    spans += [s for s in _italic(text, known) if not _overlaps(s, spans)]
    spans += [s for s in _dated(text, known, meant) if not _overlaps(s, spans)]
    return sorted(spans)


def _quoted(text: str, known: Callable[[str], bool]) -> list[NameSpan]:
    spans, place = [], 0
    while place < len(text):
        closing = CLOSING.get(text[place])
        span = None if closing is None else _quotation(text, place + 1, closing, known)
        if span is None:
            place += 1
            continue
        spans.append(span)
        place = span.end + 1
    return [span for span in spans if _is_name(span.name, known)]


def _quotation(text: str, start: int, closing: str, known: Callable[[str], bool]) -> NameSpan | None:
    """Return the text from `start` to a closing mark: the longest known title, else up to the first mark."""
    line_end = text.find("\n", start)
    limit = min(len(text) if line_end < 0 else line_end, start + LONGEST)
    ends = [place for place in range(start + 1, limit) if text[place] == closing]
    if not ends:
        return None
    for end in reversed(ends):
        if known(text[start:end]):
            return NameSpan(start, end, text[start:end])
    name = text[start : ends[0]].rstrip(_ENDS) or text[start : ends[0]]
    return NameSpan(start, ends[0], name)


def _italic(text: str, known: Callable[[str], bool]) -> list[NameSpan]:
    spans = [NameSpan(match.start(1), match.end(1), match[1]) for match in _ITALICS.finditer(text)]
    return [span for span in spans if _is_name(span.name, known)]


def _dated(text: str, known: Callable[[str], bool], meant: Callable[[str], bool]) -> list[NameSpan]:
    spans: list[NameSpan] = []
    for match in _YEAR.finditer(text):
        first = max([match.start() - LONGEST, 0, *(span.end for span in spans), text.rfind("\n", 0, match.start()) + 1])
        before = text[first : match.start()]
        starts = [first + word.start() for word in re.finditer(r"(?<!\w)\S", before)]
        start = next((one for one in starts if known(text[one : match.end()])), None)
        if start is None:
            run = _CAPITALISED.search(before)
            if run is not None:
                start = first + run.start()
                start = next((one for one in starts if one >= start and meant(text[one : match.end()])), start)
        if start is not None:
            spans.append(NameSpan(start, match.end(), text[start : match.end()]))
    return spans


def _is_name(name: str, known: Callable[[str], bool]) -> bool:
    letter = next((character for character in name if character.isalnum()), "")
    return known(name) or (letter != "" and not letter.islower())


def _overlaps(span: NameSpan, others: list[NameSpan]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in others)
