"""`Answer`: a text, with the support, neighbours and settings that help to interpret it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from vectalk.display import html_table, to_pandas
from vectalk.space import Point, Support, VectorSpace
from vectalk.talk.mentions import Mention

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
    """Describes the vector in one slot.

    Attributes:
        space: name of the space of the vector.
        source: the expression or title that the vector comes from.
        support: how near the vector lies to real entities.
        neighbors: the nearest real entities.
        notes: assumptions of the name lookup, such as that a name is another spelling of a title.
    """

    space: str
    source: str
    support: Support
    neighbors: tuple[Neighbor, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Influence:
    """Which tokens of an answer depend on the vectors.

    Attributes:
        tokens: the answer in pieces [T].
        values: slot -> [T] log p(token | the vector) - log of the mean of p(token | other vectors in this slot), each
            after the same preceding tokens. 0: the token does not depend on the vector; above 0: the vector makes the
            token more likely.
    """

    tokens: tuple[str, ...]
    values: dict[str, tuple[float, ...]]

    def strongest(self, slot: str, count: int = 5) -> list[tuple[str, float]]:
        """Return the `count` tokens that a slot's vector makes most likely, with their values."""
        pairs = zip(self.tokens, self.values[slot], strict=True)
        return sorted(pairs, key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Answer:
    """The answer to a question, with a report on each vector.

    Attributes:
        text: what the model wrote.
        question: the question with its slots.
        slots: a report for each slot.
        settings: the decoding settings, the run and the LLM that produced the text.
        finished: False where a limit cut the text.
        influence: which tokens depend on which vector; None unless `ask` was called with `influence=True`.
        consistency: cosine between the read-back of the text and the vector; None unless candidates were compared.
        abstained: why there is no text: a strict question is about a vector that is out of distribution.
        mentions: the names in the text, linked to entities; names that do not exist are marked.
        cut: the limit that cut the text: `max_new_tokens`, or the LLM's `context`, which question and answer share.
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
    mentions: tuple[Mention, ...] = ()

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
        """Return the answer as plain values, for JSON."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the answer as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_arrow(self) -> pa.Table:
        """Return the answer as a table of one row (see `to_arrow` for several)."""
        return to_arrow([self])

    def to_pandas(self) -> Any:
        """Return the answer as a data frame of one row; needs pandas."""
        return to_pandas(self.to_arrow())

    def _repr_html_(self) -> str:
        """Show the text in a notebook, with the support and the nearest entities of each vector."""
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


def report(point: Point, count: int = 5) -> SlotReport:
    """Describe a point: its support and its `count` nearest real entities."""
    space = VectorSpace.of(point)
    rows, similarities = space.neighbors(point, count)
    near = tuple(
        Neighbor(str(space.column("id")[int(r)].as_py()), space.title(int(r)), float(s))
        for r, s in zip(rows, similarities, strict=True)
    )
    return SlotReport(space.name, point.source, space.support(point), near, point.notes)


def to_arrow(answers: Sequence[Answer]) -> pa.Table:
    """Return answers as a table with a row for each answer; the schema does not depend on the options of `ask`.

    Slots and influences are lists of structs; the settings are a JSON text.
    """
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    near = pa.struct({"id": text, "title": text, "similarity": number})
    slot = {"slot": text, "space": text, "source": text, "percentile": number, "verdict": text}
    slot["notes"] = pa.list_(text)
    influence = pa.struct({"slot": text, "values": pa.list_(number)})
    mention = pa.struct(
        {
            "start": pa.int64(),
            "end": pa.int64(),
            **dict.fromkeys(("name", "title", "space", "id"), text),
            "similarity": number,
            "written": text,
        }
    )
    schema = pa.schema(
        {
            "question": text,
            "text": text,
            "finished": pa.bool_(),
            "cut": text,
            "abstained": text,
            "consistency": number,
            "slots": pa.list_(pa.struct({**slot, "neighbors": pa.list_(near)})),
            "mentions": pa.list_(mention),
            "tokens": pa.list_(text),
            "influence": pa.list_(influence),
            "settings": text,
        }
    )
    return pa.Table.from_pylist([_row(answer) for answer in answers], schema)


def _row(answer: Answer) -> dict[str, Any]:
    influence = answer.influence
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
        "mentions": [asdict(mention) for mention in answer.mentions],
        "tokens": None if influence is None else list(influence.tokens),
        "influence": None
        if influence is None
        else [{"slot": s, "values": list(v)} for s, v in influence.values.items()],
        "settings": json.dumps(answer.settings, ensure_ascii=False),
    }
