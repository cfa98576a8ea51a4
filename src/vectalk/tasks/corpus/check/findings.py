"""The input and output of checks: batches of examples, findings, and the report of all checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vectalk.space import VectorSpace

Level = Literal["problem", "warning"]
SHOWN = 3  # the most examples that one finding lists


@dataclass
class Batch:
    """Examples of one split, in the order of its files.

    Attributes:
        split: the split of the file.
        start: number of the first example within the split, from 0.
        labels: the split that each example names.
        slots: for each example, slot -> (space, row).
    """

    split: str
    start: int
    tasks: list[str]
    prompts: list[str]
    targets: list[str]
    teachers: list[str]
    labels: list[str]
    slots: list[dict[str, tuple[str, int]]]

    def __len__(self) -> int:
        return len(self.tasks)


@dataclass
class Finding:
    """A fault, or a possible fault, of a corpus.

    Attributes:
        kind: kind of the finding for scripts, e.g. `leak`.
        level: `problem` or `warning`.
        message: message for the user.
        count: number of examples, titles or tasks with the fault.
        examples: a few examples of the fault.
    """

    kind: str
    level: Level
    message: str
    count: int = 1
    examples: list[str] = field(default_factory=list)


class Check(Protocol):
    """Checks all examples, batch by batch, then yields its findings."""

    def add(self, batch: Batch) -> None:
        """Check a batch of examples."""
        ...

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about all batches."""
        ...

    def figures(self) -> dict[str, Any]:
        """Return measured figures by name, for the report."""
        ...


class Tally:
    """Counts cases of one fault and keeps the first few as examples."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[str] = []

    def add(self, example: str) -> None:
        """Count one more case."""
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(example)

    def finding(self, kind: str, level: Level, message: str) -> Iterator[Finding]:
        """Yield a finding if there is at least one case; `{n}` in the message becomes the count."""
        if self.count:
            yield Finding(kind, level, message.replace("{n}", f"{self.count:,}"), self.count, self.examples)


@dataclass
class Report:
    """All findings and figures of a corpus."""

    findings: list[Finding]
    figures: dict[str, Any]

    @property
    def problems(self) -> list[Finding]:
        """Findings that must be fixed."""
        return [f for f in self.findings if f.level == "problem"]

    @property
    def warnings(self) -> list[Finding]:
        """Findings that the user should look at."""
        return [f for f in self.findings if f.level == "warning"]

    def fails(self, strict: bool = False) -> bool:
        """Return whether there are problems; if `strict`, warnings count too."""
        return bool(self.problems or (strict and self.warnings))


def place_of(batch: Batch, i: int, spaces: dict[str, VectorSpace]) -> str:
    """Return a text that identifies an example by split, number, task and entities."""
    titles = [
        spaces[space].title(row) if space in spaces and 0 <= row < len(spaces[space]) else f"{space} {row}"
        for space, row in batch.slots[i].values()
    ]
    return f"{batch.split} {batch.start + i} ({batch.tasks[i]}, {' and '.join(titles)})"


def short(text: str, length: int = 90) -> str:
    """Return a text on one line, cut to `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
