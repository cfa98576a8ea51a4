"""Influence: which tokens of an answer depend on its vectors (compare the relevancy score of SelfIE)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from vectalk.decoding.text_stream import TextStream
from vectalk.model import ElmModel, Prompt, PromptFormat, collate
from vectalk.model.conversation import EarlierTurn, earlier_slots
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
    earlier: Sequence[EarlierTurn] = (),
) -> Influence:
    """Score the tokens of an answer with its vectors and with random training vectors in their place, in one batch.

    Args:
        model: adapters and LLM.
        prompts: turns the question into a prompt.
        question: the question of the answer.
        points: slot -> the point bound to it.
        ids: the answer's tokens [T].
        seed: seed for the choice of the random vectors.
        earlier: the turns of the conversation before the question; their vectors stay.
    """
    if not ids or not points:
        return Influence((), dict.fromkeys(points, ()))
    spaces = {slot: point.space.name for slot, point in points.items()}
    question_prompt = prompts(question, spaces, earlier=earlier)
    prompt = Prompt((*question_prompt.ids, *ids), question_prompt.slots, (*question_prompt.labels, *ids))
    own = {slot: vector for slot, (_, vector) in earlier_slots(earlier).items()}
    own |= {slot: point.values for slot, point in points.items()}
    rows = [own, *({**own, slot: other} for slot, point in points.items() for other in _others(point, seed))]
    dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
    batch = collate([prompt] * len(rows), rows, dims, prompts.pad_id).to(model.device)
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
    sample = np.random.default_rng(seed).choice(rows, OTHERS, replace=len(rows) < OTHERS)
    return np.asarray(space.vectors[np.sort(sample)], np.float32)


def _pieces(prompts: PromptFormat, ids: Sequence[int]) -> tuple[str, ...]:
    """Return the text of each token; an incomplete character counts with the token that completes it."""
    stream = TextStream(prompts.tokenizer)
    pieces = [stream.push(token) for token in ids]
    pieces[-1] += stream.end()
    return tuple(pieces)
