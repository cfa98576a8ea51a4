"""Words that tell texts apart: their inverse document frequency, and how much more the loss counts rare ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vectalk.model.elm_model import ElmModel
from vectalk.training.data import Examples

TEXTS = 50_000  # targets looked at, at most
LEAST = 0.1  # weight of a token that every text holds, relative to the mean


def token_weights(examples: Examples, numbers: np.ndarray, power: float, model: ElmModel) -> Tensor:
    """Return how much each token counts [V]: its inverse document frequency to a power, one on average.

    Args:
        examples: training examples.
        numbers: those of them that are learned.
        power: 0 counts all tokens alike.
        model: whose vocabulary it is.
    """
    idf, count = frequencies(examples.target_ids(sample(numbers)), len(table_of(model)))
    weights = np.maximum(idf / _mean(idf, count), LEAST) ** power
    return torch.from_numpy(weights / _mean(weights, count)).float().to(model.device)


def table_of(model: ElmModel) -> Tensor:
    """Return the embeddings [V, H] by which the LLM takes words in."""
    embeddings: Any = model.llm.get_input_embeddings()
    return embeddings.weight


def sample(numbers: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(numbers)[:TEXTS]


def frequencies(ids: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inverse document frequency and count of each token [V]."""
    inside, count = np.zeros(size), np.zeros(size)
    for one in ids:
        inside[list(set(one))] += 1
        np.add.at(count, np.array(one, np.int64), 1)
    return np.log((len(ids) + 1) / (inside + 1)), count


def _mean(values: np.ndarray, count: np.ndarray) -> float:
    """Return the mean over the tokens of all texts."""
    return float((values * count).sum() / max(count.sum(), 1)) or 1.0
