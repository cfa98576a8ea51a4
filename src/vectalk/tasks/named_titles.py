"""Find titles that a text names. Film titles such as "Heat" and "It" are common words, so one word is no proof."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from vectalk.space import VectorSpace
from vectalk.space.letters import find_words, without_accents, word_share, words_in
from vectalk.space.split import TEST, TRAIN, VALIDATION

_YEAR = re.compile(r"\s*\((\d{4})\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|la|le|les|l'|il|el|los|las|der|die|das|un|une)$", re.IGNORECASE)
_INSIDE = re.compile(r"\(([^()]*)\)")
_OPENS = "“\"„«‹'‘*_《「『"
_SENTENCE = re.compile(r"[.!?:;…\n•—。！？：；।]")
# Between a title and its closing quotation mark there may be a year or punctuation.
_ENDS = re.compile(r"(?:\s*\(\d{4}\))?[.,!?;:…]*(?:[”\"“»›*_》」』]|['’](?!\w))")
_DATED = re.compile(r"^\s*\((\d{4})\)")
_QUOTED = re.compile(
    '“[^”]{1,120}”|"[^"\n]{1,120}"|«[^»]{1,120}»|„[^“”]{1,120}[“”]|《[^》]{1,120}》|「[^」]{1,120}」|『[^』]{1,120}』'
)
# Words in lower case within a title; at the start of a sentence they have a capital.
SMALL = frozenset(
    words_in(
        "a an and as at but by de der die das du el en for from il in into is la le les los of on or s t the to und"
        " un une van von vs with y"
    )
)
# Chinese, Thai, ... have no capitals and no blanks, so only the length of a title, in words, distinguishes it from
# other words: below UNSURE it is ignored, from SURE on it is certain.
UNSURE, SURE = 1.5, 2.5
OPENING = SMALL | frozenset(
    words_in(
        "after all are before both can do each every far few go he her here his how if i it its just let like many"
        " more most my near next no not now once one only our out she so some still such that their them then there"
        " they these this those three two unlike up us was we what when where while who whoever why yet you your"
    )
)


@dataclass(frozen=True)
class Mention:
    """A title that a text names.

    Attributes:
        title: the title in the catalogue.
        quoted: whether the title is in quotation marks or followed by its year, which is certain.
        sure: whether the title is in quotation marks, followed by its year, or several capitalised words long; a single
            capitalised word may be a name, a place or the start of a sentence.
    """

    title: str
    sure: bool
    quoted: bool = False


class Words:
    """A text that is split into words once, so that several finders can use it.

    Attributes:
        text: the text, with "and" in place of &.
        plain: the words in lower case, without accents.
    """

    def __init__(self, text: str) -> None:
        self.text = text.replace("&", " and ") if "&" in text else text
        # An underscore marks italics here and is not a letter.
        self._clear = self.text.replace("_", " ")
        self.plain = [_plain(word) for word in words_in(self._clear)]

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each word; computed only if the text may contain a title."""
        return [match.span() for match in find_words(self._clear)]

    def capital(self, i: int) -> bool:
        """Return whether a word is not all in lower case; true also for digits and for scripts without capitals."""
        start, end = self.spans[i]
        return not self.text[start:end].islower()

    def opens(self, i: int) -> bool:
        """Return whether a word begins a sentence."""
        return i == 0 or _SENTENCE.search(self.text, self.spans[i - 1][1], self.spans[i][0]) is not None

    @cached_property
    def quotes(self) -> list[tuple[int, int]]:
        """Start and end of each quotation, with its quotation marks."""
        return [match.span() for match in _QUOTED.finditer(self.text)]

    def year(self, last: int) -> str | None:
        """Return the year in brackets after a word, or None."""
        end = self.spans[last][1]
        match = _DATED.match(self.text[end : end + 8])
        return match.group(1) if match else None

    def quoted(self, first: int, last: int) -> bool | None:
        """Return whether a run of words is exactly a quotation; None if it is only a part of a quotation."""
        start, end = self.spans[first][0], self.spans[last][1]
        before, after = self.text[start - 1 : start], self.text[end : end + 12]
        if before != "" and before in _OPENS and _ENDS.match(after):
            return True
        return None if any(a < start and end < b for a, b in self.quotes) else False


def _plain(word: str) -> str:
    if word.isascii():
        return word.lower()
    return without_accents(word).casefold()


def _words(title: str) -> tuple[str, ...]:
    return tuple(Words(title).plain)


def title_forms(title: str) -> set[tuple[str, ...]]:
    """Return the word sequences that name a title; "Postino, Il (The Postman) (1994)" has several."""
    bare = _YEAR.sub("", title.strip())
    parts = [bare, _INSIDE.sub(" ", bare), *(re.sub(r"^a\.?k\.?a\.?\s+", "", p) for p in _INSIDE.findall(bare))]
    forms = {_words(_ARTICLE.sub(r"\2 \1", part.strip())) for part in parts}
    return {form for form in forms if form}


def loose_forms(title: str) -> set[tuple[str, ...]]:
    """Return shorter forms of a title: without its article, and the part before a colon."""
    forms = title_forms(title)
    if ":" in title:
        forms |= {head for head in (_words(title.split(":")[0]),) if len(head) > 1}
    forms |= {form[1:] for form in forms if form[0] in ("the", "a", "an") and len(form) > 1}
    return forms - title_forms(title)


@dataclass(frozen=True)
class _Known:
    title: str
    year: str | None
    whole: bool  # the form is not a loose one


class TitleFinder:
    """Finds which titles of a catalogue a text names.

    Args:
        titles: the titles.
        own: whether the titles belong to the entities that the text is about. Then a part of a title also counts as a
            mention, and so does a single capitalised word within a sentence.
    """

    def __init__(self, titles: Iterable[str], *, own: bool = False) -> None:
        self.own = own
        self._titles: dict[tuple[str, ...], list[_Known]] = {}
        self._lengths: dict[str, list[int]] = {}
        for title in titles:
            match = _YEAR.search(title)
            year = match.group(1) if match else None
            for form in title_forms(title):
                self._add(form, _Known(title, year, True))
            for form in loose_forms(title) if own else ():
                self._add(form, _Known(title, year, False))

    def _add(self, form: tuple[str, ...], known: _Known) -> None:
        self._titles.setdefault(form, []).append(known)
        lengths = self._lengths.setdefault(form[0], [])
        if len(form) not in lengths:
            lengths.append(len(form))
            lengths.sort(reverse=True)

    def find(self, text: str | Words) -> list[Mention]:
        """Return the titles that a text names: for each title its most certain mention."""
        words = Words(text) if isinstance(text, str) else text
        mentions: dict[str, Mention] = {}
        for i, word in enumerate(words.plain):
            for length in self._lengths.get(word, ()):
                known = self._titles.get(tuple(words.plain[i : i + length]))
                mention = None if known is None else self._mention(known, words, i, length)
                if mention is not None:
                    best = mentions.get(mention.title)
                    if best is None or (mention.quoted, mention.sure) > (best.quoted, best.sure):
                        mentions[mention.title] = mention
                    break  # keep the longest title that begins at this word
        return list(mentions.values())

    def _mention(self, known: list[_Known], words: Words, start: int, length: int) -> Mention | None:
        """Return the mention if a run of words, which matches these titles, names one of them; else None."""
        run, plain, last = range(start, start + length), words.plain, start + length - 1
        quoted, year = words.quoted(start, last), words.year(last)
        if quoted is None:
            return None  # a part of another title
        if year is not None:  # the year identifies one work
            known = [one for one in known if one.year in (year, None)]
            quoted = True
        if not known:
            return None
        one = known[0]
        if quoted and any(map(words.capital, run)):
            return Mention(one.title, True, True)
        if all(plain[i].isdigit() for i in run):
            return None  # 1984 is a year, 300 a number
        shares = [word_share(plain[i]) for i in run]
        if max(shares) < 1:
            return Mention(one.title, self.own or sum(shares) >= SURE) if sum(shares) >= UNSURE else None
        telling = [i for i in run if plain[i] not in SMALL] or list(run)
        if not all(map(words.capital, telling)):
            return None
        if len(telling) > 1:
            return Mention(one.title, True)
        if words.opens(telling[0]):  # there any word has a capital; in "The Game" an article precedes the telling word
            may_be = self.own and one.whole and length == 1 and plain[start] not in OPENING
            return Mention(one.title, False) if may_be else None
        if length > 1 and plain[telling[0]] in OPENING:
            return None
        return Mention(one.title, self.own)


def held_out_titles(space: VectorSpace) -> TitleFinder:
    """Return a finder of the titles of validation and test entities that no training entity shares."""
    titles = titles_of(space)
    trained = {form for row in space.rows(TRAIN) if (title := titles[row]) for form in title_forms(title)}
    others = [titles[row] for split in (VALIDATION, TEST) for row in space.rows(split)]
    return TitleFinder(title for title in others if title and not title_forms(title) & trained)


def own_title(space: VectorSpace, row: int, name: str = "") -> str | None:
    """Return the title of an entity; None if it has none, or if the title only repeats its id ("user 71").

    Args:
        space: the space.
        row: the entity.
        name: name of the space in the suite.
    """
    if "title" not in space.column_names:
        return None
    title, own = space.column("title")[row].as_py(), space.column("id")[row].as_py()
    placeholders = (str(own), f"{name or space.name} {own}", f"{space.name} {own}")
    return str(title) if title and str(title).strip() and str(title) not in placeholders else None


def titles_of(space: VectorSpace) -> list[str | None]:
    """Return the title of each entity; None for entities without a title."""
    if "title" not in space.column_names:
        return [None] * len(space)
    return list(space.column("title").to_pylist())
