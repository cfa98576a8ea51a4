"""The conditions of free questions: the model with vectors, and its base LLM with the facts in words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from vectalk.evaluation.answers import AnswerCache, Ask, Slots
from vectalk.evaluation.conditions import derangement
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.text_llm import Chat, identity_of
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN
from vectalk.tasks.suite import pieces_of, slots_in
from vectalk.tasks.teachers.told import FactPhrases, in_words, told, told_values

CONDITIONS = ("elm", "shuffled", "told", "told_shuffled", "copy_told", "probe_told")
TEXT_LLM = "text_llm"


class QuestionConditions:
    """Answers free questions about some entities under each condition.

    Args:
        phrases: what `told` needs to know about the space.
        space: the space.
        rows: n rows of entities, at least two.
        ask: asks the model.
        ask_base: asks the base LLM, whose questions have no slots; the reason where that is not possible.
        seed: seed of the permutation of the entities.
        facts: predicts the values that `probe_told` reads; None: leave this condition out.
        chat: an LLM that reads titles, if there is one.
        cache: stores the answers of `chat`.
    """

    def __init__(
        self,
        phrases: FactPhrases,
        space: VectorSpace,
        rows: np.ndarray,
        ask: Ask,
        ask_base: Ask | str,
        seed: int,
        facts: Facts | None = None,
        chat: Chat | None = None,
        cache: AnswerCache | None = None,
    ) -> None:
        self.phrases, self.name, self.space, self.rows = phrases, phrases.name, space, rows
        self.ask, self.ask_base, self.facts, self.chat, self.cache = ask, ask_base, facts, chat, cache
        self.order = derangement(len(rows), seed)
        self._phrases: dict[str, list[str]] = {}

    @cached_property
    def words(self) -> list[str]:
        """The facts of the entities in words [n]."""
        return self._words(self.rows)

    def slots(self, question: str, shuffled: bool = False) -> list[Slots]:
        """Return the vectors [n] for the slot of a question: the right ones, or those of other entities."""
        rows, slot = self.rows[self.order] if shuffled else self.rows, slots_in(question)[0]
        return [{slot: (self.name, np.asarray(self.space.vectors[row], np.float32))} for row in rows]

    def answers(self, condition: str, questions: Sequence[str], label: str = "questions") -> list[list[str]]:
        """Return an answer for each question and entity: [q][n].

        Args:
            condition: one of `CONDITIONS`, or `text_llm`.
            questions: q questions with one slot each.
            label: label of these questions in the progress.

        Raises:
            NotRunError: the condition is not possible.
        """
        what, n = f"{label}: {condition}", len(self.rows)
        if condition in ("elm", "shuffled"):
            pairs = [(q, slots) for q in questions for slots in self.slots(q, condition == "shuffled")]
            texts = self.ask(pairs, what)
        elif condition == TEXT_LLM:
            texts = self._with_titles(questions, what)
        else:
            if isinstance(self.ask_base, str):
                raise NotRunError(self.ask_base)
            phrases = self.phrases_of(condition)
            texts = self.ask_base([(in_words(q, phrase), {}) for q in questions for phrase in phrases], what)
        return [texts[start : start + n] for start in range(0, len(texts), n)]

    def phrases_of(self, condition: str) -> list[str]:
        """Return what the base LLM reads in place of the vectors [n].

        Args:
            condition: one of those of the base LLM: `told`, `told_shuffled`, `copy_told` or `probe_told`.

        Raises:
            NotRunError: no attribute can be predicted.
        """
        words = {
            "told": lambda: self.words,
            "told_shuffled": lambda: [self.words[place] for place in self.order],
            "copy_told": self._nearest_words,
            "probe_told": self._probe_words,
        }
        if condition not in self._phrases:  # asked for once to be answered, and once to be compared
            self._phrases[condition] = words[condition]()
        return self._phrases[condition]

    def _words(self, rows: np.ndarray) -> list[str]:
        for reader in self.phrases.stated.values():
            reader.prepare(rows.tolist())
        return [told(self.phrases, int(row)) for row in rows]

    def _probe_words(self) -> list[str]:
        names, facts = list(self.phrases.stated), self.facts
        columns = [] if facts is None else [facts.predict("probe_text", self.name, n, self.rows) for n in names]
        if all(value is None for column in columns for value in column):
            raise NotRunError("no attribute has a probe")
        rows = zip(self.rows, zip(*columns, strict=True), strict=True)
        return [told_values(self.phrases, dict(zip(names, values, strict=True)), int(row)) for row, values in rows]

    def _nearest_words(self) -> list[str]:
        space = self.space
        rows, _ = nearest(
            space.vectors[self.rows], space.vectors, 1, space.metric, rows=space.rows(TRAIN), exclude=self.rows
        )
        return self._words(rows[:, 0])

    def _with_titles(self, questions: Sequence[str], what: str) -> list[str]:
        chat, cache = self.chat, self.cache
        if chat is None or cache is None:
            raise NotRunError("no LLM was given that could be told titles")
        if "title" not in self.space.column_names:
            raise NotRunError(f"space {self.name!r} has no column `title`, so there is nothing for the LLM to read")
        titles = [f"“{self.space.title(int(row))}”" for row in self.rows]
        prompts = [
            "".join(title if is_slot else text for text, is_slot in pieces_of(question))
            for question in questions
            for title in titles
        ]
        keys = [hashlib.sha256(json.dumps([identity_of(chat), text]).encode()).hexdigest() for text in prompts]
        return cache(keys, what, lambda places, _: chat([[{"role": "user", "content": prompts[i]}] for i in places]))
