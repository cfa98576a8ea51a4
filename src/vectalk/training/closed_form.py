"""Solve an adapter in closed form: ridge regression from vectors to the embeddings of the words of their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vectalk.model.adapter import ElmAdapter

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # of the ridge, relative to the mean variance of a feature
ROWS = 2048  # texts in memory at once
HELD_OUT = 10  # every so many entities choose the strength


@dataclass(frozen=True)
class Bags:
    """What soft tokens are started as: for each text and each soft token some words and how much each counts.

    Attributes:
        ids: token ids of all bags in a row.
        weights: how much each of these tokens counts, float32.
        starts: [N * S + 1] where each bag begins.
        parts: S, bags of a text.
    """

    ids: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    parts: int

    def __len__(self) -> int:
        return (len(self.starts) - 1) // self.parts

    def embeddings(self, first: int, last: int, table: Tensor) -> Tensor:
        """Return the weighted mean embedding of the bags of some texts, [last - first, S * H].

        Args:
            first: number of the first text.
            last: number behind the last text.
            table: embeddings of the vocabulary [V, H].
        """
        begin, end = self.starts[first * self.parts], self.starts[last * self.parts]
        offsets = torch.from_numpy(self.starts[first * self.parts : last * self.parts] - begin)
        ids, weights = torch.from_numpy(self.ids[begin:end]), torch.from_numpy(self.weights[begin:end])
        sums = nn.functional.embedding_bag(
            ids.to(table.device),
            table,
            offsets.to(table.device),
            mode="sum",
            per_sample_weights=weights.to(table.device),
        )
        return sums.view(last - first, -1)


@torch.no_grad()
def solve(
    adapter: ElmAdapter,
    inputs: Callable[[int, int], Iterator[tuple[np.ndarray, Tensor, str]]],
    entities: np.ndarray,
    bags: Bags,
    table: Tensor,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Give an adapter the last layer that predicts the words' embeddings best, by ridge regression.

    Its first layer, where it has one, stays as it is: random features. The strength of the ridge is chosen on a tenth
    of the entities, which are then used too.

    Args:
        adapter: is changed.
        inputs: called with numbers of a first and a last text; yields (places among them, vectors, space).
        entities: [N] a number for the entity of each text.
        bags: words of each text.
        table: embeddings of the vocabulary [V, H].
        progress: called with texts done and texts in all.

    Returns:
        The share of the variance of the held-out entities' embeddings that the solution explains.
    """
    count, outputs = len(bags), adapter.config.soft_tokens * adapter.config.llm_hidden_size
    held_out = torch.from_numpy(entities % HELD_OUT == 0)
    width = features_of(adapter, next(iter(inputs(0, 1)))[1], adapter.config.space).shape[1] + 1
    moments = [_Moments(width, outputs, table.device) for _ in range(2)]
    for first in range(0, count, ROWS):
        last = min(first + ROWS, count)
        features = torch.ones(last - first, width, device=table.device)
        for places, vectors, space in inputs(first, last):
            features[places, :-1] = features_of(adapter, vectors, space)
        targets = bags.embeddings(first, last, table)
        for part, moment in zip((~held_out[first:last], held_out[first:last]), moments, strict=True):
            moment.add(features[part.to(table.device)], targets[part.to(table.device)])
        progress(last, count)
    learning, judging = moments
    strength, explained = None, 0.0
    if judging.count and learning.count:
        scores = {strength: judging.explained(learning.solution(strength)) for strength in STRENGTHS}
        strength = max(scores, key=lambda one: scores[one])
        explained = scores[strength]
    learning.merge(judging)
    put(adapter, learning.solution(strength or 1e-2))
    return explained


def features_of(adapter: ElmAdapter, vectors: Tensor, space: str) -> Tensor:
    """Return what the last layer of an adapter sees of vectors [N, D]: hidden units, or the vectors, or both."""
    mean, scale = adapter.normalizer(space)
    x = (vectors.to(mean.dtype) - mean) / scale
    parts = []
    if adapter.first is not None:
        parts.append(nn.functional.gelu(adapter.first(x)))
    if adapter.skip is not None:
        parts.append(x)
    return torch.cat(parts, 1)


def put(adapter: ElmAdapter, solution: Tensor) -> None:
    """Write a solution [features + 1, outputs] into the last layers of an adapter."""
    weights, bias = solution[:-1].T, solution[-1]
    at = 0
    for layer in (adapter.second, adapter.skip):
        if layer is not None:
            layer.weight.copy_(weights[:, at : at + layer.in_features])
            layer.bias.copy_(bias if at == 0 else torch.zeros_like(bias))
            at += layer.in_features


class _Moments:
    """Sums of products of features and targets, from which ridge regressions of any strength are solved."""

    def __init__(self, width: int, outputs: int, device: torch.device) -> None:
        self.count, self.squares = 0, 0.0
        self.gram = torch.zeros(width, width, device=device, dtype=torch.float64)
        self.cross = torch.zeros(width, outputs, device=device, dtype=torch.float64)
        self.sums = torch.zeros(outputs, device=device, dtype=torch.float64)

    def add(self, features: Tensor, targets: Tensor) -> None:
        self.count += len(features)
        self.gram += (features.T @ features).double()
        self.cross += (features.T @ targets).double()
        self.sums += targets.sum(0).double()
        self.squares += float(targets.square().sum(dtype=torch.float64))

    def merge(self, other: _Moments) -> None:
        self.count += other.count
        self.squares += other.squares
        self.gram += other.gram
        self.cross += other.cross
        self.sums += other.sums

    def solution(self, strength: float) -> Tensor:
        """Return the weights [features + 1, outputs]; the last feature is the constant, which is not shrunk."""
        scale = self.gram.diagonal()[:-1].mean()
        ridge = torch.full((len(self.gram),), float(strength * scale), device=self.gram.device, dtype=torch.float64)
        ridge[-1] = 1e-9 * scale
        return torch.linalg.solve(self.gram + torch.diag(ridge), self.cross).float()

    def explained(self, solution: Tensor) -> float:
        """Return the share of the targets' variance that a solution explains."""
        weights = solution.double()
        error = self.squares - 2 * (weights * self.cross).sum() + (weights * (self.gram @ weights)).sum()
        variance = self.squares - (self.sums.square().sum() / self.count)
        return float(1 - error / variance)
