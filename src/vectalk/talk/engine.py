"""Engines: prompts with vectors in, texts out, whole or piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from transformers import GenerationConfig

from vectalk.decoding.decoder import Decoder, can_decode
from vectalk.decoding.loop import DecodeLoop, Row, Tally
from vectalk.decoding.settings import Decoding, Generated
from vectalk.decoding.text_stream import TextStream
from vectalk.errors import PromptError
from vectalk.model import ElmModel, Prompt, PromptFormat, check_adapter, collate

URGENT = 4  # so few questions are answered at once, beside whatever is going on

Slots = Mapping[str, tuple[str, np.ndarray]]
"""Slot name -> (space, vector [D])."""

Progress = Callable[[int, int], None]
"""Called with answers done and answers in all."""


def spaces_of(slots: Slots) -> dict[str, str]:
    """Return slot -> space."""
    return {slot: space for slot, (space, _) in slots.items()}


def vectors_of(slots: Slots) -> dict[str, np.ndarray]:
    """Return slot -> vector [D]."""
    return {slot: vector for slot, (_, vector) in slots.items()}


class Engine(Protocol):
    """What answers questions about vectors."""

    def generate(
        self, questions: Sequence[str], slots: Sequence[Slots], decoding: Decoding, progress: Progress = ...
    ) -> list[Generated]:
        """Answer questions, each with its slots."""
        ...

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Answer one question, piece by piece; returns the whole."""
        ...


class TransformersEngine:
    """Decodes with the model in this process: the rows of all callers in one batch, finished ones replaced at once.

    May be used from several threads. Models that keep more than keys and values (recurrent ones), and beam search, are
    decoded by transformers' own `generate`, prompts of one length together.

    Args:
        model: adapters and LLM.
        prompts: makes prompts of questions.
        batch_size: rows decoded at once.
    """

    def __init__(self, model: ElmModel, prompts: PromptFormat, batch_size: int = 64) -> None:
        self.model, self.prompts, self.batch_size = model, prompts, batch_size
        self.dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
        self._stops = set(prompts.stop_ids)
        self._whole = threading.Lock()  # transformers' sampling uses torch's global random state
        self._building = threading.Lock()

    @cached_property
    def _loop(self) -> DecodeLoop | None:
        """The loop, where the model can be decoded so."""
        return DecodeLoop(self.decoder, self.prompts.stop_ids, self.batch_size) if can_decode(self.model) else None

    def _looped(self) -> DecodeLoop | None:
        with self._building:
            loop = self._loop
        if loop is not None:
            loop.size = self.batch_size
        return loop

    @cached_property
    def decoder(self) -> Decoder:
        """What reads and writes, step by step."""
        return Decoder(self.model, self.prompts.pad_id)

    def prompt(self, question: str, slots: Slots) -> Prompt:
        """Tokenise a question.

        Raises:
            PromptError: it does not fit its slots, or is too long for the LLM.
        """
        for slot, (space, _) in slots.items():
            check_adapter(space, self.dims, slot)
        prompt = self.prompts(question, spaces_of(slots))
        context = self.model.language.context
        if context is not None and len(prompt) >= context:
            raise PromptError(f"the question is {len(prompt)} tokens long; the LLM takes {context}")
        return prompt

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
    ) -> list[Generated]:
        """Answer questions.

        Args:
            questions: N questions with slots.
            slots: for each, slot -> (space, vector [D]).
            decoding: how.
            progress: called with answers done and answers in all.

        Returns:
            For each question the text, whether it ended by itself, and its tokens.
        """
        prompts = [self.prompt(q, s) for q, s in zip(questions, slots, strict=True)]
        loop = self._looped() if decoding.beams == 1 else None
        if loop is None:
            return self._by_length(prompts, slots, decoding, progress)
        tally = Tally()
        rows = [self._row(p, s, decoding, n, tally) for n, (p, s) in enumerate(zip(prompts, slots, strict=True))]
        loop.submit(sorted(rows, key=lambda row: -len(row.prompt)), urgent=len(rows) <= URGENT)
        told = 0
        try:
            while told < len(rows):
                goal = min(told + self.batch_size, len(rows))
                loop.wait(lambda goal=goal: tally.done >= goal)  # type: ignore[misc]
                if tally.error is not None:
                    raise tally.error
                progress(told := tally.done, len(rows))
        finally:
            loop.cancel(rows)
        return [self._generated(row) for row in rows]

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Answer one question, piece by piece; returns the whole."""
        if decoding.beams > 1:
            raise PromptError(f"beams is {decoding.beams}, but a beam is known only at its end: ask without streaming")
        prompt, loop = self.prompt(question, slots), self._looped()
        if loop is None:
            (whole,) = self._by_length([prompt], [slots], decoding, lambda done, total: None)
            yield whole.text
            return whole
        tally = Tally()
        row = self._row(prompt, slots, decoding, 0, tally, streamed=True)
        loop.submit([row], urgent=True)
        try:
            while not row.done or row.pieces:
                loop.wait(lambda: bool(row.done or row.pieces))
                if tally.error is not None:
                    raise tally.error
                while row.pieces:
                    yield row.pieces.popleft()
        finally:
            loop.cancel([row])
        return self._generated(row)

    # ---- how

    def _row(
        self, prompt: Prompt, slots: Slots, decoding: Decoding, number: int, tally: Tally, streamed: bool = False
    ) -> Row:
        limit = min(decoding.max_new_tokens, (self.model.language.context or 1 << 30) - len(prompt))
        watched = TextStream(self.prompts.tokenizer, decoding.stop) if streamed or decoding.stop else None
        vectors = vectors_of(slots)
        # Vectors are checked here, where an error hits the one who asked, and not in a batch with others' rows.
        collate([prompt], [vectors], self.dims, self.prompts.pad_id)
        return Row(prompt, vectors, decoding, limit, tally, decoding.draws(number, limit), watched)

    def _generated(self, row: Row) -> Generated:
        return Generated(self._text(row.ids, row.decoding), row.finished, tuple(row.ids))

    def _text(self, ids: Sequence[int], decoding: Decoding) -> str:
        text = str(self.prompts.tokenizer.decode(list(ids), skip_special_tokens=True))
        for stop in decoding.stop:
            text = text.partition(stop)[0]
        return text.strip()

    def _by_length(
        self, prompts: list[Prompt], slots: Sequence[Slots], decoding: Decoding, progress: Progress
    ) -> list[Generated]:
        """Answer by transformers' `generate`: prompts of one length together, since padding may not be harmless."""
        made: dict[int, Generated] = {}
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        while order:
            same = [i for i in order[: self.batch_size] if len(prompts[i]) == len(prompts[order[0]])]
            order = order[len(same) :]
            made |= dict(zip(same, self._whole_batch(prompts, slots, decoding, same), strict=True))
            progress(len(made), len(prompts))
        return [made[i] for i in range(len(prompts))]

    def _whole_batch(
        self, prompts: list[Prompt], slots: Sequence[Slots], decoding: Decoding, chosen: list[int]
    ) -> list[Generated]:
        vectors = [vectors_of(slots[i]) for i in chosen]
        batch = collate([prompts[i] for i in chosen], vectors, self.dims, self.prompts.pad_id, side="left")
        room = (self.model.language.context or 1 << 30) - batch.input_ids.shape[1]
        sampled: dict[str, Any] = {}
        if not decoding.greedy:
            sampled = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        settings = GenerationConfig(
            max_new_tokens=min(decoding.max_new_tokens, room),
            do_sample=not decoding.greedy,
            num_beams=decoding.beams,
            eos_token_id=self.prompts.stop_ids,
            pad_token_id=self.prompts.pad_id,
            **sampled,
        )
        device = self.model.device
        with self._whole, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Each batch draws anew, else the same question would get the same answers batch after batch.
            torch.manual_seed(decoding.seed + chosen[0])
            written = self.model.generate(batch.to(device), generation_config=settings).tolist()
        return [self._cut(ids, decoding) for ids in written]

    def _cut(self, ids: list[int], decoding: Decoding) -> Generated:
        end = next((i for i, token in enumerate(ids) if token in self._stops), None)
        kept = ids if end is None else ids[:end]
        stopped = any(stop in str(self.prompts.tokenizer.decode(kept)) for stop in decoding.stop)
        return Generated(self._text(kept, decoding), end is not None or stopped, tuple(kept))
