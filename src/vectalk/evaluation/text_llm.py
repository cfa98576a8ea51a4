"""The baselines `text_llm` and `told_llm`: an LLM that reads titles, and also facts, instead of vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vectalk.errors import TeacherError
from vectalk.evaluation.answers import AnswerCache
from vectalk.evaluation.probes.facts import NotRunError
from vectalk.llm import ChatClient
from vectalk.tasks import Corpus, Example, Task
from vectalk.tasks.suite import pieces_of
from vectalk.tasks.teachers.told import FactPhrases, told

SHOTS = 3  # training examples in the prompt, which show the length and style of an answer
REPLIES = "replies of the text-only LLM"
Messages = list[dict[str, str]]


class Chat(Protocol):
    """An LLM with a chat interface, used without sampling."""

    def __call__(self, conversations: Sequence[Messages]) -> Sequence[str]:
        """Return a reply to each conversation, a list of `{role, content}`."""
        ...


class ClientChat:
    """A `Chat` that uses a client; the client caches its replies.

    Args:
        client: the client; it should not sample.
        progress: called with the name of the work, the number of replies so far, and of all.

    Attributes:
        identity: identifies the LLM, its weights and its settings.
    """

    def __init__(
        self, client: ChatClient, progress: Callable[[str, int, int], None] = lambda what, done, total: None
    ) -> None:
        self.client, self.name, self.progress = client, client.transport.name, progress
        self.identity = client.key([])

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        """Return the text of each reply.

        Raises:
            TeacherError: the endpoint does not answer, too many replies are empty, or a reply is not in the cache and
                the client may only use the cache.
        """
        done = 0

        async def ask(messages: Messages) -> str:
            nonlocal done
            text = await self._ask(messages)
            done += 1  # all replies come in the client's own thread
            self.progress(REPLIES, done, len(conversations))
            return text

        self.progress(REPLIES, 0, len(conversations))
        return self.client.map(ask, conversations)

    async def _ask(self, messages: Messages) -> str:
        reply = await self.client.chat(messages, version="text_llm")
        if reply is None:
            raise TeacherError(f"a reply of {self.name} is not in the cache; run without --cached-only to request it")
        text = reply.text.strip()
        if text:
            self.client.rejections.accept()
        else:
            self.client.rejections.reject("no text", reply)
        return text


def identity_of(chat: Chat) -> str:
    """Return the string that identifies an LLM: its `identity`, else its `name`, else the name of its class."""
    return str(getattr(chat, "identity", None) or getattr(chat, "name", None) or type(chat).__name__)


class TextLLM:
    """Asks an LLM the questions of a task, with titles in the slots instead of vectors.

    The prompt contains a few training examples in the same form, which show the expected kind of answer. What the LLM
    knows about the titles comes from its own training.

    Args:
        chat: the LLM.
        corpus: the corpus, whose spaces hold the titles.
        cache: stores the answers.
        facts: whether each title is followed by the entity's facts in words.

    Attributes:
        condition: `text_llm`, or `told_llm` with facts.
    """

    def __init__(self, chat: Chat, corpus: Corpus, cache: AnswerCache, facts: bool = False) -> None:
        self.chat, self.corpus, self.cache, self.identity = chat, corpus, cache, identity_of(chat)
        self.facts, self.condition = facts, "told_llm" if facts else "text_llm"
        self._phrases: dict[str, FactPhrases] = {}

    def __call__(self, task: Task, examples: Sequence[Example], references: Sequence[Example]) -> list[str]:
        """Return a text for each example.

        Raises:
            NotRunError: a space of the task has no titles.
        """
        return self._ask(task, [self._turn(example) for example in examples], references)

    def mixed(self, task: Task, slot: str, ends: np.ndarray, share: float, references: Sequence[Example]) -> list[str]:
        """Return a text about the mix of each pair of entities; the prompt names both entities and their shares.

        Args:
            task: a task about one entity.
            slot: the slot of the task.
            ends: [n, 2] rows of the two entities of each pair.
            share: share of the second entity, from 0 to 1.
            references: training examples of the task.

        Raises:
            NotRunError: the space has no titles.
        """
        space, first = task.slots[slot], round(100 * (1 - share))
        turns = []
        for a, b in ends:
            whole, other = (self._words(space, int(row)) for row in (a, b))
            mix = f"something that is {first} % {whole} and {100 - first} % {other}"
            turns.append(
                self._message(task.prompts[0], {slot: whole if first == 100 else other if first == 0 else mix})
            )
        return self._ask(task, turns, references)

    def _ask(self, task: Task, turns: Sequence[dict[str, str]], references: Sequence[Example]) -> list[str]:
        for space in task.slots.values():
            if "title" not in self.corpus.spaces[space].column_names:
                raise NotRunError(f"space {space!r} has no column `title`, so there is nothing for the LLM to read")
        shots: Messages = []
        for example in references[:: max(1, len(references) // SHOTS)][:SHOTS]:
            shots += self._turn(example), {"role": "assistant", "content": example.target}
        conversations = [[*shots, turn] for turn in turns]
        keys = [hashlib.sha256(json.dumps([self.identity, c]).encode()).hexdigest() for c in conversations]

        def answer(places: list[int], progress: Callable[[int, int], None]) -> Sequence[str]:
            return self.chat([conversations[i] for i in places])

        return self.cache(keys, f"{task.name}: {self.condition}", answer)

    def _turn(self, example: Example) -> dict[str, str]:
        return self._message(example.prompt, {slot: self._words(*entity) for slot, entity in example.slots.items()})

    def _words(self, space: str, row: int) -> str:
        """Return what the LLM reads in place of a vector: the title, and with `facts` the facts in brackets."""
        opened = self.corpus.spaces[space]
        title = f"“{opened.title(row)}”"
        if not self.facts:
            return title
        if space not in self._phrases:
            self._phrases[space] = FactPhrases.of(self.corpus.suite, space, opened)
        return f"{title} ({told(self._phrases[space], row)})"

    def _message(self, prompt: str, names: dict[str, str]) -> dict[str, str]:
        text = "".join(names[piece] if is_slot else piece for piece, is_slot in pieces_of(prompt))
        return {"role": "user", "content": text}
