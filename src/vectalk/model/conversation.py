"""`EarlierTurn`: a question of a conversation with its answer, which a prompt contains before the next question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class EarlierTurn(NamedTuple):
    """A question and its answer.

    Attributes:
        question: the question with its slots.
        slots: slot -> (space, vector [D]).
        answer: what the model answered.
    """

    question: str
    slots: Mapping[str, tuple[str, np.ndarray]]
    answer: str


def name_in_turn(number: int, slot: str) -> str:
    """Return the name of a slot of an earlier turn; the dot keeps it apart from all slots of the question."""
    return f"{number}.{slot}"


def earlier_slots(turns: Sequence[EarlierTurn]) -> dict[str, tuple[str, np.ndarray]]:
    """Return the slots of all turns by their names in the prompt: name -> (space, vector [D])."""
    return {name_in_turn(n, slot): value for n, turn in enumerate(turns) for slot, value in turn.slots.items()}
