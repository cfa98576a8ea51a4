"""`ElmModel`: adapters and an untouched LLM that meet at `inputs_embeds` (paper, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vectalk.errors import PromptError
from vectalk.model.adapter import ElmAdapter
from vectalk.model.batch import Batch
from vectalk.model.llm import LanguageModel
from vectalk.model.prompt import IGNORED


class ElmModel(nn.Module):
    """Embeds text by the LLM's table and vectors by the adapters, and runs the LLM on both.

    Args:
        llm: a checked language model.
        adapters: one for each space; spaces that share one name the same.
    """

    def __init__(self, llm: LanguageModel, adapters: Mapping[str, ElmAdapter]) -> None:
        super().__init__()
        self.language = llm
        self.llm = llm.model
        self.adapters = nn.ModuleDict(adapters)
        self.adapters.to(self.llm.device)
        self.token_weights: Tensor | None = None  # [V] how much each token counts in training; all alike when None

    @property
    def device(self) -> torch.device:
        """Where the LLM lives."""
        return self.llm.device

    def adapter(self, space: str) -> ElmAdapter:
        """Return the adapter of a space."""
        if space not in self.adapters:
            raise PromptError(f"no adapter for space {space!r}; there are {', '.join(self.adapters)}")
        found = self.adapters[space]
        assert isinstance(found, ElmAdapter)
        return found

    def embed(self, batch: Batch) -> Tensor:
        """Return input embeddings [B, T, H]: token embeddings with the soft tokens scattered into their places."""
        embeds = self.llm.get_input_embeddings()(batch.input_ids)
        for space in self.adapters:
            adapter = self.adapter(space)
            if space not in batch.vectors:
                # Every adapter takes part in every step, else processes that share gradients wait for each other.
                if self.training:
                    embeds = embeds + 0.0 * adapter(adapter.normalizer(space)[0][None], space).sum()
                continue
            vectors, mask = batch.vectors[space], batch.vector_mask[space]
            if vectors.shape[-1] != adapter.config.vector_dim:
                raise PromptError(
                    f"vectors of space {space!r} have {vectors.shape[-1]} dimensions, "
                    f"its adapter takes {adapter.config.vector_dim}"
                )
            soft = adapter(vectors[mask], space).to(embeds.dtype)  # [N, S, H]
            rows = mask.nonzero()[:, 0]
            columns = batch.positions[space][mask][:, None] + torch.arange(soft.shape[1], device=soft.device)
            embeds = embeds.index_put((rows[:, None].expand_as(columns), columns), soft)
        unknown = set(batch.vectors) - set(self.adapters)
        if unknown:
            self.adapter(unknown.pop())
        return embeds

    def logits(self, batch: Batch) -> Tensor:
        """Return all logits [B, T, V]."""
        return self.llm(**self._inputs(batch), use_cache=False).logits

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy over supervised positions, and their number (or the sum of their weights).

        Logits are computed at those positions only, where the model's head is plain; with a large vocabulary they
        are most of the memory.
        """
        targets = batch.labels[:, 1:]
        chosen = targets != IGNORED
        if self.language.plain_head:
            hidden = self.llm.base_model(**self._inputs(batch), use_cache=False).last_hidden_state
            logits = self.llm.get_output_embeddings()(hidden[:, :-1][chosen])
        else:
            logits = self.logits(batch)[:, :-1][chosen]
        if self.training and self.token_weights is not None:
            weights = self.token_weights[targets[chosen]]
            losses = nn.functional.cross_entropy(logits.float(), targets[chosen], reduction="none")
            return (losses * weights).sum(), weights.sum()
        loss = nn.functional.cross_entropy(logits.float(), targets[chosen], reduction="sum")
        return loss, chosen.sum()

    def _inputs(self, batch: Batch) -> dict[str, Tensor]:
        # Positions count tokens, so that padding on either side leaves a row's result as it is.
        positions = (batch.attention_mask.cumsum(1) - 1).clamp_min(0)
        return {
            "inputs_embeds": self.embed(batch),
            "attention_mask": batch.attention_mask,
            "position_ids": positions,
        }

    @torch.no_grad()
    def generate(self, batch: Batch, **settings: Any) -> Tensor:
        """Generate from a left-padded batch; returns new token ids only, [B * num_return_sequences, new]."""
        llm: Any = self.llm
        return llm.generate(inputs_embeds=self.embed(batch), attention_mask=batch.attention_mask, **settings)
