"""What an LLM teacher is told: the task, the facts of the entities, and what must not be in the text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from vectalk.errors import TeacherError
from vectalk.space import VectorSpace
from vectalk.space.titles import closest
from vectalk.tasks.attributes import AttributeReader, is_missing
from vectalk.tasks.chat import Message
from vectalk.tasks.suite import Task, pieces_of
from vectalk.tasks.target_check import Problem

SYSTEM = """\
You write reference texts about {kinds}. Each text will be shown to readers who do not know which {kind} it is about, \
and who should learn from it what kind of thing it is. Rely on the facts that you are given, and on what you know for \
certain. Say what is typical of it and what sets it apart, concretely and in plain prose. Answer with the text alone: \
no heading, no preamble, no remark on the task."""
HIDE = "- Never write {titles}, nor a part of it, nor names that give it away; say {name} instead."
OTHERS = "- Name no other title, except those in quotation marks among the facts."
SILENT = "- Where neither the facts nor sure knowledge say something, leave it out. Take numbers from the facts only."
LENGTH = "- At most {words} words."
REPAIR = "That text cannot be used. {advice} Write it again, and answer with the text alone."
LONGEST = 600  # signs of one fact
# Another wording of the prompt is another version: texts of an older one are not taken for its own.
VERSION = hashlib.sha256("\n".join((SYSTEM, HIDE, OTHERS, SILENT, LENGTH, REPAIR)).encode()).hexdigest()[:12]


class Describer:
    """Says the facts of a space's entities: title, attributes in words, and what other columns hold.

    Args:
        space: the space.
        readers: its attributes by name.
        columns: attributes and columns to tell, all when omitted.

    Attributes:
        known: names that may be asked for as columns.
    """

    def __init__(
        self, space: VectorSpace, readers: Mapping[str, AttributeReader], columns: Sequence[str] | None = None
    ) -> None:
        self.space = space
        self.known = {*readers, *space.column_names}
        used = {reader.column for reader in readers.values()} | {"id", "title", "split"}
        titled = "title" in space.column_names
        self.readers = {n: r for n, r in readers.items() if r.present and (titled or r.kind != "neighbors")}
        self.columns = [name for name in space.column_names if name not in used]
        if columns is not None:
            self.readers = {name: reader for name, reader in self.readers.items() if name in columns}
            self.columns = [name for name in columns if name in space.column_names and name not in self.readers]

    def title(self, row: int) -> str | None:
        """Return the title of an entity; None where it has none (an id is no title)."""
        found = self.space.column("title")[row].as_py() if "title" in self.space.column_names else None
        return None if is_missing(found) else str(found)

    def facts(self, row: int) -> list[tuple[str, str]]:
        """Return what is known of an entity, as (name, words) pairs."""
        said = []
        for name, reader in self.readers.items():
            value = reader.value(row)
            if value is not None:
                words = reader.words(value)
                quoted = reader.kind in ("titles", "neighbors")
                said.append((name, _said([f"“{w}”" for w in words] if quoted else words)))
        for name in self.columns:
            value = self.space.column(name)[row].as_py()
            if not is_missing(value) and value != []:
                said.append((name, _said(value)))
        return [(name.replace("_", " "), words) for name, words in said if words]


def check_columns(describers: Mapping[str, Describer], columns: Sequence[str] | None) -> None:
    """Raise a TeacherError where a column that is to be told is in no space."""
    known = set().union(*(describer.known for describer in describers.values()))
    for name in columns or ():
        if name not in known:
            near = closest(name, sorted(known)) or sorted(known)
            raise TeacherError(f"--columns: no space has {name!r}; did you mean {', '.join(near)}?")


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        text = ", ".join(_said(item) for item in value if not is_missing(item))
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = " ".join(str(value).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"


def names_of(task: Task) -> dict[str, str]:
    """Return how each slot is called in prose: "the film", or "the first film" and "the second film"."""
    kinds = [space.replace("_", " ") for space in task.slots.values()]
    if len(kinds) == 2 and kinds[0] == kinds[1]:
        kinds = [f"first {kinds[0]}", f"second {kinds[1]}"]
    return {slot: f"the {kind}" for slot, kind in zip(task.slots, kinds, strict=True)}


def messages_for(
    task: Task, rows: Mapping[str, int], describers: Mapping[str, Describer], max_words: int
) -> list[Message]:
    """Return the messages that ask for a target text.

    Args:
        task: what is asked; its `teacher` instruction, or its first wording.
        rows: slot -> row.
        describers: say the facts, by space.
        max_words: longest text.
    """
    names, parts, titles = names_of(task), [], []
    for slot, space in task.slots.items():
        describer, lines = describers[space], []
        if title := describer.title(rows[slot]):
            titles.append(f"“{title}”")
            lines.append(f"- title{'' if task.names_title else ' (never to be written)'}: {title}")
        lines += [f"- {name}: {words}" for name, words in describer.facts(rows[slot])]
        parts.append(f"About {names[slot]}:\n" + ("\n".join(lines) or "- nothing is known"))
    text = task.teacher or task.prompts[0]
    asked = "".join(names.get(piece, piece) if is_slot else piece for piece, is_slot in pieces_of(text)).strip()
    rules = [SILENT, LENGTH.format(words=max_words)]
    if not task.names_title:
        if titles:
            rules.insert(0, HIDE.format(titles=" or ".join(titles), name=" and ".join(names.values())))
        rules.insert(-2, OTHERS)
    parts.append(f"Task: {asked[:1].upper()}{asked[1:]}\n" + "\n".join(rules))
    kinds = list(dict.fromkeys(space.replace("_", " ") for space in task.slots.values()))
    system = SYSTEM.format(kinds=" and ".join(f"{kind}s" for kind in kinds), kind=" or ".join(kinds))
    return [{"role": "system", "content": system}, {"role": "user", "content": "\n\n".join(parts)}]


def repair(messages: Sequence[Message], text: str, problem: Problem) -> list[Message]:
    """Return the messages that ask to mend a text."""
    return [
        *messages,
        {"role": "assistant", "content": text or "(nothing)"},
        {"role": "user", "content": REPAIR.format(advice=problem.advice)},
    ]
