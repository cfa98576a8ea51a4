"""Words that tell texts apart: what the loss may count more, and what soft tokens can be started as.

A tiny LLM that never saw a soft token learns to use one late, because at the start nothing it could do with it helps.
Read by the output embedding, a soft token is a bag of words (the "logit lens", as it is called where hidden states are
read so). `start` makes that bag the words of the target: each soft token that of one part of the text. No layer of the
LLM runs, so it takes seconds to minutes.
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

TEXTS = 50_000  # targets looked at, at most
LONGEST = 96  # tokens of a target that soft tokens are started as
VOCABULARY = 8192  # tokens among which they choose; the heaviest
BATCH = 128
LEAST = 0.1  # weight of a token that every text holds, relative to the mean


def token_weights(examples: Examples, numbers: np.ndarray, power: float, model: ElmModel) -> Tensor:
    """Return how much each token counts [V]: its inverse document frequency to a power, one on average.

    Args:
        examples: training examples.
        numbers: those of them that are learned.
        power: 0 counts all tokens alike.
        model: whose vocabulary it is.
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
    """Start each adapter with soft tokens that look like the words of the targets.

    Examples with one slot teach; soft token s learns the words of the s-th part of the target, rare ones counting more.

    Args:
        model: adapters, which are changed, and LLM, which is not.
        examples: training examples.
        config: settings.
        spaces: whose adapters are started.
        progress: called with steps done and steps in all.

    Returns:
        For each adapter, by the names of its spaces, the mean loss of the words in the first and in the last steps.
    """
    losses, steps = {}, config.adapter.start_steps
    adapters = list(dict.fromkeys(model.adapter(name) for name in spaces))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for number, adapter in enumerate(adapters):
            progress(number * steps, len(adapters) * steps)
            chosen, slots = _one_slot(examples, adapter)
            if len(chosen):
                rng = np.random.default_rng([config.seed, number])
                names = ", ".join(adapter.config.spaces)
                losses[names] = _learn_words(
                    adapter,
                    model,
                    examples,
                    chosen,
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
    chosen: np.ndarray,
    slots: list[tuple[str, int]],
    config: TrainConfig,
    rng: np.random.Generator,
    progress: Callable[[int], None],
) -> tuple[float, float]:
    """Train an adapter on bags of words; returns the mean loss of the first and of the last steps."""
    table = _table(model).detach().float()
    ids, parts = examples.target_ids(chosen), adapter.config.soft_tokens
    idf, count = _frequencies(ids, len(table))
    kept = np.sort(np.argsort(-idf * count, kind="stable")[:VOCABULARY])
    place = np.full(len(table), -1)
    place[kept] = np.arange(len(kept))
    words = table[torch.from_numpy(kept).to(table.device)]
    words = words - words.mean(0)
    habit = torch.from_numpy(np.log((count[kept] + 1) / (count[kept] + 1).sum())).float().to(words.device)
    # The soft token keeps the size of a word embedding; how sharply it speaks is left to one number.
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
        batch = rng.choice(len(chosen), min(BATCH, len(chosen)), replace=False)
        bags = np.zeros((len(batch), parts, len(kept)), np.float32)
        for row, number in enumerate(batch):
            for part, some in enumerate(np.array_split(np.array(ids[number][:LONGEST], np.int64), parts)):
                known = place[some] >= 0
                np.add.at(bags[row, part], place[some][known], idf[some][known])
        wanted = torch.from_numpy(bags / np.maximum(bags.sum(-1, keepdims=True), 1e-6)).to(words.device)
        with torch.autocast(words.device.type, torch.bfloat16, enabled=config.autocast == "bfloat16"):
            logits = _soft(adapter, examples, [slots[number] for number in batch]) @ words.T
        loss = -(wanted * (logits.float() * sharpness + habit).log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        progress(step + 1)
    _rescale(adapter, size / _rms(adapter, examples, slots[:512]))
    return float(np.mean(losses[:10])), float(np.mean(losses[-10:]))


def _soft(adapter: ElmAdapter, examples: Examples, slots: list[tuple[str, int]]) -> Tensor:
    """Return the soft tokens [N, S, H] of some rows of the adapter's spaces."""
    made = torch.empty(len(slots), adapter.config.soft_tokens, adapter.config.llm_hidden_size, device=adapter.device)
    for space in dict.fromkeys(name for name, _ in slots):
        places = [i for i, (name, _) in enumerate(slots) if name == space]
        rows = np.array([slots[i][1] for i in places])
        vectors = np.asarray(examples.spaces[space].vectors[rows], np.float32)
        made[places] = adapter(torch.from_numpy(vectors).to(adapter.device), space).to(made.dtype)
    return made


@torch.no_grad()
def _rms(adapter: ElmAdapter, examples: Examples, slots: list[tuple[str, int]]) -> float:
    return float(_soft(adapter, examples, slots).square().mean().sqrt())


@torch.no_grad()
def _rescale(adapter: ElmAdapter, factor: float) -> None:
    """Make all soft tokens larger by a factor."""
    for layer in (adapter.skip, adapter.second):
        if layer is not None:
            layer.weight.mul_(factor)
            layer.bias.mul_(factor)


def _table(model: ElmModel) -> Tensor:
    """Return the embeddings [V, H] by which the LLM takes words in."""
    embeddings: Any = model.llm.get_input_embeddings()
    return embeddings.weight


def _one_slot(examples: Examples, adapter: ElmAdapter) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Return the examples whose only slot is of the adapter's spaces, and their (space, row)."""
    tokens = examples.tokens
    alone = np.flatnonzero(np.asarray(tokens.arrays["slots"]) == 1)
    slots = tokens.slots(alone)
    found = {
        int(number): (tokens.spaces[space], int(row))
        for number, space, row in zip(alone, slots.space, slots.row, strict=True)
        if tokens.spaces[space] in adapter.config.spaces
    }
    chosen = _sample(np.array(sorted(found), np.int64))
    return chosen, [found[int(number)] for number in chosen]


def _sample(numbers: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).permutation(numbers)[:TEXTS]


def _frequencies(ids: list[tuple[int, ...]], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inverse document frequency and count of each token [V]."""
    inside, count = np.zeros(size), np.zeros(size)
    for one in ids:
        inside[list(set(one))] += 1
        np.add.at(count, np.array(one, np.int64), 1)
    return np.log((len(ids) + 1) / (inside + 1)), count


def _mean(values: np.ndarray, count: np.ndarray) -> float:
    """Return the mean over the tokens of all texts."""
    return float((values * count).sum() / max(count.sum(), 1)) or 1.0
