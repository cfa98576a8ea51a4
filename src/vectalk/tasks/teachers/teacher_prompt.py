"""The prompt of an LLM teacher: the task, the facts of the entities, and the rules for the text."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from vectalk.llm import Message
from vectalk.tasks.suite import Task, pieces_of
from vectalk.tasks.teachers.describer import Describer, spaced
from vectalk.tasks.teachers.target_check import Problem

SYSTEM = """\
You write reference texts about {kinds}. Each text will be shown to readers who do not know which {kind} it is about, \
and who should learn from it what kind of thing it is. Rely on the facts that you are given, and on what you know for \
certain. Say what is typical of it and what sets it apart, concretely and in plain words. Answer with the text alone: \
no heading, no preamble, no remark on the task."""
HIDE = "- Never write {titles}, nor a part of it, nor names that give it away; say {name} instead."
OTHERS = "- Name no other title, except those in quotation marks among the facts."
SILENT = "- Where neither the facts nor sure knowledge say something, leave it out. Take numbers from the facts only."
LENGTH = "- At most {words} words."
REPAIR = "That text cannot be used. {advice} Write it again, and answer with the text alone."
# The version changes with the wording of the prompt, so that cached texts of an older prompt are not reused.
VERSION = hashlib.sha256("\n".join((SYSTEM, HIDE, OTHERS, SILENT, LENGTH, REPAIR)).encode()).hexdigest()[:12]


def names_of(task: Task) -> dict[str, str]:
    """Return the name of each slot in prose: "the film", or "the first film" and "the second film"."""
    kinds = [spaced(space) for space in task.slots.values()]
    if len(kinds) == 2 and kinds[0] == kinds[1]:
        kinds = [f"first {kinds[0]}", f"second {kinds[1]}"]
    return {slot: f"the {kind}" for slot, kind in zip(task.slots, kinds, strict=True)}


def messages_for(
    task: Task,
    rows: Mapping[str, int],
    describers: Mapping[str, Describer],
    max_words: int,
    used: Mapping[str, Collection[str]] | None = None,
) -> list[Message]:
    """Return the messages that ask for a target text.

    Args:
        task: the task; the prompt contains its `teacher` instruction, or else its first wording.
        rows: slot -> row.
        describers: describer of each space, by name; returns the facts.
        max_words: longest text, in words.
        used: slot -> attributes that the facts teacher's texts of the task use.
    """
    names, parts, titles = names_of(task), [], []
    for slot, space in task.slots.items():
        describer, lines = describers[space], []
        if title := describer.title(rows[slot]):
            titles.append(f"“{title}”")
            lines.append(f"- title{'' if task.names_title else ' (never to be written)'}: {title}")
        lines += [f"- {name}: {words}" for name, words in describer.facts(rows[slot], (used or {}).get(slot, ()))]
        parts.append(f"About {names[slot]}:\n" + ("\n".join(lines) or "- nothing is known"))
    text = task.teacher or task.prompts[0]
    instruction = "".join(names.get(piece, piece) if is_slot else piece for piece, is_slot in pieces_of(text)).strip()
    rules = [SILENT, LENGTH.format(words=max_words)]
    if not task.names_title:
        if titles:
            rules.insert(0, HIDE.format(titles=" or ".join(titles), name=" and ".join(names.values())))
        rules.insert(-2, OTHERS)
    parts.append(f"Task: {instruction[:1].upper()}{instruction[1:]}\n" + "\n".join(rules))
    kinds = list(dict.fromkeys(spaced(space) for space in task.slots.values()))
    system = SYSTEM.format(kinds=" and ".join(f"{kind}s" for kind in kinds), kind=" or ".join(kinds))
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}]


def repair(messages: Sequence[Message], text: str, problem: Problem) -> list[Message]:
    """Return the messages that ask the LLM to repair a text."""
    return [
        *messages,
        {"role": "assistant", "content": text or "(nothing)"},
        {"role": "user", "content": REPAIR.format(advice=problem.advice)},
    ]
