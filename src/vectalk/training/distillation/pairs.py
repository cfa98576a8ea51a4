"""`Pair`: a free question about certain entities, with the same question in words for the teacher."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vectalk.errors import TrainingError
from vectalk.space import VectorSpace
from vectalk.tasks.questions.free_question import FreeQuestion
from vectalk.tasks.teachers.told import in_words

Told = Callable[[str, int], str | None]
"""(space, row) -> the facts of an entity in words, to stand in the place of its slot; None where there are none."""


@dataclass(frozen=True)
class Pair:
    """A question that the student reads with vectors, and the teacher with facts in words.

    Attributes:
        question: the question with its slots, `What genre is {film}?`.
        slots: slot name -> (space, row).
        told: the question with facts in words in place of the slots; it has no slots.
    """

    question: str
    slots: dict[str, tuple[str, int]]
    told: str


def choose_pairs(
    questions: Sequence[FreeQuestion], spaces: Mapping[str, VectorSpace], split: str, count: int, told: Told, seed: int
) -> list[Pair]:
    """Draw questions and entities at random; each question is used about equally often.

    Args:
        questions: the questions.
        spaces: spaces by name.
        split: split of the entities.
        count: number of pairs.
        told: facts in words.
        seed: seed of the choices.

    Raises:
        TrainingError: no entity of the split has facts.
    """
    rng = np.random.default_rng([seed, 7])
    rows = {name: spaces[name].rows(split) for name in {s for question in questions for s in question.slots.values()}}
    empty = sorted(name for name, numbers in rows.items() if not len(numbers))
    if empty:
        raise TrainingError(f"distillation: space {empty[0]!r} has no entity in the split {split!r}")
    order: list[int] = []
    pairs: list[Pair] = []
    for _ in range(20 * count):  # an entity without facts is drawn again, a bounded number of times
        if len(pairs) == count:
            return pairs
        order = order or rng.permutation(len(questions)).tolist()
        question = questions[order.pop()]
        slots = {slot: (space, int(rng.choice(rows[space]))) for slot, space in question.slots.items()}
        words = {slot: phrase for slot, (space, row) in slots.items() if (phrase := told(space, row))}
        if len(words) == len(slots) == len(set(slots.values())):
            pairs.append(Pair(question.text, slots, in_words(question.text, words)))
    if not pairs:
        raise TrainingError(
            f"distillation: no entity of the split {split!r} has facts that can be told in words; give the spaces "
            "metadata that the suite describes"
        )
    return pairs


def fingerprint_of(pairs: Sequence[Pair], **more: object) -> str:
    """Return a hash of pairs and of what else decides their answers."""
    content = {"pairs": [[pair.question, sorted(pair.slots.items()), pair.told] for pair in pairs], **more}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
