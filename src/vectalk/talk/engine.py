"""Engines: write texts from prompts with vectors, all at once or piece by piece."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList

from vectalk.decoding.decoder import Decoder, can_decode
from vectalk.decoding.loop import DecodeLoop, Row, Tally
from vectalk.decoding.names import RowNames
from vectalk.decoding.names.processor import NamesProcessor
from vectalk.decoding.processing import AnswerPenalties
from vectalk.decoding.settings import Decoding, Generated
from vectalk.decoding.text_stream import TextStream
from vectalk.errors import PromptError
from vectalk.model import ElmModel, Prompt, PromptFormat, check_adapter, collate
from vectalk.model.conversation import EarlierTurn, earlier_slots

URGENT = 4  # a call with at most this many questions starts at once, beside the running batch

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
    """An object that answers questions about vectors."""

    def generate(
        self, questions: Sequence[str], slots: Sequence[Slots], decoding: Decoding, progress: Progress = ...
    ) -> list[Generated]:
        """Answer questions, each with its own vectors."""
        ...

    def stream(self, question: str, slots: Slots, decoding: Decoding) -> Generator[str, None, Generated]:
        """Answer one question: yield the pieces of its text, then return the complete answer."""
        ...


@runtime_checkable
class RemoteEngine(Protocol):
    """An engine that depends on a server."""

    def check(self) -> None:
        """Raise an EngineError unless the server is ready to answer."""
        ...


class TransformersEngine:
    """Decodes with the model in this process: one batch holds the rows of all callers and replaces finished rows.

    Several threads may use one engine. Beam search, and models that keep more state than keys and values (recurrent
    models), use transformers' own `generate` on batches of prompts of the same length.

    Args:
        model: adapters and LLM.
        prompts: turns questions into prompts.
        batch_size: rows decoded in one step.
    """

    def __init__(self, model: ElmModel, prompts: PromptFormat, batch_size: int = 64) -> None:
        self.model, self.prompts, self.batch_size = model, prompts, batch_size
        self.dims = {space: model.adapter(space).config.vector_dim for space in model.adapters}
        self._stops = set(prompts.stop_ids)
        self._generate_lock = threading.Lock()  # transformers' sampling uses torch's global random state
        self._loop_lock = threading.Lock()

    @cached_property
    def _loop(self) -> DecodeLoop | None:
        """The decoding loop; None where the model does not support it."""
        return DecodeLoop(self.decoder, self.prompts.stop_ids, self.batch_size) if can_decode(self.model) else None

    @property
    def recommended(self) -> dict[str, Any]:
        """The settings that the LLM recommends for sampling."""
        return self.model.language.recommended

    @property
    def shared_loop(self) -> DecodeLoop | None:
        """The loop that decodes the rows of all callers; None where the model needs transformers' `generate`."""
        with self._loop_lock:
            loop = self._loop
        if loop is not None:
            loop.size = self.batch_size
        return loop

    @cached_property
    def decoder(self) -> Decoder:
        """The decoder that runs the LLM step by step."""
        return Decoder(self.model, self.prompts.pad_id)

    def prompt(self, question: str, slots: Slots, earlier: Sequence[EarlierTurn] = ()) -> Prompt:
        """Tokenise a question, after the earlier turns of its conversation.

        Raises:
            PromptError: the question does not fit its slots, or is too long for the LLM.
        """
        for slot, (space, _) in {**earlier_slots(earlier), **slots}.items():
            check_adapter(space, self.dims, slot)
        prompt = self.prompts(question, spaces_of(slots), earlier=earlier)
        context = self.model.language.context
        if context is not None and len(prompt) >= context:
            raise PromptError(
                f"the question has {len(prompt)} tokens; the LLM takes fewer than {context}: shorten the question"
            )
        return prompt

    def turns_with_room(self, question: str, slots: Slots, earlier: Sequence[EarlierTurn], answer_tokens: int) -> int:
        """Return how many of the latest turns fit into the LLM's context, with the question and its answer.

        Args:
            question: the next question.
            slots: slot -> (space, vector [D]) of the next question.
            earlier: the turns before it, the oldest first.
            answer_tokens: number of tokens to leave free for the answer.
        """
        context = self.model.language.context
        if context is None:
            return len(earlier)

        def length(count: int) -> int:
            return len(self.prompts(question, spaces_of(slots), earlier=earlier[len(earlier) - count :]))

        return bisect_right(range(1, len(earlier) + 1), context - answer_tokens, key=length)

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
        names: Sequence[RowNames | None] | None = None,
        earlier: Sequence[Sequence[EarlierTurn]] | None = None,
    ) -> list[Generated]:
        """Answer questions.

        Args:
            questions: N questions that contain slots.
            slots: for each question, slot name -> (space, vector [D]).
            decoding: the settings of decoding.
            progress: called with the number of finished answers and the total.
            names: for each question the titles that its answer may name; None for all without a constraint.
            earlier: for each question the turns of its conversation; None for all without a history.

        Returns:
            For each question: the text, whether the model ended it, and its tokens.
        """
        turns = list(earlier or [()] * len(questions))
        prompts = [self.prompt(*one) for one in zip(questions, slots, turns, strict=True)]
        slots = [{**earlier_slots(own), **bindings} for own, bindings in zip(turns, slots, strict=True)]
        names = list(names or [None] * len(prompts))
        loop = self.shared_loop if decoding.beams == 1 else None
        if loop is None:
            return self._by_length(prompts, slots, decoding, progress, names)
        tally = Tally()
        rows = [
            self._row(prompt, bindings, decoding, number, tally, names[number])
            for number, (prompt, bindings) in enumerate(zip(prompts, slots, strict=True))
        ]
        loop.submit(sorted(rows, key=lambda row: -len(row.prompt)), urgent=len(rows) <= URGENT)
        answered = 0
        try:
            while answered < len(rows):
                target = min(answered + self.batch_size, len(rows))
                loop.wait(lambda target=target: tally.done >= target)  # type: ignore[misc]
                if tally.error is not None:
                    raise tally.error
                progress(answered := tally.done, len(rows))
        finally:
            loop.cancel(rows)
        return [self.generated(row) for row in rows]

    def stream(
        self,
        question: str,
        slots: Slots,
        decoding: Decoding,
        names: RowNames | None = None,
        earlier: Sequence[EarlierTurn] = (),
    ) -> Generator[str, None, Generated]:
        """Answer one question: yield the pieces of its text, then return the complete answer."""
        if decoding.beams > 1:
            raise PromptError(
                f"beams is {decoding.beams}, but streaming takes beams=1: beam search knows its text only at the end"
            )
        loop = self.shared_loop
        if loop is None:
            prompt, bound = self.prompt(question, slots, earlier), {**earlier_slots(earlier), **slots}
            (answer,) = self._by_length([prompt], [bound], decoding, lambda done, total: None, [names])
            yield answer.text
            return answer
        row = self.streamed_row(question, slots, decoding, names, earlier)
        loop.submit([row], urgent=True)
        try:
            while not row.done or row.pieces:
                loop.wait(lambda: bool(row.done or row.pieces))
                if row.tally.error is not None:
                    raise row.tally.error
                while row.pieces:
                    yield row.pieces.popleft()
        finally:
            loop.cancel([row])
        return self.generated(row)

    # ---- one row

    def streamed_row(
        self,
        question: str,
        slots: Slots,
        decoding: Decoding,
        names: RowNames | None = None,
        earlier: Sequence[EarlierTurn] = (),
    ) -> Row:
        """Return the row of a question for `shared_loop`, which collects its text in pieces.

        Raises:
            PromptError: the question does not fit its slots, or is too long for the LLM.
        """
        prompt = self.prompt(question, slots, earlier)
        return self._row(prompt, {**earlier_slots(earlier), **slots}, decoding, 0, Tally(), names, streamed=True)

    def _row(
        self,
        prompt: Prompt,
        slots: Slots,
        decoding: Decoding,
        number: int,
        tally: Tally,
        names: RowNames | None = None,
        *,
        streamed: bool = False,
    ) -> Row:
        limit = min(decoding.max_new_tokens, (self.model.language.context or 1 << 30) - len(prompt))
        text_stream = TextStream(self.prompts.tokenizer, decoding.stop) if streamed or decoding.stop else None
        vectors = vectors_of(slots)
        # Check the vectors here: an error must reach this caller only, not the other callers of the batch.
        collate([prompt], [vectors], self.dims, self.prompts.pad_id)
        return Row(prompt, vectors, decoding, limit, tally, decoding.draws(number, limit), text_stream, names)

    def generated(self, row: Row) -> Generated:
        """Return the complete answer of a row whose decoding has ended."""
        return Generated(self._text(row.ids, row.decoding), row.finished, tuple(row.ids))

    def _text(self, ids: Sequence[int], decoding: Decoding) -> str:
        text = str(self.prompts.tokenizer.decode(list(ids), skip_special_tokens=True))
        for stop in decoding.stop:
            text = text.partition(stop)[0]
        return text.strip()

    def _by_length(
        self,
        prompts: list[Prompt],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress,
        names: Sequence[RowNames | None] | None = None,
    ) -> list[Generated]:
        """Answer with transformers' `generate`; a batch has prompts of one length, since padding may change answers."""
        answers: dict[int, Generated] = {}
        names = names or [None] * len(prompts)
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        while order:
            batch = [i for i in order[: self.batch_size] if len(prompts[i]) == len(prompts[order[0]])]
            order = order[len(batch) :]
            answers |= dict(zip(batch, self._generate_batch(prompts, slots, decoding, batch, names), strict=True))
            progress(len(answers), len(prompts))
        return [answers[i] for i in range(len(prompts))]

    def _generate_batch(
        self,
        prompts: list[Prompt],
        slots: Sequence[Slots],
        decoding: Decoding,
        numbers: list[int],
        names: Sequence[RowNames | None],
    ) -> list[Generated]:
        vectors = [vectors_of(slots[i]) for i in numbers]
        batch = collate([prompts[i] for i in numbers], vectors, self.dims, self.prompts.pad_id, side="left")
        room = (self.model.language.context or 1 << 30) - batch.input_ids.shape[1]
        sampling: dict[str, Any] = {}
        if not decoding.greedy:
            sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": decoding.top_k}
            sampling["min_p"] = decoding.min_p
        settings = GenerationConfig(
            max_new_tokens=min(decoding.max_new_tokens, room),
            do_sample=not decoding.greedy,
            num_beams=decoding.beams,
            eos_token_id=self.prompts.stop_ids,
            pad_token_id=self.prompts.pad_id,
            **sampling,
        )
        processors = LogitsProcessorList([AnswerPenalties(decoding)] if decoding.penalizes else [])
        own = [names[i] for i in numbers]
        if any(own):
            processors.append(NamesProcessor(own, decoding.beams))
        device = self.model.device
        with self._generate_lock, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            # Without a seed for each batch, the same question would get the same answers in every batch.
            torch.manual_seed(decoding.seed + numbers[0])
            written = self.model.generate(
                batch.to(device), generation_config=settings, logits_processor=processors
            ).tolist()
        return [self._cut(ids, decoding) for ids in written]

    def _cut(self, ids: list[int], decoding: Decoding) -> Generated:
        end = next((i for i, token in enumerate(ids) if token in self._stops), None)
        answer_ids = ids if end is None else ids[:end]
        stopped = any(stop in str(self.prompts.tokenizer.decode(answer_ids)) for stop in decoding.stop)
        return Generated(self._text(answer_ids, decoding), end is not None or stopped, tuple(answer_ids))
