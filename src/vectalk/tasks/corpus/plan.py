"""Plan a corpus: select the entities of each example before a teacher writes any text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from vectalk.errors import CorpusError
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import SPLITS, TRAIN
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teachers.facts import Assignment

BLOCK = 2_000  # entities in one block
NEAR = 10  # half of the pairs take their second entity from this many nearest entities


@dataclass
class Block:
    """Assignments of one task about some entities of one split.

    Attributes:
        assignments: the assignments, in the order of the corpus.
        done: number of entities of the split that are planned, this block included.
        total: number of entities of the split.
    """

    assignments: list[Assignment]
    done: int
    total: int
    task: Task
    split_name: str
    rng: np.random.Generator

    def wording(self) -> int:
        """Return the number of the next example's wording: random for train, the first for other splits."""
        return int(self.rng.integers(len(self.task.prompts))) if self.split_name == TRAIN else 0


def check_variants(variants: int) -> None:
    """Raise a CorpusError unless there is at least one training example per entity."""
    if variants < 1:
        raise CorpusError(f"variants must be at least 1, not {variants}")


def blocks(task: Task, spaces: Mapping[str, VectorSpace], split_name: str, variants: int, seed: int) -> Iterator[Block]:
    """Yield the assignments of one task whose entities are all of one split, block by block.

    Args:
        task: the task.
        spaces: spaces by name.
        split_name: `train`, `validation` or `test`.
        variants: training examples per entity; the other splits have one per entity.
        seed: seed of the random choice of pairs and wordings.
    """
    first, *second = task.slots.items()
    rows = spaces[first[1]].rows(split_name)
    copies = variants if split_name == TRAIN else 1
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # Seeded by task, split and position, so that adding a task does not change the other tasks.
        rng = np.random.default_rng([seed, *f"{task.name}/{split_name}/{start}".encode()])
        partners = [_partners(task, spaces, block, split_name, rng) for _ in range(copies)] if second else None
        assignments = []
        for i, row in enumerate(block):
            for copy in range(copies):
                slots = {first[0]: int(row)}
                if partners is not None:
                    if partners[copy][i] < 0:
                        continue
                    slots[second[0][0]] = int(partners[copy][i])
                assignments.append(Assignment(task, slots, f"{seed}/{row}/{copy}", copy))
        yield Block(assignments, min(start + BLOCK, len(rows)), len(rows), task, split_name, rng)


def planned(
    suite: Suite, spaces: Mapping[str, VectorSpace], variants: int = 4, seed: int = 0
) -> Iterator[list[Assignment]]:
    """Yield all assignments of a corpus, block by block, in the order of the corpus."""
    check_variants(variants)
    for split_name in SPLITS:
        for task in suite.tasks:
            for block in blocks(task, spaces, split_name, variants, seed):
                yield block.assignments


def _partners(
    task: Task,
    spaces: Mapping[str, VectorSpace],
    block: np.ndarray,
    split_name: str,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the second entity for each row of a block, or -1 if there is none.

    A task with `pairs: neighbor` takes the nearest training entity. Otherwise both entities are of the same split. Half
    of the pairs take a near entity, since two random entities seldom have anything in common.
    """
    name_a, name_b = task.slots.values()
    space, pool = spaces[name_b], spaces[name_b].rows(TRAIN if task.pairs == "neighbor" else split_name)
    same = name_a == name_b
    partners = pool[rng.integers(len(pool), size=len(block))] if len(pool) else np.full(len(block), -1)
    if same and len(pool) > 1:
        count = 1 if task.pairs == "neighbor" else NEAR
        near, _ = nearest(space.vectors[block], space.vectors, count, space.metric, rows=pool, exclude=block)
        pick = near[np.arange(len(block)), rng.integers(near.shape[1], size=len(block))]
        partners = np.where((rng.random(len(block)) < 0.5) | (task.pairs == "neighbor"), pick, partners)
    return np.where(partners == block, -1, partners) if same else partners
