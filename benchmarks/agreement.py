"""Whether two ways to decode say the same, and if not, how near the two tokens lie where they part."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vectalk.decoding.settings import Generated
from vectalk.model import Prompt, collate
from vectalk.model.prompt import IGNORED
from vectalk.talk.engine import Slots, TransformersEngine, vectors_of


def agreement(
    engine: TransformersEngine,
    questions: Sequence[str],
    slots: Sequence[Slots],
    ours: Sequence[Generated],
    theirs: Sequence[Generated],
) -> tuple[float, list[float]]:
    """Return the share of identical texts, and for each of the others the gap where they part, in nats."""
    gaps = [
        gap(engine, question, given, one.ids, other.ids)
        for question, given, one, other in zip(questions, slots, ours, theirs, strict=True)
        if one.text != other.text
    ]
    return 1 - len(gaps) / len(ours), gaps


@torch.inference_mode()
def gap(engine: TransformersEngine, question: str, slots: Slots, ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Return by how much the model prefers our token to the other one where two answers part; an end is a token."""
    end = engine.prompts.stop_ids[0]
    pairs = zip([*ours, end], [*theirs, end], strict=False)
    place, (mine, other) = next((n, pair) for n, pair in enumerate(pairs) if pair[0] != pair[1])
    asked = engine.prompt(question, slots)
    # One position is supervised: that whose next token is the one in question.
    labels = (*asked.labels, *[IGNORED] * place, mine)
    whole = Prompt((*asked.ids, *ours[:place], mine), asked.slots, labels)
    batch = collate([whole], [vectors_of(slots)], engine.dims, engine.prompts.pad_id).to(engine.model.device)
    chances = engine.model.supervised_logits(batch)[0].float().log_softmax(-1)
    return abs(float(chances[mine] - chances[other]))
