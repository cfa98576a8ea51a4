"""Recovery: how much of what the metadata know is read from a text, between a blind guess and a direct probe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, average, corrected, difference, joined, whole
from vectalk.evaluation.metrics.rows import attribute_score
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.table import GAP
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.tasks.attributes import AttributeReader

READABLE = 0.9  # what the extractor must score on references before it may judge answers


def recovery(given: TaskTexts, facts: Facts, notes: list[str]) -> Iterator[Figure]:
    """Score what the texts of a one-slot task state of its attributes.

    Majority and probe count as values, not as texts: a sentence that cannot be spelled must not lower the bar. The
    mean over the attributes of the task is called `recovery` alone. An attribute takes part in it where the probe is
    surely above the majority (`score_minus_majority/x`, paired bootstrap): what the vector may not hold at all cannot
    be recovered, and a share of next to nothing, which may be -4, would drown the others.

    Args:
        given: the texts.
        facts: what majority and probe say.
        notes: is told which attributes were left out of the figures or of the mean, and why.
    """
    if len(given.task.slots) > 1:
        return
    slot, space = next(iter(given.task.slots.items()))
    rows = given.rows(slot)
    recovered: dict[str, list[Statistic]] = {condition: [] for condition in given.texts}
    for attribute in given.task.states:
        reader = facts.reader(space, attribute)
        true = [reader.value(int(row)) for row in rows]
        known = sum(value is not None for value in true)
        problem = _problem(given, reader, true, facts)
        if problem is not None:
            notes.append(f"task {given.task.name!r}, attribute {attribute!r}: {problem}")
            continue
        constant = facts.majority(space, attribute)

        def score(
            said: list[Any], kind: str = reader.kind, true: list[Any] = true, default: Any = constant
        ) -> Statistic:
            return attribute_score(kind, said, true, default)

        floor, ceiling = score([constant] * given.n), score(facts.predict("probe_text", space, attribute, rows))
        own = {name: score([reader.read(text) for text in texts]) for name, texts in given.texts.items()}
        share = {name: joined(corrected, statistic, floor, ceiling) for name, statistic in own.items()}
        gap = given.estimate(joined(difference, ceiling, floor))
        yield f"score/{attribute}", "probe", given.estimate(ceiling)._replace(n=known)
        yield f"{GAP}{attribute}", "probe", gap._replace(n=known)
        for figure in given.figures(f"score/{attribute}", own, rivals=()):
            yield _of(known, figure)
        for figure in given.figures(f"recovery/{attribute}", share):
            yield _of(known, figure)
        if gap.low is None or gap.low <= 0:
            notes.append(_unsure(given.task.name, attribute, gap))
            continue
        for name, statistic in share.items():
            recovered[name].append(statistic)
    if any(recovered.values()):
        yield from given.figures("recovery", {name: joined(average, *each) for name, each in recovered.items()})


def _problem(given: TaskTexts, reader: AttributeReader, true: list[Any], facts: Facts) -> str | None:
    """Say why an attribute cannot be scored on a task, or None where it can."""
    if all(value is None for value in true):
        return "known for no test entity"
    readable = whole(attribute_score(reader.kind, [reader.read(t) for t in given.references], true, 0.0), given.n)
    if readable < READABLE:
        return f"not readable, the extractor scores {readable:.2f} on the references"
    space = next(iter(given.task.slots.values()))
    return None if facts.probe(space, reader.name) is not None else "no probe to compare with"


def _unsure(task: str, attribute: str, gap: Estimate) -> str:
    interval = "" if gap.low is None else f" [{gap.low:.2f}, {gap.high:.2f}]"
    return (
        f"task {task!r}, attribute {attribute!r}: not in the mean of recovery, the probe is not surely better than the "
        f"majority's guess (by {gap.value or 0:.2f}{interval})"
    )


def _of(known: int, figure: Figure) -> Figure:
    """Return a figure that counts the entities whose value is known."""
    metric, condition, found = figure
    return metric, condition, found._replace(n=known)
