"""What the examples hold: how many there are of what, and whether each is whole."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vectalk.space.split import SPLITS, TEST, TRAIN, VALIDATION
from vectalk.tasks.corpus.check.findings import Batch, Finding, Tally, place_of
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.suite import slots_in

FEW = 30  # test examples of a task, below which its figures mean little
MANY = 10  # entities about which a task must say more than one thing


class Contents:
    """Counts examples, and finds those that are empty, malformed, or all the same."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.tasks = corpus, {task.name: task for task in corpus.suite.tasks}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.teachers: Counter[str] = Counter()
        self.empty, self.unknown, self.misnamed, self.mislabelled = Tally(), Tally(), Tally(), Tally()
        self._first: dict[str, tuple[str, dict[str, Any]]] = {}  # task -> its first target, and about what
        self._constant: dict[str, int] = {}  # task -> examples about other entities, as long as all say the same
        self._slots: dict[str, list[str]] = {}

    def add(self, batch: Batch) -> None:
        """Look at some examples."""
        self.teachers.update(batch.teachers)
        for i, task in enumerate(batch.tasks):
            self.counts[batch.split, task] += 1
            target = batch.targets[i]
            if not target or not target.strip():
                self.empty.add(place_of(batch, i, self.corpus.spaces))
            if task not in self.tasks:
                self.unknown.add(place_of(batch, i, self.corpus.spaces))
                continue
            prompt = batch.prompts[i]
            if prompt not in self._slots:
                if len(self._slots) > 100_000:
                    self._slots.clear()
                self._slots[prompt] = sorted(set(slots_in(prompt)))
            if self._slots[prompt] != sorted(batch.slots[i]):
                self.misnamed.add(place_of(batch, i, self.corpus.spaces))
            if batch.labels[i] != batch.split:
                self.mislabelled.add(f"{place_of(batch, i, self.corpus.spaces)} says {batch.labels[i]!r}")
            self._same(task, target, batch.slots[i])

    def _same(self, task: str, target: str, slots: dict[str, Any]) -> None:
        if task not in self._first:
            self._first[task], self._constant[task] = (target, slots), 0
        elif task in self._constant:
            if target != self._first[task][0]:
                del self._constant[task]
            elif slots != self._first[task][1]:
                self._constant[task] += 1

    def findings(self) -> Iterator[Finding]:
        """Tell what was found in all."""
        yield from self.empty.finding("empty", "problem", "{n} targets are empty")
        yield from self.unknown.finding("unknown-task", "problem", "{n} examples are of tasks that the suite lacks")
        yield from self.misnamed.finding(
            "slots", "problem", "{n} prompts have other slots than the entities bound to them"
        )
        yield from self.mislabelled.finding(
            "split-label", "problem", "{n} examples stand in the file of another split than they say"
        )
        for task, count in self._constant.items():
            if count + 1 >= MANY:
                said = f"task {task!r}: all targets are the same; a model need not look at the vector to learn them"
                yield Finding("constant", "problem", said, count + 1, [self._first[task][0]])
        yield from self._sizes()
        yield from self._files()

    def _sizes(self) -> Iterator[Finding]:
        totals = {split: sum(self.counts[split, task] for task in self._all()) for split in SPLITS}
        if not totals[TRAIN]:
            yield Finding("too-few", "problem", "there is no training example")
        if totals[VALIDATION] < 2:
            said = f"{totals[VALIDATION]} validation examples; training needs two at least, to know when to stop"
            yield Finding("too-few", "problem", said, totals[VALIDATION])
        untrained = [task for task in self._all() if not self.counts[TRAIN, task]]
        if untrained and totals[TRAIN]:
            said = f"no training example of {len(untrained)} tasks: {', '.join(untrained)}"
            yield Finding("too-few", "warning", said, len(untrained), untrained)
        few = [task for task in self._all() if self.counts[TEST, task] < FEW]
        if few:
            counts = ", ".join(f"{task} ({self.counts[TEST, task]})" for task in few)
            said = f"fewer than {FEW} test examples, so that their figures will mean little: {counts}"
            yield Finding("too-few", "warning", said, len(few), few)

    def _files(self) -> Iterator[Finding]:
        card, changed = self.corpus.card, []
        for name, digest in card.get("sha256", {}).items():
            path = self.corpus.path / name
            if not path.is_file():
                changed.append(f"{name} is missing")
                continue
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    changed.append(name)
        if changed:
            said = f"{len(changed)} files are not as they were when the corpus was built"
            yield Finding("changed", "warning", said, len(changed), changed)

    def _all(self) -> list[str]:
        return [*self.tasks, *sorted({task for _, task in self.counts} - set(self.tasks))]

    def figures(self) -> dict[str, Any]:
        """Return the counts."""
        return {
            "examples": {task: {split: self.counts[split, task] for split in SPLITS} for task in self._all()},
            "teachers": dict(self.teachers.most_common()),
        }
