"""Self-BLEU: against a version that compares every pair of texts."""

from collections import Counter

import numpy as np
import pytest

from vectalk.evaluation.metrics.distinctness import self_bleu


def naive(texts: list[str]) -> list[float]:
    """BLEU-4 of each text against all others, straight from its definition."""
    found = []
    for i, text in enumerate(texts):
        words, others = text.split(), [other.split() for j, other in enumerate(texts) if j != i]
        logs = []
        for order in range(1, min(4, len(words)) + 1):

            def grams(tokens: list[str], order: int = order) -> Counter:
                return Counter(tuple(tokens[k : k + order]) for k in range(len(tokens) - order + 1))

            own, most = grams(words), Counter()
            for other in others:
                most |= grams(other)
            logs.append(np.log(max(sum((own & most).values()), 1e-300) / own.total()))
        closest = min((len(other) for other in others), key=lambda n: (abs(n - len(words)), n))
        penalty = 1.0 if closest <= len(words) else np.exp(1 - closest / len(words))
        found.append(penalty * float(np.exp(np.mean(logs))))
    return found


def test_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abc"), size=rng.integers(2, 15))) for _ in range(40)]
    scores = self_bleu(texts)
    assert 0 < scores.min() < scores.max() < 1.0001
    np.testing.assert_allclose(scores, naive(texts), atol=1e-12)


@pytest.mark.parametrize(
    ("texts", "scores"),
    [
        (["The old sailor finds an island."] * 5, [1.0] * 5),
        (["a b c d e", "f g h i j", "k l m n o"], [0.0] * 3),
        (["one", "one", "two"], [1.0, 1.0, 0.0]),
        (["", "", "a b"], [1.0, 1.0, 0.0]),
        (["", "a b c d"], [0.0, 0.0]),
        (["alone with nobody else"], [0.0]),
        (["The End", "the end"], [1.0, 1.0]),
    ],
)
def test_what_is_known(texts: list[str], scores: list[float]) -> None:
    np.testing.assert_allclose(self_bleu(texts), scores, atol=1e-12)
