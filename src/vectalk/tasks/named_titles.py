"""Find titles that a text names. Films are called "Heat", "It" and "Her", so a word alone proves nothing."""

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
# A year, or signs, may stand between a title and the quotation mark that closes it.
_ENDS = re.compile(r"(?:\s*\(\d{4}\))?[.,!?;:…]*(?:[”\"“»›*_》」』]|['’](?!\w))")
_DATED = re.compile(r"^\s*\((\d{4})\)")
_QUOTED = re.compile(
    '“[^”]{1,120}”|"[^"\n]{1,120}"|«[^»]{1,120}»|„[^“”]{1,120}[“”]|《[^》]{1,120}》|「[^」]{1,120}」|『[^』]{1,120}』'
)
# Written small within a title, and capital at the start of any sentence.
SMALL = frozenset(
    words_in(
        "a an and as at but by de der die das du el en for from il in into is la le les los of on or s t the to und"
        " un une van von vs with y"
    )
)
# Neither capitals nor blanks tell a title from other words in Chinese, Thai, ...: only its length, in words, does.
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
        title: as the catalogue has it.
        quoted: whether it stands in quotes or with its year, which leaves no doubt.
        sure: whether it stands in quotes, with its year, or as several capitalised words; one capitalised word
            may be a name, a place or the start of a sentence.
    """

    title: str
    sure: bool
    quoted: bool = False


class Words:
    """A text cut into words once, for several finders.

    Attributes:
        text: the text, with "and" for &.
        plain: its words in lower case, without accents.
    """

    def __init__(self, text: str) -> None:
        self.text = text.replace("&", " and ") if "&" in text else text
        # An underscore is a mark of italics here, and no letter.
        self._clear = self.text.replace("_", " ")
        self.plain = [_plain(word) for word in words_in(self._clear)]

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where each word begins and ends; asked for only where a title may be."""
        return [match.span() for match in find_words(self._clear)]

    def capital(self, i: int) -> bool:
        """Return whether a word has a capital; eXistenZ, figures, and scripts without capitals count."""
        start, end = self.spans[i]
        return not self.text[start:end].islower()

    def opens(self, i: int) -> bool:
        """Return whether a sentence begins with a word."""
        return i == 0 or _SENTENCE.search(self.text, self.spans[i - 1][1], self.spans[i][0]) is not None

    @cached_property
    def quotes(self) -> list[tuple[int, int]]:
        """Where something stands in quotation marks."""
        return [match.span() for match in _QUOTED.finditer(self.text)]

    def year(self, last: int) -> str | None:
        """Return the year in brackets behind a word."""
        end = self.spans[last][1]
        found = _DATED.match(self.text[end : end + 8])
        return found.group(1) if found else None

    def quoted(self, first: int, last: int) -> bool | None:
        """Return whether words stand in quotation marks as a whole; None where they are a part of what does."""
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
    """Return the sequences of words by which a title may be named, e.g. "Postino, Il (The Postman) (1994)"."""
    bare = _YEAR.sub("", title.strip())
    parts = [bare, _INSIDE.sub(" ", bare), *(re.sub(r"^a\.?k\.?a\.?\s+", "", p) for p in _INSIDE.findall(bare))]
    forms = {_words(_ARTICLE.sub(r"\2 \1", part.strip())) for part in parts}
    return {form for form in forms if form}


def loose_forms(title: str) -> set[tuple[str, ...]]:
    """Return what is left of a title without its article, and what stands before a colon."""
    forms = title_forms(title)
    if ":" in title:
        forms |= {head for head in (_words(title.split(":")[0]),) if len(head) > 1}
    forms |= {form[1:] for form in forms if form[0] in ("the", "a", "an") and len(form) > 1}
    return forms - title_forms(title)


@dataclass(frozen=True)
class _Known:
    title: str
    year: str | None
    whole: bool  # not a loose form


class TitleFinder:
    """Finds which titles of a catalogue a text names.

    Args:
        titles: the titles.
        own: they are those of the entity that the text is about: then a part of a title tells, and so does one
            capitalised word within a sentence.
    """

    def __init__(self, titles: Iterable[str], *, own: bool = False) -> None:
        self.own = own
        self._titles: dict[tuple[str, ...], list[_Known]] = {}
        self._lengths: dict[str, list[int]] = {}
        for title in titles:
            found = _YEAR.search(title)
            year = found.group(1) if found else None
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
        """Return the titles that a text names, each once, the surest mention of each."""
        words = Words(text) if isinstance(text, str) else text
        found: dict[str, Mention] = {}
        for i, word in enumerate(words.plain):
            for length in self._lengths.get(word, ()):
                known = self._titles.get(tuple(words.plain[i : i + length]))
                mention = None if known is None else self._judge(known, words, i, length)
                if mention is not None:
                    best = found.get(mention.title)
                    if best is None or (mention.quoted, mention.sure) > (best.quoted, best.sure):
                        found[mention.title] = mention
                    break  # the longest that begins here
        return list(found.values())

    def _judge(self, known: list[_Known], words: Words, start: int, length: int) -> Mention | None:
        """Return whether some words, which are those of titles, name one; None where they do not."""
        run, plain, last = range(start, start + length), words.plain, start + length - 1
        quoted, year = words.quoted(start, last), words.year(last)
        if quoted is None:
            return None  # a part of another title
        if year is not None:  # with its year, a title is that of one work and of no other
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
        if words.opens(telling[0]):  # any word has a capital there; "The Game" has an article before it
            may_be = self.own and one.whole and length == 1 and plain[start] not in OPENING
            return Mention(one.title, False) if may_be else None
        if length > 1 and plain[telling[0]] in OPENING:
            return None
        return Mention(one.title, self.own)


def set_aside(space: VectorSpace) -> TitleFinder:
    """Return a finder of the titles of validation and test that no training entity shares."""
    titles = titles_of(space)
    trained = {form for row in space.rows(TRAIN) if (title := titles[row]) for form in title_forms(title)}
    others = [titles[row] for split in (VALIDATION, TEST) for row in space.rows(split)]
    return TitleFinder(title for title in others if title and not title_forms(title) & trained)


def own_title(space: VectorSpace, row: int, name: str = "") -> str | None:
    """Return the title of an entity; None where it has none, or one that is made of its id ("user 71").

    Args:
        space: the space.
        row: the entity.
        name: what a suite calls the space.
    """
    if "title" not in space.column_names:
        return None
    title, own = space.column("title")[row].as_py(), space.column("id")[row].as_py()
    made = (str(own), f"{name or space.name} {own}", f"{space.name} {own}")
    return str(title) if title and str(title).strip() and str(title) not in made else None


def titles_of(space: VectorSpace) -> list[str | None]:
    """Return the title of each entity; None where it has none."""
    if "title" not in space.column_names:
        return [None] * len(space)
    return list(space.column("title").to_pylist())
