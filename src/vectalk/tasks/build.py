"""Build a corpus: questions about entities, with targets by a teacher, in constant memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vectalk.errors import CorpusError
from vectalk.files import atomic_folder, write_json, write_text
from vectalk.space import VectorSpace
from vectalk.space.neighbors import nearest
from vectalk.space.split import SPLITS, TRAIN
from vectalk.tasks.corpus import FORMAT, SCHEMA, Corpus, Example, relative
from vectalk.tasks.suite import Suite, Task
from vectalk.tasks.teacher import Teacher

PART = 50_000
BLOCK = 2_000  # entities looked up at once
NEAR = 10  # half of the pairs are drawn among this many nearest entities

Progress = Callable[[str, int, int], None]


def build_corpus(
    spaces: Mapping[str, VectorSpace],
    suite: Suite,
    teacher: Teacher,
    out: str | Path,
    *,
    variants: int = 4,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda task, done, total: None,
) -> Corpus:
    """Write a corpus and return it opened.

    Args:
        spaces: saved spaces by name.
        suite: the tasks.
        teacher: writes the targets.
        out: folder to make.
        variants: training examples of each task for each entity; validation and test have one.
        seed: decides wordings and pairs.
        overwrite: replace the folder where it exists.
        progress: called with task, entities done, entities in all.

    Raises:
        CorpusError: nothing could be written for training.
    """
    if variants < 1:
        raise CorpusError(f"variants must be at least 1, not {variants}")
    counts: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    with atomic_folder(out, "corpus.json", overwrite=overwrite) as folder:
        for split_name in SPLITS:
            with _Parts(folder, split_name) as parts:
                for task in suite.tasks:
                    for example in _examples(task, spaces, teacher, split_name, variants, seed, progress):
                        parts.add(example)
                        counts[split_name] += 1
                        tasks[f"{split_name}/{task.name}"] += 1
        if not counts[TRAIN]:
            known = "; ".join(f"{name}: {', '.join(space.column_names)}" for name, space in spaces.items())
            raise CorpusError(
                f"the corpus is empty: teacher {teacher.name!r} could write no training text for the tasks "
                f"{', '.join(t.name for t in suite.tasks)}; the metadata lack what their texts are made of "
                f"({known})"
            )
        final = Path(out)
        write_text(folder / "suite.yaml", suite.dump())
        write_json(
            folder / "corpus.json",
            {
                "format": FORMAT,
                "suite": suite.name,
                "teacher": teacher.name,
                "variants": variants,
                "seed": seed,
                "counts": {name: counts[name] for name in SPLITS},
                "tasks": dict(tasks),
                # With the content named here, a hash of this card identifies the corpus.
                "sha256": {part.name: _sha256(part) for part in sorted(folder.iterdir())},
                "spaces": {
                    name: {
                        "path": relative(space.path, final),
                        "fingerprint": space.fingerprint,
                        "split_hash": space.split_hash,
                        "dim": space.dim,
                    }
                    for name, space in spaces.items()
                    if name in suite.spaces
                },
            },
        )
    return Corpus.load(out)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Parts:
    """Writes examples of one split in parts of bounded size."""

    def __init__(self, folder: Path, split_name: str) -> None:
        self.folder, self.split_name = folder, split_name
        self.waiting: list[dict] = []
        self.written = 0

    def __enter__(self) -> _Parts:
        return self

    def add(self, example: Example) -> None:
        self.waiting.append(example.row())
        if len(self.waiting) == PART:
            self.flush()

    def flush(self) -> None:
        if self.waiting:
            name = f"{self.split_name}-{self.written:05d}.parquet"
            pq.write_table(pa.Table.from_pylist(self.waiting, SCHEMA), self.folder / name)
            self.waiting, self.written = [], self.written + 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.flush()


def _examples(
    task: Task,
    spaces: Mapping[str, VectorSpace],
    teacher: Teacher,
    split_name: str,
    variants: int,
    seed: int,
    progress: Progress,
) -> Iterator[Example]:
    """Yield the examples of one task whose entities are all of one split."""
    first, *second = task.slots.items()
    rows = spaces[first[1]].rows(split_name)
    copies = variants if split_name == TRAIN else 1
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        # Seeded by task, split and place, so that adding a task leaves the others as they are.
        rng = np.random.default_rng([seed, *f"{task.name}/{split_name}/{start}".encode()])
        partners = [_partners(task, spaces, block, split_name, rng) for _ in range(copies)] if second else None
        asked = {first[0]: [int(r) for r in block]}
        if partners is not None:
            asked[second[0][0]] = sorted({int(r) for p in partners for r in p if r >= 0})
        teacher.prepare(task, asked)
        for i, row in enumerate(block):
            for copy in range(copies):
                slots = {first[0]: (first[1], int(row))}
                if partners is not None:
                    if partners[copy][i] < 0:
                        continue
                    slots[second[0][0]] = (second[0][1], int(partners[copy][i]))
                target = teacher.write(task, {s: r for s, (_, r) in slots.items()}, f"{seed}/{row}/{copy}")
                if target is None:
                    continue
                wording = int(rng.integers(len(task.prompts))) if split_name == TRAIN else 0
                yield Example(task.name, task.prompts[wording], slots, target, split_name, teacher.name)
        progress(f"{task.name} ({split_name})", min(start + BLOCK, len(rows)), len(rows))


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
