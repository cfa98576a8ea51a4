"""Claims: are the statements of a text true?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Statistic, divided, joined, mean_of
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.space.split import TRAIN
from vectalk.tasks.attributes import UNREAD, AttributeReader

TRUE = 0.9  # share of the references' own statements that must be true under a reading
STATED = 0.05  # share of the references that must speak of an attribute
CLOSE = 0.1  # a number is true within this many standard deviations of the training entities' values

Values = set[Any]
READINGS: dict[str, Callable[[Values, Values], Values]] = {
    "both": lambda first, second: first & second,
    "the first": lambda first, second: first,
    "the second": lambda first, second: second,
    "either": lambda first, second: first | second,
}


def claims(given: TaskTexts, facts: Facts) -> Iterator[Figure]:
    """Check what texts state against the metadata: precision, and recall of what the reference speaks of.

    A statement is a value of an attribute, as the suite reads it. The reference texts tell which attributes can be
    checked on a task and, where it has two slots, of which entity a statement must be true: the strictest of `READINGS`
    under which the references' own statements are true at 0.9.
    """
    readers = [(space, r) for space in dict.fromkeys(given.task.slots.values()) for r in _readers(space, facts)]
    checks = [check for space, reader in readers if (check := Check.of(given, space, reader)) is not None]
    if not checks:
        return
    precision, recall = {}, {}
    for condition, texts in given.texts.items():
        said, true, met, wanted = np.sum([check.counts(texts) for check in checks], axis=0)
        precision[condition], recall[condition] = ratio(true, said), ratio(met, wanted)
        given.scores.setdefault("true", {})[condition] = divided(true, said)
    yield from given.figures("claims_precision", precision)
    yield from given.figures("claims_recall", recall)


def ratio(part: np.ndarray, of: np.ndarray) -> Statistic:
    """Return the sum of counts [n] over the sum of others; NaN where there are none."""
    return joined(divided, mean_of(part), mean_of(of))


class Check:
    """One attribute that can be checked on a task.

    Args:
        reader: reads what a text states.
        truth: for each example the values that are true; None where they are not known.
        references: the reference texts.
    """

    def __init__(self, reader: AttributeReader, truth: list[Values | None], references: Sequence[str]) -> None:
        self.reader, self.truth = reader, truth
        self.close = CLOSE * _spread(reader) if reader.kind == "number" else 0.0
        self.spoken = [bool(reader.stated(text)) for text in references]

    @classmethod
    def of(cls, given: TaskTexts, space: str, reader: AttributeReader) -> Check | None:
        """Return the check of an attribute of a space under the strictest reading that the references bear, or None."""
        slots = [slot for slot, name in given.task.slots.items() if name == space]
        known = [[_values(reader, int(row)) for row in given.rows(slot)] for slot in slots]
        for name, reading in READINGS.items():
            if len(slots) == 1 and name != "either":
                continue
            truth = [
                None if a is None or b is None else reading(a, b) for a, b in zip(known[0], known[-1], strict=True)
            ]
            check = cls(reader, truth, given.references)
            said, true, *_ = check.counts(given.references).sum(axis=1)
            if np.mean(check.spoken) >= STATED and said and true / said >= TRUE:
                return check
        return None

    def counts(self, texts: Sequence[str]) -> np.ndarray:
        """Return [4, n]: statements made, true ones, true ones of what was to be said, and what was to be said."""
        found = np.zeros((4, len(texts)))
        for i, (text, truth, spoken) in enumerate(zip(texts, self.truth, self.spoken, strict=True)):
            if truth is not None:
                said = {self._as_known(value, truth) for value in self.reader.stated(text)}
                right = len(said & truth)
                found[:, i] = len(said), right, right * spoken, len(truth) * spoken
        return found

    def _as_known(self, value: Any, truth: Values) -> Any:
        """Return the true number that a stated one is close to, else the value as it is."""
        return next((t for t in truth if self.close and abs(t - value) <= self.close), value)


def _readers(space: str, facts: Facts) -> list[AttributeReader]:
    return [r for r in facts.teacher.readers[space].values() if r.present and r.kind not in UNREAD]


def _values(reader: AttributeReader, row: int) -> Values | None:
    value = reader.value(row)
    return None if value is None else set(value) if isinstance(value, list) else {value}


def _spread(reader: AttributeReader) -> float:
    known = [value for row in reader.space.rows(TRAIN)[:10_000] if (value := reader.value(int(row))) is not None]
    return float(np.std(known)) if known else 0.0
