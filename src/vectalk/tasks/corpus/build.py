"""Build a corpus: questions about entities, with target texts from a teacher, in constant memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vectalk.errors import CorpusError
from vectalk.files import atomic_folder, write_json, write_text
from vectalk.reading.cards import stamp
from vectalk.space import VectorSpace
from vectalk.space.split import SPLITS, TRAIN
from vectalk.tasks.corpus.corpus import FORMAT, SCHEMA, Corpus, Example, relative
from vectalk.tasks.corpus.plan import blocks, check_variants
from vectalk.tasks.suite import Suite
from vectalk.tasks.teachers.facts import Teacher

PART = 50_000  # examples in one parquet file

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
        spaces: saved spaces, by name.
        suite: the tasks.
        teacher: writes the targets.
        out: folder to create.
        variants: training examples of each task per entity; validation and test have one per entity.
        seed: seed of the random choice of wordings and pairs.
        overwrite: replace the folder if it exists.
        progress: called with task, number of entities done, total number of entities.

    Raises:
        CorpusError: the teacher wrote no training text.
    """
    check_variants(variants)
    counts: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    with atomic_folder(out, "corpus.json", overwrite=overwrite) as folder:
        for split_name in SPLITS:
            with _Parts(folder, split_name) as parts:
                for task in suite.tasks:
                    job, done = f"{task.name} ({split_name})", 0
                    for block in blocks(task, spaces, split_name, variants, seed):
                        progress(job, done, block.total)
                        targets = teacher.write_many(block.assignments)
                        for one, target in zip(block.assignments, targets, strict=True):
                            if target is not None:
                                slots = {slot: (space, one.rows[slot]) for slot, space in task.slots.items()}
                                prompt = task.prompts[block.wording()]
                                parts.add(Example(task.name, prompt, slots, target, split_name, teacher.name))
                                counts[split_name] += 1
                                tasks[f"{split_name}/{task.name}"] += 1
                        done = block.done
                        progress(job, done, block.total)
        if not counts[TRAIN]:
            known = "; ".join(f"{name}: {', '.join(space.column_names)}" for name, space in spaces.items())
            why = "; ".join(teacher.notes()) or "the metadata lack the attributes that its texts state"
            raise CorpusError(
                f"the corpus is empty: teacher {teacher.name!r} wrote no training text for the tasks "
                f"{', '.join(t.name for t in suite.tasks)}: {why} ({known})"
            )
        final = Path(out)
        write_text(folder / "suite.yaml", suite.dump())
        write_json(
            folder / "corpus.json",
            {
                **stamp(FORMAT),
                "suite": suite.name,
                "teacher": teacher.name,
                **({"provenance": provenance} if (provenance := teacher.provenance()) else {}),
                "variants": variants,
                "seed": seed,
                "counts": {name: counts[name] for name in SPLITS},
                "tasks": dict(tasks),
                # With these hashes of the content, a hash of this card identifies the corpus.
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
    """Writes the examples of one split into files of at most PART examples."""

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
