"""Examples of distillation: the same answer after the question with vectors, and after the question in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from vectalk.model import PromptFormat
from vectalk.model.batch import Batch
from vectalk.space import VectorSpace
from vectalk.tasks.corpus.corpus import SCHEMA, Example
from vectalk.training.data import Examples
from vectalk.training.distillation.pairs import Pair
from vectalk.training.tokens import Tokens

TASK = "distillation"
_Row = tuple[str, Mapping[str, tuple[str, int]], str]  # question, slot -> (space, row), answer


class DistillExamples(Examples):
    """Examples whose batches carry the teacher's batch: the same rows, with words in place of vectors.

    Args:
        pairs: the questions.
        answers: the teacher's answer to each; pairs with an empty answer are left out.
        spaces: spaces by name.
        prompts: makes prompts of questions.
        context: longest prompt with its answer that the LLM takes, in tokens; longer pairs are left out.
        noise: standard deviation of the noise on vectors, in units of the space's scale.
    """

    weighted = False

    def __init__(
        self,
        pairs: Sequence[Pair],
        answers: Sequence[str],
        spaces: Mapping[str, VectorSpace],
        prompts: PromptFormat,
        context: int | None = None,
        noise: float = 0.0,
    ) -> None:
        used = [(pair, answer) for pair, answer in zip(pairs, answers, strict=True) if answer.strip()]
        student, teacher = _tokens(used, prompts)
        fits = np.maximum(student.lengths, teacher.lengths) <= (context or 1 << 30)
        if not fits.all():
            student, teacher = _tokens([one for one, fit in zip(used, fits, strict=True) if fit], prompts)
        super().__init__(student, spaces, prompts, context, noise)
        self.told = Examples(teacher, spaces, prompts)

    def batch(
        self,
        numbers: np.ndarray,
        *,
        part: tuple[int, int] = (0, 1),
        shuffle: int | None = None,
        noise_seed: Sequence[int] | None = None,
    ) -> Batch:
        """Return the student's batch of some examples, with the teacher's batch; see `Examples.batch`."""
        batch = super().batch(numbers, part=part, shuffle=shuffle, noise_seed=noise_seed)
        batch.teacher = self.told.batch(numbers, part=part)
        return batch


def _tokens(pairs: Sequence[tuple[Pair, str]], prompts: PromptFormat) -> tuple[Tokens, Tokens]:
    """Return the tokens of the student's examples and those of the teacher's."""
    student: list[_Row] = [(pair.question, pair.slots, answer) for pair, answer in pairs]
    teacher: list[_Row] = [(pair.told, {}, answer) for pair, answer in pairs]
    return Tokens.of_table(_table(student), prompts), Tokens.of_table(_table(teacher), prompts)


def _table(rows: Sequence[_Row]) -> pa.Table:
    examples = [Example(TASK, question, dict(slots), answer, "train", "llm").row() for question, slots, answer in rows]
    return pa.Table.from_pylist(examples, schema=SCHEMA)
