"""`ElmModel`: adapters feed soft tokens into an unmodified LLM through `inputs_embeds` (paper, section 3)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vectalk.errors import PromptError
from vectalk.llm.loading import LanguageModel
from vectalk.model.adapter import ElmAdapter, check_adapter
from vectalk.model.batch import Batch
from vectalk.model.linear_kl import linear_kl
from vectalk.model.linear_loss import head_of, linear_cross_entropy
from vectalk.model.without_lora import without_lora

# Smallest number of tokens for which a second forward pass saves time; measured on a CPU by benchmarks/paths.py.
SHARE_FROM = 8  # leading tokens that all rows share and the LLM reads once
SILENT_FROM = 8  # tokens before all vectors that the LLM reads without gradient
# On a GPU a second pass costs at least the launch time of its kernels, however few tokens it reads: a millisecond or
# more. In that time the GPU could read several thousand tokens. The figure is an estimate.
SPARED_FROM = 4096


class ElmModel(nn.Module):
    """Embeds text with the LLM's token embeddings and vectors with the adapters, and runs the LLM on both.

    Args:
        llm: a checked language model.
        adapters: space -> adapter; spaces that share an adapter have the same object.
    """

    def __init__(self, llm: LanguageModel, adapters: Mapping[str, ElmAdapter]) -> None:
        super().__init__()
        self.language = llm
        self.llm = llm.model
        self.share_from: int | None = SHARE_FROM  # None: the LLM cannot continue from cached keys and values
        self.silent_from = SILENT_FROM
        self.spared_from = (
            0 if self.llm.device.type == "cpu" else SPARED_FROM
        )  # least saving of a second pass, in tokens
        self.token_weights: Tensor | None = None  # [V] weight of each token in the training loss; None: all 1
        # For distillation: adapters at their start, and how much the distance to them counts. Not saved, not trained.
        self.anchors: dict[str, ElmAdapter] = {}
        self.anchor_weight = 0.0
        self.adapters = nn.ModuleDict(adapters)
        self.adapters.to(self.llm.device)

    @property
    def device(self) -> torch.device:
        """The device of the LLM."""
        return self.llm.device

    def adapter(self, space: str) -> ElmAdapter:
        """Return the adapter of a space."""
        check_adapter(space, self.adapters)
        adapter = self.adapters[space]
        assert isinstance(adapter, ElmAdapter)
        return adapter

    def embed(self, batch: Batch) -> Tensor:
        """Return input embeddings [B, T, H]: the token embeddings, with the soft tokens at their positions."""
        embeds, length = self.llm.get_input_embeddings()(batch.input_ids), batch.input_ids.shape[1]
        for space in self.adapters:
            adapter = self.adapter(space)
            if space not in batch.vectors:
                # Every adapter takes part in every step; otherwise processes that share gradients would wait for ever.
                if self.training:
                    embeds = embeds + 0.0 * adapter(adapter.normalizer(space)[0][None], space).sum()
                continue
            vectors, mask = batch.vectors[space], batch.vector_mask[space]
            if vectors.shape[-1] != adapter.config.vector_dim:
                raise PromptError(
                    f"vectors of space {space!r} have {vectors.shape[-1]} dimensions, "
                    f"its adapter takes {adapter.config.vector_dim}; use vectors of the run's own space"
                )
            filled = batch.filled[space]
            with torch.autocast(embeds.device.type, enabled=False):  # adapters stay in float32
                soft = adapter(vectors.flatten(0, 1)[filled], space).to(embeds.dtype)  # [N, S, H]
            first = filled // mask.shape[1] * length + batch.positions[space].flatten()[filled]
            places = first[:, None] + torch.arange(soft.shape[1], device=soft.device)
            flat = embeds.flatten(0, 1).index_copy(0, places.flatten(), soft.flatten(0, 1))
            embeds = flat.view_as(embeds)
        unknown = set(batch.vectors) - set(self.adapters)
        if unknown:
            self.adapter(unknown.pop())
        return embeds

    def logits(self, batch: Batch) -> Tensor:
        """Return all logits [B, T, V]."""
        return self.llm(inputs_embeds=self.embed(batch), **self._attention_inputs(batch), use_cache=False).logits

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy over the supervised positions, and their number or the sum of their weights.

        If the model's head is a plain linear layer, the logits are computed in blocks and only at the supervised
        positions, because with a large vocabulary the logits need most of the memory.
        """
        if batch.teacher is not None:
            return self.divergence(batch, batch.teacher), torch.tensor(len(batch.supervised))
        targets = batch.targets
        weights = self.token_weights[targets] if self.training and self.token_weights is not None else None
        count = torch.tensor(len(targets)) if weights is None else weights.sum()
        plain = self._plain_head()
        if plain is not None:
            return linear_cross_entropy(self.hidden(batch), *plain, targets, weights), count
        logits = self.supervised_logits(batch)
        losses = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
        return (losses if weights is None else losses * weights).sum(), count

    def divergence(self, batch: Batch, teacher: Batch) -> Tensor:
        """Return the summed KL(teacher || student) of the next tokens at the supervised positions.

        The teacher is the LLM without its low-rank update that reads the facts in words (context distillation; see
        docs/training.md). In training, the distance of the soft tokens to their start counts too (`anchor_weight`).

        Args:
            batch: prompts with vectors.
            teacher: prompts in words, with the same answers row by row.
        """
        llm: Any = self.llm
        training, plain = llm.training, self._plain_head()
        predicting = self.supervised_logits if plain is None else self.hidden
        llm.train(False)  # no dropout in what the teacher says
        with torch.no_grad(), without_lora(self.llm):
            right = predicting(teacher)
        llm.train(training)
        states = predicting(batch)
        if plain is not None:
            loss = linear_kl(states, right, *plain)
        else:
            student, target = states.float().log_softmax(1), right.float().log_softmax(1)
            loss = nn.functional.kl_div(student, target, reduction="sum", log_target=True)
        if self.training and self.anchors and self.anchor_weight:
            loss = loss + self.anchor_weight * len(batch.supervised) * self._from_anchors(batch)
        return loss

    def _plain_head(self) -> tuple[Tensor, Tensor | None] | None:
        """Return weight and bias of the head if the logits follow from them alone; None, e.g., with hooks."""
        return head_of(self.llm.get_output_embeddings()) if self.language.plain_head else None

    def _from_anchors(self, batch: Batch) -> Tensor:
        """Return the mean squared distance of the soft tokens to those of the anchors, relative to the anchors'."""
        distances = []
        for space, vectors in batch.vectors.items():
            anchor = self.anchors.get(space)
            if anchor is None:
                continue
            rows = vectors.flatten(0, 1)[batch.filled[space]]
            with torch.no_grad():
                start = anchor(rows, space)
            distances.append((self.adapter(space)(rows, space) - start).square().mean() / start.square().mean())
        return torch.stack(distances).mean() if distances else torch.zeros((), device=self.device)

    def supervised_logits(self, batch: Batch) -> Tensor:
        """Return logits [N, V] at the supervised positions."""
        head = self.llm.get_output_embeddings()
        return head(self.hidden(batch)) if self.language.plain_head else self._supervised_logits(batch)

    def hidden(self, batch: Batch) -> Tensor:
        """Return the last hidden states [N, H] at the supervised positions."""
        length = batch.input_ids.shape[1]
        start, read = self._read_ahead(batch)
        places = (
            {"past_key_values": read, "use_cache": True}
            if start
            else {**self._attention_inputs(batch), "use_cache": False}
        )
        states = self.llm.base_model(inputs_embeds=self.embed(batch)[:, start:], **places).last_hidden_state
        return states.flatten(0, 1).index_select(0, batch.supervised - start * (batch.supervised // length + 1))

    def _read_ahead(self, batch: Batch) -> tuple[int, Any]:
        """Read leading columns in a separate pass; return the number of these columns, and their keys and values.

        The LLM reads tokens that all rows share once. If the LLM is frozen, it reads the tokens before all vectors
        without gradient.
        """
        if self.share_from is None:
            return 0, None
        base, words = self.llm.base_model, self.llm.get_input_embeddings()
        start, read, rows = 0, None, len(batch)
        if batch.shared >= self.share_from and rows > 1 and batch.shared * (rows - 1) >= self.spared_from:
            start = batch.shared
            read = base(inputs_embeds=words(batch.input_ids[:1, :start]), use_cache=True).past_key_values
            for layer in read.layers:
                layer.keys = layer.keys.expand(rows, -1, -1, -1)
                layer.values = layer.values.expand(rows, -1, -1, -1)
        silent = batch.before - start
        pays = silent >= self.silent_from and silent * rows >= self.spared_from
        if pays and torch.is_grad_enabled() and not self._llm_learns():
            with torch.no_grad():
                ids = batch.input_ids[:, start : batch.before]
                read = base(inputs_embeds=words(ids), past_key_values=read, use_cache=True).past_key_values
            start = batch.before
        return start, read

    def _llm_learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.llm.parameters())

    def _supervised_logits(self, batch: Batch) -> Tensor:
        """Return logits [N, V] at the supervised positions from a model whose output is more than one linear layer."""
        columns, number = (batch.supervised % batch.input_ids.shape[1]).unique(return_inverse=True)
        inputs = {"inputs_embeds": self.embed(batch), **self._attention_inputs(batch), "use_cache": False}
        if "logits_to_keep" not in inspect.signature(self.llm.forward).parameters:
            return self.llm(**inputs).logits.flatten(0, 1)[batch.supervised]
        logits = self.llm(**inputs, logits_to_keep=columns).logits
        return logits[batch.supervised // batch.input_ids.shape[1], number]

    @staticmethod
    def _attention_inputs(batch: Batch) -> dict[str, Tensor]:
        """Return attention mask and position ids for the LLM; nothing where plain causal attention is correct."""
        if batch.padded_right:
            return {}
        # Positions count real tokens, so that padding on the left does not change the result of a row.
        positions = (batch.attention_mask.cumsum(1) - 1).clamp_min(0)
        return {"attention_mask": batch.attention_mask, "position_ids": positions}

    @torch.no_grad()
    def generate(self, batch: Batch, **settings: Any) -> Tensor:
        """Generate from a left-padded batch; return only the new token ids [B * num_return_sequences, new]."""
        llm: Any = self.llm
        return llm.generate(inputs_embeds=self.embed(batch), attention_mask=batch.attention_mask, **settings)
