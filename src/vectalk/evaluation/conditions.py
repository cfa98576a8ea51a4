"""The conditions of one task: the model, controls that lost the vector, and rivals that see it without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Ask, Slots
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.told import Told
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import TRAIN
from vectalk.tasks import Assignment, Corpus, Example, Task

CONDITIONS = (
    "elm",
    "shuffled",
    "mean",
    "gaussian",
    "majority",
    "copy_text",
    "vote_text",
    "probe_text",
    "own_text",
)
EXTRA = ("stage1", "text_llm")  # need more than a run: its first stage, or another LLM
ALL = (*CONDITIONS, *EXTRA)
REQUIRED = ("elm", "shuffled", "own_text")  # normalised consistency needs them
SPELLED = ("majority", "vote_text", "probe_text")
GAUSSIANS = 128  # vectors of nobody that are asked about; examples beyond share them
MOST_ROWS = 50_000


class Conditions:
    """Writes the texts of one task under each condition.

    Args:
        corpus: whose test examples are asked about.
        task: the task.
        examples: the test examples.
        references: training examples of the task, to copy from.
        facts: the rivals' knowledge.
        ask: asks the model.
        stage1: asks the model as it was after the first stage, or says why not.
        told: an LLM that is told titles, or why there is none.
        seed: decides the permutation, the noise and the wordings.
    """

    def __init__(
        self,
        corpus: Corpus,
        task: Task,
        examples: Sequence[Example],
        references: Sequence[Example],
        facts: Facts,
        ask: Ask,
        seed: int,
        *,
        stage1: Ask | str = "no first stage was given",
        told: Told | str = "no LLM was given",
    ) -> None:
        self.corpus, self.task, self.examples, self.references = corpus, task, examples, references
        self.facts, self.ask, self.stage1, self.told, self.seed = facts, ask, stage1, told, seed

    def texts(self, condition: str) -> list[str]:
        """Return one text an example.

        Raises:
            NotRunError: the condition cannot be written for this task.
        """
        if condition == "own_text":
            return [example.target for example in self.examples]
        if condition == "copy_text":
            return self._copied()
        if condition in SPELLED:
            return self.facts.spell(condition, self.task, self.examples)
        if condition == "text_llm":
            if isinstance(self.told, str):
                raise NotRunError(self.told)
            return self.told(self.task, self.examples, self.references)
        ask = self.stage1 if condition == "stage1" else self.ask
        if isinstance(ask, str):
            raise NotRunError(ask)
        vectors: dict[str, Callable[[], list[Slots]]] = {
            "elm": self._right,
            "stage1": self._right,
            "shuffled": self._shuffled,
            "mean": lambda: self._drawn(lambda space, _: np.tile(space.normalizer.mean, (len(self.examples), 1))),
            "gaussian": lambda: self._drawn(self._gaussian),
        }
        prompts = [example.prompt for example in self.examples]
        return ask(list(zip(prompts, vectors[condition](), strict=True)), f"{self.task.name}: {condition}")

    def _right(self) -> list[Slots]:
        spaces = self.corpus.spaces
        return [
            {
                slot: (space, np.asarray(spaces[space].vectors[row], np.float32))
                for slot, (space, row) in e.slots.items()
            }
            for e in self.examples
        ]

    def _shuffled(self) -> list[Slots]:
        right = self._right()
        return [right[i] for i in derangement(len(right), self.seed)]

    def _drawn(self, draw: Callable[[VectorSpace, int], np.ndarray]) -> list[Slots]:
        """Return slots whose vectors [n, D] are drawn from a space, given the number of the slot."""
        drawn = {
            slot: (space, draw(self.corpus.spaces[space], number))
            for number, (slot, space) in enumerate(self.task.slots.items())
        }
        return [
            {slot: (space, vectors[i]) for slot, (space, vectors) in drawn.items()} for i in range(len(self.examples))
        ]

    def _gaussian(self, space: VectorSpace, slot: int) -> np.ndarray:
        n = len(self.examples)
        return gaussian(space, min(n, GAUSSIANS), self.seed + slot)[np.arange(n) % GAUSSIANS]

    def _copied(self) -> list[str]:
        """Take the reference text of the nearest training entity, or spell that of the nearest pair."""
        if len(self.task.slots) == 1:
            slot, space = next(iter(self.task.slots.items()))
            written: dict[int, str] = {}
            for example in self.references:
                written.setdefault(example.slots[slot][1], example.target)
            if not written:
                raise NotRunError(f"task {self.task.name!r} has no training texts to copy")
            found = self._nearest(slot, space, np.array(sorted(written)))
            return [written[int(row)] for row in found]
        if not self.task.facts:
            raise NotRunError(f"task {self.task.name!r} has no `facts`; the text of a nearest pair cannot be written")
        near = {slot: self._nearest(slot, space) for slot, space in self.task.slots.items()}
        pairs = [{slot: int(rows[i]) for slot, rows in near.items()} for i in range(len(self.examples))]
        asked = [Assignment(self.task, pair, f"{self.seed}/{i}") for i, pair in enumerate(pairs)]
        return [text or "" for text in self.facts.teacher.write_many(asked)]

    def _nearest(self, slot: str, space_name: str, among: np.ndarray | None = None) -> np.ndarray:
        space = self.corpus.spaces[space_name]
        own = np.array([example.slots[slot][1] for example in self.examples])
        among = space.rows(TRAIN) if among is None else among
        found, _ = nearest(space.vectors[own], space.vectors, 1, space.metric, rows=among, exclude=own)
        return found[:, 0]


def derangement(n: int, seed: int) -> np.ndarray:
    """Return a random permutation [n] that leaves nothing in its place (one cycle, after Sattolo)."""
    if n < 2:
        raise EvaluationError(f"the shuffled control needs at least 2 test examples of a task, not {n}")
    rng, order = np.random.default_rng(seed), np.arange(n)
    for i in range(n - 1, 0, -1):
        j = int(rng.integers(i))
        order[i], order[j] = order[j], order[i]
    return order


def gaussian(space: VectorSpace, n: int, seed: int) -> np.ndarray:
    """Return vectors [n, D] of nobody, with the mean and covariance of training entities."""
    rows = space.rows(TRAIN)
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]
    centred = np.asarray(space.vectors[sample], np.float32) - space.normalizer.mean
    _, scale, basis = np.linalg.svd(centred, full_matrices=False)
    normal = np.random.default_rng(seed).standard_normal((n, len(scale)))
    drawn = normal @ (scale[:, None] * basis) / np.sqrt(len(sample)) + space.normalizer.mean
    return drawn.astype(np.float32)
