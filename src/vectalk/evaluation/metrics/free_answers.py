"""Read attributes from free answers by fixed rules: in the words that people use, without negated statements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vectalk.evaluation.metrics.decades import CLAUSE, find_decades
from vectalk.tasks.attributes import NO_VALUE, AttributeReader
from vectalk.tasks.generic import plural_of

KINDS = ("list", "category", "decade")  # kinds that are read from free answers
_QUOTED = re.compile('"([^"\n]{1,80})"')
_JAPANESE = re.compile("《[^》]*》|『[^』]*』")
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "«": '"', "»": '"'})
_NEGATED = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|nothing|without|hardly|barely|lacks?|lacking|less)|n't"
    r"|\b(?:rather than|instead of|anything but|far from|devoid of|free of)(?!\s+this\b))"
    r"(?:\s+(?!(?:only|just|merely|simply)\b)[\w'-]+){0,3}\s*$",
    re.IGNORECASE,
)
# "If you do not like comedy, stay away" says that it is a comedy.
_IF = re.compile(r"\b(?:if|unless|who|whoever|anyone|anybody)\b", re.IGNORECASE)
_OR = re.compile(r"[\w'-]+\s+n?or\s+(?:(?:an?|any|the)\s+)?$", re.IGNORECASE)


class FreeReader:
    """Reads one attribute from free answers.

    A value is read where one of its words is: the `synonyms` of the attribute, or the word of the suite where the
    attribute has no synonyms for the value, and the plurals of these. Negated words ("not a comedy", "without any
    romance"), titles in quotation marks, and statements about the surroundings do not count.

    Args:
        reader: the attribute, bound to a space.
    """

    def __init__(self, reader: AttributeReader) -> None:
        self.reader, self.name, self.kind = reader, reader.name, reader.kind
        self.words: dict[str, list[str]] = {}  # word in lower case -> values
        values = reader.vocabulary if self.kind != "decade" else []
        synonyms = reader.attribute.synonyms
        for value in values:
            for word in synonyms.get(value) or [reader.say(value)]:
                lower = word.translate(_STRAIGHT).lower()
                for form in dict.fromkeys((lower, plural_of(lower)) if _has_letters(lower) else (lower,)):
                    self.words.setdefault(form, []).append(value)
        longest_first = sorted({*self.words, *map(str.lower, synonyms.get(NO_VALUE, []))}, key=len, reverse=True)
        alternatives = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in longest_first)
        self._pattern = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)") if longest_first else None

    def read(self, text: str) -> Any:
        """Return the values that an answer states (`list`), or its first value (None if it states none)."""
        values = self.stated(text)
        return values if self.kind == "list" else values[0] if values else None

    def stated(self, text: str) -> list[str]:
        """Return the values that an answer states, in the order of the text, each once."""
        for other in self.reader.apart:
            text = re.sub(str(other.attribute.within), "", text)
        text = _JAPANESE.sub("", text).translate(_STRAIGHT)
        text = _QUOTED.sub(lambda match: " " if self._is_title(match, text) else match.group(), text)
        if self.kind == "decade":
            places = [(place, [decade]) for place, decade in find_decades(text)]
        else:
            lower = text.lower()
            matches = self._pattern.finditer(lower) if self._pattern is not None else ()
            places = [(match.start(), self.words.get(" ".join(match.group().split()), [])) for match in matches]
        return list(dict.fromkeys(v for place, values in places if not _negated(text, place) for v in values))

    def _is_title(self, match: re.Match[str], text: str) -> bool:
        """Return whether a quotation is a title: in title case, no value of this attribute, and not the whole text."""
        quoted = match.group(1).strip()
        if match.group().strip() == text.strip() or quoted.lower().strip(".,;") in self.words:
            return False
        return all(word[0].isupper() or word[0].isdigit() for word in re.findall(r"\w+", quoted) if len(word) > 3)


def _has_letters(word: str) -> bool:
    return any(map(str.isalpha, word))


def _negated(text: str, place: int) -> bool:
    """Return whether the statement at a position is negated by the words before it in its clause."""
    clause = CLAUSE.split(text[:place])[-1]
    while match := _OR.search(clause):  # "not a comedy or a musical": both are negated
        clause = clause[: match.start()]
    return _NEGATED.search(clause) is not None and _IF.search(clause) is None


def free_readers(readers: Mapping[str, AttributeReader]) -> tuple[dict[str, FreeReader], dict[str, str]]:
    """Return the attributes of a space that can be read from free answers, and why others cannot.

    Args:
        readers: the attributes of the space by name.

    Returns:
        Name -> reader, and name -> reason for attributes of these kinds that cannot be read.
    """
    free = {n: FreeReader(r) for n, r in readers.items() if r.present and r.kind in KINDS}
    reasons: dict[str, str] = {}
    for name, one in free.items():
        others = [n for n, other in free.items() if n != name and set(one.words) & set(other.words)]
        if others:  # "likes" and "avoids" of a user: a genre alone does not say which
            reasons[name] = f"its values are also those of {', '.join(others)}"
        elif one.kind != "decade" and not any(map(_has_letters, one.words)):
            reasons[name] = "its values have no letters, so any number in an answer could be one"
    return {name: one for name, one in free.items() if name not in reasons}, reasons
