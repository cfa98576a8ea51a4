"""`Distillation`: the examples of a stage with the objective `distill`, and the start of its adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from vectalk.errors import TrainingError
from vectalk.model import ElmModel, PromptFormat
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus.corpus import SCHEMA, Corpus, Example
from vectalk.tasks.questions.free_question import FreeQuestion, read_questions
from vectalk.tasks.questions.training import training_questions
from vectalk.tasks.teachers.told import FactPhrases, told
from vectalk.training.config import TrainConfig
from vectalk.training.data import Examples
from vectalk.training.distillation.answers import teacher_answers
from vectalk.training.distillation.examples import DistillExamples
from vectalk.training.distillation.pairs import choose_pairs

Progress = Callable[[str, int, int], None]
PHRASES = 20_000  # entities of a space whose facts start its adapter, at most


@dataclass(frozen=True)
class Distillation:
    """What a stage of distillation learns from.

    Attributes:
        train_set: pairs about training entities, with the teacher's answers.
        validation_set: pairs about validation entities.
    """

    train_set: DistillExamples
    validation_set: DistillExamples

    @classmethod
    def make(
        cls,
        corpus: Corpus,
        model: ElmModel,
        prompts: PromptFormat,
        config: TrainConfig,
        progress: Progress,
        place: Path | None = None,
    ) -> Distillation:
        """Choose questions and entities, and let the told LLM answer where its answers are not stored yet.

        Args:
            corpus: its suite and spaces say what can be asked and told.
            model: its LLM is the teacher.
            prompts: makes prompts of questions.
            config: settings of the run.
            progress: called with the name of the work, the units done and all units.
            place: folder of the answers; that of the corpus when omitted.

        Raises:
            TrainingError: there are no facts to tell, or the LLM cannot answer in bulk.
        """
        settings, words = config.distill, FactsInWords(corpus)
        sets = []
        for split, count in ((TRAIN, settings.answers), (VALIDATION, settings.validation)):
            pairs = choose_pairs(questions_of(corpus, config), corpus.spaces, split, count, words, config.seed)
            answers = teacher_answers(
                model,
                prompts,
                pairs,
                place or corpus.path,
                tokens=settings.answer_tokens,
                temperature=settings.temperature,
                seed=config.seed,
                progress=partial(progress, f"the teacher's {split} answers"),
            )
            noise = config.vector_noise
            sets.append(DistillExamples(pairs, answers, corpus.spaces, prompts, model.language.context, noise))
        train_set, validation_set = sets
        if not len(train_set) or len(validation_set) < 2:
            raise TrainingError(
                f"distillation has {len(train_set)} training and {len(validation_set)} validation answers that fit "
                "into the LLM's context; it needs some of the first and at least two of the second"
            )
        return cls(train_set, validation_set)


class FactsInWords:
    """Says the facts of entities in words: (space, row) -> a noun phrase, None where nothing is known of the entity.

    Args:
        corpus: its suite describes the attributes of its spaces.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.phrases = {name: FactPhrases.of(corpus.suite, name, space) for name, space in corpus.spaces.items()}

    def __call__(self, space: str, row: int) -> str | None:
        """Return the facts of an entity in words."""
        phrases = self.phrases[space]
        known = any(reader.value(row) not in (None, []) for reader in phrases.stated.values())
        return told(phrases, row) if known else None


def questions_of(corpus: Corpus, config: TrainConfig) -> list[FreeQuestion]:
    """Return the questions of the settings' file, else the packaged training questions for the corpus's suite."""
    if config.distill.questions is not None:
        return read_questions(config.distill.questions, corpus.spaces)
    return training_questions(corpus.suite)


def phrase_examples(corpus: Corpus, prompts: PromptFormat) -> Examples:
    """Return examples whose targets are the facts of training entities in words, to start adapters from.

    Args:
        corpus: its training entities are described.
        prompts: makes prompts of questions.
    """
    words, rows = FactsInWords(corpus), []
    for name, space in corpus.spaces.items():
        for row in space.rows(TRAIN)[:PHRASES]:
            phrase = words(name, int(row))
            if phrase:
                slots = {name: (name, int(row))}
                rows.append(Example("facts", f"{{{name}}}", slots, phrase, TRAIN, "facts").row())
    return Examples(pa.Table.from_pylist(rows, schema=SCHEMA), corpus.spaces, prompts)
