"""`Decoder`: an LLM and its rows in progress; rows are added and removed between steps."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from vectalk.decoding.row_cache import RowCache
from vectalk.model import ElmModel, Prompt, collate

SHARE_FROM = 8  # shortest common prefix, in tokens, whose keys and values are cached
PREFIXES, PREFIX_TOKENS = 16, 4096  # most prefixes in the cache, and most tokens of all of them
TOLERANCE = 2e-3

Vectors = Mapping[str, np.ndarray]


class Decoder:
    """Reads prompts and writes tokens, one step for all rows at a time.

    Prompts are padded on the right, where causal attention ignores the padding in every model family. Their keys and
    values are then aligned to the right in the cache of the rows in progress.

    Args:
        model: adapters and LLM.
        pad_id: token id of the padding.
    """

    def __init__(self, model: ElmModel, pad_id: int) -> None:
        self.model, self.pad_id, self.rows = model, pad_id, RowCache()
        self.dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
        self.plain = model.language.plain_head
        self._llm: Any = model.llm.base_model if self.plain else model.llm
        self._takes_positions = "position_ids" in inspect.signature(self._llm.forward).parameters
        self._prefixes: OrderedDict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = OrderedDict()

    def admit(self, prompts: Sequence[Prompt], vectors: Sequence[Vectors]) -> Tensor:
        """Read prompts and add them to the rows; return the logits [b, V] of their next tokens."""
        prefix = common_prefix(prompts)
        cache = self._past(prefix, len(prompts))
        batch = collate(prompts, vectors, self.dims, self.pad_id).to(self.model.device)
        embeds = self.model.embed(batch)[:, len(prefix) :]
        lengths = [len(prompt) for prompt in prompts]
        last = torch.tensor(lengths, device=embeds.device) - len(prefix) - 1
        logits = self._logits(last, inputs_embeds=embeds, past_key_values=cache)
        self.rows.admit(cache, lengths)
        return logits

    def step(self, tokens: Tensor) -> Tensor:
        """Append a token [B] to each row; return the logits [B, V] of the next ones."""
        inputs = self.rows.inputs()
        if not self._takes_positions:
            del inputs["position_ids"]
        logits = self._logits(None, input_ids=tokens[:, None], **inputs)
        self.rows.advance()
        return logits

    def _logits(self, last: Tensor | None, **inputs: Any) -> Tensor:
        """Run the LLM; return float32 logits [B, V] at the position `last` of each row, or at the only one."""
        output = self._llm(**inputs, use_cache=True)
        states = output.last_hidden_state if self.plain else output.logits
        selected = states[:, -1] if last is None else states[torch.arange(len(last), device=last.device), last]
        return (self.model.llm.get_output_embeddings()(selected) if self.plain else selected).float()

    def _past(self, prefix: tuple[int, ...], rows: int) -> DynamicCache:
        """Return the keys and values of a prefix, repeated for each row; an empty cache for an empty prefix."""
        cache = DynamicCache()
        if not prefix:
            return cache
        if prefix not in self._prefixes:
            ids = torch.tensor([prefix], device=self.model.device)
            layers: Any = self._llm(
                input_ids=ids, past_key_values=DynamicCache(), use_cache=True
            ).past_key_values.layers
            self._prefixes[prefix] = [(layer.keys, layer.values) for layer in layers]
            while len(prefixes := self._prefixes) > PREFIXES or (
                len(prefixes) > 1 and sum(map(len, prefixes)) > PREFIX_TOKENS
            ):
                prefixes.popitem(last=False)
        self._prefixes.move_to_end(prefix)
        for number, (keys, values) in enumerate(self._prefixes[prefix]):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), number)
        return cache


def common_prefix(prompts: Sequence[Prompt]) -> tuple[int, ...]:
    """Return the common first ids of all prompts, before any slot; empty where shorter than SHARE_FROM."""
    ends = [min([len(prompt) - 1, *(slot.start for slot in prompt.slots)]) for prompt in prompts]
    columns = zip(*(prompt.ids[:end] for prompt, end in zip(prompts, ends, strict=True)), strict=False)
    prefix = tuple(column[0] for column in takewhile(lambda ids: len(set(ids)) == 1, columns))
    return prefix if len(prefix) >= SHARE_FROM else ()


@torch.inference_mode()
def can_decode(model: ElmModel) -> bool:
    """Return whether batched rows get the same logits as each row alone; tested on a few random tokens.

    The test fails for recurrent and hybrid models, which keep more state than keys and values.
    """
    vocabulary = int(model.llm.config.get_text_config().vocab_size)
    pool = np.random.default_rng(0).integers(0, vocabulary, 64).tolist()
    start = pool[:SHARE_FROM]
    texts = [[*start, *pool[10:12]], [*start, *pool[20:21]], pool[30:50]]
    decoder = Decoder(model, 0)

    def admit(*numbers: int) -> Tensor:
        prompts = [Prompt(tuple(texts[n]), (), (-100,) * len(texts[n])) for n in numbers]
        return decoder.admit(prompts, [{}] * len(prompts))

    def step(*numbers: int) -> Tensor:
        for place, number in enumerate(numbers):
            texts[number].append(pool[place + len(texts[number])])
        return decoder.step(torch.tensor([texts[n][-1] for n in numbers], device=model.device))

    def same(logits: Tensor, *numbers: int) -> bool:
        alone = [model.llm(input_ids=torch.tensor([texts[n]], device=model.device)).logits[0, -1] for n in numbers]
        expected = torch.stack(alone).float()
        allowed = TOLERANCE if model.llm.dtype == torch.float32 else 0.05
        return bool((logits - expected).abs().amax() <= allowed * expected.abs().amax().clamp_min(1.0))

    try:
        right = same(admit(0, 1), 0, 1) and same(step(0, 1), 0, 1)
        right = right and same(admit(2), 2) and same(step(0, 1, 2), 0, 1, 2)
        decoder.rows.drop([0])
        return right and same(step(2, 1), 2, 1)
    except (AttributeError, TypeError, ValueError, RuntimeError, NotImplementedError, IndexError):
        return False
