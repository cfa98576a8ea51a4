"""Check the contents of examples: their number per task and split, and whether each example is complete."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

from vectalk.space.split import SPLITS, TEST, TRAIN, VALIDATION
from vectalk.tasks.corpus.check.findings import Batch, Finding, Tally, place_of
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.suite import slots_in

FEW = 30  # test examples of a task, below which its figures are unreliable
MANY = 10  # examples of a task, from which on identical targets are a problem


class Contents:
    """Counts examples, and finds empty, malformed and constant ones."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.tasks = corpus, {task.name: task for task in corpus.suite.tasks}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.teachers: Counter[str] = Counter()
        self.empty, self.unknown, self.misnamed, self.mislabelled = Tally(), Tally(), Tally(), Tally()
        self._first: dict[
            str, tuple[str, dict[str, Any]]
        ] = {}  # task -> its first target and the slots of that example
        self._constant: dict[str, int] = {}  # task -> examples about other entities, while all targets are identical
        self._slots: dict[str, list[str]] = {}

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
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
                self.mislabelled.add(f"{place_of(batch, i, self.corpus.spaces)} names split {batch.labels[i]!r}")
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
        """Yield the findings about all batches."""
        yield from self.empty.finding("empty", "problem", "{n} targets are empty")
        yield from self.unknown.finding(
            "unknown-task", "problem", "{n} examples belong to tasks that the suite does not have"
        )
        yield from self.misnamed.finding(
            "slots", "problem", "in {n} examples, the slots of the prompt differ from the slots that have entities"
        )
        yield from self.mislabelled.finding(
            "split-label", "problem", "{n} examples are in the file of a split other than the one they name"
        )
        for task, count in self._constant.items():
            if count + 1 >= MANY:
                message = f"task {task!r}: all targets are identical; a model can learn them without the vector"
                yield Finding("constant", "problem", message, count + 1, [self._first[task][0]])
        yield from self._sizes()
        yield from self._files()

    def _sizes(self) -> Iterator[Finding]:
        totals = {split: sum(self.counts[split, task] for task in self._all()) for split in SPLITS}
        if not totals[TRAIN]:
            yield Finding("too-few", "problem", "there is no training example")
        if totals[VALIDATION] < 2:
            message = f"{totals[VALIDATION]} validation examples; training needs at least two to decide when to stop"
            yield Finding("too-few", "problem", message, totals[VALIDATION])
        untrained = [task for task in self._all() if not self.counts[TRAIN, task]]
        if untrained and totals[TRAIN]:
            message = f"{len(untrained)} tasks have no training example: {', '.join(untrained)}"
            yield Finding("too-few", "warning", message, len(untrained), untrained)
        few = [task for task in self._all() if self.counts[TEST, task] < FEW]
        if few:
            counts = ", ".join(f"{task} ({self.counts[TEST, task]})" for task in few)
            message = f"fewer than {FEW} test examples, so their figures will be unreliable: {counts}"
            yield Finding("too-few", "warning", message, len(few), few)

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
            message = f"{len(changed)} files have changed since the corpus was built"
            yield Finding("changed", "warning", message, len(changed), changed)

    def _all(self) -> list[str]:
        return [*self.tasks, *sorted({task for _, task in self.counts} - set(self.tasks))]

    def figures(self) -> dict[str, Any]:
        """Return the number of examples by task and split, and by teacher."""
        return {
            "examples": {task: {split: self.counts[split, task] for split in SPLITS} for task in self._all()},
            "teachers": dict(self.teachers.most_common()),
        }
