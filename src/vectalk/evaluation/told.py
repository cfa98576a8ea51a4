"""The rival that is told: an LLM that reads the titles instead of the vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from vectalk.errors import TeacherError
from vectalk.evaluation.answers import Kept
from vectalk.evaluation.probes.facts import NotRunError
from vectalk.llm import ChatClient
from vectalk.tasks import Corpus, Example, Task
from vectalk.tasks.suite import pieces_of

SHOTS = 3  # training examples that show how long an answer is, and in which words
Messages = list[dict[str, str]]


class Chat(Protocol):
    """An LLM behind a chat interface, asked without sampling."""

    def __call__(self, conversations: Sequence[Messages]) -> Sequence[str]:
        """Return a reply to each conversation, a list of `{role, content}`."""
        ...


class ClientChat:
    """A `Chat` that asks through a client, which keeps what it has paid for.

    Args:
        client: the client; it should not sample.

    Attributes:
        identity: tells the LLM, its weights and its settings from any other.
    """

    def __init__(self, client: ChatClient) -> None:
        self.client, self.name = client, client.transport.name
        self.identity = client.key([])

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        """Return the text of each reply.

        Raises:
            TeacherError: the endpoint does not answer, reply after reply is empty, or one is not in the cache which
                alone may be asked.
        """
        return self.client.map(self._ask, conversations)

    async def _ask(self, messages: Messages) -> str:
        reply = await self.client.chat(messages, version="text_llm")
        if reply is None:
            raise TeacherError(f"a reply of {self.name} is not in the cache; leave --cached-only away to ask for it")
        text = reply.text.strip()
        if text:
            self.client.rejections.accept()
        else:
            self.client.rejections.reject("no text", reply)
        return text


def identity_of(chat: Chat) -> str:
    """Return what tells an LLM from any other: its `identity`, or else its `name`, or else the name of its class."""
    return str(getattr(chat, "identity", None) or getattr(chat, "name", None) or type(chat).__name__)


class Told:
    """Asks an LLM the questions of a task with titles in the slots.

    It sees a few training examples, told in the same way, so that it knows the kind of answer that is wanted; that it
    knows the titles is up to it.

    Args:
        chat: the LLM.
        corpus: where the titles are.
        kept: where answers are kept.
    """

    def __init__(self, chat: Chat, corpus: Corpus, kept: Kept) -> None:
        self.chat, self.corpus, self.kept, self.identity = chat, corpus, kept, identity_of(chat)

    def __call__(self, task: Task, examples: Sequence[Example], references: Sequence[Example]) -> list[str]:
        """Return a text for each example.

        Raises:
            NotRunError: a space of the task has no titles.
        """
        return self._ask(task, [self._turn(example) for example in examples], references)

    def mixed(self, task: Task, slot: str, ends: np.ndarray, share: float, references: Sequence[Example]) -> list[str]:
        """Return a text about the mix of each pair of entities, which is told by both titles and the shares.

        Args:
            task: a task about one entity.
            slot: its slot.
            ends: [n, 2] rows.
            share: of the second.
            references: training examples of the task.

        Raises:
            NotRunError: the space has no titles.
        """
        space, first = self.corpus.spaces[task.slots[slot]], round(100 * (1 - share))
        turns = []
        for a, b in ends:
            whole, other = (f"“{space.title(int(row))}”" for row in (a, b))
            mix = f"something that is {first} % {whole} and {100 - first} % {other}"
            turns.append(self._said(task.prompts[0], {slot: whole if first == 100 else other if first == 0 else mix}))
        return self._ask(task, turns, references)

    def _ask(self, task: Task, turns: Sequence[dict[str, str]], references: Sequence[Example]) -> list[str]:
        for space in task.slots.values():
            if "title" not in self.corpus.spaces[space].column_names:
                raise NotRunError(f"space {space!r} has no titles to tell")
        shown: Messages = []
        for example in references[:: max(1, len(references) // SHOTS)][:SHOTS]:
            shown += self._turn(example), {"role": "assistant", "content": example.target}
        conversations = [[*shown, turn] for turn in turns]
        keys = [hashlib.sha256(json.dumps([self.identity, c]).encode()).hexdigest() for c in conversations]

        def answer(places: list[int], progress: Callable[[int, int], None]) -> Sequence[str]:
            return self.chat([conversations[i] for i in places])

        return self.kept(keys, f"{task.name}: text_llm", answer)

    def _turn(self, example: Example) -> dict[str, str]:
        titles = {slot: f"“{self.corpus.spaces[space].title(row)}”" for slot, (space, row) in example.slots.items()}
        return self._said(example.prompt, titles)

    def _said(self, prompt: str, names: dict[str, str]) -> dict[str, str]:
        told = "".join(names[text] if is_slot else text for text, is_slot in pieces_of(prompt))
        return {"role": "user", "content": told}
