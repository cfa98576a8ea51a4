"""What letters and words are, in every script.

Python's own `\\w` and `isalpha` leave out the marks of Indic, Khmer, Burmese, pointed Hebrew and other scripts, which
are parts of words, and take a whole clause in Chinese, Japanese or Thai for one word, since these leave no blanks.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cached_property

import regex

# Scripts that leave no blank between words; kana share some marks, which Unicode counts to no script.
_KANA = r"\p{sc=Hira}\p{sc=Kana}\u3099\u309a\u30fc\uff70\uff9e\uff9f"
_DENSE = rf"\p{{sc=Hani}}\p{{sc=Bopo}}{_KANA}"
_UNSPACED = _DENSE + "".join(
    rf"\p{{sc={name}}}"
    for name in ("Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Lana", "Talu", "Tale", "Java", "Bali", "Yiii")
)
_JOINERS = r"\u200c\u200d"  # stand inside words: Persian, Malayalam, Sinhala, ...
IN_WORD = rf"\p{{L}}\p{{M}}\p{{N}}_{_JOINERS}"  # inside the brackets of a pattern of `regex`
_SIGN = rf"[[\p{{L}}\p{{M}}]&&[{_UNSPACED}]][\p{{M}}{_JOINERS}]*"  # one sign of such a script with its marks
_SPACED = rf"[[{IN_WORD}]--[[\p{{L}}\p{{M}}]&&[{_UNSPACED}]]]"
_LETTERS = regex.compile(rf"(?V1)\p{{L}}[\p{{M}}{_JOINERS}]*")
_WORDS = regex.compile(rf"(?V1){_SIGN}|{_SPACED}+")
_TOKENS = regex.compile(rf"(?V1){_SIGN}|{_SPACED}+|[^{IN_WORD}\s]")
_SIGNS = regex.compile(rf"(?V1){_SIGN}")
_DENSE_SIGN = regex.compile(rf"(?V1)[[\p{{L}}]&&[{_DENSE}]]")
# Where this finds nothing, Python's own \w is right, and several times quicker.
_UNLIKE_LATIN = re.compile("[\u0300-\u036f\u0483-\u0489\u0590-\u1dff\u200c\u200d\u20d0-\u20ff\u2c00-\U0010ffff]")
_LATIN_WORDS, _LATIN_TOKENS = re.compile(r"\w+"), re.compile(r"\w+|[^\w\s]")

# Where a value may not be cut out of a text: between the signs of one syllable.
_CONTINUES = rf"\p{{M}}{_JOINERS}ะาำๅະາຳーぁぃぅぇぉゃゅょァィゥェォャュョ"
_PRECEDES = "เแโใไເແໂໃໄ\u17d2\u1039"  # vowels written before their consonant; signs that stack the next one
_ATTACHES = regex.compile(rf"(?V1)[[\p{{L}}\p{{M}}]&&[{_UNSPACED}\p{{sc=Hang}}]]")
APART = rf"[[{IN_WORD}]--[[\p{{L}}\p{{M}}]&&[{_UNSPACED}\p{{sc=Hang}}]]]"  # what a word may not stand beside
_ACCENTED = regex.compile(r"([\p{Latin}\p{Greek}\p{Cyrillic}\p{Hebrew}\p{Arabic}])\p{Mn}+")


def count_letters(text: str) -> int:
    """Return how many characters of a text are letters; the marks of a letter count with it."""
    return sum(match.end() - match.start() for match in _LETTERS.finditer(text))


def find_words(text: str) -> Iterator[re.Match[str]]:
    """Yield the words of a text as matches; in scripts without blanks each sign, with its marks, is one."""
    return (_WORDS if _UNLIKE_LATIN.search(text) else _LATIN_WORDS).finditer(text)


def words_in(text: str) -> list[str]:
    """Return the words of a text; in scripts without blanks each sign, with its marks, is one."""
    return (_WORDS if _UNLIKE_LATIN.search(text) else _LATIN_WORDS).findall(text)


def tokens_in(text: str) -> list[str]:
    """Return the words of a text and its other characters but blanks, each on its own."""
    return (_TOKENS if _UNLIKE_LATIN.search(text) else _LATIN_TOKENS).findall(text)


def has_signs(text: str) -> bool:
    """Return whether some of a text is in a script that leaves no blanks between words."""
    return _UNLIKE_LATIN.search(text) is not None and _SIGNS.search(text) is not None


def word_share(word: str) -> float:
    """Return 1 for a word, and for a sign of a script without blanks about which part of a word it is.

    It is 1/2 in Chinese and Japanese, 1/4 in Thai, Khmer and others whose signs stand for sounds.
    """
    return 1.0 if not _SIGNS.match(word) else 0.5 if _DENSE_SIGN.match(word) else 0.25


def count_words(text: str) -> int:
    """Return how many words a text has: what blanks part; in scripts without blanks it is estimated."""
    return math.ceil(sum(map(word_share, words_in(text)))) if has_signs(text) else len(text.split())


def without_accents(text: str) -> str:
    """Return a text without the accents and points of scripts that can leave them out; other marks are letters."""
    return unicodedata.normalize("NFC", _ACCENTED.sub(r"\1", unicodedata.normalize("NFKD", text)))


class ValueFinder:
    """Finds values in a text where they stand as words of their own.

    In scripts that leave no blanks, and in Korean, which joins particles to words, a value is found inside a run of
    letters too, but never cut out of a syllable. Of two values that begin at one place the longer one counts.

    Args:
        values: what to look for, in lower case.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = {unicodedata.normalize("NFC", value): value for value in values if value}
        self._longest_first = sorted(self._values, key=len, reverse=True)

    @cached_property
    def _latin(self) -> re.Pattern[str] | None:
        if any(map(_UNLIKE_LATIN.search, self._longest_first)):
            return None
        return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, self._longest_first)) + r")(?!\w)")

    @cached_property
    def _any(self) -> regex.Pattern[str]:
        groups: dict[bool, list[str]] = {False: [], True: []}
        for value in self._longest_first:
            end = rf"(?![{_CONTINUES}])" if _ATTACHES.match(value[-1]) else rf"(?!{APART}|\p{{M}})"
            groups[_ATTACHES.match(value[0]) is not None].append(regex.escape(value) + end)
        starts = {False: rf"(?<!{APART})", True: f"(?<![{_PRECEDES}])"}
        return regex.compile("(?V1)" + "|".join(f"{starts[g]}(?:{'|'.join(v)})" for g, v in groups.items() if v))

    def find(self, text: str) -> list[str]:
        """Return the values that a text in lower case holds, in its order."""
        if not self._values:
            return []
        text = unicodedata.normalize("NFC", text)
        latin = self._latin if not _UNLIKE_LATIN.search(text) else None
        return [self._values[match] for match in (latin or self._any).findall(text)]
