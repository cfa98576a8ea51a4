"""The figures of an evaluation, by task, metric and condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from vectalk.evaluation.table import left_out

Metric = dict[str, Any]
MODEL = "elm"
CLAIMS, NAMES = ("claims_precision", "claims_recall"), ("names_invented", "names_right")
MAIN = ("sc", "nsc", "recall@10", "bc_auc", "recovery", *CLAIMS, *NAMES)
HEADLINE = ("sc", "recovery", "bc_auc", "claims_precision")
BASELINES = ("shuffled", "copy_text", "probe_text")
WITHOUT_TEXT = ("probe",)  # scored as values, not as texts


class Figure(NamedTuple):
    """A figure with its interval."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        return (
            f"{as_text(self.value)} [{as_text(self.low)}, {as_text(self.high)}]"
            if self.low is not None
            else as_text(self.value)
        )


def as_text(value: float | None) -> str:
    """Return a value as text; a dash if it is not defined."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) > 10 else f"{value:.2f}".replace("-0.00", "0.00")  # not -0.00


class Figures:
    """The rows of `metrics.jsonl`, by task, metric and condition.

    Attributes:
        tasks: names of the tasks, in the order of the file.
        n: task -> number of test examples.
        left_out: task -> attributes that are not in the mean of its recovery; only tasks with such attributes.
    """

    def __init__(self, rows: Sequence[Metric]) -> None:
        self.tasks = list(dict.fromkeys(row["task"] for row in rows))
        self.n = {task: max(row["n"] for row in rows if row["task"] == task) for task in self.tasks}
        each = {task: left_out([row for row in rows if row["task"] == task]) for task in self.tasks}
        self.left_out = {task: attributes for task, attributes in each.items() if attributes}
        self._figures = {
            (r["task"], r["metric"], r["condition"]): Figure(r["value"], r["low"], r["high"])
            for r in rows
            if r["value"] is not None
        }

    def get(self, task: str, metric: str, condition: str = MODEL) -> Figure | None:
        """Return a figure, or None if it is not defined."""
        return self._figures.get((task, metric, condition))

    def of(self, metric: str) -> dict[str, dict[str, Figure]]:
        """Return the figures of a metric: task -> condition -> figure; the task with the best model figure is first."""
        by_task: dict[str, dict[str, Figure]] = {}
        for (task, name, condition), figure in self._figures.items():
            if name == metric and condition not in WITHOUT_TEXT:
                by_task.setdefault(task, {})[condition] = figure
        complete = {task: figures for task, figures in by_task.items() if MODEL in figures}
        return dict(sorted(complete.items(), key=lambda item: -item[1][MODEL].value))

    def mean(self, metric: str, condition: str = MODEL) -> Figure | None:
        """Return the mean over the tasks on which the model has the metric; None if the condition lacks one of them.

        The ends of the interval are the means of the ends of the tasks' intervals. This interval is wide enough for any
        overlap between the entities of the tasks.
        """
        each = [figures[condition] for figures in self.of(metric).values() if condition in figures]
        if not each or len(each) < len(self.of(metric)):
            return None
        value = sum(figure.value for figure in each) / len(each)
        lows, highs = ([end for end in ends if end is not None] for ends in zip(*(f[1:] for f in each), strict=True))
        if len(lows) < len(each) or len(highs) < len(each):
            return Figure(value, None, None)
        return Figure(value, sum(lows) / len(each), sum(highs) / len(each))

    def against(self, metric: str, baseline: str) -> tuple[int, int, int] | None:
        """Return the numbers of tasks on which the model is significantly above, significantly below, and neither."""
        gaps = [self.get(task, f"{metric}_minus_{baseline}") for task in self.of(metric)]
        known = [
            (gap.low, gap.high) for gap in gaps if gap is not None and gap.low is not None and gap.high is not None
        ]
        if not known:
            return None
        above = sum(low > 0 for low, _ in known)
        below = sum(high < 0 for _, high in known)
        return above, below, len(known) - above - below
