"""The engine in process: batches of prompts with vectors in, texts out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, TextIteratorStreamer

from vectalk.errors import PromptError
from vectalk.model import ElmModel, Prompt, PromptFormat, collate


@dataclass(frozen=True)
class Decoding:
    """How answers are decoded.

    Attributes:
        max_new_tokens: longest answer, in tokens.
        temperature: 0 is greedy.
        top_p: share of the probability mass that is sampled from.
        beams: of beam search; 1 for none.
        seed: of the sampling.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    beams: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        wrong = {
            "max_new_tokens": (self.max_new_tokens, self.max_new_tokens >= 1, "at least 1"),
            "temperature": (self.temperature, 0.0 <= self.temperature <= 10.0, "0 (greedy) to 10"),
            "top_p": (self.top_p, 0.0 < self.top_p <= 1.0, "above 0, at most 1"),
            "beams": (self.beams, 1 <= self.beams <= 64, "1 to 64"),
        }
        for name, (value, right, allowed) in wrong.items():
            if not right:
                raise PromptError(f"{name} is {value}; allowed is {allowed}")

    def settings(self) -> dict[str, Any]:
        """Return the settings that matter, for a log."""
        return asdict(self)


class TransformersEngine:
    """Generates with the model in this process, longest prompts together, left-padded.

    Args:
        model: adapters and LLM.
        prompts: makes prompts of questions.
        batch_size: rows decoded at once.
    """

    def __init__(self, model: ElmModel, prompts: PromptFormat, batch_size: int = 64) -> None:
        self.model, self.prompts, self.batch_size = model, prompts, batch_size
        self.dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
        self._lock = threading.Lock()  # sampling uses torch's global random state

    def prompt(self, question: str, slots: Mapping[str, tuple[str, np.ndarray]]) -> Prompt:
        """Tokenise a question; `slots` maps a slot to (space, vector)."""
        for slot, (space, _) in slots.items():
            if space not in self.dims:
                raise PromptError(f"slot {{{slot}}}: no adapter for space {space!r}; there are {', '.join(self.dims)}")
        prompt = self.prompts(question, {slot: space for slot, (space, _) in slots.items()})
        context = self.model.language.context
        if context is not None and len(prompt) >= context:
            raise PromptError(f"the question is {len(prompt)} tokens long; the LLM takes {context}")
        return prompt

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Mapping[str, tuple[str, np.ndarray]]],
        decoding: Decoding,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[tuple[str, bool]]:
        """Answer questions.

        Args:
            questions: N questions with slots.
            slots: for each, slot -> (space, vector [D]).
            decoding: how.
            progress: called with answers done and answers in all.

        Returns:
            For each question the text, and whether it ended by itself.
        """
        prompts = [self.prompt(q, s) for q, s in zip(questions, slots, strict=True)]
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        answers: list[tuple[str, bool]] = [("", False)] * len(prompts)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            # Each batch draws anew, else the same question would get the same answers batch after batch.
            drawn = replace(decoding, seed=decoding.seed + start)
            ids = self._run([prompts[i] for i in chosen], [slots[i] for i in chosen], drawn)
            for i, row in zip(chosen, ids.tolist(), strict=True):
                answers[i] = self._text(row)
            progress(start + len(chosen), len(order))
        return answers

    def stream(
        self, question: str, slots: Mapping[str, tuple[str, np.ndarray]], decoding: Decoding
    ) -> Generator[str, None, tuple[str, bool]]:
        """Answer one question, piece by piece; returns the whole text, and whether it ended by itself."""
        if decoding.beams > 1:
            raise PromptError(f"beams is {decoding.beams}, but a beam is known only at its end: ask without streaming")
        prompt = self.prompt(question, slots)
        streamer = TextIteratorStreamer(self.prompts.tokenizer, skip_special_tokens=True)
        failed: list[BaseException] = []
        made: list[torch.Tensor] = []

        def work() -> None:
            try:
                made.append(self._run([prompt], [slots], decoding, streamer=streamer))
            except BaseException as error:  # told to the reader, which would wait for ever otherwise
                failed.append(error)
                streamer.end()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield from (piece for piece in streamer if piece)
        thread.join()
        if failed:
            raise failed[0]
        return self._text(made[0][0].tolist())

    def _run(
        self,
        prompts: list[Prompt],
        slots: Sequence[Mapping[str, tuple[str, np.ndarray]]],
        decoding: Decoding,
        **extra: Any,
    ) -> torch.Tensor:
        vectors = [{slot: vector for slot, (_, vector) in s.items()} for s in slots]
        batch = collate(prompts, vectors, self.dims, self.prompts.pad_id, side="left").to(self.model.device)
        room = (self.model.language.context or 1 << 30) - batch.input_ids.shape[1]
        settings = GenerationConfig(
            max_new_tokens=min(decoding.max_new_tokens, room),
            do_sample=decoding.temperature > 0,
            temperature=decoding.temperature if decoding.temperature > 0 else None,
            top_p=decoding.top_p if decoding.temperature > 0 else None,
            top_k=0 if decoding.temperature > 0 else None,
            num_beams=decoding.beams,
            eos_token_id=self.prompts.stop_ids,
            pad_token_id=self.prompts.pad_id,
        )
        with self._lock, torch.random.fork_rng(devices=self._cuda()):
            torch.manual_seed(decoding.seed)
            return self.model.generate(batch, generation_config=settings, **extra)

    def _cuda(self) -> list[torch.device]:
        return [self.model.device] if self.model.device.type == "cuda" else []

    def _text(self, ids: list[int]) -> tuple[str, bool]:
        stops = set(self.prompts.stop_ids)
        end = next((i for i, token in enumerate(ids) if token in stops), None)
        kept = ids if end is None else ids[:end]
        return str(self.prompts.tokenizer.decode(kept, skip_special_tokens=True)).strip(), end is not None
