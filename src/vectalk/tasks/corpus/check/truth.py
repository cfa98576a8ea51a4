"""Whether targets say what the metadata say, as far as fixed rules can read it from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vectalk.tasks.corpus.check.findings import Batch, Finding, Level, Tally, place_of, short
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.teachers.facts import FactsTeacher

READ = 20_000  # targets of a task that are read at most, drawn by a hash
FEW = 20  # statements, below which a share is not judged
AGREE, WRONG = 0.9, 0.5  # shares of statements: below the first they are doubtful, below the second mostly false


@dataclass
class _Score:
    known: int = 0  # targets whose entity has the attribute
    stated: int = 0  # those that say something of it
    agree: int = 0  # those that say nothing else than the metadata


class Truth:
    """Reads the attributes that a task states from its targets and compares them with the metadata.

    A list agrees where all values that are read are among those of the entity; it need not name them all.
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
        """Look at some examples."""
        for i, task in enumerate(batch.tasks):
            readers, text = self.readers.get(task), batch.targets[i]
            if not readers or not text or not self._drawn(task, batch.split, batch.start + i):
                continue
            _, row = next(iter(batch.slots[i].values()), ("", -1))
            for name, reader in readers.items():
                if not 0 <= row < len(reader.space):
                    continue
                true = reader.value(row)
                if true is None:
                    continue
                score = self.scores.setdefault((task, name), _Score())
                score.known += 1
                said = reader.read(text)
                if said is None or said == []:
                    continue
                score.stated += 1
                if _agrees(said, true):
                    score.agree += 1
                else:
                    place = f"{place_of(batch, i, self.corpus.spaces)}: {short(text)} - read {said}, metadata {true}"
                    self.wrong.setdefault((task, name), Tally()).add(place)

    def _drawn(self, task: str, split: str, number: int) -> bool:
        share = self._share[task]
        if share >= 1:
            return True
        digest = hashlib.blake2b(f"{task}/{split}/{number}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "little") < share * 2**32

    def findings(self) -> Iterator[Finding]:
        """Tell what was found in all."""
        for (task, name), score in self.scores.items():
            share = score.agree / max(score.stated, 1)
            if score.stated < FEW or share >= AGREE:
                continue
            tally = self.wrong[task, name]
            said = (
                f"task {task!r}: {name!r} is stated in {score.stated:,} targets that were read, and agrees with the "
                f"metadata in {share:.0%} of them"
            )
            level: Level = "problem" if share < WRONG else "warning"
            yield Finding("contradiction", level, said, tally.count, tally.examples)

    def figures(self) -> dict[str, Any]:
        """Return for each task and attribute the share of targets that state it, and the share of these that agree."""
        found: dict[str, Any] = {}
        for (task, name), s in self.scores.items():
            agree = round(s.agree / s.stated, 4) if s.stated else None
            found.setdefault(task, {})[name] = {
                "read": s.known,
                "stated": round(s.stated / max(s.known, 1), 4),
                "agree": agree,
            }
        return {"attributes": found}


def _agrees(said: Any, true: Any) -> bool:
    if isinstance(said, list):
        return set(said) <= set(true if isinstance(true, list) else [true])
    if isinstance(said, float):
        return abs(said - float(true)) <= 1e-6 * max(1.0, abs(float(true)))
    return bool(said == true)
