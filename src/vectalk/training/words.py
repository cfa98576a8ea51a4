"""Words that distinguish texts: weights for the loss, and initial soft tokens.

A tiny LLM learns late to use soft tokens, because random soft tokens are of no use to it at the start. Multiplied with
the token embeddings, a soft token gives scores of words, that is, a bag of words (for hidden states this is called the
"logit lens"). `start` trains the adapters so that this bag is the words of the target: each soft token gets the words
of one part of the text. No layer of the LLM runs, so this takes seconds to minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vectalk.model.adapter import ElmAdapter
from vectalk.model.elm_model import ElmModel
from vectalk.training.config import TrainConfig
from vectalk.training.data import Examples

TEXTS = 50_000  # largest number of targets to use
LONGEST = 96  # leading tokens of a target to use for the start
VOCABULARY = 8192  # size of the bags' vocabulary: the tokens with the largest total weight
BATCH = 128
LEAST = 0.1  # smallest weight of a token, relative to the mean; for tokens in every text


def token_weights(examples: Examples, numbers: np.ndarray, power: float, model: ElmModel) -> Tensor:
    """Return the loss weight of each token [V]: its inverse document frequency to a power, scaled to mean 1.

    Args:
        examples: training examples.
        numbers: numbers of the examples that are learned.
        power: exponent; at 0 all weights are equal.
        model: model with the vocabulary.
    """
    idf, count = _frequencies(examples.target_ids(_sample(numbers)), len(_table(model)))
    weights = np.maximum(idf / _mean(idf, count), LEAST) ** power
    return torch.from_numpy(weights / _mean(weights, count)).float().to(model.device)


def start(
    model: ElmModel,
    examples: Examples,
    config: TrainConfig,
    spaces: Sequence[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, tuple[float, float]]:
    """Train each adapter so that its soft tokens look like the words of the targets.

    The training examples are those with one slot. Soft token s learns the words of the s-th part of the target, and
    rare words have larger weights.

    Args:
        model: the adapters, which are trained, and the LLM, which stays unchanged.
        examples: training examples.
        config: settings.
        spaces: names of the spaces whose adapters are trained.
        progress: called with the number of steps done and of all steps.

    Returns:
        Names of an adapter's spaces -> mean loss of the words in the first ten and in the last ten steps.
    """
    losses, steps = {}, config.adapter.start_steps
    adapters = list(dict.fromkeys(model.adapter(name) for name in spaces))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for number, adapter in enumerate(adapters):
            progress(number * steps, len(adapters) * steps)
            numbers, slots = _one_slot(examples, adapter)
            if len(numbers):
                rng = np.random.default_rng([config.seed, number])
                names = ", ".join(adapter.config.spaces)
                losses[names] = _learn_words(
                    adapter,
                    model,
                    examples,
                    numbers,
                    slots,
                    config,
                    rng,
                    lambda done, number=number: progress(number * steps + done, len(adapters) * steps),  # type: ignore[misc]
                )
    progress(len(adapters) * steps, len(adapters) * steps)
    return losses


def _learn_words(
    adapter: ElmAdapter,
    model: ElmModel,
    examples: Examples,
    numbers: np.ndarray,
    slots: list[tuple[str, int]],
    config: TrainConfig,
    rng: np.random.Generator,
    progress: Callable[[int], None],
) -> tuple[float, float]:
    """Train an adapter on bags of words; return the mean loss of the first ten and of the last ten steps."""
    table = _table(model).detach().float()
    ids, parts = examples.target_ids(numbers), adapter.config.soft_tokens
    idf, count = _frequencies(ids, len(table))
    vocabulary = np.sort(np.argsort(-idf * count, kind="stable")[:VOCABULARY])
    place = np.full(len(table), -1)
    place[vocabulary] = np.arange(len(vocabulary))
    words = table[torch.from_numpy(vocabulary).to(table.device)]
    words = words - words.mean(0)
    frequency = count[vocabulary] + 1
    prior = torch.from_numpy(np.log(frequency / frequency.sum())).float().to(words.device)
    # A soft token keeps the norm of a word embedding; the sharpness of its word scores is one learned number.
    sharpness = nn.Parameter(torch.tensor(6.0 / (words.square().sum(1).mean().item() + 1e-12), device=words.device))
    optimizer = torch.optim.AdamW(
        [
            {"params": list(adapter.parameters()), "lr": config.adapter.start_lr},
            {"params": [sharpness], "lr": 0.01 * sharpness.item(), "weight_decay": 0.0},
        ]
    )
    size, losses = _rms(adapter, examples, slots[:512]), []
    adapter.train().requires_grad_(True)
    for step in range(config.adapter.start_steps):
        batch = rng.choice(len(numbers), min(BATCH, len(numbers)), replace=False)
        bags = np.zeros((len(batch), parts, len(vocabulary)), np.float32)
        for row, number in enumerate(batch):
            for part, some in enumerate(np.array_split(np.array(ids[number][:LONGEST], np.int64), parts)):
                known = place[some] >= 0
                np.add.at(bags[row, part], place[some][known], idf[some][known])
        targets = torch.from_numpy(bags / np.maximum(bags.sum(-1, keepdims=True), 1e-6)).to(words.device)
        with torch.autocast(words.device.type, torch.bfloat16, enabled=config.autocast == "bfloat16"):
            logits = _soft(adapter, examples, [slots[number] for number in batch]) @ words.T
        loss = -(targets * (logits.float() * sharpness + prior).log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(step + 1)
    _rescale(adapter, size / _rms(adapter, examples, slots[:512]))
    return float(np.mean(losses[:10])), float(np.mean(losses[-10:]))


def _soft(adapter: ElmAdapter, examples: Examples, slots: list[tuple[str, int]]) -> Tensor:
    """Return the soft tokens [N, S, H] of some rows of the adapter's spaces."""
    soft = torch.empty(len(slots), adapter.config.soft_tokens, adapter.config.llm_hidden_size, device=adapter.device)
    for space in dict.fromkeys(name for name, _ in slots):
        places = [i for i, (name, _) in enumerate(slots) if name == space]
        rows = np.array([slots[i][1] for i in places])
        vectors = np.asarray(examples.spaces[space].vectors[rows], np.float32)
        soft[places] = adapter(torch.from_numpy(vectors).to(adapter.device), space).to(soft.dtype)
    return soft


@torch.no_grad()
def _rms(adapter: ElmAdapter, examples: Examples, slots: list[tuple[str, int]]) -> float:
    return float(_soft(adapter, examples, slots).square().mean().sqrt())


@torch.no_grad()
def _rescale(adapter: ElmAdapter, factor: float) -> None:
    """Multiply all soft tokens by a factor."""
    for layer in (adapter.skip, adapter.second):
        if layer is not None:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)


def _table(model: ElmModel) -> Tensor:
    """Return the LLM's token embeddings [V, H]."""
    embeddings: Any = model.llm.get_input_embeddings()
    return embeddings.weight


def _one_slot(examples: Examples, adapter: ElmAdapter) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the numbers of the examples whose only slot is of the adapter's spaces, and their slots (space, row)."""
    tokens = examples.tokens
    alone = np.flatnonzero(np.asarray(tokens.arrays["slots"]) == 1)
    slots = tokens.slots(alone)
    by_number = {
        int(number): (tokens.spaces[space], int(row))
        for number, space, row in zip(alone, slots.space, slots.row, strict=True)
        if tokens.spaces[space] in adapter.config.spaces
    }
    numbers = _sample(np.array(sorted(by_number), np.int64))
    return numbers, [by_number[int(number)] for number in numbers]


def _sample(numbers: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(numbers)[:TEXTS]


def _frequencies(ids: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the inverse document frequency [V] and the count [V] of each token."""
    inside, count = np.zeros(size), np.zeros(size)
    for one in ids:
        inside[list(set(one))] += 1
        np.add.at(count, np.array(one, np.int64), 1)
    return np.log((len(ids) + 1) / (inside + 1)), count


def _mean(values: np.ndarray, count: np.ndarray) -> float:
    """Return the mean of token values [V], weighted by the tokens' counts [V]; 1 where that is 0."""
    return float((values * count).sum() / max(count.sum(), 1)) or 1.0
