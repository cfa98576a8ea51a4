"""Figures of free questions: what is left of the model's scores where no task taught the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vectalk.evaluation.metrics.bootstrap import Statistic, difference, divided, joined, mean_of
from vectalk.evaluation.metrics.rows import distinct_share, sample_f1

GAP = 0.1  # smallest gain from the facts on validation, below which a question does not depend on them
Scores = Mapping[str, np.ndarray]
"""Condition -> scores [q, n] of the answers to q questions about n entities; NaN where the true value is unknown."""


def answer_scores(kind: str, predicted: Sequence[Any], true: Sequence[Any]) -> np.ndarray:
    """Return the score [n] of each answer: F1 for a list, else 1 for the right value and 0 for any other or none.

    Args:
        kind: kind of the attribute.
        predicted: values read from n answers.
        true: true values; None if unknown, which gives NaN.
    """
    agree = sample_f1 if kind == "list" else lambda p, t: float(p == t)
    return np.array([np.nan if t is None else agree(p, t) for p, t in zip(predicted, true, strict=True)])


def by_entity(scores: np.ndarray, questions: np.ndarray | None = None) -> np.ndarray:
    """Return the mean score [n] of each entity over the questions.

    Args:
        scores: [q, n]; an entity whose value is unknown has NaN for all questions.
        questions: indices of the questions to use; all when omitted.
    """
    selected = scores if questions is None else scores[questions]
    return selected.mean(0) if len(selected) else np.full(scores.shape[1], np.nan)


def gain(scores: Scores, of: str, over: str, questions: np.ndarray | None = None) -> Statistic:
    """Return the mean score of one condition minus that of another, as a statistic of the entities."""
    return joined(difference, *(mean_of(by_entity(scores[name], questions)) for name in (of, over)))


def unseen_ratio(unseen: Scores, trained: Scores) -> Statistic:
    """Return (elm - shuffled) on unseen questions over (elm - shuffled) on trained wordings, for the same entities."""
    return joined(divided, gain(unseen, "elm", "shuffled"), gain(trained, "elm", "shuffled"))


def told_ratio(scores: Scores, questions: np.ndarray, of: str = "elm") -> Statistic:
    """Return (elm - shuffled) over (told - told_shuffled), over the questions of these indices.

    Another condition than `elm` is one of the base LLM, so its control is `told_shuffled`.
    """
    control = "shuffled" if of == "elm" else "told_shuffled"
    return joined(divided, gain(scores, of, control, questions), gain(scores, "told", "told_shuffled", questions))


def question_gaps(scores: Scores) -> np.ndarray:
    """Return told - told_shuffled [q] of each question: how much its answers depend on the facts."""
    with np.errstate(invalid="ignore"):
        gaps = scores["told"] - scores["told_shuffled"]
    known = np.isfinite(gaps).any(0)
    return gaps[:, known].mean(1) if known.any() else np.full(len(gaps), np.nan)


def kl_kept(divergences: np.ndarray) -> Statistic:
    """Return 1 - KL(told, vector) / KL(told, shuffled vector) as a statistic of the entities.

    Args:
        divergences: [q, n, 2] summed KL of each answer, with the right and with the shuffled vector (or with words in
            place of a vector); NaN if an answer could not be compared.
    """
    known = np.isfinite(divergences).all(2)
    sums = np.where(known[..., None], divergences, 0.0).sum(0)
    sums[~known.any(0)] = np.nan
    right, shuffled = (mean_of(sums[:, variant]) for variant in range(2))
    return joined(lambda a, b: 1.0 - divided(a, b), right, shuffled)


def distinct_answers(answers: Sequence[Sequence[str]]) -> float:
    """Return the mean over questions of the share of distinct answers among the entities."""
    return float(np.mean([distinct_share(texts) for texts in answers]))
