"""Distinctness: does each vector get a text of its own?"""

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


def distinctness(given: TaskTexts) -> Iterator[Figure]:
    """Measure the share of distinct texts, and how alike they are (self-BLEU), for each condition."""
    alike = {}
    for condition, texts in given.texts.items():
        # A random vector stands for several examples; its text counts once.
        own = texts[:GAUSSIANS] if condition == "gaussian" else texts
        yield "distinct", condition, Estimate(len(set(own)) / len(own), None, None, len(own))
        scores = np.full(len(texts), np.nan)
        scores[: len(own)] = self_bleu(own)
        alike[condition] = mean_of(scores)
    yield from given.figures("self_bleu", alike, rivals=("own_text",))


def self_bleu(texts: Sequence[str]) -> np.ndarray:
    """Return for each text [n] its BLEU-4 against all others: 1 where another says just the same.

    After Zhu et al. 2018 (Texygen): the mean over texts says how alike they are. Not smoothed; a text shorter than
    four tokens is compared by the n-grams that it has. It rises with n, so compare sets of equal size.

    Instead of comparing pairs of texts, the two largest counts of each n-gram are kept, and of which text the larger
    is: the largest count among all other texts is then one of the two.
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
            found = 0
            for gram, times in count.items():
                first, holder, second = most[gram]
                found += min(times, second if holder == i else first)
            with np.errstate(divide="ignore"):
                logs[i] += np.log(found / count.total())
            orders[i] += 1
    score = np.exp(logs / np.maximum(orders, 1)) * _brevity([len(words) for words in tokens])
    score[orders == 0] = float((orders == 0).sum() > 1)  # a text without words is like another without words
    return score


def _brevity(lengths: Sequence[int]) -> np.ndarray:
    """Return BLEU's penalty [n] for texts that are shorter than the other one nearest to them in length."""
    ordered, penalties = sorted(lengths), np.ones(len(lengths))
    for i, length in enumerate(lengths):
        at = bisect_left(ordered, length)
        near = [other for j, other in enumerate(ordered[max(at - 1, 0) : at + 2], max(at - 1, 0)) if j != at]
        closest = min(near, key=lambda other: (abs(other - length), other), default=length)
        if closest > length:
            penalties[i] = np.exp(1 - closest / max(length, 1))
    return penalties
