"""Recovery: how well attributes can be read from a text; 0 is the majority baseline, 1 is a probe of the vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, average, corrected, difference, joined, whole
from vectalk.evaluation.metrics.rows import attribute_score
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.table import GAP
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.tasks.attributes import AttributeReader

READABLE = 0.9  # score that the extractor must reach on reference texts before it reads answers


def recovery(task_texts: TaskTexts, facts: Facts, notes: list[str]) -> Iterator[Figure]:
    """Score the attribute values that the texts of a task with one slot state.

    Majority and probe are scored by their values, not by texts: a value that no sentence can express must not lower
    them. The metric `recovery` is the mean over the attributes of the task. The mean includes an attribute only if the
    probe is significantly better than the majority baseline (`score_minus_majority/x`, paired bootstrap). Otherwise the
    vector may not contain the attribute, and the ratio has a denominator near zero: a value such as -4 would dominate
    the mean.

    Args:
        task_texts: the texts of the task.
        facts: predictions of majority and probe.
        notes: a list; the function appends which attributes are left out of the figures or of the mean, and why.
    """
    if len(task_texts.task.slots) > 1:
        return
    slot, space = next(iter(task_texts.task.slots.items()))
    rows = task_texts.rows(slot)
    recovered: dict[str, list[Statistic]] = {condition: [] for condition in task_texts.texts}
    for attribute in task_texts.task.states:
        reader = facts.reader(space, attribute)
        true = [reader.value(int(row)) for row in rows]
        known = sum(value is not None for value in true)
        problem = _problem(task_texts, reader, true, facts)
        if problem is not None:
            notes.append(f"task {task_texts.task.name!r}, attribute {attribute!r}: {problem}")
            continue
        constant = facts.majority(space, attribute)

        def score(
            predicted: list[Any], kind: str = reader.kind, true: list[Any] = true, default: Any = constant
        ) -> Statistic:
            return attribute_score(kind, predicted, true, default)

        floor, ceiling = score([constant] * task_texts.n), score(facts.predict("probe_text", space, attribute, rows))
        own = {name: score([reader.read(text) for text in texts]) for name, texts in task_texts.texts.items()}
        share = {name: joined(corrected, statistic, floor, ceiling) for name, statistic in own.items()}
        gap = task_texts.estimate(joined(difference, ceiling, floor))
        yield f"score/{attribute}", "probe", task_texts.estimate(ceiling)._replace(n=known)
        yield f"{GAP}{attribute}", "probe", gap._replace(n=known)
        for figure in task_texts.figures(f"score/{attribute}", own, baselines=()):
            yield _with_count(known, figure)
        for figure in task_texts.figures(f"recovery/{attribute}", share):
            yield _with_count(known, figure)
        if gap.low is None or gap.low <= 0:
            notes.append(_not_significant(task_texts.task.name, attribute, gap))
            continue
        for name, statistic in share.items():
            recovered[name].append(statistic)
    if any(recovered.values()):
        yield from task_texts.figures("recovery", {name: joined(average, *each) for name, each in recovered.items()})


def _problem(task_texts: TaskTexts, reader: AttributeReader, true: list[Any], facts: Facts) -> str | None:
    """Return why an attribute cannot be scored on a task, or None if it can."""
    if all(value is None for value in true):
        return "known for no test entity"
    readable = whole(
        attribute_score(reader.kind, [reader.read(t) for t in task_texts.references], true, 0.0), task_texts.n
    )
    if readable < READABLE:
        return f"not readable, the extractor scores {readable:.2f} on the references"
    space = next(iter(task_texts.task.slots.values()))
    return None if facts.probe(space, reader.name) is not None else "no probe to compare with"


def _not_significant(task: str, attribute: str, gap: Estimate) -> str:
    interval = "" if gap.low is None else f" [{gap.low:.2f}, {gap.high:.2f}]"
    return (
        f"task {task!r}, attribute {attribute!r}: not in the mean of recovery: the probe is not significantly better "
        f"than the majority baseline (difference {gap.value or 0:.2f}{interval})"
    )


def _with_count(known: int, figure: Figure) -> Figure:
    """Return the figure with n set to the number of entities whose value is known."""
    metric, condition, estimate = figure
    return metric, condition, estimate._replace(n=known)
