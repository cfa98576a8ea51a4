"""Candidates: write several answers and keep the one whose read-back is nearest to the vector."""

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
from vectalk.readback.readback import sampled
from vectalk.readback.shelf import saved_readbacks
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import evaluate
from vectalk.talk.engine import Engine, Progress, Slots
from vectalk.tasks import Corpus, Suite, Task

TEXTS = 2_000  # most reference texts that a reranker is fitted on
CHECKS = 200  # most reference texts of validation entities that its R2 is measured on
TEMPERATURE = 0.7  # of the sampled candidates, where the decoding is greedy


class Reranker:
    """Scores how near the read-back of a text is to a vector; fitted on reference texts of training entities only.

    Args:
        readback: the frozen map from text to vector.
        task: the task of the reference texts.
    """

    def __init__(self, readback: ReadBack, task: Task) -> None:
        self.readback, self.task = readback, task

    @classmethod
    def fit(cls, corpus: Corpus, task: Task, encoder: str, cache: Path) -> Reranker:
        """Fit the reranker of a task, or load it from the cache.

        Args:
            corpus: the corpus of the training texts.
            task: a task about one vector.
            encoder: text encoder: `minilm`, `tfidf`, or a sentence transformer.
            cache: folder of the fitted rerankers.
        """
        space = corpus.spaces[next(iter(task.slots.values()))]
        key = hashlib.sha256(
            f"{encoder_identity(encoder)}\0{TEXTS}\0".encode() + (corpus.path / "corpus.json").read_bytes()
        )
        folder = cache / f"{task.name}-{key.hexdigest()[:12]}"
        try:
            return cls(_opened(folder, encoder, space), task)
        except (ValueError, OSError, KeyError):  # not fitted yet, or incomplete
            examples = list(corpus.examples("train", task.name))
            checks = sampled(list(corpus.examples("validation", task.name)), CHECKS, 0)
            readback = ReadBack.fit(space, examples, encoder, about=task.about, validation=checks, most_texts=TEXTS)
        with suppress(OSError):  # without write access to the run, fit again each time
            readback.save(folder)
        return cls(readback, task)

    @classmethod
    def load(cls, run: Path, task: Task, encoder: str, space: VectorSpace, corpus: Path) -> Reranker:
        """Load the saved reranker of a task from a run whose corpus is not on this machine.

        Args:
            run: folder of the run.
            task: a task about one vector.
            encoder: text encoder of the reranker.
            space: the space of that vector.
            corpus: former path of the corpus, for the error message.

        Raises:
            EvaluationError: the run has no saved reranker of this task with this encoder.
        """
        saved = [one for one in saved_readbacks(run) if one.task == task.name and one.fingerprint == space.fingerprint]
        for one in saved:
            if one.encoder == encoder:
                return cls(_opened(one.folder, encoder, space), task)
        encoders = ", ".join(dict.fromkeys(repr(one.encoder) for one in saved))
        raise EvaluationError(
            f"candidates cannot be compared: the corpus of run {run}, on which a read-back would be fitted, is not at "
            f"{corpus}, and the run keeps none of task {task.name!r} by the text encoder {encoder!r}"
            + (f" (it keeps one by {encoders}: name it with --encoder)" if saved else "")
            + ". Where the corpus is, ask once with --candidates 2 --encoder minilm and push the run again; what "
            "`tfidf` fits is never pushed, since it holds words of the texts"
        )

    def __call__(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Return the cosine [N] between the read-back of each text and its vector [N, D], centred on the mean."""
        predictions, targets = self.readback(texts) - self.readback.centre, vectors - self.readback.centre
        norms = np.linalg.norm(predictions, axis=1) * np.linalg.norm(targets, axis=1)
        return (predictions * targets).sum(1) / np.maximum(norms, 1e-12)

    def about(self, points: Mapping[str, Point]) -> np.ndarray:
        """Return the vector [D] that an answer is about."""
        if len(points) == 1:
            return next(iter(points.values())).values
        assert self.task.about is not None
        if self.task.about in points:
            return points[self.task.about].values
        return evaluate(self.task.about, self.readback.space, names=points).values


def _opened(folder: Path, encoder: str, space: VectorSpace) -> ReadBack:
    """Open a read-back with the encoder that the caller named; the encoder is therefore trusted."""
    named = read_json(folder / "readback.json")["encoder"]
    if named != encoder:
        raise EvaluationError(f"{folder} was fitted with the text encoder {named!r}, not with {encoder!r}")
    return ReadBack.load(folder, space, trust_encoder=True)


def task_of(suite: Suite, question: str, spaces: Sequence[str]) -> Task:
    """Return the task whose texts rerank answers to a question.

    Args:
        suite: the tasks of the run.
        question: text with slots.
        spaces: names of the spaces of the question's slots, in order.

    Raises:
        PromptError: no task fits, or the question is not about a single vector.
    """
    for task in suite.tasks:
        if question in task.prompts:
            if task.about is None:
                raise PromptError(f"candidates of {question!r} cannot be compared: its task is not about one vector")
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

    The temperature of the samples is that of the decoding, or `temperature` where the decoding is greedy.
    """
    total = count * len(questions)
    first = engine.generate(questions, slots, decoding, lambda done, _: progress(done, total))
    warm = replace(decoding, temperature=decoding.temperature or temperature, seed=decoding.seed + 1)
    rest = engine.generate(
        [question for question in questions for _ in range(count - 1)],
        [bindings for bindings in slots for _ in range(count - 1)],
        warm,
        lambda done, _: progress(len(questions) + done, total),
    )
    return [[one, *rest[i * (count - 1) : (i + 1) * (count - 1)]] for i, one in enumerate(first)]


def keep_nearest(reranker: Reranker, answers: Sequence[Generated], vector: np.ndarray) -> tuple[Generated, float]:
    """Return the answer whose read-back is nearest to a vector (the first one of a tie), and its cosine."""
    scores = reranker([answer.text for answer in answers], np.tile(vector, (len(answers), 1)))
    if not np.isfinite(scores).all():
        raise EvaluationError("the read-back of an answer is not a finite number; fit the read-back again")
    best = int(scores.argmax())
    return answers[best], float(scores[best])
