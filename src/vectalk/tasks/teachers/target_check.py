"""Check the target texts of an LLM, and return advice with which the LLM can repair a faulty text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vectalk.llm import Reply
from vectalk.llm.reply_reader import split_reasoning
from vectalk.space.letters import count_letters, count_words, has_signs, words_in
from vectalk.tasks.named_titles import TitleFinder

_REFUSAL = re.compile(
    r"^\W*(i['’]?m (really |very )?sorry|i am sorry|sorry[,.]|my apologies|i apologi[sz]e|unfortunately, i"
    r"|i (can ?not|can['’]?t|won['’]?t)\b|(i['’]?m|i am) (not able|unable)|as an ai\b|as a (large )?language model)",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"<\|[^|]*\|>|</?think>|```|^\s*[{\[]\s*[\"{\[]|^#+ |\*\*|</?(?:p|div|br|html|body)\b", re.MULTILINE
)
_ECHO = re.compile(r"\(never to be written\)|^about the .*:$", re.IGNORECASE | re.MULTILINE)
# A text repeats itself if a run of this many words (or characters, in scripts without blanks) occurs more than twice.
RUN, RUN_OF_SIGNS = 6, 24


@dataclass(frozen=True)
class Problem:
    """A fault of a text.

    Attributes:
        reason: a few words; faults are counted by reason.
        advice: a sentence that tells the LLM how to repair the text.
        final: whether a second attempt is useless.
    """

    reason: str
    advice: str
    final: bool = False


def clean(text: str) -> str:
    """Return a text without reasoning, outer blanks, and quotation marks around the whole text."""
    text = split_reasoning(text)[1].strip()
    for opening, closing in ('""', "“”"):
        if len(text) > 1 and text[0] == opening and text[-1] == closing and closing not in text[1:-1]:
            text = text[1:-1].strip()
    return text


def problem_of(
    reply: Reply, max_words: int, own: TitleFinder | None = None, hidden: Sequence[TitleFinder] = ()
) -> Problem | None:
    """Return the first fault of a reply, or None.

    Args:
        reply: the reply of the LLM.
        max_words: longest text, in words.
        own: finds the titles of the entities in the slots; None if the text may name these titles.
        hidden: finders of held-out titles, which a training text must not name.
    """
    text = clean(reply.text)
    if reply.refused or reply.finish == "content_filter" or (reply.refusal and not text):
        return Problem("refused", "Write the text; it describes a published work and harms nobody.")
    if not text and reply.reasoning:
        return Problem("only reasoning, no text", "Write the text.", final=True)
    if reply.finish == "length":
        return Problem("cut off", f"It was cut off. Write less: {max_words} words at most.")
    if reply.finish != "stop":
        return Problem(f"ended by {reply.finish}", "Answer with the text alone.")
    if not text:
        return Problem("empty", "It was empty. Write the text.")
    if reply.refusal or _REFUSAL.match(text):
        return Problem("refused", "Write the text itself; the facts above are all that is needed.")
    if (words := count_words(text)) > max_words:
        return Problem("too long", f"It has {words} words. Write {max_words} at most.")
    if problem := _garbage(text):
        return problem
    if own is not None and (named := own.find(text)):
        return Problem(
            "names its title", f"It names {_quoted(named[0].title)}. Write it without any title or part of one."
        )
    for finder in hidden:
        if named := [mention for mention in finder.find(text) if mention.sure]:
            return Problem("names a title set aside", f"It names {_quoted(named[0].title)}. Name no such title.")
    return None


def _garbage(text: str) -> Problem | None:
    if _MARKUP.search(text):
        return Problem("markup", "Write plain prose, without headings, bold type, code or lists in brackets.")
    if _ECHO.search(text):
        return Problem(
            "repeats the instructions", "Do not repeat the instructions or the list of facts; write the text."
        )
    letters = count_letters(text) + sum(map(str.isspace, text))
    if "�" in text or letters < 0.6 * len(text):
        return Problem("garbage", "It was not readable. Write plain prose.")
    words, run = text.lower().split(), RUN
    if has_signs(text):
        words, run = words_in(text.lower()), RUN_OF_SIGNS
    runs = Counter(tuple(words[i : i + run]) for i in range(len(words) - run + 1))
    if runs and max(runs.values()) > 2:
        return Problem("goes in circles", "It repeats itself. Say each thing once.")
    return None


def _quoted(title: str) -> str:
    return f"“{title}”"
