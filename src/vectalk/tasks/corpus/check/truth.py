"""Check whether targets agree with the metadata, by reading attributes from the targets with fixed rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vectalk.tasks.corpus.check.findings import Batch, Finding, Level, Tally, place_of, short
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.teachers.facts import FactsTeacher

READ = 20_000  # the most targets of a task to read; more are sampled by a hash
FEW = 20  # statements of an attribute, below which there is no finding
AGREE, WRONG = 0.9, 0.5  # shares of correct statements: below AGREE is a warning, below WRONG a problem


@dataclass
class _Score:
    known: int = 0  # targets whose entity has a value of the attribute
    stated: int = 0  # targets of these that state a value
    agree: int = 0  # targets of these whose values all agree with the metadata


class Truth:
    """Reads the attributes of a task from its targets and compares the values with the metadata.

    A list agrees if all values in the text are values of the entity; the text need not name all of them.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        readers = FactsTeacher(corpus.suite, corpus.spaces).readers
        self.readers = {
            task.name: {name: reader for name in task.states if (reader := readers[space].get(name)) and reader.present}
            for task in corpus.suite.tasks
            for space in list(task.slots.values())[:1]
            if len(task.slots) == 1
        }
        counts = corpus.card.get("tasks", {})
        self._share = {
            task: READ / max(1, sum(n for key, n in counts.items() if key.endswith(f"/{task}")))
            for task in self.readers
        }
        self.scores: dict[tuple[str, str], _Score] = {}
        self.wrong: dict[tuple[str, str], Tally] = {}

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
        for i, task in enumerate(batch.tasks):
            readers, text = self.readers.get(task), batch.targets[i]
            if not readers or not text or not self._is_sampled(task, batch.split, batch.start + i):
                continue
            _, row = next(iter(batch.slots[i].values()), ("", -1))
            for name, reader in readers.items():
                if not 0 <= row < len(reader.space):
                    continue
                actual = reader.value(row)
                if actual is None:
                    continue
                score = self.scores.setdefault((task, name), _Score())
                score.known += 1
                stated = reader.read(text)
                if stated is None or stated == []:
                    continue
                score.stated += 1
                if _agrees(stated, actual):
                    score.agree += 1
                else:
                    place = (
                        f"{place_of(batch, i, self.corpus.spaces)}: {short(text)} - read {stated}, metadata {actual}"
                    )
                    self.wrong.setdefault((task, name), Tally()).add(place)

    def _is_sampled(self, task: str, split: str, number: int) -> bool:
        share = self._share[task]
        if share >= 1:
            return True
        digest = hashlib.blake2b(f"{task}/{split}/{number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "little") < share * 2**32

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about all batches."""
        for (task, name), score in self.scores.items():
            share = score.agree / max(score.stated, 1)
            if score.stated < FEW or share >= AGREE:
                continue
            tally = self.wrong[task, name]
            message = (
                f"task {task!r}: {name!r} was read from {score.stated:,} targets and agrees with the metadata in "
                f"{share:.0%} of them"
            )
            level: Level = "problem" if share < WRONG else "warning"
            yield Finding("contradiction", level, message, tally.count, tally.examples)

    def figures(self) -> dict[str, Any]:
        """Return for each task and attribute the share of targets that state it, and the share of these that agree."""
        figures: dict[str, Any] = {}
        for (task, name), s in self.scores.items():
            agree = round(s.agree / s.stated, 4) if s.stated else None
            figures.setdefault(task, {})[name] = {
                "read": s.known,
                "stated": round(s.stated / max(s.known, 1), 4),
                "agree": agree,
            }
        return {"attributes": figures}


def _agrees(stated: Any, actual: Any) -> bool:
    if isinstance(stated, list):
        return set(stated) <= set(actual if isinstance(actual, list) else [actual])
    if isinstance(stated, float):
        return abs(stated - float(actual)) <= 1e-6 * max(1.0, abs(float(actual)))
    return bool(stated == actual)
