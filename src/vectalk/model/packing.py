"""Which short cuts an LLM allows: tried on a few random tokens, so that no list of model families is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

TOLERANCE = 2e-3
FIRST, SECOND = 5, 7


@torch.no_grad()
def can_pack(model: PreTrainedModel) -> bool:
    """Return whether two texts in one row, positions starting anew with the second, are read as each alone.

    Recurrent layers carry what they have read across the border, and some models count positions in ways of their own.
    """
    ids, alone = _trial(model)
    places = torch.cat([torch.arange(FIRST), torch.arange(SECOND)])[None].to(model.device)
    return _same(lambda: _states(model, ids, position_ids=places, use_cache=False), alone)


@torch.no_grad()
def can_share(model: PreTrainedModel) -> bool:
    """Return whether what rows begin with can be read once and its keys and values given to all rows."""
    ids, _ = _trial(model)
    rows = ids.repeat(2, 1)
    rows[1, FIRST:] = rows[1, FIRST:].flip(0)

    def parted() -> Tensor:
        start = model.base_model(inputs_embeds=_embeds(model, ids[:, :FIRST]), use_cache=True)
        cache = start.past_key_values
        for layer in cache.layers:
            layer.keys, layer.values = layer.keys.expand(2, -1, -1, -1), layer.values.expand(2, -1, -1, -1)
        rest = _embeds(model, rows[:, FIRST:])
        return model.base_model(inputs_embeds=rest, past_key_values=cache, use_cache=True).last_hidden_state

    return _same(parted, lambda: _states(model, rows, use_cache=False)[:, FIRST:])


def _trial(model: PreTrainedModel) -> tuple[Tensor, Any]:
    """Return ids [1, FIRST + SECOND] and what makes the states of both parts, each read alone."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, vocabulary, (1, FIRST + SECOND), generator=torch.Generator().manual_seed(1)).to(model.device)
    parts = (ids[:, :FIRST], ids[:, FIRST:])
    return ids, lambda: torch.cat([_states(model, part, use_cache=False) for part in parts], 1)


def _embeds(model: PreTrainedModel, ids: Tensor) -> Tensor:
    return model.get_input_embeddings()(ids)


def _states(model: PreTrainedModel, ids: Tensor, **options: Any) -> Tensor:
    return model.base_model(inputs_embeds=_embeds(model, ids), **options).last_hidden_state


def _same(one: Any, other: Any) -> bool:
    try:
        first, second = one().float(), other().float()
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError):
        return False
    size = second.abs().amax().clamp_min(1.0)
    half = TOLERANCE if one().dtype == torch.float32 else 0.05
    return bool(torch.isfinite(first).all() and (first - second).abs().amax() <= half * size)
