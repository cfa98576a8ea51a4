"""`Answer`: a text, and what is needed to judge it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from vectalk.display import html_table, to_pandas
from vectalk.space import Support

if TYPE_CHECKING:
    import pyarrow as pa


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
        notes: what was taken for granted when names were looked up, such as another spelling of a title.
    """

    space: str
    source: str
    support: Support
    neighbors: tuple[Neighbor, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Influence:
    """Which words come from a vector, and which from habit.

    Attributes:
        tokens: the answer in pieces [T].
        values: slot -> [T] log p(token | its vector) - log of the mean of p(token | other vectors in this slot), the
            same words before it. 0 is habit; above, the vector calls for the token.
    """

    tokens: tuple[str, ...]
    values: dict[str, tuple[float, ...]]

    def strongest(self, slot: str, count: int = 5) -> list[tuple[str, float]]:
        """Return the tokens that a slot's vector calls for most."""
        pairs = zip(self.tokens, self.values[slot], strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Answer:
    """An answer with its grounds.

    Attributes:
        text: what the model wrote.
        question: what was asked.
        slots: a report for each slot.
        settings: what produced the text: decoding, run, LLM.
        finished: false where the text was cut.
        influence: which words come from which vector, where that was asked for.
        consistency: cosine of what the text reads back as with the vector, where candidates were compared.
        abstained: why there is no text, where a strict question is about a vector far from anything real.
        cut: what cut the text: `max_new_tokens`, or the LLM's `context`, which question and answer share.
    """

    text: str
    question: str
    slots: dict[str, SlotReport]
    settings: dict[str, Any] = field(default_factory=dict)
    finished: bool = True
    influence: Influence | None = None
    consistency: float | None = None
    abstained: str | None = None
    cut: Literal["max_new_tokens", "context"] | None = None

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

    def to_json(self) -> str:
        """Return everything as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_arrow(self) -> pa.Table:
        """Return the answer as a table of one row (see `to_arrow` for several)."""
        return to_arrow([self])

    def to_pandas(self) -> Any:
        """Return the answer as a data frame of one row; needs pandas."""
        return to_pandas(self.to_arrow())

    def _repr_html_(self) -> str:
        """Show the text in a notebook, with its grounds: each vector's support and nearest entities."""
        rows = [
            [
                slot,
                report.source,
                str(report.support),
                ", ".join(f"{near.title} ({near.similarity:.2f})" for near in report.neighbors),
            ]
            for slot, report in self.slots.items()
        ]
        text = self.text if self.abstained is None else f"no answer: {self.abstained}"
        cut = "" if self.finished or self.abstained else " <i>(cut)</i>"
        return f"<p>{escape(text)}{cut}</p>" + html_table(["slot", "vector", "support", "nearest entities"], rows)


def to_arrow(answers: Sequence[Answer]) -> pa.Table:
    """Return answers as a table, one a row; the schema is the same whatever was asked for.

    Slots and influences are lists of structs, the settings a JSON text.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    near = pa.struct({"id": text, "title": text, "similarity": number})
    slot = {"slot": text, "space": text, "source": text, "percentile": number, "verdict": text}
    slot["notes"] = pa.list_(text)
    influence = pa.struct({"slot": text, "values": pa.list_(number)})
    schema = pa.schema(
        {
            "question": text,
            "text": text,
            "finished": pa.bool_(),
            "cut": text,
            "abstained": text,
            "consistency": number,
            "slots": pa.list_(pa.struct({**slot, "neighbors": pa.list_(near)})),
            "tokens": pa.list_(text),
            "influence": pa.list_(influence),
            "settings": text,
        }
    )
    return pa.Table.from_pylist([_row(answer) for answer in answers], schema)


def _row(answer: Answer) -> dict[str, Any]:
    found = answer.influence
    slots = [
        {
            "slot": name,
            "space": report.space,
            "source": report.source,
            "percentile": report.support.percentile,
            "verdict": report.support.verdict,
            "notes": list(report.notes),
            "neighbors": [asdict(near) for near in report.neighbors],
        }
        for name, report in answer.slots.items()
    ]
    return {
        "question": answer.question,
        "text": answer.text,
        "finished": answer.finished,
        "cut": answer.cut,
        "abstained": answer.abstained,
        "consistency": answer.consistency,
        "slots": slots,
        "tokens": None if found is None else list(found.tokens),
        "influence": None if found is None else [{"slot": s, "values": list(v)} for s, v in found.values.items()],
        "settings": json.dumps(answer.settings, ensure_ascii=False),
    }
