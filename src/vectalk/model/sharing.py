"""Whether an LLM can read once what rows begin with: tried on a few random tokens, so no list of families is needed."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

TOLERANCE = 2e-3
FIRST, SECOND = 5, 7  # tokens that both rows have in common, and tokens of each alone


@torch.no_grad()
def can_share(model: PreTrainedModel) -> bool:
    """Return whether what rows begin with can be read once and its keys and values given to all rows."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, vocabulary, (1, FIRST + SECOND), generator=torch.Generator().manual_seed(1)).to(model.device)
    rows = ids.repeat(2, 1)
    rows[1, FIRST:] = rows[1, FIRST:].flip(0)
    embeds = model.get_input_embeddings()(rows)
    try:
        parted, whole = _parted(model, embeds), model.base_model(inputs_embeds=embeds, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError):
        return False
    states = whole.last_hidden_state[:, FIRST:]
    slack = TOLERANCE if states.dtype == torch.float32 else 0.05
    parted, states = parted.float(), states.float()
    size = states.abs().amax().clamp_min(1.0)
    return bool(torch.isfinite(parted).all() and (parted - states).abs().amax() <= slack * size)


def _parted(model: PreTrainedModel, embeds: Tensor) -> Tensor:
    """Return the states [2, SECOND, H] of what two rows have of their own, read after what they share."""
    cache = model.base_model(inputs_embeds=embeds[:1, :FIRST], use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.expand(2, -1, -1, -1), layer.values.expand(2, -1, -1, -1)
    return model.base_model(inputs_embeds=embeds[:, FIRST:], past_key_values=cache, use_cache=True).last_hidden_state
