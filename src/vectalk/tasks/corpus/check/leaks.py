"""Check for leaks: held-out entities and titles in training examples, and targets that name their own title."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from vectalk.space import VectorSpace
from vectalk.space.split import SPLITS, TEST, TRAIN, VALIDATION
from vectalk.space.titles import title_key
from vectalk.tasks.corpus.check.findings import Batch, Finding, Tally, place_of, short
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.named_titles import TitleFinder, Words, held_out_titles, own_title, titles_of

REMEMBERED = 20_000  # entities whose title finder is cached


class Leaks:
    """Finds examples whose entities are of another split, and targets that name titles they must not name."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.spaces = corpus, corpus.spaces
        self.titled = {task.name: task.names_title for task in corpus.suite.tasks}
        self.codes = {name: _codes(space) for name, space in self.spaces.items()}
        self.hidden = [held_out_titles(space) for space in self.spaces.values()]
        self.entities, self.seen, self.absent = Tally(), Tally(), Tally()
        self.own, self.own_perhaps, self.quoted, self.named = Tally(), Tally(), Tally(), Tally()
        self.own_by_task: dict[str, int] = {}
        self._own = lru_cache(maxsize=REMEMBERED)(self._own_finder)

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
        for i, slots in enumerate(batch.slots):
            known = [
                int(self.codes[space][row])
                for space, row in slots.values()
                if space in self.codes and 0 <= row < len(self.codes[space])
            ]
            if len(known) < len(slots):
                self.absent.add(place_of(batch, i, self.spaces))
                continue
            # An example belongs to train only if all its entities do; one test entity makes it a test example.
            least = SPLITS[max(known, default=0)]
            if batch.split == TRAIN and least != TRAIN:
                self.entities.add(f"{place_of(batch, i, self.spaces)} is of {least}")
            elif batch.split != TRAIN and least == TRAIN:
                self.seen.add(place_of(batch, i, self.spaces))
            if batch.targets[i]:
                self._look_for_titles(batch, i)

    def _own_finder(self, slots: tuple[tuple[str, int], ...]) -> TitleFinder | None:
        titles = [title for space, row in slots if (title := own_title(self.spaces[space], row, space))]
        return TitleFinder(titles, own=True) if titles else None

    def _look_for_titles(self, batch: Batch, i: int) -> None:
        text, task = batch.targets[i], batch.tasks[i]
        words = Words(text)
        finder = None if self.titled.get(task, True) else self._own(tuple(batch.slots[i].values()))
        if finder is not None and (mentions := finder.find(words)):
            sure = any(mention.sure for mention in mentions)
            (self.own if sure else self.own_perhaps).add(f"{place_of(batch, i, self.spaces)}: {short(text)}")
            self.own_by_task[task] = self.own_by_task.get(task, 0) + sure
        if batch.split == TRAIN:
            for hidden in self.hidden:
                for mention in hidden.find(words):
                    if mention.sure:
                        tally = self.quoted if mention.quoted else self.named
                        tally.add(f"{place_of(batch, i, self.spaces)} names “{mention.title}”")

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about all batches."""
        yield from self.absent.finding(
            "unknown-entity", "problem", "{n} examples are about entities that do not exist in any space"
        )
        yield from self.entities.finding(
            "leak", "problem", "{n} training examples are about held-out entities (validation or test)"
        )
        yield from self.seen.finding(
            "leak", "problem", "{n} validation or test examples are only about training entities"
        )
        yield from self.quoted.finding(
            "hidden-title",
            "problem",
            "{n} mentions of held-out titles (validation or test) in training targets",
        )
        yield from self.named.finding(
            "hidden-title",
            "warning",
            "{n} possible mentions of held-out titles in training targets (capitalised words without quotation marks)",
        )
        yield from self.own.finding(
            "own-title",
            "problem",
            "{n} targets name the title of their own entity, which a model cannot read from the vector; if this is "
            "intended, add `names_title: true` to the task",
        )
        yield from self.own_perhaps.finding(
            "own-title",
            "warning",
            "{n} targets may name the title of their own entity (one word at the start of a sentence)",
        )
        for name, space in self.spaces.items():
            yield from _twins(name, space)

    def figures(self) -> dict[str, Any]:
        """Return for each task how many targets name the title of their own entity."""
        return {"own_titles": self.own_by_task}


def _codes(space: VectorSpace) -> np.ndarray:
    """Return the split of each entity [N], as an index into SPLITS."""
    codes = np.zeros(len(space), np.int8)
    for code, split in enumerate(SPLITS):
        codes[space.rows(split)] = code
    return codes


def _twins(name: str, space: VectorSpace) -> Iterator[Finding]:
    """Find held-out entities that share their title with a training entity; they may be the same work."""
    titles = titles_of(space)
    trained = {title_key(title) for row in space.rows(TRAIN) if (title := titles[row])}
    twins = Tally()
    for split in (VALIDATION, TEST):
        for row in space.rows(split):
            if (title := titles[row]) and title_key(title) in trained:
                twins.add(f"{title} ({split})")
    yield from twins.finding(
        "twin-title",
        "warning",
        f"{{n}} held-out entities of {name!r} share their title with a training entity; if they are the same thing, "
        "split the space by title (--split-by title)",
    )
