"""Measure how a model answers free questions about test entities, and write the figures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import AnswerCache, Answers, Ask, Progress, run_identity
from vectalk.evaluation.evaluate import check_spaces
from vectalk.evaluation.metrics import questions as measures
from vectalk.evaluation.metrics.bootstrap import Estimate, Statistic, estimate, mean_of
from vectalk.evaluation.metrics.free_answers import FreeReader, free_readers
from vectalk.evaluation.metrics.recovery import READABLE
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.questions.base_llm import BaseLlm
from vectalk.evaluation.questions.conditions import CONDITIONS, TEXT_LLM, QuestionConditions
from vectalk.evaluation.questions.folder import PARTIAL, add_questions, check_folder, new_card
from vectalk.evaluation.questions.kept import kept
from vectalk.evaluation.report.samples import QUESTIONS
from vectalk.evaluation.result import Evaluation
from vectalk.evaluation.text_llm import Chat
from vectalk.space.split import TEST, VALIDATION
from vectalk.talk import ELM
from vectalk.tasks import Corpus, Task
from vectalk.tasks.questions import UNSEEN, FreeQuestion, read_questions, unseen_questions
from vectalk.tasks.teachers.told import FactPhrases

REFERENCES = 200  # reference texts of a task that decide whether an attribute can be read from its answers
LIMIT = 100  # test entities, and validation entities
FEWEST = 10  # questions that a told ratio should have
SHARED = ".told"  # in the folder of the corpus: answers of base LLMs, which all runs on the same LLM share


def evaluate_questions(
    elm: ELM,
    corpus: Corpus,
    out: str | Path,
    questions: str | Path | Sequence[FreeQuestion] = UNSEEN,
    *,
    chat: Chat | None = None,
    limit: int | None = None,
    facts: Facts | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
    **decoding: Any,
) -> Evaluation:
    """Ask a model free questions, and add the figures to the folder of an evaluation (task `questions`).

    If the function was interrupted, call it again to resume: answers are saved as they are written. Those of the base
    LLM are stored in the folder of the corpus, so that the next run on the same LLM does not need to ask it again.

    Args:
        elm: the run.
        corpus: its suite, spaces and splits.
        out: a new folder, or that of an evaluation of this run.
        questions: the questions, each with one slot, all of the same space; a YAML file; or `unseen` for the packaged
            questions about films.
        chat: an LLM that gets the titles, for the condition `text_llm`.
        limit: largest number of test entities, and of validation entities; 100 when omitted.
        facts: predictions of the probes, if they were made before.
        seed: seed of the samples, the permutations and the resamples.
        overwrite: replace free questions in `out`.
        progress: called with a label of the current step, the number of finished items, and the total.
        decoding: decoding settings; `max_new_tokens` is 160 when omitted.

    Returns:
        The rows of `metrics.jsonl` of the free questions.

    Raises:
        EvaluationError: the questions do not fit the spaces, there are too few entities, or `out` holds something else.
    """
    check_spaces(elm, corpus)
    items = _questions(questions, corpus)
    if limit is not None and limit < 2:
        raise EvaluationError(f"the limit must be at least 2 entities, not {limit}")
    settings = {"max_new_tokens": 160, **decoding}
    facts = facts or Facts(corpus, seed, progress)
    work = _Measurement(elm, corpus, Path(out), items, chat, facts, limit or LIMIT, seed, settings, progress)
    check_folder(work.out, work.identity, overwrite)
    metrics = work.figures()
    add_questions(work.out, new_card(elm, corpus, work.identity), metrics, work.rows(), work.card(str(questions)))
    return Evaluation(metrics, work.out)


def _questions(questions: str | Path | Sequence[FreeQuestion], corpus: Corpus) -> list[FreeQuestion]:
    if questions == UNSEEN:
        items = unseen_questions()
    elif isinstance(questions, str | Path):
        items = read_questions(questions, list(corpus.spaces))
    else:
        items = list(questions)
    spaces = {space for question in items for space in question.slots.values()}
    if not spaces <= set(corpus.spaces):
        raise EvaluationError(
            f"the questions are about space {sorted(spaces - set(corpus.spaces))[0]!r}, the corpus has "
            f"{', '.join(corpus.spaces)}; write questions about these spaces in a file, and name it"
        )
    if len(spaces) != 1 or any(len(question.slots) != 1 for question in items):
        raise EvaluationError(
            "free questions are evaluated for one space, with one slot in each question; these have the spaces "
            f"{', '.join(sorted(spaces)) or 'none'} and up to {max((len(q.slots) for q in items), default=0)} slots"
        )
    known = corpus.suite.attributes.get(next(iter(spaces)), {})
    for question in items:
        if question.attribute is not None and question.attribute not in known:
            raise EvaluationError(
                f"question {question.text!r} asks for the attribute {question.attribute!r}, the suite has "
                f"{', '.join(known) or 'none'}"
            )
    return items


class _Measurement:
    """One evaluation of free questions: answers by condition, their scores, and the figures."""

    def __init__(
        self,
        elm: ELM,
        corpus: Corpus,
        out: Path,
        questions: Sequence[FreeQuestion],
        chat: Chat | None,
        facts: Facts,
        limit: int,
        seed: int,
        decoding: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.elm, self.corpus, self.out, self.questions, self.progress = elm, corpus, out, questions, progress
        self.texts, self.seed, self.decoding = [q.text for q in questions], seed, decoding
        self.chat, self.facts = chat, facts
        self.identity = run_identity(elm)
        self.space = next(iter(questions[0].slots.values()))
        self.phrases = FactPhrases.of(corpus.suite, self.space, corpus.spaces[self.space])
        self.readers, self.not_read = free_readers(self.phrases.readers)
        self.entities = {split: self._sample(split, limit) for split in (TEST, VALIDATION)}
        self.not_run: dict[str, str] = {}
        self.notes: list[str] = []
        self.words: list[str] = []  # the facts of the test entities
        self.answers: dict[str, list[list[str]]] = {}  # condition -> [q][n]
        self.scores: dict[str, dict[str, np.ndarray]] = {}  # attribute -> condition -> [q, n]
        self.gaps: dict[str, np.ndarray] = {}  # attribute -> [q], on validation
        self.trained: dict[str, list[str]] = {}  # attribute -> wordings

    def figures(self) -> list[dict[str, Any]]:
        """Return the rows of `metrics.jsonl`."""
        cache = self.base_cache = AnswerCache(self.out / PARTIAL, self.progress)
        ask = Answers(self.elm, cache, identity=self.identity, **self.decoding)
        base, ask_base = self._base()
        space, more = self.corpus.spaces[self.space], (self.seed, self.facts, self.chat, cache)
        conditions = {
            split: QuestionConditions(self.phrases, space, rows, ask, ask_base, *more)
            for split, rows in self.entities.items()
        }
        test = conditions[TEST]
        self._answer(test)
        figures = [*self._scored(conditions), *self._distinct()]
        if base is not None:
            kept_by = kept(self.elm, base, test, self.texts, self.answers, self.base_cache)
            figures += [("kl_kept", condition, self._estimate(figure)) for condition, figure in kept_by]
        return [
            {"space": self.space, "task": QUESTIONS, "metric": metric, "condition": condition, **figure._asdict()}
            for metric, condition, figure in figures
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of `answers.jsonl`; the reference of an answer is the facts in words."""
        space, rows = self.corpus.spaces[self.space], self.entities[TEST]
        return [
            {
                "task": QUESTIONS,
                "condition": condition,
                "prompt": question.text,
                "form": question.form,
                "slots": {
                    slot: {"space": self.space, "row": int(row), "title": space.title(int(row))}
                    for slot in question.slots
                },
                "answer": answers[q][i],
                "reference": self.words[i],
                "scores": {
                    name: round(float(scores[condition][q, i]), 4)
                    for name, scores in self.scores.items()
                    if np.isfinite(scores[condition][q, i])
                },
            }
            for condition, answers in self.answers.items()
            for q, question in enumerate(self.questions)
            for i, row in enumerate(rows)
        ]

    def card(self, source: str) -> dict[str, Any]:
        """Return how the questions were measured, for `config.json`."""
        items = []
        for place, question in enumerate(self.questions):
            gaps = {name: float(gaps[place]) for name, gaps in self.gaps.items() if self._asks(question, name)}
            gaps = {name: round(gap, 4) for name, gap in gaps.items() if np.isfinite(gap)}
            used = [name for name, gap in gaps.items() if gap >= measures.GAP]
            row = {"text": question.text, "form": question.form, "attribute": question.attribute}
            items.append({**row, "told_gap": gaps, "in_told_ratio": used})
        return {
            "source": source if len(source) < 200 else "a list of questions",
            "space": self.space,
            "entities": {split: len(rows) for split, rows in self.entities.items()},
            "seed": self.seed,
            "decoding": self.elm.decoding(**self.decoding).settings(),
            "list": items,
            "trained": self.trained,
            "not_read": self.not_read,
            "not_run": self.not_run,
            "notes": self.notes,
        }

    # ---- the parts

    def _sample(self, split: str, limit: int) -> np.ndarray:
        rows = np.asarray(self.corpus.spaces[self.space].rows(split))
        if len(rows) < 2:
            raise EvaluationError(f"space {self.space!r} has {len(rows)} {split} entities; at least 2 are needed")
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[:limit])

    def _base(self) -> tuple[BaseLlm | None, Ask | str]:
        """Return the base LLM and how it is asked; its answers are stored in `base_cache`."""
        try:
            base = BaseLlm(self.elm)
        except NotRunError as error:
            return None, str(error)
        identity = base.identity
        if identity is None or not os.access(self.corpus.path, os.W_OK):
            identity = f"{self.identity}/base"
        else:
            self.base_cache = AnswerCache(self.corpus.path / SHARED / f"{identity}.jsonl", self.progress)
        return base, Answers(base, self.base_cache, identity=identity, **self.decoding)

    def _answer(self, test: QuestionConditions) -> None:
        """Fill `answers` with the conditions that are possible."""
        self.words = test.words
        for condition in (*CONDITIONS, *([TEXT_LLM] if self.chat is not None else [])):
            try:
                self.answers[condition] = test.answers(condition, self.texts)
            except NotRunError as error:
                self.not_run[condition] = str(error)

    def _scored(self, conditions: dict[str, QuestionConditions]) -> Iterator[tuple[str, str, Estimate]]:
        """Yield the figures of each attribute that can be read from free answers."""
        for name, reader in self.readers.items():
            if not any(self._asks(question, name) for question in self.questions):
                continue
            scores = {c: self._read(reader, TEST, answers) for c, answers in self.answers.items()}
            self.scores[name] = scores
            for condition, values in scores.items():
                yield f"score/{name}", condition, self._estimate(mean_of(self._by_entity(name, values)))
            for other in ("shuffled", "copy_told", "probe_told"):
                if other in scores:
                    gain = measures.gain(scores, "elm", other, self._places(name))
                    yield f"score_minus_{other}/{name}", "elm", self._estimate(gain)
            yield from self._unseen_ratio(conditions[TEST], reader)
            if "told" in scores:
                yield from self._told_ratio(conditions[VALIDATION], reader)

    def _unseen_ratio(self, test: QuestionConditions, reader: FreeReader) -> Iterator[tuple[str, str, Estimate]]:
        name = reader.name
        wordings = self.trained[name] = self._wordings(name)
        if not wordings:
            self.notes.append(f"no unseen_ratio/{name}: no task about one {self.space} states it in a readable way")
            return
        trained = {
            condition: self._read(reader, TEST, test.answers(condition, wordings, "trained wordings"), free=False)
            for condition in ("elm", "shuffled")
        }
        for condition, values in trained.items():
            yield f"trained_score/{name}", condition, self._estimate(mean_of(measures.by_entity(values)))
        unseen = {c: values[self._places(name)] for c, values in self.scores[name].items()}
        yield f"unseen_ratio/{name}", "elm", self._estimate(measures.unseen_ratio(unseen, trained))

    def _told_ratio(self, validation: QuestionConditions, reader: FreeReader) -> Iterator[tuple[str, str, Estimate]]:
        name = reader.name
        answers = {c: validation.answers(c, self.texts, "validation") for c in ("told", "told_shuffled")}
        gaps = measures.question_gaps({c: self._read(reader, VALIDATION, a) for c, a in answers.items()})
        self.gaps[name] = gaps
        dependent = np.array([place for place in self._places(name) if gaps[place] >= measures.GAP], np.int64)
        if len(dependent) < FEWEST:
            self.notes.append(
                f"told_ratio/{name}: the facts in words change the answers to {len(dependent)} questions by at least "
                f"{measures.GAP} on validation; {FEWEST} or more would be a firm basis"
            )
        if len(dependent):
            for condition in ("elm", "copy_told", "probe_told"):
                if condition in self.answers:
                    ratio = measures.told_ratio(self.scores[name], dependent, condition)
                    yield f"told_ratio/{name}", condition, self._estimate(ratio)

    def _distinct(self) -> Iterator[tuple[str, str, Estimate]]:
        for condition, answers in self.answers.items():
            n = len(self.entities[TEST])
            yield "distinct", condition, Estimate(measures.distinct_answers(answers), None, None, n)

    # ---- what the parts share

    def _asks(self, question: FreeQuestion, attribute: str) -> bool:
        """Return whether answers to a question are scored for an attribute: it asks for this one, or for none."""
        return question.attribute in (None, attribute)

    def _places(self, attribute: str) -> np.ndarray:
        return np.array([i for i, question in enumerate(self.questions) if self._asks(question, attribute)], np.int64)

    def _by_entity(self, attribute: str, scores: np.ndarray) -> np.ndarray:
        return measures.by_entity(scores, self._places(attribute))

    def _read(self, reader: FreeReader, split: str, answers: Sequence[Sequence[str]], free: bool = True) -> np.ndarray:
        """Return the scores [q, n] of answers; NaN in the rows of questions that ask for another attribute."""
        true = [reader.reader.value(int(row)) for row in self.entities[split]]
        scores = np.stack(
            [measures.answer_scores(reader.kind, [reader.read(text) for text in texts], true) for texts in answers]
        )
        if free:
            others = [i for i, question in enumerate(self.questions) if not self._asks(question, reader.name)]
            scores[others] = np.nan
        return scores

    def _wordings(self, attribute: str) -> list[str]:
        """Return trained wordings that ask for an attribute of one entity, at most as many as there are questions."""
        stating = [
            task
            for task in self.corpus.suite.tasks
            if attribute in task.states and list(task.slots.values()) == [self.space]
        ]
        wordings = [prompt for task in stating if self._readable(task, attribute) for prompt in task.prompts]
        places = np.linspace(0, len(wordings) - 1, min(len(wordings), len(self.questions))).astype(int)
        return [wordings[place] for place in places]

    def _readable(self, task: Task, attribute: str) -> bool:
        """Return whether the fixed rules read an attribute from the reference texts of a task."""
        examples, reader = list(self.corpus.examples(TEST, task.name))[:REFERENCES], self.readers[attribute]
        true = [reader.reader.value(row) for example in examples for _, row in example.slots.values()]
        scores = measures.answer_scores(reader.kind, [reader.read(example.target) for example in examples], true)
        known = scores[np.isfinite(scores)]
        if len(known) and known.mean() >= READABLE:
            return True
        score = f"{known.mean():.2f}" if len(known) else "no known value"
        self.notes.append(f"unseen_ratio/{attribute}: without task {task.name!r}, read from references with {score}")
        return False

    def _estimate(self, statistic: Statistic) -> Estimate:
        return estimate(len(self.entities[TEST]), [statistic], seed=self.seed)
