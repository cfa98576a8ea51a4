"""Claims: are the statements of a text correct? Precision and recall of statements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Statistic, divided, joined, mean_of
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.space.split import TRAIN
from vectalk.tasks.attributes import UNREAD, AttributeReader

TRUE = 0.9  # precision that the statements of the reference texts must reach under a reading
STATED = 0.05  # share of the reference texts that must mention an attribute
CLOSE = 0.1  # tolerance of a number, in standard deviations of the training entities' values

Values = set[Any]
READINGS: dict[str, Callable[[Values, Values], Values]] = {
    "both": lambda first, second: first & second,
    "the first": lambda first, second: first,
    "the second": lambda first, second: second,
    "either": lambda first, second: first | second,
}


def claims(task_texts: TaskTexts, facts: Facts) -> Iterator[Figure]:
    """Check the statements of texts against the metadata, and yield their precision and recall.

    A statement is a value of an attribute, as the suite reads the text. Recall counts the attributes that the reference
    text mentions. The reference texts decide which attributes can be checked on a task. If the task has two slots, the
    reference texts also decide for which of the two entities a statement must be true: the function uses the strictest
    of `READINGS` under which the statements of the reference texts have a precision of at least 0.9.
    """
    readers = [(space, r) for space in dict.fromkeys(task_texts.task.slots.values()) for r in _readers(space, facts)]
    checks = [check for space, reader in readers if (check := Check.of(task_texts, space, reader)) is not None]
    if not checks:
        return
    precision, recall = {}, {}
    for condition, texts in task_texts.texts.items():
        stated, true, recalled, expected = np.sum([check.counts(texts) for check in checks], axis=0)
        precision[condition], recall[condition] = ratio(true, stated), ratio(recalled, expected)
        task_texts.scores.setdefault("true", {})[condition] = divided(true, stated)
    yield from task_texts.figures("claims_precision", precision)
    yield from task_texts.figures("claims_recall", recall)


def ratio(part: np.ndarray, of: np.ndarray) -> Statistic:
    """Return the sum of counts [n] over the sum of other counts [n]; NaN if the other counts sum to zero."""
    return joined(divided, mean_of(part), mean_of(of))


class Check:
    """One attribute that can be checked on a task.

    Args:
        reader: reads the stated values from a text.
        truth: for each example the true values; None if they are not known.
        references: the reference texts.
    """

    def __init__(self, reader: AttributeReader, truth: list[Values | None], references: Sequence[str]) -> None:
        self.reader, self.truth = reader, truth
        self.close = CLOSE * _spread(reader) if reader.kind == "number" else 0.0
        self.spoken = [bool(reader.stated(text)) for text in references]

    @classmethod
    def of(cls, task_texts: TaskTexts, space: str, reader: AttributeReader) -> Check | None:
        """Return the check of an attribute under the strictest reading that the reference texts satisfy, or None."""
        slots = [slot for slot, name in task_texts.task.slots.items() if name == space]
        known = [[_values(reader, int(row)) for row in task_texts.rows(slot)] for slot in slots]
        for name, reading in READINGS.items():
            if len(slots) == 1 and name != "either":
                continue
            truth = [
                None if a is None or b is None else reading(a, b) for a, b in zip(known[0], known[-1], strict=True)
            ]
            check = cls(reader, truth, task_texts.references)
            stated, true, *_ = check.counts(task_texts.references).sum(axis=1)
            if np.mean(check.spoken) >= STATED and stated and true / stated >= TRUE:
                return check
        return None

    def counts(self, texts: Sequence[str]) -> np.ndarray:
        """Return [4, n]: stated values, true stated values, recalled values, and values that the text should state.

        Only attributes that the reference text mentions count for the last two rows.
        """
        counts = np.zeros((4, len(texts)))
        for i, (text, truth, spoken) in enumerate(zip(texts, self.truth, self.spoken, strict=True)):
            if truth is not None:
                stated = {self._as_known(value, truth) for value in self.reader.stated(text)}
                right = len(stated & truth)
                counts[:, i] = len(stated), right, right * spoken, len(truth) * spoken
        return counts

    def _as_known(self, value: Any, truth: Values) -> Any:
        """Return the true number that is close to a stated number; else return the stated value."""
        return next((t for t in truth if self.close and abs(t - value) <= self.close), value)


def _readers(space: str, facts: Facts) -> list[AttributeReader]:
    return [r for r in facts.teacher.readers[space].values() if r.present and r.kind not in UNREAD]


def _values(reader: AttributeReader, row: int) -> Values | None:
    value = reader.value(row)
    return None if value is None else set(value) if isinstance(value, list) else {value}


def _spread(reader: AttributeReader) -> float:
    known = [value for row in reader.space.rows(TRAIN)[:10_000] if (value := reader.value(int(row))) is not None]
    return float(np.std(known)) if known else 0.0
