"""Candidates: of several answers the one that reads back nearest to its vector is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EvaluationError, PromptError
from vectalk.files import read_json
from vectalk.readback import ReadBack
from vectalk.readback.identity import encoder_identity
from vectalk.readback.shelf import kept
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import evaluate
from vectalk.talk.engine import Engine, Progress, Slots
from vectalk.tasks import Corpus, Suite, Task

TEXTS = 2_000  # reference texts that a reranker is fitted on at most
TEMPERATURE = 0.7  # of the candidates beside the greedy one, where no temperature is asked for


class Reranker:
    """Says how near to a vector a text reads back; fitted on reference texts of training entities alone.

    Args:
        readback: the frozen map from text to vector.
        task: whose texts it was fitted on.
    """

    def __init__(self, readback: ReadBack, task: Task) -> None:
        self.readback, self.task = readback, task

    @classmethod
    def fit(cls, corpus: Corpus, task: Task, encoder: str, cache: Path) -> Reranker:
        """Fit the reranker of a task, or load it from the cache.

        Args:
            corpus: whose training texts it is fitted on.
            task: about one vector.
            encoder: text encoder: `minilm`, `tfidf`, or a sentence transformer.
            cache: folder that keeps what was fitted.
        """
        space = corpus.spaces[next(iter(task.slots.values()))]
        key = hashlib.sha256(
            f"{encoder_identity(encoder)}\0{TEXTS}\0".encode() + (corpus.path / "corpus.json").read_bytes()
        )
        folder = cache / f"{task.name}-{key.hexdigest()[:12]}"
        try:
            return cls(_opened(folder, encoder, space), task)
        except (ValueError, OSError, KeyError):  # never fitted, or half written
            examples = list(corpus.examples("train", task.name))
            readback = ReadBack.fit(space, examples, encoder, about=task.about, most_texts=TEXTS)
        with suppress(OSError):  # for a run that cannot be written to it is fitted anew each time
            readback.save(folder)
        return cls(readback, task)

    @classmethod
    def load(cls, run: Path, task: Task, encoder: str, space: VectorSpace, corpus: Path) -> Reranker:
        """Load the reranker of a task from those that a run keeps, where its corpus is not at hand.

        Args:
            run: folder of the run.
            task: about one vector.
            encoder: text encoder that it must have been fitted with.
            space: the space of that vector.
            corpus: where the corpus was, for the error.

        Raises:
            EvaluationError: the run keeps none of this task by this encoder.
        """
        there = [one for one in kept(run) if one.task == task.name and one.fingerprint == space.fingerprint]
        for one in there:
            if one.encoder == encoder:
                return cls(_opened(one.folder, encoder, space), task)
        encoders = ", ".join(dict.fromkeys(repr(one.encoder) for one in there))
        raise EvaluationError(
            f"candidates cannot be compared: the corpus of run {run}, on which a read-back would be fitted, is not at "
            f"{corpus}, and the run keeps none of task {task.name!r} by the text encoder {encoder!r}"
            + (f" (it keeps one by {encoders}: name it with --encoder)" if there else "")
            + ". Where the corpus is, ask once with --candidates 2 --encoder minilm and push the run again; what "
            "`tfidf` fits is never pushed, since it holds words of the texts"
        )

    def __call__(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Return the cosine [N] of what each text reads back as with its vector [N, D], both from the space's mean."""
        found, own = self.readback(texts) - self.readback.centre, vectors - self.readback.centre
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(own, axis=1)
        return (found * own).sum(1) / np.maximum(norms, 1e-12)

    def about(self, points: Mapping[str, Point]) -> np.ndarray:
        """Return the vector [D] that an answer is about."""
        if len(points) == 1:
            return next(iter(points.values())).values
        assert self.task.about is not None
        if self.task.about in points:
            return points[self.task.about].values
        return evaluate(self.task.about, self.readback.space, names=points).values


def _opened(folder: Path, encoder: str, space: VectorSpace) -> ReadBack:
    """Open a read-back by an encoder that the caller named, which therefore need not be known."""
    named = read_json(folder / "readback.json")["encoder"]
    if named != encoder:
        raise EvaluationError(f"{folder} was fitted with the text encoder {named!r}, not with {encoder!r}")
    return ReadBack.load(folder, space, trust_encoder=True)


def task_of(suite: Suite, question: str, spaces: Sequence[str]) -> Task:
    """Return the task whose texts rerank answers to a question.

    Args:
        suite: the tasks that there are.
        question: text with slots.
        spaces: names of the spaces of its slots, in their order.

    Raises:
        PromptError: there is none, or the question is about no one vector.
    """
    for task in suite.tasks:
        if question in task.prompts:
            if task.about is None:
                raise PromptError(f"candidates of {question!r} cannot be compared: its task is about no one vector")
            return task
    for task in suite.tasks:
        if len(spaces) == 1 and list(task.slots.values()) == list(spaces) and task.about in task.slots:
            return task
    raise PromptError(
        f"candidates of {question!r} cannot be compared: no task of the run is about the same kind of vector; ask "
        "about one vector, or in the words of a task that has `about`"
    )


def generate_candidates(
    engine: Engine,
    questions: Sequence[str],
    slots: Sequence[Slots],
    decoding: Decoding,
    count: int,
    progress: Progress,
    temperature: float = TEMPERATURE,
) -> list[list[Generated]]:
    """Write `count` answers to each question: the first as the decoding says, the others sampled.

    They are sampled at the decoding's own temperature, or at `temperature` where that is greedy.
    """
    total = count * len(questions)
    first = engine.generate(questions, slots, decoding, lambda done, _: progress(done, total))
    warm = replace(decoding, temperature=decoding.temperature or temperature, seed=decoding.seed + 1)
    rest = engine.generate(
        [question for question in questions for _ in range(count - 1)],
        [given for given in slots for _ in range(count - 1)],
        warm,
        lambda done, _: progress(len(questions) + done, total),
    )
    return [[one, *rest[i * (count - 1) : (i + 1) * (count - 1)]] for i, one in enumerate(first)]


def keep_nearest(reranker: Reranker, answers: Sequence[Generated], vector: np.ndarray) -> tuple[Generated, float]:
    """Return the answer that reads back nearest to a vector, the first of equals, with its cosine."""
    scores = reranker([made.text for made in answers], np.tile(vector, (len(answers), 1)))
    if not np.isfinite(scores).all():
        raise EvaluationError("an answer reads back as no number")
    best = int(scores.argmax())
    return answers[best], float(scores[best])
