"""Words that distinguish texts: inverse document frequencies, and the loss weights made from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vectalk.model.elm_model import ElmModel
from vectalk.training.data import Examples

TEXTS = 50_000  # largest number of targets to use
LEAST = 0.1  # smallest weight of a token, relative to the mean; for tokens in every text


def token_weights(examples: Examples, numbers: np.ndarray, power: float, model: ElmModel) -> Tensor:
    """Return the loss weight of each token [V]: its inverse document frequency to a power, scaled to mean 1.

    Args:
        examples: training examples.
        numbers: numbers of the examples that are learned.
        power: exponent; at 0 all weights are equal.
        model: model with the vocabulary.
    """
    idf, count = frequencies(examples.target_ids(sample(numbers)), len(table_of(model)))
    weights = np.maximum(idf / _mean(idf, count), LEAST) ** power
    return torch.from_numpy(weights / _mean(weights, count)).float().to(model.device)


def table_of(model: ElmModel) -> Tensor:
    """Return the LLM's token embeddings [V, H]."""
    embeddings: Any = model.llm.get_input_embeddings()
    return embeddings.weight


def sample(numbers: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(numbers)[:TEXTS]


def frequencies(ids: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverse document frequency [V] and the count [V] of each token."""
    inside, count = np.zeros(size), np.zeros(size)
    for one in ids:
        inside[list(set(one))] += 1
        np.add.at(count, np.array(one, np.int64), 1)
    return np.log((len(ids) + 1) / (inside + 1)), count


def _mean(values: np.ndarray, count: np.ndarray) -> float:
    """Return the mean of token values [V], weighted by the tokens' counts [V]; 1 where that is 0."""
    return float((values * count).sum() / max(count.sum(), 1)) or 1.0
