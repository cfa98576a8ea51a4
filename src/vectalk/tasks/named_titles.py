"""Find titles that a text names. Films are called "Heat", "It" and "Her", so a word alone proves nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+")
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|el|los|las|der|die|das|un|une)$", re.IGNORECASE)
_INSIDE = re.compile(r"\(([^()]*)\)")
_OPENS, _CLOSES = "“\"„«‹'‘*_", "”\"“»›'’*_"
_SENTENCE = re.compile(r"[.!?:;…\n•—]")
# A year, or signs, may stand between a title and the quotation mark that closes it.
_ENDS = re.compile(rf"^\s*(?:\(\d{{4}}\))?[.,!?;:…]*[{re.escape(_CLOSES)}]")
_DATED = re.compile(r"^\s*\(\d{4}\)")
# Written small within a title, and capital at the start of any sentence.
SMALL = frozenset(
    _WORD.findall(
        "a an and as at but by de der die das du el en for from il in into is la le les los of on or s t the to und"
        " un une van von vs with y"
    )
)
OPENING = SMALL | frozenset(
    _WORD.findall(
        "all are both can do each every few go he her here his how if i it its just let many most my no not now once"
        " one only our out she so some such that their them then there they these this those three two up us was we"
        " what when where who whoever why you your"
    )
)


@dataclass(frozen=True)
class Mention:
    """A title that a text names.

    Attributes:
        title: as the catalogue has it.
        sure: whether it stands in quotes, with its year, or as several capitalised words; one capitalised word
            may be a name, a place or the start of a sentence.
    """

    title: str
    sure: bool


@dataclass(frozen=True)
class _Token:
    text: str  # normalised
    start: int
    end: int
    capital: bool
    opens: bool  # whether a sentence begins here


def _tokens(text: str) -> list[_Token]:
    text = text.replace("&", " and ") if "&" in text else text
    found: list[_Token] = []
    before = 0
    for match in _WORD.finditer(text):
        word, start = match.group(), match.start()
        gap = text[before:start]
        opens = not found or _SENTENCE.search(gap) is not None
        capital = not word.islower()  # eXistenZ, figures, and scripts without capitals, count
        found.append(_Token(_plain(word), start, match.end(), capital, opens))
        before = match.end()
    return found


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower()
    return "".join(s for s in unicodedata.normalize("NFKD", word) if not unicodedata.combining(s)).casefold()


def _words(title: str) -> tuple[str, ...]:
    return tuple(token.text for token in _tokens(title))


def title_forms(title: str, *, loose: bool = False) -> set[tuple[str, ...]]:
    """Return the sequences of words by which a title may be named.

    Args:
        title: e.g. "Postino, Il (The Postman) (1994)".
        loose: also without its article, and what stands before a colon.
    """
    bare = _YEAR.sub("", title.strip())
    parts = [bare, _INSIDE.sub(" ", bare), *(re.sub(r"^a\.?k\.?a\.?\s+", "", p) for p in _INSIDE.findall(bare))]
    parts = [_ARTICLE.sub(r"\2 \1", part.strip()) for part in parts]
    if loose:
        parts += [head for head in (part.split(":")[0] for part in parts) if len(_words(head)) > 1]
    forms = {_words(part) for part in parts}
    if loose:
        forms |= {form[1:] for form in forms if form and form[0] in ("the", "a", "an")}
    return {form for form in forms if form}


class TitleFinder:
    """Finds which titles of a catalogue a text names.

    Args:
        titles: the titles.
        own: they are those of the entity that the text is about: then a part of a title tells, and so does one
            capitalised word within a sentence.
    """

    def __init__(self, titles: Iterable[str], *, own: bool = False) -> None:
        self.own = own
        self._titles: dict[tuple[str, ...], str] = {}
        self._lengths: dict[str, list[int]] = {}
        for title in titles:
            for form in title_forms(title, loose=own):
                if self._titles.setdefault(form, title) is title:
                    lengths = self._lengths.setdefault(form[0], [])
                    if len(form) not in lengths:
                        lengths.append(len(form))
                        lengths.sort(reverse=True)

    def find(self, text: str) -> list[Mention]:
        """Return the titles that a text names, each once, the surest mention of each."""
        found: dict[str, Mention] = {}
        for mention in self._mentions(text.replace("&", " and ") if "&" in text else text):
            if mention.title not in found or mention.sure:
                found[mention.title] = mention
        return list(found.values())

    def _mentions(self, text: str) -> Iterator[Mention]:
        tokens = _tokens(text)
        for i, token in enumerate(tokens):
            for length in self._lengths.get(token.text, ()):
                run = tokens[i : i + length]
                title = self._titles.get(tuple(t.text for t in run)) if len(run) == length else None
                if title is not None and (sure := self._judge(text, run)) is not None:
                    yield Mention(title, sure)
                    break  # the longest that begins here

    def _judge(self, text: str, run: list[_Token]) -> bool | None:
        """Return whether a run of words surely names a title; None where it does not."""
        before, after = text[: run[0].start][-1:], text[run[-1].end : run[-1].end + 12]
        if (before and before in _OPENS and _ENDS.match(after)) or _DATED.match(after):
            return True if any(t.capital for t in run) else None
        if all(t.text.isdigit() for t in run):
            return None  # 1984 is a year, 300 a number
        telling = [t for t in run if t.text not in SMALL] or run
        if not all(t.capital for t in telling):
            return None
        if len(run) > 1 and len(telling) > 1:
            return True
        if len(run) > 1:  # "The Game": an article and one word
            return None if telling[0].opens or telling[0].text in OPENING else self.own
        if not run[0].opens:
            return self.own
        return False if self.own and run[0].text not in OPENING else None
