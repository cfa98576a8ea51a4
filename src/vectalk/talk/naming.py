"""`Naming`: which titles the answers of a run may name; forces them while decoding, or mends texts afterwards."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from functools import cached_property, partial

import numpy as np

from vectalk.decoding.names import RowNames, TitleNames, TokenBytes
from vectalk.decoding.settings import Decoding, Generated
from vectalk.model.conversation import EarlierTurn
from vectalk.space import VectorSpace
from vectalk.space.split import TRAIN
from vectalk.space.titles import closest
from vectalk.talk.catalogue import MOST_TITLES, Catalogue
from vectalk.talk.engine import Engine, Progress, Slots, TransformersEngine
from vectalk.tasks.name_spans import TitleIndex, name_spans
from vectalk.tasks.naming import naming_sources
from vectalk.tasks.suite import Suite, Task

WEIGHT = 4.0  # of the similarity, for runs that store no weight of their own
MARKS = '"“'  # what opens a name in a task that names entities


class Naming:
    """The titles of the tasks of a run that name entities; made on first use.

    Args:
        suite: the tasks of the run.
        spaces: spaces by name.
        weights: task -> weight of the similarity.
    """

    def __init__(self, suite: Suite, spaces: Mapping[str, VectorSpace], weights: Mapping[str, float]) -> None:
        self.suite, self.spaces, self.weights = suite, spaces, dict(weights)
        self._catalogues: dict[str, Catalogue | None] = {}
        self._names: dict[tuple[int, str], TitleNames] = {}
        self._tokens: dict[int, TokenBytes | None] = {}
        self._making = threading.RLock()

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        """Wording -> its task, for the tasks that name entities."""
        return {
            wording: task
            for task in reversed(self.suite.tasks)  # of several tasks with one wording, the first counts
            if naming_sources(self.suite, task)
            for wording in task.prompts
        }

    def catalogue(self, question: str) -> Catalogue | None:
        """Return the titles that an answer may name; None where the question is no wording of a task that names some.

        It is None too where a named space has more than MOST_TITLES training entities.
        """
        task = self._tasks.get(question)
        if task is None:
            return None
        with self._making:
            if task.name not in self._catalogues:
                self._catalogues[task.name] = Catalogue(self.suite, task, self.spaces) if self._fits(task) else None
            return self._catalogues[task.name]

    def _fits(self, task: Task) -> bool:
        spaces = {source.space for source in naming_sources(self.suite, task)}
        return all(len(self.spaces[name].rows(TRAIN)) <= MOST_TITLES for name in spaces if name in self.spaces)

    def weight(self, question: str, decoding: Decoding) -> float:
        """Return the weight of the similarity: of the settings, else of the run."""
        if decoding.names_weight is not None:
            return decoding.names_weight
        task = self._tasks.get(question)
        return WEIGHT if task is None else self.weights.get(task.name, WEIGHT)

    def how(self, engine: Engine, question: str, decoding: Decoding) -> str:
        """Return what happens to the names of an answer: `force`, `mend`, `link` or `off`.

        An engine that cannot be constrained, or whose tokens have no fixed bytes, gets its texts mended afterwards.
        """
        if decoding.names != "force":
            return decoding.names
        if self.catalogue(question) is None:
            return "link"
        return "force" if self.can_force(engine) else "mend"

    def can_force(self, engine: Engine) -> bool:
        """Return whether the names that an engine writes can be constrained token by token."""
        return self._tokens_of(engine) is not None

    def settings(self, engine: Engine, question: str, decoding: Decoding) -> dict[str, str | float | None]:
        """Return the settings of names that an answer really had, for a log."""
        how = self.how(engine, question, decoding)
        return {"names": how, "names_weight": self.weight(question, decoding) if how == "force" else None}

    def rows(
        self, engine: Engine, questions: Sequence[str], slots: Sequence[Slots], decoding: Decoding
    ) -> list[RowNames | None]:
        """Return the constraint of each answer; None for an answer without one."""
        rows: list[RowNames | None] = []
        for question, bindings in zip(questions, slots, strict=True):
            catalogue = self.catalogue(question)
            if catalogue is None or self.how(engine, question, decoding) != "force":
                rows.append(None)
                continue
            names, weight = self._names_of(engine, catalogue), self.weight(question, decoding)
            scores = partial(catalogue.scores, bindings) if weight else None
            rows.append(RowNames(names, scores, weight, catalogue.bound(bindings)))
        return rows

    def _tokens_of(self, engine: Engine) -> TokenBytes | None:
        if not isinstance(engine, TransformersEngine):
            return None
        tokenizer = engine.prompts.tokenizer
        with self._making:
            if id(tokenizer) not in self._tokens:
                self._tokens[id(tokenizer)] = TokenBytes.of(tokenizer)
            return self._tokens[id(tokenizer)]

    def _names_of(self, engine: Engine, catalogue: Catalogue) -> TitleNames:
        tokens = self._tokens_of(engine)
        assert tokens is not None
        key = (id(tokens), catalogue.task.name)
        with self._making:
            if key not in self._names:
                self._names[key] = TitleNames(catalogue.titles, tokens)
            return self._names[key]


class NamingEngine:
    """An engine whose answers to tasks that name entities name only what exists.

    Args:
        engine: the engine that writes.
        naming: the titles.
    """

    def __init__(self, engine: Engine, naming: Naming) -> None:
        self.engine, self.naming = engine, naming

    @property
    def mends(self) -> bool:
        """Whether the engine cannot be constrained, so that names are replaced in the complete text."""
        return not self.naming.can_force(self.engine)

    def rows(self, questions: Sequence[str], slots: Sequence[Slots], decoding: Decoding) -> list[RowNames | None]:
        """Return the constraint of each answer; None for an answer without one."""
        return self.naming.rows(self.engine, questions, slots, decoding)

    def generate(
        self,
        questions: Sequence[str],
        slots: Sequence[Slots],
        decoding: Decoding,
        progress: Progress = lambda done, total: None,
        earlier: Sequence[Sequence[EarlierTurn]] | None = None,
    ) -> list[Generated]:
        """Answer questions, each with its own vectors, and after its own earlier turns where the engine takes them."""
        rows = self.rows(questions, slots, decoding)
        constrained = any(row is not None for row in rows) or any(earlier or ())
        if constrained and isinstance(self.engine, TransformersEngine):
            answers = self.engine.generate(questions, slots, decoding, progress, rows, earlier)
        else:
            answers = self.engine.generate(questions, slots, decoding, progress)
        return [self._finished(*one, decoding) for one in zip(questions, slots, answers, strict=True)]

    def stream(
        self, question: str, slots: Slots, decoding: Decoding, earlier: Sequence[EarlierTurn] = ()
    ) -> Generator[str, None, Generated]:
        """Answer one question: yield the pieces of its text, then return the complete answer.

        A text whose names are mended comes in one piece.
        """
        mends = self.naming.how(self.engine, question, decoding) == "mend"
        if not mends and isinstance(self.engine, TransformersEngine):
            (row,) = self.rows([question], [slots], decoding)
            return (yield from self.engine.stream(question, slots, decoding, row, earlier))
        if not mends:
            return (yield from self.engine.stream(question, slots, decoding))
        (answer,) = self.generate([question], [slots], decoding, earlier=[earlier])
        yield answer.text
        return answer

    def _finished(self, question: str, slots: Slots, answer: Generated, decoding: Decoding) -> Generated:
        catalogue = self.naming.catalogue(question)
        if catalogue is None or self.naming.how(self.engine, question, decoding) != "mend":
            return answer
        text, replaced = mend(answer.text, catalogue, slots)
        return answer._replace(text=text, replaced=replaced)


def mend(text: str, catalogue: Catalogue, slots: Slots) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Replace the names in quotation marks that do not exist, that are repeated, or that are bound to a slot.

    A name that is another spelling of a title becomes that title, and any other name becomes the title that fits the
    vectors best; without vectors to compare with, the title that looks most like the name. No title is named twice. If
    no title is left, the name stays.

    Args:
        text: an answer.
        catalogue: the titles that may be named.
        slots: slot -> (space, vector [D]).

    Returns:
        The text, and the replaced names with their titles.
    """
    index, scores, bound = TitleIndex(catalogue.titles), catalogue.scores(slots), catalogue.bound(slots)
    free = dict.fromkeys(title for place, title in enumerate(catalogue.titles) if place not in set(bound))
    parts, replaced, last = [], [], 0
    for span in name_spans(text, catalogue.place.__contains__):
        if text[span.start - 1 : span.start] not in tuple(MARKS):
            continue
        title = index.resolve(span.name)
        if title not in free:
            title = _best(span.name, free, catalogue, scores)
        if title is None:
            continue
        del free[title]
        if title != text[span.start : span.end]:
            replaced.append((span.name, title))
            parts += [text[last : span.start], title]
            last = span.end
    return "".join([*parts, text[last:]]), tuple(replaced)


def _best(name: str, free: Mapping[str, None], catalogue: Catalogue, scores: np.ndarray | None) -> str | None:
    if not free:
        return None
    if scores is None:
        return next(iter(closest(name, free, 1)), next(iter(free)))
    return max(free, key=lambda title: scores[catalogue.place[title]])
