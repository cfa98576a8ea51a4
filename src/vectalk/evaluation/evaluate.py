"""Measure a model on test entities, and compare it with controls and baselines."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vectalk.errors import EvaluationError, VectalkError
from vectalk.evaluation.answers import (
    AnswerCache,
    Answers,
    Ask,
    Generator,
    Progress,
    decoding_of,
    run_identity,
    run_path,
)
from vectalk.evaluation.conditions import EXTRA, Conditions
from vectalk.evaluation.metrics.behaviour import item_behaviour
from vectalk.evaluation.metrics.claims import claims
from vectalk.evaluation.metrics.consistency import consistency
from vectalk.evaluation.metrics.distinctness import distinctness
from vectalk.evaluation.metrics.loops import looping
from vectalk.evaluation.metrics.named import named_titles
from vectalk.evaluation.metrics.profiles import item_texts, user_behaviour
from vectalk.evaluation.metrics.recovery import recovery
from vectalk.evaluation.naming import NAMING, asking, ensure_weights, forces_names
from vectalk.evaluation.probes.facts import Facts, NotRunError
from vectalk.evaluation.ratings import find_ratings
from vectalk.evaluation.records import FORMAT
from vectalk.evaluation.report import write_report
from vectalk.evaluation.result import Evaluation, Metric
from vectalk.evaluation.settings import PARTIAL, STARTED, Settings, claim
from vectalk.evaluation.space_map import space_maps
from vectalk.evaluation.text_llm import Chat, TextLLM
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.files import atomic_files, read_json, write_json, write_jsonl, write_text
from vectalk.readback import CachedEncoder, ReadBack, SameEncoder, TextEncoder, check_encoder, get_encoder
from vectalk.reading.cards import stamp
from vectalk.space.split import TEST, TRAIN, VALIDATION
from vectalk.tasks import Corpus, Example, Task
from vectalk.tasks.naming import naming_sources


def evaluate(
    generator: Generator,
    corpus: Corpus,
    out: str | Path,
    *,
    stage1: Callable[[], Generator] | None = None,
    chat: Chat | None = None,
    facts: Facts | None = None,
    overwrite: bool = False,
    progress: Progress = lambda what, done, total: None,
    **settings: Any,
) -> Evaluation:
    """Evaluate a model and write `metrics.jsonl`, `answers.jsonl`, `config.json` and `report.html`.

    Each answer is saved at once, so an interrupted evaluation is resumed by the same call.

    Args:
        generator: the model that answers the questions; it must decode greedily.
        corpus: the corpus, with tasks, reference texts and spaces.
        out: folder of the results.
        stage1: a function that opens the model as it was after the first stage, for the condition `stage1`.
        chat: an LLM that reads titles instead of vectors, for the condition `text_llm`. `chat.identity`, or else
            `chat.name`, identifies the LLM in the saved answers.
        facts: predictions of the baselines for this corpus, to share with other code; the probes in it are expensive
            to fit. When omitted, the function creates it.
        overwrite: replace another evaluation in `out`.
        progress: called with a label of the current step, the number of finished items, and the total.
        settings: fields of `Settings`: `tasks`, `limit`, `encoder`, `conditions`, `ratings`, `seed`, ...

    Returns:
        The evaluation: a sequence of the rows of `metrics.jsonl`.

    Raises:
        EvaluationError: a condition is unknown, a task has too few test examples, the spaces of the model and the
            corpus differ, or `out` already holds something else.
    """
    options = Settings.make(**settings)
    check_spaces(generator, corpus)
    check_encoder(options.encoded_by(corpus.spaces)[0])
    rows = _Measurement(generator, corpus, Path(out), options, stage1, chat, progress, facts).run(overwrite)
    return Evaluation(rows, Path(out))


class _Measurement:
    """One running evaluation: the objects that its tasks share, and the results so far."""

    def __init__(
        self,
        generator: Generator,
        corpus: Corpus,
        out: Path,
        settings: Settings,
        stage1: Callable[[], Generator] | None,
        chat: Chat | None,
        progress: Progress,
        facts: Facts | None = None,
    ) -> None:
        self.facts = facts or Facts(corpus, settings.seed, progress)
        self.generator, self.corpus, self.out, self.settings, self.progress = generator, corpus, out, settings, progress
        names = settings.tasks
        self.tasks = [corpus.suite.task(name) for name in names] if names else corpus.suite.tasks
        self.samples = {task.name: self._sample(task) for task in self.tasks}
        self.ratings = find_ratings(corpus.spaces, settings.ratings, settings.seed)
        self.identity = run_identity(generator)
        self.encoder_name, self.same_encoder = settings.encoded_by(corpus.spaces)
        self.stage1, self.chat = stage1, chat
        self.metrics: list[Metric] = []
        self.answers: list[dict[str, Any]] = []
        self.readbacks: dict[str, Any] = {}
        self.notes: list[str] = []
        self.not_run = {name: "not requested" for name in EXTRA if name not in settings.chosen}

    def run(self, overwrite: bool) -> list[Metric]:
        """Measure all tasks, write the results, and return the rows of `metrics.jsonl`."""
        card = hashlib.sha256(json.dumps(self.corpus.card, sort_keys=True).encode()).hexdigest()
        claim(self.out, {"run": self.identity, "corpus": card}, overwrite)
        self.encoder = self._encoder()
        cache = AnswerCache(self.out / PARTIAL, self.progress)
        ask = self._answers(self.generator, self.identity, cache)
        options = self.settings.decoding
        self.notes += ensure_weights(self.generator, self.corpus, self.tasks, options, self.progress)
        named = asking(self.generator, cache, self.identity, options)
        stage1, text_llm = self._first_stage(cache), self._text_llm(cache)
        for task in self.tasks:
            references = list(self.corpus.examples(TRAIN, task.name))
            conditions = Conditions(
                self.corpus,
                task,
                self.samples[task.name],
                references,
                self.facts,
                ask,
                self.settings.seed,
                stage1=stage1,
                text_llm=text_llm,
                named=named,
            )
            self._task(task, references, conditions)
        maps = space_maps(self.corpus.spaces, self.tasks, self.facts, self.settings.seed)
        with atomic_files(self.out) as part:  # an older evaluation stays complete until this one is
            write_jsonl(part / "answers.jsonl", self.answers)
            write_text(part / "map.json", json.dumps(maps, ensure_ascii=False))
            write_json(part / "config.json", self._card())
            write_jsonl(part / "metrics.jsonl", self.metrics)
        for name in (PARTIAL, STARTED):
            (self.out / name).unlink(missing_ok=True)
        write_report(self.out)
        return self.metrics

    def _task(self, task: Task, references: list[Example], conditions: Conditions) -> None:
        texts: dict[str, list[str]] = {}
        names = forces_names(self.generator) and bool(naming_sources(self.corpus.suite, task))
        for condition in self.settings.chosen:
            if condition in NAMING and not names:
                continue
            self.progress(f"{task.name}: {condition}", 0, 1)
            try:
                texts[condition] = conditions.texts(condition)
            except NotRunError as error:
                self.notes.append(f"{condition} not run: {error}")
                self.not_run.setdefault(condition, str(error))
        task_texts = TaskTexts(self.corpus, task, conditions.examples, texts, self.settings.seed)
        self.progress(f"{task.name}: scores", 0, 1)
        space = next(iter(task.slots.values()))
        for metric, condition, figure in self._figures(task_texts, references):
            row = {"space": space, "task": task.name, "metric": metric, "condition": condition}
            self.metrics.append({**row, **figure._asdict()})
        self.answers += _answers(task_texts)
        self.progress(f"{task.name}: scores", 1, 1)

    def _figures(self, task_texts: TaskTexts, references: list[Example]) -> Iterator[Figure]:
        yield from recovery(task_texts, self.facts, self.notes)
        yield from claims(task_texts, self.facts)
        yield from named_titles(task_texts, self.facts)
        yield from distinctness(task_texts)
        yield from looping(task_texts)
        task = task_texts.task
        if task.about is None or len(set(task.slots.values())) > 1:
            return
        readback = self._readback(task, references)
        read_vectors = {condition: readback(texts) for condition, texts in task_texts.texts.items()}
        yield from consistency(task_texts, read_vectors, readback)
        ratings, space = self.ratings, task.slots.get(task.about)
        if ratings is None or space is None:
            return
        if space == ratings.items:
            mean = self.corpus.spaces[space].normalizer.mean
            yield from item_behaviour(task_texts, read_vectors, mean, ratings, self.notes)
        if space == ratings.users:
            texts = item_texts(task_texts, references, ratings, self.encoder, self.settings.readback_texts)
            yield from user_behaviour(task_texts, read_vectors, ratings, texts, self.notes)

    # ---- objects that the tasks share

    def _encoder(self) -> TextEncoder | str:
        """Return the frozen encoder, or `tfidf`, which the read-back fits to the texts of each task."""
        if self.encoder_name == "tfidf":
            return "tfidf"
        encoder, folder = get_encoder(self.encoder_name), self.corpus.path / "embeddings"

        def tell(done: int, total: int) -> None:
            self.progress("encoding texts", done, total)

        try:
            return CachedEncoder(encoder, folder, tell)
        except OSError as error:
            self.notes.append(f"embeddings cannot be saved in {folder}: {error.strerror}")
            return CachedEncoder(encoder, None, tell)

    def _readback(self, task: Task, references: Sequence[Example]) -> ReadBack | SameEncoder:
        space = self.corpus.spaces[next(iter(task.slots.values()))]
        if self.same_encoder:
            return SameEncoder(space, self.encoder)
        self.progress(f"{task.name}: read-back", 0, 1)
        readback = ReadBack.fit(
            space,
            references,
            self.encoder,
            about=task.about,
            validation=list(self.corpus.examples(VALIDATION, task.name)),
            most_texts=self.settings.readback_texts,
            seed=self.settings.seed,
        )
        self.progress(f"{task.name}: read-back", 1, 1)
        self.readbacks[task.name] = {
            "encoder": self.encoder_name,
            "r2": readback.r2,
            "strength": readback.strength,
        }
        return readback

    def _answers(self, generator: Generator, identity: str, cache: AnswerCache) -> Ask:
        return Answers(generator, cache, identity=identity, **self.settings.decoding)

    def _first_stage(self, cache: AnswerCache) -> Ask | str:
        """Return the function that asks the model of the first stage, or the reason why there is none."""
        if "stage1" not in self.settings.chosen:
            return "not requested"
        if self.stage1 is None:
            return "no model of the first stage was given"
        try:
            return self._answers(self.stage1(), f"{self.identity}/stage1", cache)
        except VectalkError as error:
            return str(error)

    def _text_llm(self, cache: AnswerCache) -> TextLLM | str:
        if self.chat is None:
            return "no LLM was given that could read titles"
        return TextLLM(self.chat, self.corpus, cache)

    def _sample(self, task: Task) -> list[Example]:
        examples, limit = list(self.corpus.examples(TEST, task.name)), self.settings.limit
        if len(examples) < 2:
            raise EvaluationError(
                f"the corpus has {len(examples)} test examples of task {task.name!r}; an evaluation needs at least 2. "
                "Name other tasks, or build the corpus on a larger space"
            )
        if limit is None or limit >= len(examples):
            return examples
        sample = np.sort(np.random.default_rng(self.settings.seed).permutation(len(examples))[:limit])
        return [examples[i] for i in sample]

    def _card(self) -> dict[str, Any]:
        corpus, facts, ratings = self.corpus, self.facts, self.ratings
        ran = {row["condition"] for row in self.metrics}
        return {
            **stamp(FORMAT),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "run": {"path": run_path(self.generator), "identity": self.identity, **_run_card(self.generator)},
            "corpus": {
                "path": str(corpus.path),
                **{k: corpus.card[k] for k in ("suite", "teacher", "counts", "spaces")},
            },
            **self.settings.plain(),
            "decoding": decoding_of(self.generator, self.settings.decoding),
            "encoder": self.encoder_name,
            "same_encoder": self.same_encoder,
            "tasks": [task.name for task in self.tasks],
            "ratings": None if ratings is None else ratings.source,
            "probes": {
                f"{space}/{attribute}": {"chosen": probe.name, "validation": probe.scores}
                for (space, attribute, source), probe in facts.probes.items()
                if probe is not None and source == "probe_text"
            },
            "readback": self.readbacks,
            "not_run": {name: reason for name, reason in self.not_run.items() if name not in ran},
            "notes": list(dict.fromkeys([*self.notes, *facts.notes.values()])),
        }


def _answers(task_texts: TaskTexts) -> list[dict[str, Any]]:
    entities = [
        {
            slot: {"space": space, "row": row, "title": task_texts.corpus.spaces[space].title(row)}
            for slot, (space, row) in example.slots.items()
        }
        for example in task_texts.examples
    ]
    return [
        {
            "task": task_texts.task.name,
            "condition": condition,
            "prompt": example.prompt,
            "slots": slots,
            "answer": answer,
            "reference": example.target,
            **{metric: _plain(of[condition][i]) for metric, of in task_texts.scores.items()},
        }
        for condition, texts in task_texts.texts.items()
        for i, (example, slots, answer) in enumerate(zip(task_texts.examples, entities, texts, strict=True))
    ]


def _run_card(generator: Generator) -> dict[str, Any]:
    """Return the base LLM and the library versions from the card of the generator's run; empty without a run."""
    path = run_path(generator)
    place = None if path is None else Path(path) / "elm.json"
    card = read_json(place) if place is not None and place.is_file() else {}
    return {key: card[key] for key in ("llm", "versions") if key in card}


def _plain(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def check_spaces(generator: Generator, corpus: Corpus) -> None:
    """Raise an EvaluationError unless the spaces of the corpus are those that the model was trained on."""
    for name, space in corpus.spaces.items():
        own = generator.spaces.get(name)
        if own is None:
            raise EvaluationError(
                f"the corpus asks about space {name!r}; the run was trained on "
                f"{', '.join(sorted(generator.spaces)) or 'none'}. Use a corpus of the spaces of the run"
            )
        if own.fingerprint != space.fingerprint:
            raise EvaluationError(
                f"space {name!r} has fingerprint {own.fingerprint[:12]} in the run and {space.fingerprint[:12]} in the "
                "corpus: evaluate on the space that the model was trained on"
            )
        if own.split_hash != space.split_hash:
            raise EvaluationError(
                f"space {name!r} has different splits in the corpus and in the run, so entities that the model was "
                "trained on would count as held-out; evaluate on the space that the model was trained on"
            )
