"""Batches: prompts and their vectors, checked and padded into tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from vectalk.errors import PromptError
from vectalk.model.prompt import IGNORED, Prompt

UNKNOWN = torch.empty(0, dtype=torch.long)


@dataclass
class Batch:
    """Padded prompts; the first axis of each tensor is the row, so that `generate` can repeat rows for beams.

    Attributes:
        input_ids: [B, T].
        attention_mask: [B, T], 1 where there is a token.
        labels: [B, T], the token ids to learn; -100 at all other positions.
        vectors: space -> [B, K, D]; K is the largest number of slots of that space in one row.
        vector_mask: space -> [B, K], true where there is a vector.
        positions: space -> [B, K], column of the first soft token of each slot.
        padded_right: whether the padding is at the end of the rows. Causal attention never reads it there, so the LLM
            needs no mask.
        shared: number of leading tokens that are the same in all rows.
        before: number of leading columns in which no row has a vector or a token to learn; at least `shared`.
        supervised: [N] flat indices (row times T plus column) of the positions whose next token is learned; computed
            from the labels. Computing them on the CPU avoids a GPU synchronisation in every step.
        teacher: for distillation: the same answers after prompts in words, row by row.
        filled: space -> [N] flat indices (row times K plus slot) of the existing vectors; computed from the mask.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    vectors: dict[str, Tensor]
    vector_mask: dict[str, Tensor]
    positions: dict[str, Tensor]
    padded_right: bool = False
    shared: int = 0
    before: int = 0
    supervised: Tensor = field(default_factory=lambda: UNKNOWN)
    filled: dict[str, Tensor] = field(default_factory=dict)
    teacher: Batch | None = None

    def __post_init__(self) -> None:
        if self.supervised is UNKNOWN:
            learned = torch.zeros_like(self.labels, dtype=torch.bool)
            learned[:, :-1] = self.labels[:, 1:] != IGNORED
            self.supervised = learned.flatten().nonzero()[:, 0]
        if self.filled.keys() != self.vector_mask.keys():
            self.filled = {name: mask.flatten().nonzero()[:, 0] for name, mask in self.vector_mask.items()}

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with all tensors on a device."""
        moved: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Batch):
                value = value.to(device)
            elif isinstance(value, dict):
                value = {k: v.to(device, non_blocking=True) for k, v in value.items()}
            moved[f.name] = value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        return Batch(**moved)

    @property
    def targets(self) -> Tensor:
        """The tokens to learn [N], in the order of `supervised`."""
        return self.labels.flatten()[self.supervised + 1]

    def __len__(self) -> int:
        return len(self.input_ids)


def collate(
    prompts: Sequence[Prompt],
    vectors: Sequence[Mapping[str, np.ndarray]],
    dims: Mapping[str, int],
    pad_id: int,
    side: Literal["left", "right"] = "right",
) -> Batch:
    """Pad prompts and place their vectors.

    Args:
        prompts: B prompts.
        vectors: for each prompt, slot name -> vector [D].
        dims: space -> dimension D.
        pad_id: token id of the padding.
        side: side of the padding: `right` for training, `left` for generation.

    Raises:
        PromptError: a vector is missing, has a wrong dimension, or is not finite; the message names example and slot.
    """
    size, length = len(prompts), max(len(p) for p in prompts)
    ids = np.full((size, length), pad_id, np.int64)
    mask = np.zeros((size, length), np.int64)
    labels = np.full((size, length), IGNORED, np.int64)
    spaces = sorted({slot.space for p in prompts for slot in p.slots})
    most = {s: max(sum(slot.space == s for slot in p.slots) for p in prompts) for s in spaces}
    placed = {s: np.zeros((size, most[s], dims[s]), np.float32) for s in spaces}
    present = {s: np.zeros((size, most[s]), bool) for s in spaces}
    positions = {s: np.zeros((size, most[s]), np.int64) for s in spaces}
    for b, (prompt, by_slot) in enumerate(zip(prompts, vectors, strict=True)):
        start = length - len(prompt) if side == "left" else 0
        stop = start + len(prompt)
        ids[b, start:stop], mask[b, start:stop], labels[b, start:stop] = prompt.ids, 1, prompt.labels
        taken = dict.fromkeys(spaces, 0)
        for slot in prompt.slots:
            k = taken[slot.space]
            placed[slot.space][b, k] = _checked(by_slot, slot.name, slot.space, dims[slot.space], b)
            present[slot.space][b, k] = True
            positions[slot.space][b, k] = start + slot.start
            taken[slot.space] += 1
    return Batch(
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(labels),
        {s: torch.from_numpy(placed[s]) for s in spaces},
        {s: torch.from_numpy(present[s]) for s in spaces},
        {s: torch.from_numpy(positions[s]) for s in spaces},
        padded_right=side == "right",
    )


def _checked(vectors: Mapping[str, np.ndarray], slot: str, space: str, dim: int, example: int) -> np.ndarray:
    if slot not in vectors:
        bound = ", ".join(sorted(vectors)) or "none"
        raise PromptError(f"example {example}: slot {{{slot}}} has no vector; slots with a vector: {bound}")
    vector = np.asarray(vectors[slot], np.float32)
    if vector.shape != (dim,):
        raise PromptError(
            f"example {example}, slot {{{slot}}}: space {space!r} has {dim} dimensions, "
            f"the vector has shape {vector.shape}"
        )
    if not np.isfinite(vector).all():
        raise PromptError(f"example {example}, slot {{{slot}}}: the vector contains NaN or infinity")
    return vector
