"""The weight of the similarity in forced names: chosen on validation entities, and stored in the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vectalk.errors import RunError
from vectalk.files import write_json
from vectalk.reading.cards import read_card, stamp
from vectalk.space.split import VALIDATION
from vectalk.tasks.corpus.corpus import Corpus, Example
from vectalk.tasks.name_spans import name_spans
from vectalk.tasks.naming import listed_titles
from vectalk.tasks.suite import Task
from vectalk.tasks.teachers.facts import FactsTeacher

FILE, FORMAT = "names.json", 1
GRID = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
ALONE = 1e6  # the similarity alone decides
LIMIT = 64  # validation examples of a task

Slots = dict[str, tuple[str, np.ndarray]]


class Trial(BaseModel):
    """A weight, the share of names that the facts allow, and the number of names in an answer."""

    model_config = ConfigDict(strict=True)

    weight: float = Field(ge=0)
    right: float | None
    per_answer: float


class TaskWeight(BaseModel):
    """The weight of a task, and the weights that it was compared with; the last trial is the similarity alone."""

    model_config = ConfigDict(strict=True)

    weight: float = Field(ge=0)
    examples: int
    trials: list[Trial]


class NamesCard(BaseModel):
    """The fields of `names.json` that are read again."""

    tasks: dict[str, TaskWeight]


class Writer(Protocol):
    """A model that takes the settings of names, such as an `ELM`."""

    def generate(self, prompts: list[str], slots: list[Slots], **settings: Any) -> list[str]:
        """Return one answer for each prompt and the vectors in its slots."""
        ...


def read_weights(run: str | Path) -> dict[str, TaskWeight]:
    """Return the weights that a run stores, by task; an empty dictionary for a run that stores none.

    Raises:
        RunError: the file is malformed, or a newer version wrote it.
    """
    path = Path(run) / FILE
    if not path.is_file():
        return {}
    card: NamesCard = read_card(path, FORMAT, NamesCard, RunError)
    return card.tasks


def write_weights(run: str | Path, tasks: Mapping[str, TaskWeight]) -> None:
    """Store the weights of a run in `names.json`."""
    write_json(Path(run) / FILE, {**stamp(FORMAT), "tasks": {name: one.model_dump() for name, one in tasks.items()}})


def choose_weights(
    writer: Writer,
    corpus: Corpus,
    tasks: Sequence[Task],
    *,
    limit: int = LIMIT,
    decoding: Mapping[str, Any] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, TaskWeight]:
    """Choose for each task that names entities the weight with the largest share of names that the facts allow.

    Among equally good weights, the smallest is chosen. The similarity alone is measured too, but not chosen.

    Args:
        writer: the model.
        corpus: its validation examples are asked, and its facts say which titles are right.
        tasks: tasks that name entities.
        limit: most examples of a task.
        decoding: other settings of decoding, such as the longest answer; 160 tokens by default.
        progress: called with a label, the number of finished weights, and the total.
    """
    teacher = FactsTeacher(corpus.suite, corpus.spaces)
    chosen: dict[str, TaskWeight] = {}
    for task in tasks:
        examples = list(corpus.examples(VALIDATION, task.name))
        examples = [examples[i] for i in np.linspace(0, len(examples) - 1, min(limit, len(examples))).astype(int)]
        if not examples:
            continue
        rows = {slot: np.array([example.slots[slot][1] for example in examples]) for slot in task.slots}
        allowed = listed_titles(task, teacher.readers, rows)
        trials = []
        for number, weight in enumerate([*GRID, ALONE]):
            progress(f"weight of names in {task.name}", number, len(GRID) + 1)
            trials.append(_trial(writer, corpus, task, examples, allowed, weight, decoding or {}))
        progress(f"weight of names in {task.name}", len(GRID) + 1, len(GRID) + 1)
        best = max(trials[:-1], key=lambda trial: (trial.right or 0.0, -trial.weight))
        chosen[task.name] = TaskWeight(weight=best.weight, examples=len(examples), trials=trials)
    return chosen


def _trial(
    writer: Writer,
    corpus: Corpus,
    task: Task,
    examples: list[Example],
    allowed: list[set[str]],
    weight: float,
    decoding: Mapping[str, Any],
) -> Trial:
    slots = [corpus.vectors(example) for example in examples]
    prompts = [example.prompt for example in examples]
    settings = {"max_new_tokens": 160, **decoding, "names": "force", "names_weight": weight}
    texts = writer.generate(prompts, slots, **settings)
    count = right = 0
    for text, titles in zip(texts, allowed, strict=True):
        names = {span.name for span in name_spans(text, titles.__contains__)}
        count, right = count + len(names), right + len(names & titles)
    return Trial(weight=weight, right=right / count if count else None, per_answer=count / len(examples))
