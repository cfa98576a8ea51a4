"""The start as words: soft tokens that look like the words of the texts, solved in closed form in seconds.

A pretrained LLM reads such soft tokens at once. An LLM that never saw a soft token learns to use random ones late,
because at the start nothing that it could do with them helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vectalk.model.adapter import ElmAdapter
from vectalk.model.elm_model import ElmModel
from vectalk.training.closed_form import Bags, solve
from vectalk.training.data import Examples
from vectalk.training.words import frequencies, sample, table_of

LONGEST = 96  # tokens of a text that soft tokens are started as
# Root mean square of the soft tokens, relative to that of the word embeddings. A soft token has to say more than a
# word does, and larger ones are heard better: see benchmarks/log.md, 2026-11-29.
SIZE = 3.0
ROWS = 1024  # vectors whose soft tokens are averaged to measure their size


def start_as_words(
    model: ElmModel,
    examples: Examples,
    spaces: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, float]:
    """Solve the adapters so that soft token s looks like the s-th part of the texts.

    The words of a part are averaged by their embeddings, rare words counting more (inverse document frequency). Ridge
    regression maps the vectors to these averages. What all texts have in common is left out: a soft token says in what
    an entity differs from the mean. Examples with one slot teach.

    Args:
        model: adapters, which are changed, and LLM, which is not.
        examples: training examples; their targets are the texts.
        spaces: whose adapters are started.
        progress: called with texts done and texts in all.

    Returns:
        For each adapter, by the names of its spaces, the share of the variance of held-out entities' averages that the
        solution explains.
    """
    explained: dict[str, float] = {}
    adapters = list(dict.fromkeys(model.adapter(name) for name in spaces))
    jobs = [(adapter, *_texts_of(examples, adapter)) for adapter in adapters]
    total, done = sum(len(numbers) for _, numbers, _ in jobs), 0
    progress(0, total)
    for adapter, numbers, slots in jobs:
        if not len(numbers):
            continue
        table = table_of(model).detach().float()
        ids = examples.target_ids(numbers)
        bags = bags_of(ids, adapter.config.soft_tokens, frequencies(ids, len(table))[0])
        vectors = _Vectors(examples, slots, adapter)
        entities = np.unique(vectors.keys, return_inverse=True)[1]
        share = solve(
            adapter,
            vectors,
            entities,
            bags,
            table - table.mean(0),
            lambda some, _, before=done: progress(before + some, total),  # type: ignore[misc]
        )
        _center(adapter, vectors, SIZE * model.language.embedding_rms)
        explained[", ".join(adapter.config.spaces)] = share
        done += len(numbers)
    return explained


def bags_of(ids: Sequence[Sequence[int]], parts: int, idf: np.ndarray) -> Bags:
    """Cut texts into parts of equal length, and weight their tokens.

    Args:
        ids: tokens of each text.
        parts: S, parts of a text.
        idf: [V] inverse document frequency.
    """
    tokens, weights, lengths = [], [], []
    for text in ids:
        for part in np.array_split(np.asarray(text[:LONGEST], np.int64), parts):
            weight = idf[part]
            tokens.append(part)
            weights.append(weight / max(float(weight.sum()), 1e-6))
            lengths.append(len(part))
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return Bags(np.concatenate(tokens), np.concatenate(weights).astype(np.float32), starts, parts)


class _Vectors:
    """Yields the vectors of the single slots of some texts, by space."""

    def __init__(self, examples: Examples, slots: Sequence[tuple[str, int]], adapter: ElmAdapter) -> None:
        self.spaces, self.device = examples.spaces, adapter.device
        self.names = list(adapter.config.spaces)
        self.space = np.array([self.names.index(space) for space, _ in slots])
        self.row = np.array([row for _, row in slots])
        self.keys = self.row * len(self.names) + self.space

    def __call__(self, first: int, last: int) -> Iterator[tuple[np.ndarray, Tensor, str]]:
        for number, name in enumerate(self.names):
            places = np.flatnonzero(self.space[first:last] == number)
            if len(places):
                values = np.asarray(self.spaces[name].vectors[self.row[first:last][places]], np.float32)
                yield places, torch.from_numpy(values).to(self.device), name


@torch.no_grad()
def _center(adapter: ElmAdapter, vectors: _Vectors, size: float) -> None:
    """Make the soft tokens zero on average, and of a root mean square."""
    count = min(ROWS, len(vectors.row))
    soft = torch.cat([adapter(values, space).flatten(1) for _, values, space in vectors(0, count)])
    mean = soft.mean(0)
    factor = size / float((soft - mean).square().mean().sqrt().clamp_min(1e-12))
    last = adapter.second if adapter.second is not None else adapter.skip
    if last is None:
        return
    last.bias.sub_(mean)
    for layer in (adapter.skip, adapter.second):
        if layer is not None:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)


def _texts_of(examples: Examples, adapter: ElmAdapter) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the examples whose only slot is of the adapter's spaces, at random, and their (space, row)."""
    tokens = examples.tokens
    alone = np.flatnonzero(np.asarray(tokens.arrays["slots"]) == 1)
    slots = tokens.slots(alone)
    pairs = {
        int(number): (tokens.spaces[space], int(row))
        for number, space, row in zip(alone, slots.space, slots.row, strict=True)
        if tokens.spaces[space] in adapter.config.spaces
    }
    numbers = sample(np.array(sorted(pairs), np.int64))
    return numbers, [pairs[int(number)] for number in numbers]
