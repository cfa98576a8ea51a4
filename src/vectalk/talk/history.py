"""`History`: the earlier turns of a conversation that the LLM reads before a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vectalk.errors import EngineError
from vectalk.model.conversation import EarlierTurn
from vectalk.space import Point
from vectalk.talk.binding import Binder, Bindings
from vectalk.talk.engine import Engine, Slots, TransformersEngine

READ, DROPPED = "earlier_turns", "dropped_turns"  # in the settings of an answer


class Exchange(NamedTuple):
    """A question of a conversation, the vectors that were bound to its slots, and its answer; a plain tuple will do."""

    question: str
    bindings: Bindings
    answer: str


@dataclass(frozen=True)
class History:
    """What the LLM reads of a conversation.

    Attributes:
        turns: the turns that it reads, the oldest first.
        dropped: number of older turns for which its context has no room.
    """

    turns: tuple[EarlierTurn, ...] = ()
    dropped: int = 0

    @classmethod
    def of(
        cls,
        binder: Binder,
        engine: Engine,
        exchanges: Sequence[tuple[str, Bindings, str]],
        question: str,
        slots: Slots,
        answer_tokens: int,
    ) -> History:
        """Bind the vectors of a conversation, and drop its oldest turns where the context has no room for them.

        Args:
            binder: knows the spaces.
            engine: reads the conversation.
            exchanges: question, bindings and answer of each turn, the oldest first.
            question: the next question.
            slots: slot -> (space, vector [D]) of the next question.
            answer_tokens: number of tokens to leave free for the next answer.

        Raises:
            EngineError: the engine reads each question alone.
            LanguageModelError: the chat template accepts no earlier turns.
            PromptError: slots and bindings of a turn do not agree.
        """
        if not exchanges:
            return cls()
        if not isinstance(engine, TransformersEngine):
            raise EngineError(
                f"{type(engine).__name__} reads each question alone; leave out the history, or load the run without "
                "another engine"
            )
        turns = tuple(EarlierTurn(text, as_slots(binder.bind(text, b)), answer) for text, b, answer in exchanges)
        count = engine.turns_with_room(question, slots, turns, answer_tokens)
        return cls(turns[len(turns) - count :], len(turns) - count)

    def settings(self) -> dict[str, int]:
        """Return the numbers of turns that were read and dropped, for the settings of an answer; none without turns."""
        return {READ: len(self.turns), DROPPED: self.dropped} if self.turns or self.dropped else {}


NONE = History()


def dropped_note(count: int) -> str:
    """Return what to tell a user about dropped turns."""
    turns = "the oldest turn" if count == 1 else f"the oldest {count} turns"
    return f"the conversation is too long: the LLM did not read {turns}"


def as_slots(points: Mapping[str, Point]) -> dict[str, tuple[str, np.ndarray]]:
    """Return the points in the form that engines take: slot -> (space, vector [D])."""
    return {slot: (point.space.name, point.values) for slot, point in points.items()}
