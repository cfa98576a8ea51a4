"""Plan a corpus: which entities are asked about together, before anything is written about them."""

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

BLOCK = 2_000  # entities planned at once
NEAR = 10  # half of the pairs are drawn among this many nearest entities


@dataclass
class Block:
    """Assignments of one task about some entities of one split.

    Attributes:
        assignments: in the order of the corpus.
        done: entities of the split that are planned with this block.
        total: entities of the split.
    """

    assignments: list[Assignment]
    done: int
    total: int
    task: Task
    split_name: str
    rng: np.random.Generator

    def wording(self) -> int:
        """Draw the wording of the next example; other splits than train are asked in the first."""
        return int(self.rng.integers(len(self.task.prompts))) if self.split_name == TRAIN else 0


def check_variants(variants: int) -> None:
    """Raise a CorpusError where this many training examples of an entity cannot be."""
    if variants < 1:
        raise CorpusError(f"variants must be at least 1, not {variants}")


def blocks(task: Task, spaces: Mapping[str, VectorSpace], split_name: str, variants: int, seed: int) -> Iterator[Block]:
    """Yield the assignments of one task whose entities are all of one split, block by block.

    Args:
        task: the task.
        spaces: spaces by name.
        split_name: `train`, `validation` or `test`.
        variants: training examples for each entity; the other splits have one.
        seed: decides pairs and wordings.
    """
    first, *second = task.slots.items()
    rows = spaces[first[1]].rows(split_name)
    copies = variants if split_name == TRAIN else 1
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # Seeded by task, split and place, so that adding a task leaves the others as they are.
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
    """Yield all assignments of a corpus, block by block, in its order."""
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
    """Return the second entity for each row of a block, or -1 where there is none.

    A task about neighbours takes the nearest training entity. Otherwise both are of the same split: half of the
    pairs are drawn among near entities, since two entities drawn blindly seldom have anything in common.
    """
    name_a, name_b = task.slots.values()
    space, pool = spaces[name_b], spaces[name_b].rows(TRAIN if task.pairs == "neighbor" else split_name)
    same = name_a == name_b
    chosen = pool[rng.integers(len(pool), size=len(block))] if len(pool) else np.full(len(block), -1)
    if same and len(pool) > 1:
        count = 1 if task.pairs == "neighbor" else NEAR
        near, _ = nearest(space.vectors[block], space.vectors, count, space.metric, rows=pool, exclude=block)
        pick = near[np.arange(len(block)), rng.integers(near.shape[1], size=len(block))]
        chosen = np.where((rng.random(len(block)) < 0.5) | (task.pairs == "neighbor"), pick, chosen)
    return np.where(chosen == block, -1, chosen) if same else chosen
