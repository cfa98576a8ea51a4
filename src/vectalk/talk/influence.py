"""Influence: which words of an answer come from the vector, and which would be said of any (cf. SelfIE's relevancy)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from vectalk.decoding.text_stream import TextStream
from vectalk.model import ElmModel, Prompt, PromptFormat, collate
from vectalk.space import Point, VectorSpace
from vectalk.space.split import TRAIN
from vectalk.talk.answer import Influence

OTHERS = 8  # random training vectors that a vector is compared with


@torch.inference_mode()
def influence(
    model: ElmModel,
    prompts: PromptFormat,
    question: str,
    points: Mapping[str, Point],
    ids: Sequence[int],
    seed: int = 0,
) -> Influence:
    """Score an answer once with its vectors and once with each of others in their places, in one batch.

    Args:
        model: adapters and LLM.
        prompts: makes the prompt.
        question: what was asked.
        points: slot -> its point.
        ids: the answer's tokens [T].
        seed: draws the other vectors.
    """
    if not ids or not points:
        return Influence((), dict.fromkeys(points, ()))
    asked = prompts(question, {slot: point.space.name for slot, point in points.items()})
    whole = Prompt((*asked.ids, *ids), asked.slots, (*asked.labels, *ids))
    own = {slot: point.values for slot, point in points.items()}
    rows = [own, *({**own, slot: other} for slot, point in points.items() for other in _others(point, seed))]
    dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
    batch = collate([whole] * len(rows), rows, dims, prompts.pad_id).to(model.device)
    logits = model.supervised_logits(batch).float()
    chances = logits.log_softmax(-1).gather(-1, batch.targets[:, None])[:, 0].view(len(rows), len(ids)).cpu().double()
    count = (len(rows) - 1) // len(points)
    values = {}
    for n, slot in enumerate(points):
        others = chances[1 + n * count : 1 + (n + 1) * count]
        gain = chances[0] - (others.logsumexp(0) - np.log(count))
        values[slot] = tuple(round(value, 4) for value in gain.tolist())
    return Influence(_pieces(prompts, ids), values)


def _others(point: Point, seed: int) -> np.ndarray:
    """Return vectors [OTHERS, D] of random training entities other than the point."""
    space = VectorSpace.of(point)
    rows = space.rows(TRAIN)
    rows = rows[rows != point.row] if point.row is not None else rows
    chosen = np.random.default_rng(seed).choice(rows, OTHERS, replace=len(rows) < OTHERS)
    return np.asarray(space.vectors[np.sort(chosen)], np.float32)


def _pieces(prompts: PromptFormat, ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text of each token; what only makes a character with the next one belongs to that."""
    stream = TextStream(prompts.tokenizer)
    pieces = [stream.push(token) for token in ids]
    pieces[-1] += stream.end()
    return tuple(pieces)
