"""The conditions of one task: the model, controls without the right vector, and baselines without the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Ask, Slots
from vectalk.evaluation.naming import NAMING
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.text_llm import TextLLM
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
    *NAMING,
)
EXTRA = ("stage1", "text_llm")  # need the first stage of a run, or another LLM
ALL = (*CONDITIONS, *EXTRA)
REQUIRED = ("elm", "shuffled", "own_text")  # needed for normalised consistency
SPELLED = ("majority", "vote_text", "probe_text")
GAUSSIANS = 128  # most random vectors for a space; further examples use them again
MOST_ROWS = 50_000  # most training entities for mean and covariance of random vectors


class Conditions:
    """Writes the texts of one task under each condition.

    Args:
        corpus: the corpus of the examples.
        task: the task.
        examples: the test examples.
        references: training examples of the task; `copy_text` copies their texts.
        facts: predictions of the baselines.
        ask: asks the model.
        stage1: asks the model as it was after the first stage, or the reason why that is not possible.
        text_llm: an LLM that reads titles instead of vectors, or the reason why there is none.
        named: asks the model with other settings of names, by condition.
        seed: seed of the permutation, the random vectors and the choice of words.
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
        text_llm: TextLLM | str = "no LLM was given",
        named: Mapping[str, Ask] | None = None,
    ) -> None:
        self.corpus, self.task, self.examples, self.references = corpus, task, examples, references
        self.facts, self.ask, self.stage1, self.text_llm, self.seed = facts, ask, stage1, text_llm, seed
        self.named = dict(named or {})

    def texts(self, condition: str) -> list[str]:
        """Return one text for each example.

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
            if isinstance(self.text_llm, str):
                raise NotRunError(self.text_llm)
            return self.text_llm(self.task, self.examples, self.references)
        if condition in NAMING and condition not in self.named:
            raise NotRunError("the generator takes no settings of names")
        ask = self.stage1 if condition == "stage1" else self.named.get(condition, self.ask)
        if isinstance(ask, str):
            raise NotRunError(ask)
        vectors: dict[str, Callable[[], list[Slots]]] = {
            "elm": self._right,
            "stage1": self._right,
            **dict.fromkeys(NAMING, self._right),
            "shuffled": self._shuffled,
            "mean": lambda: self._replaced(lambda space, _: np.tile(space.normalizer.mean, (len(self.examples), 1))),
            "gaussian": lambda: self._replaced(self._gaussian),
        }
        prompts = [example.prompt for example in self.examples]
        return ask(list(zip(prompts, vectors[condition](), strict=True)), f"{self.task.name}: {condition}")

    def _right(self) -> list[Slots]:
        return [self.corpus.vectors(example) for example in self.examples]

    def _shuffled(self) -> list[Slots]:
        right = self._right()
        return [right[i] for i in derangement(len(right), self.seed)]

    def _replaced(self, sample: Callable[[VectorSpace, int], np.ndarray]) -> list[Slots]:
        """Return slots with other vectors; `sample` maps a space and the number of the slot to vectors [n, D]."""
        replaced = {
            slot: (space, sample(self.corpus.spaces[space], number))
            for number, (slot, space) in enumerate(self.task.slots.items())
        }
        return [
            {slot: (space, vectors[i]) for slot, (space, vectors) in replaced.items()}
            for i in range(len(self.examples))
        ]

    def _gaussian(self, space: VectorSpace, slot: int) -> np.ndarray:
        n = len(self.examples)
        return gaussian(space, min(n, GAUSSIANS), self.seed + slot)[np.arange(n) % GAUSSIANS]

    def _copied(self) -> list[str]:
        """Return the reference text of the nearest training entity, or write that of the nearest pair from facts."""
        if len(self.task.slots) == 1:
            slot, space = next(iter(self.task.slots.items()))
            texts: dict[int, str] = {}
            for example in self.references:
                texts.setdefault(example.slots[slot][1], example.target)
            if not texts:
                raise NotRunError(f"task {self.task.name!r} has no training texts to copy")
            neighbors = self._nearest(slot, space, np.array(sorted(texts)))
            return [texts[int(row)] for row in neighbors]
        if not self.task.facts:
            raise NotRunError(f"task {self.task.name!r} has no `facts`; the text of the nearest pair cannot be written")
        near = {slot: self._nearest(slot, space) for slot, space in self.task.slots.items()}
        pairs = [{slot: int(rows[i]) for slot, rows in near.items()} for i in range(len(self.examples))]
        assignments = [Assignment(self.task, pair, f"{self.seed}/{i}") for i, pair in enumerate(pairs)]
        return [text or "" for text in self.facts.teacher.write_many(assignments)]

    def _nearest(self, slot: str, space_name: str, among: np.ndarray | None = None) -> np.ndarray:
        space = self.corpus.spaces[space_name]
        own = np.array([example.slots[slot][1] for example in self.examples])
        among = space.rows(TRAIN) if among is None else among
        neighbors, _ = nearest(space.vectors[own], space.vectors, 1, space.metric, rows=among, exclude=own)
        return neighbors[:, 0]


def derangement(n: int, seed: int) -> np.ndarray:
    """Return a random permutation [n] without fixed points (one cycle, Sattolo's algorithm)."""
    if n < 2:
        raise EvaluationError(f"the shuffled control needs at least 2 test examples of a task, not {n}")
    rng, order = np.random.default_rng(seed), np.arange(n)
    for i in range(n - 1, 0, -1):
        j = int(rng.integers(i))
        order[i], order[j] = order[j], order[i]
    return order


def gaussian(space: VectorSpace, n: int, seed: int) -> np.ndarray:
    """Return random vectors [n, D] with the mean and covariance of the training entities."""
    rows = space.rows(TRAIN)
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]
    centred = np.asarray(space.vectors[sample], np.float32) - space.normalizer.mean
    _, scale, basis = np.linalg.svd(centred, full_matrices=False)
    normal = np.random.default_rng(seed).standard_normal((n, len(scale)))
    vectors = normal @ (scale[:, None] * basis) / np.sqrt(len(sample)) + space.normalizer.mean
    return vectors.astype(np.float32)
