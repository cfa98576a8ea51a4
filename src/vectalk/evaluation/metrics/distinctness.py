"""Distinctness: do different vectors get different texts?"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from vectalk.evaluation.conditions import GAUSSIANS
from vectalk.evaluation.metrics.bootstrap import Estimate, mean_of
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.space.letters import tokens_in

ORDER = 4


def distinctness(task_texts: TaskTexts) -> Iterator[Figure]:
    """Yield the share of distinct texts and their mean similarity (self-BLEU) for each condition."""
    alike = {}
    for condition, texts in task_texts.texts.items():
        # Several examples share one random vector; its text counts once.
        own = texts[:GAUSSIANS] if condition == "gaussian" else texts
        yield "distinct", condition, Estimate(len(set(own)) / len(own), None, None, len(own))
        scores = np.full(len(texts), np.nan)
        scores[: len(own)] = self_bleu(own)
        alike[condition] = mean_of(scores)
    yield from task_texts.figures("self_bleu", alike, baselines=("own_text",))


def self_bleu(texts: Sequence[str]) -> np.ndarray:
    """Return the BLEU-4 [n] of each text with all other texts as references: 1 if another text is identical.

    The measure is that of Zhu et al. 2018 (Texygen), without smoothing: the mean over texts says how similar the texts
    are. A text of fewer than four tokens is compared by its shorter n-grams. Self-BLEU rises with n, so compare sets of
    equal size.

    The function does not compare pairs of texts. For each n-gram it stores the two largest counts, and which text has
    the largest count. The largest count among all other texts is always one of these two counts.
    """
    tokens = [tokens_in(text.lower()) for text in texts]
    logs, orders = np.zeros(len(texts)), np.zeros(len(texts))
    for order in range(1, ORDER + 1):
        counts = [Counter(zip(*(words[i:] for i in range(order)), strict=False)) for words in tokens]
        most: dict[tuple[str, ...], tuple[int, int, int]] = {}  # n-gram -> largest count, its text, second largest
        for i, count in enumerate(counts):
            for gram, times in count.items():
                first, holder, second = most.get(gram, (0, -1, 0))
                most[gram] = (times, i, first) if times > first else (first, holder, max(second, times))
        for i, count in enumerate(counts):
            if not count:
                continue
            matches = 0
            for gram, times in count.items():
                first, holder, second = most[gram]
                matches += min(times, second if holder == i else first)
            with np.errstate(divide="ignore"):
                logs[i] += np.log(matches / count.total())
            orders[i] += 1
    score = np.exp(logs / np.maximum(orders, 1)) * _brevity([len(words) for words in tokens])
    score[orders == 0] = float((orders == 0).sum() > 1)  # two texts without words are identical
    return score


def _brevity(lengths: Sequence[int]) -> np.ndarray:
    """Return BLEU's brevity penalty [n] for each text; the reference length is that of the text closest in length."""
    ordered, penalties = sorted(lengths), np.ones(len(lengths))
    for i, length in enumerate(lengths):
        at = bisect_left(ordered, length)
        near = [other for j, other in enumerate(ordered[max(at - 1, 0) : at + 2], max(at - 1, 0)) if j != at]
        closest = min(near, key=lambda other: (abs(other - length), other), default=length)
        if closest > length:
            penalties[i] = np.exp(1 - closest / max(length, 1))
    return penalties
