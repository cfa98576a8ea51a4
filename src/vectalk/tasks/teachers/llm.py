"""`LLMTeacher`: an LLM that is told title and facts writes the texts from which another learns to read vectors."""

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
from vectalk.tasks.named_titles import TitleFinder, set_aside
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teachers.describer import Describer, check_columns
from vectalk.tasks.teachers.facts import Assignment, FactsTeacher
from vectalk.tasks.teachers.target_check import clean, problem_of
from vectalk.tasks.teachers.teacher_prompt import VERSION, messages_for, repair

ASSUMED = 150  # tokens of a reply, where none is at hand to tell


@dataclass
class Estimate:
    """What a corpus will ask of an LLM, before anything is asked; repairs come on top.

    Attributes:
        requests: texts in all.
        cached: those that are in the cache.
        prompt_tokens: of the others' prompts, about.
        reply_tokens: of their replies, about; `most_reply_tokens` at most.
        cost: money for these, about; None without prices.
        most_cost: money where every reply is as long as it may be.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    most_reply_tokens: int = 0
    cost: float | None = None
    most_cost: float | None = None


class LLMTeacher:
    """Writes targets with an LLM; each text is checked, mended once where it is wrong, and else left out and counted.

    Args:
        client: asks the LLM.
        suite: the tasks, and attributes that are told in words.
        spaces: spaces by name.
        columns: attributes and metadata columns to tell; all when omitted.
        texts: different texts of a task about the same entities; further variants share them.
        max_words: longest text.
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
        self._hidden = {name: set_aside(space) for name, space in spaces.items() if name in suite.spaces}
        self._splits = {name: spaces[name].column("split") for name in suite.spaces}
        self.repaired = 0
        self.dropped: Counter[str] = Counter()
        self.hints: dict[str, str] = {}  # what helps against a reason to drop texts

    # ---- prompts

    def _sample(self, one: Assignment) -> int:
        return one.copy % self.texts

    def _prepare(self, assignments: Iterable[Assignment]) -> None:
        """Look up all surroundings at once."""
        asked: dict[tuple[str, str], tuple[Task, set[int]]] = {}
        for one in assignments:
            for slot, row in one.rows.items():
                asked.setdefault((one.task.name, slot), (one.task, set()))[1].add(row)
        for (_, slot), (task, rows) in asked.items():
            self.describers[task.slots[slot]].prepare(sorted(rows), self._facts.used(task)[slot])

    def messages(self, task: Task, rows: Mapping[str, int]) -> list[Message]:
        """Return what the LLM is told."""
        return messages_for(task, rows, self.describers, self.max_words, self._facts.used(task))

    # ---- writing

    def write_many(self, assignments: Sequence[Assignment]) -> list[str | None]:
        """Return the texts of the assignments, in order; None where two attempts brought none that can be used."""
        self._prepare(assignments)
        # The same text is asked for once; variants differ in the wording of their question.
        places: dict[tuple[Any, ...], list[int]] = {}
        for place, one in enumerate(assignments):
            places.setdefault((one.task.name, *one.rows.items(), self._sample(one)), []).append(place)
        wanted = [assignments[shared[0]] for shared in places.values()]
        texts: list[str | None] = [None] * len(assignments)
        for shared, text in zip(places.values(), self.client.map(self._write, wanted), strict=True):
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
        """Return what writing the assignments, given in blocks, would ask for; nothing is asked."""
        found, prompt, transport, cache = Estimate(), 0.0, self.client.transport, self.client.cache
        for block in assignments:
            self._prepare(block)
            for one in {(o.task.name, *o.rows.items(), self._sample(o)): o for o in block}.values():
                found.requests += 1
                messages = self.messages(one.task, one.rows)
                key = self.client.key(messages, VERSION, self._sample(one))
                if cache is not None and cache.get(key) is not None:
                    found.cached += 1
                else:
                    prompt += self.client.meter.prompt_tokens(messages)
            progress(found.requests)
        missing, budget = found.requests - found.cached, self.client.meter.budget
        known = cache.mean_tokens(transport.identity, VERSION) if cache is not None else None
        found.prompt_tokens = round(prompt)
        found.reply_tokens = round(missing * min(known or ASSUMED, transport.reply_limit))
        found.most_reply_tokens = missing * transport.reply_limit
        if budget.priced:
            found.cost = budget.cost(found.prompt_tokens, found.reply_tokens)
            found.most_cost = budget.cost(found.prompt_tokens, found.most_reply_tokens)
        return found

    def provenance(self) -> dict[str, Any]:
        """Return model, host, parameters, version of the prompt, date, what was asked, mended, dropped and spent."""
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
        """Return why texts were dropped, the commonest reason first, equals by name: replies come in any order."""
        return sorted(self.dropped.items(), key=lambda reason: (-reason[1], reason[0]))

    def notes(self) -> list[str]:
        """Return what was dropped, and why."""
        notes = self._facts.absent()
        if self.dropped:
            hints = {reason: f" ({hint})" for reason, hint in self.hints.items() if hint}
            reasons = ", ".join(f"{count} {reason}{hints.get(reason, '')}" for reason, count in self._reasons())
            notes.append(f"{self.dropped.total()} texts could not be used and were left out: {reasons}")
        return notes
