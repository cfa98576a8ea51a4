"""Consistency while training: what the model answers about validation entities, and whether it fits their vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from vectalk.errors import TrainingError
from vectalk.model.batch import collate
from vectalk.model.elm_model import ElmModel
from vectalk.model.prompt import IGNORED, Prompt
from vectalk.readback import get_encoder, made_by
from vectalk.readback.encoder import check_named
from vectalk.training.data import Examples
from vectalk.training.loop import autocast

BATCH = 32


class Consistency:
    """Measures normalised semantic consistency in spaces that a text encoder made.

    Args:
        model: what answers.
        examples: validation examples, each with one slot.
        most: how many of them are asked about.
        longest: tokens of an answer.
        half: whether products are made in bfloat16.
        trust_encoder: load the encoder that the spaces name also where vectalk does not know it.

    Raises:
        TrainingError: no text encoder made the spaces, so a text has no place in them without a read-back.
        EvaluationError: vectalk does not know the encoder, and nobody asked for it.
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
                "eval_answers: consistency in training needs spaces that one text encoder made (`vectalk space "
                "encode`); leave it out, and measure consistency with `vectalk evaluate`"
            )
        self.model, self.examples, self.most, self.longest, self.half = model, examples, most, longest, half
        check_named(maker, f"the card of space {next(iter(examples.spaces))!r}", trust_encoder)
        self.encoder = get_encoder(maker)
        self.dims = {name: space.dim for name, space in examples.spaces.items()}

    def measure(
        self, numbers: np.ndarray, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> dict[str, float]:
        """Return SC of answers to right and to shuffled vectors, and SC between that of shuffled (0) and own text (1).

        Args:
            numbers: validation examples to choose from, in their order.
            progress: called with questions answered and questions in all, each being asked twice.
        """
        made = [self.examples.prompt(int(number)) for number in numbers[: 4 * self.most]]
        asked = [(number, slots) for number, (_, slots) in zip(numbers, made, strict=False) if len(slots) == 1]
        asked = asked[: self.most]
        if len(asked) < 2:
            raise TrainingError("eval_answers: the tasks of this stage have no validation examples with one slot")
        places = [next(iter(slots.values())) for _, slots in asked]
        vectors = np.stack([np.asarray(self.examples.spaces[s].vectors[row], np.float32) for s, row in places])
        chosen = np.array([number for number, _ in asked])
        cosines, count = [], len(chosen)
        for turn, given in enumerate((vectors, np.roll(vectors, 1, axis=0))):
            progress(turn * count, 2 * count)
            texts = self._answers(chosen, given, lambda done, turn=turn: progress(turn * count + done, 2 * count))  # type: ignore[misc]
            cosines.append(_cosines(self.encoder.encode(texts), vectors))
        right, shuffled = cosines
        own = _cosines(self.encoder.encode(self._targets(chosen)), vectors)
        nsc = (right - shuffled) / max(own - shuffled, 1e-9)
        return {"sc": right, "sc_shuffled": shuffled, "nsc": nsc}

    def _targets(self, numbers: np.ndarray) -> list[str]:
        tokenizer = self.examples.prompts.tokenizer
        return list(tokenizer.batch_decode([list(ids) for ids in self.examples.target_ids(numbers)]))

    @torch.no_grad()
    def _answers(self, numbers: np.ndarray, vectors: np.ndarray, progress: Callable[[int], None]) -> list[str]:
        prompts, texts = self.examples.prompts, list[str]()
        for start in range(0, len(numbers), BATCH):
            asked, given = [], []
            for i in range(start, min(start + BATCH, len(numbers))):
                prompt, slots = self.examples.prompt(int(numbers[i]))
                question = prompt.labels.index(next(token for token in prompt.labels if token != IGNORED))
                asked.append(Prompt(prompt.ids[:question], prompt.slots, prompt.labels[:question]))
                given.append(dict.fromkeys(slots, vectors[i]))
            batch = collate(asked, given, self.dims, prompts.pad_id, side="left").to(self.model.device)
            with autocast(self.model.device, self.half):
                made = self.model.generate(
                    batch,
                    max_new_tokens=self.longest,
                    do_sample=False,
                    eos_token_id=prompts.stop_ids,
                    pad_token_id=prompts.pad_id,
                )
            texts += prompts.tokenizer.batch_decode(made, skip_special_tokens=True)
            progress(len(texts))
        return [text.strip() for text in texts]


def _cosines(a: Sequence[np.ndarray] | np.ndarray, b: np.ndarray) -> float:
    """Return the mean cosine of rows [N, D]."""
    a = np.asarray(a)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(1) / np.maximum(norms, 1e-12)).mean())
