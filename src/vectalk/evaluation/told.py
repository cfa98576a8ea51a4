"""The rival that is told: an LLM that reads the titles instead of the vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from vectalk.errors import EvaluationError
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
    """

    def __init__(self, client: ChatClient) -> None:
        self.client, self.name = client, client.transport.model

    def __call__(self, conversations: Sequence[Messages]) -> list[str]:
        """Return the text of each reply."""
        replies = self.client.map(lambda messages: self.client.chat(messages, version="text_llm"), conversations)
        return [reply.text.strip() if reply is not None else "" for reply in replies]


@contextmanager
def open_client(
    kind: str,
    *,
    endpoint: str | Path | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    max_tokens: int | None = None,
    max_cost: float | None = None,
) -> Iterator[ChatClient]:
    """Yield a client of the LLM of a kind such as `llm:MODEL`, behind an endpoint, or `hf:FOLDER`, in this process.

    It does not sample, and keeps every reply that it has paid for.

    Args:
        kind: `llm:MODEL` or `hf:FOLDER`.
        endpoint: YAML file with settings of the endpoint.
        base_url: its address.
        key_env: environment variable with its key.
        max_tokens: budget in tokens of prompts and replies together.
        max_cost: budget in money, where the endpoint's settings have prices.

    Raises:
        EvaluationError: there is no such kind.
        TeacherError: the model or a setting does not do.
    """
    from vectalk.llm import Budget, Endpoint, ReplyCache
    from vectalk.llm.local import LocalModel
    from vectalk.llm.replies import default_cache

    name, _, model = kind.partition(":")
    if name not in ("llm", "hf") or not model:
        raise EvaluationError(f"an LLM to be told titles, or to judge, is llm:MODEL or hf:FOLDER, not {kind!r}")
    if name == "llm":
        given = {key: value for key, value in (("base_url", base_url), ("key_env", key_env)) if value is not None}
        place: Endpoint | LocalModel = Endpoint.read(endpoint, model=model, **{"params.temperature": 0.0}, **given)
    else:
        place = LocalModel.read(model=model)
    prices = (place.price_input, place.price_output) if isinstance(place, Endpoint) else (None, None)
    budget = Budget(max_tokens, max_cost, *prices)
    with closing(ReplyCache(default_cache())) as cache, ChatClient(place, cache, budget) as client:
        yield client


@contextmanager
def open_chat(
    kind: str, *, endpoint: str | Path | None = None, base_url: str | None = None, key_env: str | None = None
) -> Iterator[ClientChat]:
    """Yield the LLM of a kind as a `Chat`; see `open_client`."""
    with open_client(kind, endpoint=endpoint, base_url=base_url, key_env=key_env) as client:
        yield ClientChat(client)


class Told:
    """Asks an LLM the questions of a task with titles in the slots.

    It sees a few training examples, told in the same way, so that it knows the kind of answer that is wanted; that it
    knows the titles is up to it.

    Args:
        chat: the LLM.
        corpus: where the titles are.
        kept: where answers are kept.
        name: tells the LLM from any other.
    """

    def __init__(self, chat: Chat, corpus: Corpus, kept: Kept, name: str) -> None:
        self.chat, self.corpus, self.kept, self.name = chat, corpus, kept, name

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
        keys = [hashlib.sha256(json.dumps([self.name, c]).encode()).hexdigest() for c in conversations]

        def answer(places: list[int], progress: Callable[[int, int], None]) -> Sequence[str]:
            return self.chat([conversations[i] for i in places])

        return self.kept(keys, f"{task.name}: text_llm", answer)

    def _turn(self, example: Example) -> dict[str, str]:
        titles = {slot: f"“{self.corpus.spaces[space].title(row)}”" for slot, (space, row) in example.slots.items()}
        return self._said(example.prompt, titles)

    def _said(self, prompt: str, names: dict[str, str]) -> dict[str, str]:
        told = "".join(names[text] if is_slot else text for text, is_slot in pieces_of(prompt))
        return {"role": "user", "content": told}
