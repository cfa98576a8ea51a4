"""How much of what the facts in words change is kept by a vector, and by other words: `kl_kept` by condition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vectalk.evaluation.answers import AnswerCache
from vectalk.evaluation.metrics.bootstrap import Statistic
from vectalk.evaluation.metrics.questions import kl_kept
from vectalk.evaluation.questions.answer_kl import TaughtAnswer, answer_kl
from vectalk.evaluation.questions.base_llm import BaseLlm
from vectalk.evaluation.questions.conditions import QuestionConditions
from vectalk.talk import ELM
from vectalk.tasks.teachers.told import in_words

CONTROL, BASELINES = "told_shuffled", ("copy_told", "probe_told")


def kept(
    elm: ELM,
    base: BaseLlm,
    test: QuestionConditions,
    questions: Sequence[str],
    answers: Mapping[str, list[list[str]]],
    cache: AnswerCache,
) -> Iterator[tuple[str, Statistic]]:
    """Yield `kl_kept` of the model, and of the base LLM with the words of the baselines, as statistics of the entities.

    The control of the model is the shuffled vector; that of the baselines are another entity's facts.

    Args:
        elm: the run.
        base: its base LLM.
        test: the conditions of the test entities.
        questions: q questions.
        answers: condition -> answers [q][n]; those of `told` are compared.
        cache: stores the divergences of the baselines, which do not depend on the run.
    """
    shape = (len(questions), len(test.rows), -1)
    told = [
        (question, in_words(question, words), answer)
        for question, some in zip(questions, answers["told"], strict=True)
        for words, answer in zip(test.words, some, strict=True)
    ]
    pairs = [pair for q in questions for pair in zip(test.slots(q), test.slots(q, shuffled=True), strict=True)]
    items = [TaughtAnswer(*one, variants=pair) for one, pair in zip(told, pairs, strict=True)]

    def tell(done: int, total: int) -> None:
        cache.progress("questions: KL", done, total)

    yield "elm", kl_kept(answer_kl(elm.model, elm.prompts, base, items, tell).reshape(shape))
    names = [name for name in (CONTROL, *BASELINES) if name in answers]
    if len(names) < 2 or CONTROL not in names:
        return
    phrases = [test.phrases_of(name) for name in names]
    others = [[in_words(q, words) for words in row] for q in questions for row in zip(*phrases, strict=True)]
    items = [TaughtAnswer(*one, others=words) for one, words in zip(told, others, strict=True)]
    divergences = _cached(elm, base, items, cache).reshape(shape)
    for place, name in enumerate(names[1:], start=1):
        yield name, kl_kept(divergences[..., [place, 0]])


def _cached(elm: ELM, base: BaseLlm, items: Sequence[TaughtAnswer], cache: AnswerCache) -> np.ndarray:
    """Return the divergences [n, w] of other words, from the cache where they are known."""
    keys = [
        hashlib.sha256(json.dumps(["kl", base.identity, item.words, item.answer, item.others]).encode()).hexdigest()
        for item in items
    ]
    rows = cache(
        keys,
        "questions: KL of other words",
        lambda places, tell: [
            json.dumps([None if np.isnan(x) else x for x in row])
            for row in answer_kl(elm.model, elm.prompts, base, [items[place] for place in places], tell).tolist()
        ],
    )
    return np.array([[np.nan if x is None else x for x in json.loads(row)] for row in rows])
