"""How far the model, which reads a vector, is from its base LLM, which reads the facts: KL divergence over answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vectalk.evaluation.answers import Slots
from vectalk.evaluation.questions.base_llm import BaseLlm
from vectalk.model import ElmModel, Prompt, PromptFormat, collate
from vectalk.model.half import autocast, half_pays
from vectalk.model.linear_kl import linear_kl
from vectalk.model.linear_loss import head_of
from vectalk.talk.engine import spaces_of, vectors_of

BATCH = 16  # answers in one forward pass


@dataclass(frozen=True)
class TaughtAnswer:
    """An answer of the base LLM, and the vectors to compare.

    Attributes:
        question: the question with its slots.
        words: the question with the facts in words.
        answer: what the base LLM answered to `words`.
        variants: slots to compare, e.g. the right vector and another entity's.
        others: other questions in words to compare, which the base LLM reads.
    """

    question: str
    words: str
    answer: str
    variants: Sequence[Slots] = ()
    others: Sequence[str] = ()


@torch.no_grad()
def answer_kl(
    model: ElmModel,
    prompts: PromptFormat,
    base: BaseLlm,
    items: Sequence[TaughtAnswer],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> np.ndarray:
    """Return KL(base LLM with the facts || model with a vector), summed over the given tokens of each answer.

    With other words in place of a vector, it is the KL to the base LLM that reads them.

    Args:
        model: the model that reads vectors.
        prompts: turns its questions into prompts.
        base: the base LLM, which reads words.
        items: n answers with v vectors each, and with w other questions in words each.
        progress: called with the number of finished answers and the total.

    Returns:
        [n, v + w] in nats; NaN for answers that are empty or do not fit the context of the LLM.
    """
    vectors_of_each, words_of_each = (len(items[0].variants), len(items[0].others)) if items else (0, 0)
    divergences = np.full((len(items), vectors_of_each + words_of_each), np.nan)
    dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
    context = model.language.context or 1 << 30
    written: dict[int, list[Prompt]] = {}  # the prompts of the base LLM, then that of the model
    for place, item in enumerate(items):
        if item.answer:
            read = [base.prompts(words, {}, item.answer) for words in (item.words, *item.others)]
            read += [prompts(item.question, spaces_of(slots), item.answer) for slots in item.variants[:1]]
            if max(map(len, read)) <= context:
                written[place] = read
    order = sorted(written, key=lambda place: len(written[place][0]))
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        states = []
        with base.active() as teaching:
            plain = base.same_weights and teaching.language.plain_head
            head = head_of(teaching.llm.get_output_embeddings()) if plain else None
            for number in range(1 + words_of_each):
                read = [written[place][number] for place in places]
                states.append(_states(teaching, base.prompts, read, [{}] * len(places), {}, head))
        right, *others = states
        students = [written[place][-1] for place in places]
        own = []
        for variant in range(vectors_of_each):
            vectors = [vectors_of(items[place].variants[variant]) for place in places]
            own.append(_states(model, prompts, students, vectors, dims, head))
        for column, compared in enumerate([*own, *others]):
            for place, one, taught in zip(places, compared, right, strict=True):
                with _precision(model):
                    divergences[place, column] = float(_divergence(one, taught, head))
        progress(min(start + BATCH, len(order)), len(order))
    return divergences


def _states(
    model: ElmModel,
    prompts: PromptFormat,
    batch_prompts: Sequence[Prompt],
    vectors: Sequence[Mapping[str, np.ndarray]],
    dims: Mapping[str, int],
    head: tuple[Tensor, Tensor | None] | None,
) -> tuple[Tensor, ...]:
    """Return the hidden states, or the logits if there is no head, at the answer's tokens of each prompt."""
    batch = collate(batch_prompts, vectors, dims, prompts.pad_id).to(model.device)
    with _precision(model):
        states = model.hidden(batch) if head is not None else model.supervised_logits(batch)
    return states.split([sum(label >= 0 for label in prompt.labels) for prompt in batch_prompts])


def _precision(model: ElmModel) -> AbstractContextManager[Any]:
    """Return the context of the matrix products, which are computed as in the validation of a training."""
    return autocast(model.device, half_pays(model.device, model.language.hidden_size))


def _divergence(own: Tensor, taught: Tensor, head: tuple[Tensor, Tensor | None] | None) -> Tensor:
    if head is not None:
        return linear_kl(own, taught, *head)
    student, teacher = (logits.float().log_softmax(1) for logits in (own, taught))
    return nn.functional.kl_div(student, teacher, reduction="sum", log_target=True)
