"""Which tasks name entities, and which titles the facts allow in an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vectalk.tasks.attributes import AttributeReader
from vectalk.tasks.suite import ABOUT, Suite, Task
from vectalk.tasks.teachers import grammar

TITLES = ("titles", "neighbors")  # kinds of attributes whose values are titles


class NamingSource(NamedTuple):
    """An attribute whose values are titles that the texts of a task name.

    Attributes:
        slot: the slot of the attribute; `about` for the point that a two-slot task is about.
        space: the space of that slot.
        attribute: name of the attribute.
    """

    slot: str
    space: str
    attribute: str


def naming_sources(suite: Suite, task: Task) -> list[NamingSource]:
    """Return the attributes whose values are titles that the texts of a task name; empty if the task names none."""
    sources: dict[NamingSource, None] = {}
    for wording in (w for wordings in task.facts for w in wordings if w != grammar.OTHERWISE):
        for slot, name in sorted(grammar.facts_used(wording), key=str):
            space = task.between if slot == ABOUT else task.slots.get(slot)
            attribute = suite.attributes.get(str(space), {}).get(str(name))
            if attribute is not None and attribute.kind in TITLES:
                sources[NamingSource(slot, str(space), str(name))] = None
    return list(sources)


def listed_titles(
    task: Task, readers: Mapping[str, Mapping[str, AttributeReader]], rows: Mapping[str, np.ndarray]
) -> list[set[str]]:
    """Return for each example the titles that the facts list for its entities: nearest entities, favourites.

    Args:
        task: the task.
        readers: space -> attribute -> reader.
        rows: slot -> rows [n] of the examples.
    """
    allowed: list[set[str]] = [set() for _ in next(iter(rows.values()))]
    for slot, space in task.slots.items():
        for reader in readers[space].values():
            if reader.kind in TITLES:
                reader.prepare(rows[slot].tolist())
                for titles, row in zip(allowed, rows[slot], strict=True):
                    titles.update(reader.value(int(row)) or ())
    return allowed


def known_titles(readers: Sequence[AttributeReader]) -> set[str]:
    """Return all titles in the columns of attributes of kind `titles`."""
    known: set[str] = set()
    for reader in readers:
        if reader.kind == "titles" and reader.present:
            known.update(title for row in range(len(reader.space)) for title in reader.value(row) or ())
    return known
