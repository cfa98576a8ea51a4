"""`Draft`: a question about points, and everything of its answer but the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vectalk.decoding.settings import Decoding, Generated
from vectalk.space import Point
from vectalk.talk.answer import Answer
from vectalk.talk.elm import ELM, Bindings
from vectalk.talk.engine import Slots
from vectalk.talk.history import NONE, History, as_slots


@dataclass(frozen=True)
class Draft:
    """An answer whose text somebody else writes, such as a server that writes many at once.

    Attributes:
        elm: the model.
        points: slot -> the point bound to it.
        decoding: how the text is decoded.
        answer: the answer without its text; `abstained` says why there will be none.
        influence: whether the complete answer reports the influence of its vectors.
        history: the earlier turns that the LLM reads.
    """

    elm: ELM
    points: dict[str, Point]
    decoding: Decoding
    answer: Answer
    influence: bool = False
    history: History = NONE

    @classmethod
    def of(
        cls,
        elm: ELM,
        question: str,
        bindings: Bindings,
        *,
        neighbors: int = 5,
        strict: bool = False,
        influence: bool = False,
        history: Sequence[Any] = (),
        **settings: Any,
    ) -> Draft:
        """Bind the vectors of a question and report on them; the arguments are those of `ELM.ask`.

        Raises:
            PromptError: slots and bindings do not agree.
        """
        decoding = elm.decoding(**settings)
        points = elm.bind(question, bindings)
        earlier = elm._history(history, question, points, decoding)
        answer = elm._empty(question, points, decoding, neighbors, strict, earlier)
        return cls(elm, points, decoding, answer, influence, earlier)

    @property
    def slots(self) -> Slots:
        """The points in the form that engines take."""
        return as_slots(self.points)

    def complete(self, generated: Generated) -> Answer:
        """Return the answer with its text."""
        return self.elm._filled(self.answer, self.points, generated, self.influence, self.history)
