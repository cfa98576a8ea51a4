"""How reliable a concept is: its AUC on held-out entities, compared with chance and with random concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
PERMUTATIONS = 2000
CHUNK = 4_000_000  # most numbers in memory at once
FEW = 20


@dataclass(frozen=True)
class Statistics:
    """The statistics of a concept. AUCs are measured on test entities; None if one side has no test entities.

    Attributes:
        positives: number of training entities with the concept.
        negatives: number of training entities without it.
        test_positives: number of test entities with the concept.
        test_negatives: number of test entities without it.
        auc: probability that a positive has a higher score than a negative.
        low: lower end of the AUC's bootstrap 95 % interval over entities.
        high: upper end of this interval.
        p_value: share of permutations of the test labels that reach this AUC.
        random_auc: 95th percentile of the AUC of random concepts: directions fitted in the same way to as many
            random training entities.
        stability: mean cosine between the direction and directions fitted to bootstrap samples.
        q_value: `p_value` corrected for the number of concepts that were tried (Benjamini-Hochberg).
        family: number of concepts that were tried.
    """

    positives: int
    negatives: int
    test_positives: int
    test_negatives: int
    auc: float | None
    low: float | None
    high: float | None
    p_value: float | None
    random_auc: float | None
    stability: float | None
    q_value: float | None = None
    family: int = 1

    @property
    def warnings(self) -> list[str]:
        """Reasons not to trust the concept."""
        reasons = []
        if self.positives < FEW:
            reasons.append(f"only {self.positives} positives to learn from; {FEW} or more make a steadier direction")
        if self.auc is None:
            reasons.append("not measured: no test entities on both sides")
        elif self.low is not None and self.low <= 0.5:
            reasons.append(f"its AUC may be chance: the interval [{self.low:.2f}, {self.high:.2f}] includes 0.5")
        elif self.random_auc is not None and self.auc <= self.random_auc:
            reasons.append(f"random concepts do as well: 5 % of them have an AUC of {self.random_auc:.2f} or more")
        if self.q_value is not None and self.q_value > 0.05:
            reasons.append(f"not significant among {self.family} concepts (q = {self.q_value:.2g})")
        return reasons


def aucs(scores: np.ndarray, positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the AUC [B] of scores [n] under B weightings of positives and negatives [B, n]; ties count half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # equal scores are one step
    up, down = (np.add.reduceat(weights[:, order], starts, axis=1) for weights in (positive, negative))
    below = np.cumsum(down, axis=1) - down / 2
    return (up * below).sum(axis=1) / (up.sum(axis=1) * down.sum(axis=1))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the chance that a positive has a higher score [n] than a negative (labels [n])."""
    return float(aucs(scores, labels[None].astype(float), ~labels[None])[0])


def auc_interval(scores: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of an AUC; positives and negatives are resampled separately."""
    samples = []
    for count in _chunks(RESAMPLES, len(labels)):
        weights = np.zeros((2, count, len(labels)))
        for at, side in enumerate((labels, ~labels)):
            weights[at][:, side] = rng.multinomial(side.sum(), np.full(side.sum(), 1 / side.sum()), size=count)
        samples.append(aucs(scores, *weights))
    low, high = np.percentile(np.concatenate(samples), [2.5, 97.5])
    return float(low), float(high)


def permutation_p(scores: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> float:
    """Return the share of label permutations that reach the AUC; the true labels count as one permutation."""
    own, reached = auc(scores, labels), 0
    for count in _chunks(PERMUTATIONS, len(labels)):
        shuffled = rng.permuted(np.tile(labels, (count, 1)), axis=1)
        reached += int((aucs(scores, shuffled.astype(float), ~shuffled) >= own - 1e-12).sum())
    return (1 + reached) / (1 + PERMUTATIONS)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return q values: the share of false finds among all concepts that are at least as significant."""
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values, method="bh").tolist() if p_values else []


def _chunks(total: int, width: int) -> list[int]:
    step = max(1, CHUNK // max(width, 1))
    return [min(step, total - start) for start in range(0, total, step)]
