"""Tests on a few random tokens whether an LLM can read a common prefix once; so no list of model families is needed."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

TOLERANCE = 2e-3
FIRST, SECOND = 5, 7  # length of the common prefix of both rows, and of the rest of each row


@torch.no_grad()
def can_share(model: PreTrainedModel) -> bool:
    """Return whether the LLM can read a common prefix once and use its keys and values for all rows."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, vocabulary, (1, FIRST + SECOND), generator=torch.Generator().manual_seed(1)).to(model.device)
    rows = ids.repeat(2, 1)
    rows[1, FIRST:] = rows[1, FIRST:].flip(0)
    embeds = model.get_input_embeddings()(rows)
    try:
        split, whole = _split_states(model, embeds), model.base_model(inputs_embeds=embeds, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError):
        return False
    states = whole.last_hidden_state[:, FIRST:]
    slack = TOLERANCE if states.dtype == torch.float32 else 0.05
    split, states = split.float(), states.float()
    size = states.abs().amax().clamp_min(1.0)
    return bool(torch.isfinite(split).all() and (split - states).abs().amax() <= slack * size)


def _split_states(model: PreTrainedModel, embeds: Tensor) -> Tensor:
    """Return the hidden states [2, SECOND, H] of the rest of two rows, read after their common prefix."""
    cache = model.base_model(inputs_embeds=embeds[:1, :FIRST], use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.expand(2, -1, -1, -1), layer.values.expand(2, -1, -1, -1)
    return model.base_model(inputs_embeds=embeds[:, FIRST:], past_key_values=cache, use_cache=True).last_hidden_state
