"""Semantic consistency during training: do the answers about validation entities fit the entities' vectors?"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from vectalk.errors import TrainingError
from vectalk.model.batch import collate
from vectalk.model.elm_model import ElmModel
from vectalk.model.half import autocast
from vectalk.model.prompt import IGNORED, Prompt
from vectalk.readback import get_encoder, made_by
from vectalk.readback.encoder import check_named
from vectalk.training.data import Examples

BATCH = 32


class Consistency:
    """Measures normalised semantic consistency (SC) in spaces whose vectors are embeddings of a text encoder.

    Args:
        model: the model that answers.
        examples: validation examples, each with one slot.
        most: largest number of examples to answer.
        longest: longest answer, in tokens.
        half: whether matrix products are computed in bfloat16.
        trust_encoder: load the encoder that the spaces name even if vectalk does not know it.

    Raises:
        TrainingError: the vectors are not embeddings of one text encoder, so texts have no vectors in these spaces.
        EvaluationError: vectalk does not know the encoder, and `trust_encoder` is off.
    """

    def __init__(
        self,
        model: ElmModel,
        examples: Examples,
        most: int,
        longest: int,
        half: bool = False,
        trust_encoder: bool = False,
    ) -> None:
        maker = made_by(examples.spaces)
        if maker is None:
            raise TrainingError(
                "eval_answers: consistency in training needs spaces of one text encoder (`vectalk space encode`); "
                "leave out eval_answers, and measure consistency with `vectalk evaluate`"
            )
        self.model, self.examples, self.most, self.longest, self.half = model, examples, most, longest, half
        check_named(maker, f"the card of space {next(iter(examples.spaces))!r}", trust_encoder)
        self.encoder = get_encoder(maker)
        self.dims = {name: space.dim for name, space in examples.spaces.items()}

    def measure(
        self, numbers: np.ndarray, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, float]:
        """Return SC with right and with shuffled vectors, and normalised SC: 0 is shuffled vectors, 1 is the own text.

        Args:
            numbers: numbers of the validation examples to choose from; the first ones are used.
            progress: called with the number of answered questions and of all questions; each question counts twice.

        Returns:
            `sc`, `sc_shuffled` and `nsc`.
        """
        prompts = [self.examples.prompt(int(number)) for number in numbers[: 4 * self.most]]
        one_slot = [(number, slots) for number, (_, slots) in zip(numbers, prompts, strict=False) if len(slots) == 1]
        one_slot = one_slot[: self.most]
        if len(one_slot) < 2:
            raise TrainingError(
                "eval_answers: the tasks of this stage need at least two validation examples with one slot; leave out "
                "eval_answers"
            )
        places = [next(iter(slots.values())) for _, slots in one_slot]
        vectors = np.stack([np.asarray(self.examples.spaces[s].vectors[row], np.float32) for s, row in places])
        questions = np.array([number for number, _ in one_slot])
        cosines, count = [], len(questions)
        for turn, inputs in enumerate((vectors, np.roll(vectors, 1, axis=0))):
            progress(turn * count, 2 * count)
            texts = self._answers(questions, inputs, lambda done, turn=turn: progress(turn * count + done, 2 * count))  # type: ignore[misc]
            cosines.append(_cosines(self.encoder.encode(texts), vectors))
        right, shuffled = cosines
        own = _cosines(self.encoder.encode(self._targets(questions)), vectors)
        nsc = (right - shuffled) / max(own - shuffled, 1e-9)
        return {"sc": right, "sc_shuffled": shuffled, "nsc": nsc}

    def _targets(self, numbers: np.ndarray) -> list[str]:
        tokenizer = self.examples.prompts.tokenizer
        return list(tokenizer.batch_decode([list(ids) for ids in self.examples.target_ids(numbers)]))

    @torch.no_grad()
    def _answers(self, numbers: np.ndarray, vectors: np.ndarray, progress: Callable[[int], None]) -> list[str]:
        prompts, texts = self.examples.prompts, list[str]()
        for start in range(0, len(numbers), BATCH):
            questions, vectors_of = [], []
            for i in range(start, min(start + BATCH, len(numbers))):
                prompt, slots = self.examples.prompt(int(numbers[i]))
                length = prompt.labels.index(next(token for token in prompt.labels if token != IGNORED))
                questions.append(Prompt(prompt.ids[:length], prompt.slots, prompt.labels[:length]))
                vectors_of.append(dict.fromkeys(slots, vectors[i]))
            batch = collate(questions, vectors_of, self.dims, prompts.pad_id, side="left").to(self.model.device)
            with autocast(self.model.device, self.half):
                ids = self.model.generate(
                    batch,
                    max_new_tokens=self.longest,
                    do_sample=False,
                    eos_token_id=prompts.stop_ids,
                    pad_token_id=prompts.pad_id,
                )
            texts += prompts.tokenizer.batch_decode(ids, skip_special_tokens=True)
            progress(len(texts))
        return [text.strip() for text in texts]


def _cosines(a: Sequence[np.ndarray] | np.ndarray, b: np.ndarray) -> float:
    """Return the mean cosine between the rows of two arrays [N, D]."""
    a = np.asarray(a)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / np.maximum(norms, 1e-12)).mean())
