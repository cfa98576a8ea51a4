"""`LLMTeacher`: an LLM writes the target texts from the titles and facts of entities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from vectalk.errors import TeacherError
from vectalk.llm import ChatClient, Message
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN
from vectalk.tasks.named_titles import TitleFinder, held_out_titles
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teachers.describer import Describer, check_columns
from vectalk.tasks.teachers.facts import Assignment, FactsTeacher
from vectalk.tasks.teachers.target_check import clean, problem_of
from vectalk.tasks.teachers.teacher_prompt import VERSION, messages_for, repair

ASSUMED = 150  # tokens of a reply, if the cache has no reply to estimate from


@dataclass
class Estimate:
    """Estimated requests, tokens and cost of a corpus before the first request; repairs are not included.

    Attributes:
        requests: number of texts.
        cached: number of texts whose reply is in the cache.
        prompt_tokens: estimated prompt tokens of the texts that are not cached.
        reply_tokens: estimated tokens of their replies.
        most_reply_tokens: tokens of their replies if every reply has the maximum length.
        cost: estimated cost in the currency of the prices; None without prices.
        most_cost: cost if every reply has the maximum length; None without prices.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    most_reply_tokens: int = 0
    cost: float | None = None
    most_cost: float | None = None


class LLMTeacher:
    """Writes targets with an LLM. Each text is checked; the LLM may repair a faulty text once, else it is dropped.

    Args:
        client: sends the requests to the LLM.
        suite: the tasks, and the attributes that prompts state as facts.
        spaces: spaces by name.
        columns: attributes and metadata columns to state in prompts; all when omitted.
        texts: number of different texts of a task about the same entities; further variants reuse these texts.
        max_words: longest text, in words.
    """

    def __init__(
        self,
        client: ChatClient,
        suite: Suite,
        spaces: Mapping[str, VectorSpace],
        *,
        columns: Sequence[str] | None = None,
        texts: int = 1,
        max_words: int = 150,
    ) -> None:
        if texts < 1 or max_words < 1:
            raise TeacherError(f"texts and max_words must be at least 1, not {texts} and {max_words}")
        self.client, self.texts, self.max_words = client, texts, max_words
        self.name = client.transport.name
        self._facts = FactsTeacher(suite, spaces)
        self.describers = {
            name: Describer(name, spaces[name], self._facts.readers[name], columns) for name in suite.spaces
        }
        check_columns(self.describers, columns)
        self._hidden = {name: held_out_titles(space) for name, space in spaces.items() if name in suite.spaces}
        self._splits = {name: spaces[name].column("split") for name in suite.spaces}
        self.repaired = 0
        self.dropped: Counter[str] = Counter()
        self.hints: dict[str, str] = {}  # reason for dropping texts -> how to avoid it

    # ---- prompts

    def _sample(self, one: Assignment) -> int:
        return one.copy % self.texts

    def _prepare(self, assignments: Iterable[Assignment]) -> None:
        """Look up all surroundings at once."""
        needed: dict[tuple[str, str], tuple[Task, set[int]]] = {}
        for one in assignments:
            for slot, row in one.rows.items():
                needed.setdefault((one.task.name, slot), (one.task, set()))[1].add(row)
        for (_, slot), (task, rows) in needed.items():
            self.describers[task.slots[slot]].prepare(sorted(rows), self._facts.used(task)[slot])

    def messages(self, task: Task, rows: Mapping[str, int]) -> list[Message]:
        """Return the prompt for a text, as messages to the LLM."""
        return messages_for(task, rows, self.describers, self.max_words, self._facts.used(task))

    # ---- writing

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Return the texts of the assignments, in order; None if two attempts gave no usable text."""
        self._prepare(assignments)
        # Variants that differ only in the wording of their question share one request.
        places: dict[tuple[Any, ...], list[int]] = {}
        for place, one in enumerate(assignments):
            places.setdefault((one.task.name, *one.rows.items(), self._sample(one)), []).append(place)
        distinct = [assignments[shared[0]] for shared in places.values()]
        texts: list[str | None] = [None] * len(assignments)
        for shared, text in zip(places.values(), self.client.map(self._write, distinct), strict=True):
            for place in shared:
                texts[place] = text
        return texts

    async def _write(self, one: Assignment) -> str | None:
        messages = self.messages(one.task, one.rows)
        titles = [self.describers[space].title(one.rows[slot]) for slot, space in one.task.slots.items()]
        own = None if one.task.names_title else TitleFinder((t for t in titles if t), own=True)
        trained = all(self._splits[space][one.rows[slot]].as_py() == TRAIN for slot, space in one.task.slots.items())
        hidden = list(self._hidden.values()) if trained else []
        attempt = 0
        while True:
            reply = await self.client.chat(messages, version=VERSION, sample=self._sample(one))
            if reply is None:
                self.dropped["not in the cache"] += 1
                return None
            problem = problem_of(reply, self.max_words, own, hidden)
            if problem is None:
                self.repaired += attempt
                self.client.rejections.accept()
                return clean(reply.text)
            if attempt or reply.refused or problem.final:
                break
            messages, attempt = repair(messages, clean(reply.text), problem), 1
        self.dropped[problem.reason] += 1
        self.hints[problem.reason] = self.client.rejections.hint(reply)
        self.client.rejections.reject(problem.reason, reply)
        return None

    # ---- before and after

    def estimate(
        self, assignments: Iterable[Sequence[Assignment]], progress: Callable[[int], None] = lambda done: None
    ) -> Estimate:
        """Return what writing the blocks of assignments would cost; no request is sent."""
        estimate, prompt, transport, cache = Estimate(), 0.0, self.client.transport, self.client.cache
        for block in assignments:
            self._prepare(block)
            for one in {(o.task.name, *o.rows.items(), self._sample(o)): o for o in block}.values():
                estimate.requests += 1
                messages = self.messages(one.task, one.rows)
                key = self.client.key(messages, VERSION, self._sample(one))
                if cache is not None and cache.get(key) is not None:
                    estimate.cached += 1
                else:
                    prompt += self.client.meter.prompt_tokens(messages)
            progress(estimate.requests)
        missing, budget = estimate.requests - estimate.cached, self.client.meter.budget
        known = cache.mean_tokens(transport.identity, VERSION) if cache is not None else None
        estimate.prompt_tokens = round(prompt)
        estimate.reply_tokens = round(missing * min(known or ASSUMED, transport.reply_limit))
        estimate.most_reply_tokens = missing * transport.reply_limit
        if budget.priced:
            estimate.cost = budget.cost(estimate.prompt_tokens, estimate.reply_tokens)
            estimate.most_cost = budget.cost(estimate.prompt_tokens, estimate.most_reply_tokens)
        return estimate

    def provenance(self) -> dict[str, Any]:
        """Return the model, its settings, the prompt's version, the date, and counts of repaired and dropped texts."""
        return {
            **self.client.describe(),
            "prompt_version": VERSION,
            "texts": self.texts,
            "max_words": self.max_words,
            "date": datetime.now(UTC).date().isoformat(),
            "repaired": self.repaired,
            "dropped": dict(self._reasons()),
        }

    def _reasons(self) -> list[tuple[str, int]]:
        """Return (reason, count) of dropped texts, most frequent first; ties by name make the order reproducible."""
        return sorted(self.dropped.items(), key=lambda reason: (-reason[1], reason[0]))

    def notes(self) -> list[str]:
        """Return messages about absent attributes, and about the number of dropped texts and the reasons."""
        notes = self._facts.absent()
        if self.dropped:
            hints = {reason: f" ({hint})" for reason, hint in self.hints.items() if hint}
            reasons = ", ".join(f"{count} {reason}{hints.get(reason, '')}" for reason, count in self._reasons())
            notes.append(f"{self.dropped.total()} texts could not be used and were left out: {reasons}")
        return notes
