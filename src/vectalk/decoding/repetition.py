"""Loops in texts: an answer that says the same words again and again."""

from __future__ import annotations

import re

from vectalk.space.letters import words_in

LONGEST, TIMES = 6, 3  # words of the longest phrase, and how often it is said in a row
SHORTEST = 3  # words of the shortest sentence; shorter pieces are often parts of a name or an abbreviation
_SENTENCE_END = re.compile(r"[.!?…]+(?=\W|$)|[。！？।\n]+")  # the point of 8.5 ends no sentence


def loops(text: str) -> bool:
    """Return whether a text loops.

    A text loops if it says a phrase of 1 to 6 words three times or more in a row, with nothing but blanks and
    punctuation in between, or if it says a sentence of three words or more twice, not necessarily in a row. Case and
    punctuation do not count. In scripts without blanks between words, each sign counts as a word.
    """
    words = words_in(text.casefold())
    return any(_repeats(words, length) for length in range(1, LONGEST + 1)) or _says_a_sentence_twice(text)


def _repeats(words: list[str], length: int) -> bool:
    """Return whether a phrase of `length` words is said `TIMES` times in a row."""
    run = 0  # how many words in a row equal the word `length` places before
    for word, earlier in zip(words[length:], words, strict=False):
        run = run + 1 if word == earlier else 0
        if run >= (TIMES - 1) * length:
            return True
    return False


def _says_a_sentence_twice(text: str) -> bool:
    sentences = [tuple(words_in(part)) for part in _SENTENCE_END.split(text.casefold())]
    sentences = [words for words in sentences if len(words) >= SHORTEST]
    return len(set(sentences)) < len(sentences)
