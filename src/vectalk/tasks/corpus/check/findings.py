"""What a check finds, and the batches of examples that it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vectalk.space import VectorSpace

Level = Literal["problem", "warning"]
SHOWN = 3  # examples of one finding


@dataclass
class Batch:
    """Examples of one split, in the order of its files.

    Attributes:
        split: the split whose file they stand in.
        start: number of the first among the examples of the split.
        labels: the split that each example says it is of.
        slots: of each example, slot -> (space, row).
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
    """Something that is wrong, or may be.

    Attributes:
        kind: e.g. `leak`, by which a script can tell findings apart.
        level: `problem` or `warning`.
        message: for people.
        count: how many examples, titles or tasks it is about.
        examples: a few of them.
    """

    kind: str
    level: Level
    message: str
    count: int = 1
    examples: list[str] = field(default_factory=list)


class Check(Protocol):
    """Looks at all examples, batch by batch, and tells what it found."""

    def add(self, batch: Batch) -> None:
        """Look at some examples."""
        ...

    def findings(self) -> Iterator[Finding]:
        """Tell what was found in all."""
        ...

    def figures(self) -> dict[str, Any]:
        """Return what was measured."""
        ...


class Tally:
    """Counts something and remembers the first few places where it was."""

    def __init__(self) -> None:
        self.count = 0
        self.examples: list[str] = []

    def add(self, example: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < SHOWN:
            self.examples.append(example)

    def finding(self, kind: str, level: Level, message: str) -> Iterator[Finding]:
        """Yield the finding where there is one; `{n}` in the message is the count."""
        if self.count:
            yield Finding(kind, level, message.replace("{n}", f"{self.count:,}"), self.count, self.examples)


@dataclass
class Report:
    """All findings and figures of a corpus."""

    findings: list[Finding]
    figures: dict[str, Any]

    @property
    def problems(self) -> list[Finding]:
        """What must be mended."""
        return [f for f in self.findings if f.level == "problem"]

    @property
    def warnings(self) -> list[Finding]:
        """What should be looked at."""
        return [f for f in self.findings if f.level == "warning"]

    def fails(self, strict: bool = False) -> bool:
        """Return whether there are problems, or, where `strict`, warnings."""
        return bool(self.problems or (strict and self.warnings))


def place_of(batch: Batch, i: int, spaces: dict[str, VectorSpace]) -> str:
    """Name an example: its split, number, task and entities."""
    titles = [
        spaces[space].title(row) if space in spaces and 0 <= row < len(spaces[space]) else f"{space} {row}"
        for space, row in batch.slots[i].values()
    ]
    return f"{batch.split} {batch.start + i} ({batch.tasks[i]}, {' and '.join(titles)})"


def short(text: str, length: int = 90) -> str:
    """Return the beginning of a text."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
