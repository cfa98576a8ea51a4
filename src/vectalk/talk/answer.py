"""`Answer`: a text, and what is needed to judge it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from vectalk.space import Support


@dataclass(frozen=True)
class Neighbor:
    """A real entity near the vector, with its similarity."""

    id: str
    title: str
    similarity: float


@dataclass(frozen=True)
class SlotReport:
    """What is known of the vector in one slot.

    Attributes:
        space: the space it lies in.
        source: the expression or title that gave it.
        support: how near to real entities it lies.
        neighbors: the nearest real entities.
    """

    space: str
    source: str
    support: Support
    neighbors: tuple[Neighbor, ...]


@dataclass(frozen=True)
class Answer:
    """An answer with its grounds.

    Attributes:
        text: what the model wrote.
        question: what was asked.
        slots: a report for each slot.
        settings: what produced the text: decoding, run, LLM.
        finished: false where the text was cut at the longest allowed length.
    """

    text: str
    question: str
    slots: dict[str, SlotReport]
    settings: dict[str, Any] = field(default_factory=dict)
    finished: bool = True

    def _only(self) -> SlotReport:
        if len(self.slots) != 1:
            raise AttributeError(f"the question has the slots {sorted(self.slots)}; read answer.slots[NAME]")
        return next(iter(self.slots.values()))

    @property
    def support(self) -> Support:
        """Support of the only slot's vector."""
        return self._only().support

    @property
    def neighbors(self) -> tuple[Neighbor, ...]:
        """Neighbours of the only slot's vector."""
        return self._only().neighbors

    def __str__(self) -> str:
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return asdict(self)
