"""Measure a model on test entities, beside controls and rivals. Nothing is reported without them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vectalk import __version__
from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import Answers, Generator, Progress, run_identity, run_path
from vectalk.evaluation.conditions import ALL, CONDITIONS, REQUIRED, Conditions, Facts, NotRunError
from vectalk.evaluation.metrics import (
    Estimate,
    attribute_score,
    corrected,
    cosines,
    distinct_share,
    estimate,
    mean_of,
    retrieval_ranks,
)
from vectalk.files import write_json, write_jsonl
from vectalk.readback import ReadBack, SameEncoder, about_vectors, check_encoder, made_by
from vectalk.space.split import TEST, TRAIN, VALIDATION
from vectalk.tasks import Corpus, Example, Task

READABLE = 0.9  # what the extractor must score on references before it may judge answers
Metric = dict[str, Any]
Texts = dict[str, list[str]]


def evaluate(
    generator: Generator,
    corpus: Corpus,
    out: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    limit: int | None = None,
    encoder: str | None = None,
    same_encoder: bool | None = None,
    conditions: Sequence[str] = CONDITIONS,
    seed: int = 0,
    max_new_tokens: int = 160,
    progress: Progress = lambda what, done, total: None,
) -> list[Metric]:
    """Evaluate a model and write `metrics.jsonl`, `answers.jsonl` and `config.json`.

    Interrupted, it goes on where it stopped: answers are kept as they come.

    Args:
        generator: what answers; greedy decoding is its business.
        corpus: tasks, reference texts and spaces.
        out: folder of the results.
        tasks: names of tasks, all of the corpus when omitted.
        limit: test examples of each task at most.
        encoder: text encoder of the read-back: `tfidf`, `minilm`, or a sentence transformer. When omitted, the one
            that made the spaces, where one did, else `tfidf`.
        same_encoder: the encoder made the spaces' vectors itself; consistency is then the plain cosine. When omitted,
            the spaces say so.
        conditions: what to compare with; the controls and what scores are relative to always take part.
        seed: decides samples, permutations, probes and resamples.
        max_new_tokens: longest answer.
        progress: called with what is going on, how much is done, how much there is.

    Returns:
        The rows of `metrics.jsonl`: space, task, metric, condition, value, low, high, n.

    Raises:
        EvaluationError: an unknown condition, too few test examples, or spaces that do not fit.
    """
    unknown = sorted(set(conditions) - set(ALL))
    if unknown:
        raise EvaluationError(f"unknown conditions {', '.join(unknown)}; there are {', '.join(ALL)}")
    chosen = [name for name in ALL if name in {*conditions, *REQUIRED}]
    if limit is not None and limit < 2:
        raise EvaluationError(f"the limit must be at least 2 test examples a task, not {limit}")
    maker = made_by(corpus.spaces)
    encoder = encoder or maker or "tfidf"
    same_encoder = encoder == maker if same_encoder is None else same_encoder
    if same_encoder and encoder == "tfidf":
        raise EvaluationError(
            "`tfidf` is fitted to texts here, so it cannot have made a space; name the encoder that did"
        )
    _check_spaces(generator, corpus)
    check_encoder(encoder)
    out, wanted = Path(out), [corpus.suite.task(name) for name in tasks] if tasks else corpus.suite.tasks
    facts, identity = Facts(corpus, seed), run_identity(generator)
    partial = out / "answers.partial.jsonl"
    answers = Answers(generator, partial, identity=identity, max_new_tokens=max_new_tokens, progress=progress)
    metrics: list[Metric] = []
    written: list[dict[str, Any]] = []
    readbacks: dict[str, Any] = {}
    notes: list[str] = []
    samples = {task.name: _sample(list(corpus.examples(TEST, task.name)), task, limit, seed) for task in wanted}
    for task in wanted:
        examples = samples[task.name]
        references = list(corpus.examples(TRAIN, task.name))
        writer, texts = Conditions(corpus, task, examples, references, facts, answers, seed), {}
        for condition in chosen:
            progress(f"{task.name}: {condition}", 0, 1)
            try:
                texts[condition] = writer.texts(condition)
            except NotRunError as error:
                notes.append(f"{condition} not run: {error}")
        row = _rows(task, metrics)
        for condition, found in texts.items():
            row("distinct", condition, Estimate(distinct_share(found), None, None, len(found)))
        progress(f"{task.name}: scores", 0, 1)
        notes += _recovery(task, examples, texts, facts, row, seed)
        if task.about is not None and len(set(task.slots.values())) == 1:
            readback = _readback(corpus, task, references, encoder, same_encoder, seed)
            readbacks[task.name] = {"encoder": encoder, "r2": readback.r2, "strength": readback.strength}
            _consistency(corpus, task, examples, texts, readback, row, seed)
        written += _answers(corpus, task, examples, texts)
        progress(f"{task.name}: scores", 1, 1)
    write_jsonl(out / "answers.jsonl", written)
    write_jsonl(out / "metrics.jsonl", metrics)
    write_json(
        out / "config.json",
        {
            "vectalk": __version__,
            "python": platform.python_version(),
            "run": {"path": run_path(generator), "identity": identity},
            "corpus": {
                "path": str(corpus.path),
                **{k: corpus.card[k] for k in ("suite", "teacher", "counts", "spaces")},
            },
            "tasks": [task.name for task in wanted],
            "conditions": chosen,
            "limit": limit,
            "encoder": encoder,
            "same_encoder": same_encoder,
            "seed": seed,
            "max_new_tokens": max_new_tokens,
            "probes": {
                f"{space}/{attribute}": {"chosen": probe.name, "validation": probe.scores}
                for (space, attribute, source), probe in facts.probes.items()
                if probe is not None and source == "probe_text"
            },
            "readback": readbacks,
            "notes": list(dict.fromkeys([*notes, *facts.notes.values()])),
        },
    )
    partial.unlink(missing_ok=True)
    return metrics


Row = Callable[[str, str, Estimate], None]


def _rows(task: Task, metrics: list[Metric]) -> Row:
    space = next(iter(task.slots.values()))

    def row(metric: str, condition: str, found: Estimate) -> None:
        metrics.append({"space": space, "task": task.name, "metric": metric, "condition": condition, **found._asdict()})

    return row


def _recovery(task: Task, examples: Sequence[Example], texts: Texts, facts: Facts, row: Row, seed: int) -> list[str]:
    """Score what the texts state, raw and between majority and probe; return why an attribute was left out.

    Majority and probe count as values, not as texts: a sentence that cannot be spelled must not lower the bar.
    """
    notes: list[str] = []
    if len(task.slots) > 1:
        return notes
    slot, space = next(iter(task.slots.items()))
    for attribute in task.states:
        reader = facts.reader(space, attribute)
        place = f"task {task.name!r}, attribute {attribute!r}"
        values = [reader.value(example.slots[slot][1]) for example in examples]
        known = [i for i, value in enumerate(values) if value is not None]
        if not known:
            notes.append(f"{place}: known for no test entity")
            continue
        true, rows = [values[i] for i in known], np.array([examples[i].slots[slot][1] for i in known])
        n, constant = len(known), facts.majority(space, attribute)
        everyone = np.arange(n)[None]

        def score(
            predicted: list[Any], kind: str = reader.kind, true: list[Any] = true, default: Any = constant
        ) -> Any:
            return attribute_score(kind, predicted, true, 0.0 if default is None else default)

        readable = float(score([reader.read(examples[i].target) for i in known])(everyone)[0])
        if readable < READABLE:
            notes.append(f"{place}: not readable, the extractor scores {readable:.2f} on the references")
            continue
        if facts.probe(space, attribute) is None:
            notes.append(f"{place}: no probe to compare with")
            continue
        floor = score([constant] * n)
        ceiling = score(facts.predict("probe_text", space, attribute, rows))
        row(f"score/{attribute}", "probe", estimate(n, [ceiling], seed=seed))
        for condition, found in texts.items():
            own = score([reader.read(found[i]) for i in known])
            row(f"score/{attribute}", condition, estimate(n, [own], seed=seed))
            row(f"recovery/{attribute}", condition, estimate(n, [own, floor, ceiling], corrected, seed=seed))
    return notes


def _readback(
    corpus: Corpus, task: Task, references: Sequence[Example], encoder: str, same_encoder: bool, seed: int
) -> ReadBack | SameEncoder:
    space = corpus.spaces[next(iter(task.slots.values()))]
    if same_encoder:
        return SameEncoder(space, encoder)
    validation = list(corpus.examples(VALIDATION, task.name))
    return ReadBack.fit(space, references, encoder, about=task.about, validation=validation, seed=seed)


def _consistency(
    corpus: Corpus,
    task: Task,
    examples: Sequence[Example],
    texts: Texts,
    readback: ReadBack | SameEncoder,
    row: Row,
    seed: int,
) -> None:
    """Compare what each text reads back as with the vector that was asked about."""
    space, n = readback.space, len(examples)
    own = about_vectors(examples, task.about, space) - readback.centre
    if task.about in task.slots:
        rivals = np.asarray(space.vectors[space.rows(TEST)], np.float32)
    else:
        rivals = about_vectors(list(corpus.examples(TEST, task.name)), task.about, space)
    found = {condition: readback(text) - readback.centre for condition, text in texts.items()}
    sc = {condition: mean_of(cosines(vectors, own)) for condition, vectors in found.items()}
    for condition, vectors in found.items():
        row("sc", condition, estimate(n, [sc[condition]], seed=seed))
        normalised = estimate(n, [sc[condition], sc["shuffled"], sc["own_text"]], corrected, seed=seed)
        row("nsc", condition, normalised)
        ranks = retrieval_ranks(vectors, own, rivals - readback.centre)
        for name, values in (("recall@1", ranks <= 1), ("recall@10", ranks <= 10), ("mrr", 1 / ranks)):
            row(name, condition, estimate(n, [mean_of(values.astype(float))], seed=seed))
    if "probe_text" in sc:
        gap = estimate(n, [sc["elm"], sc["probe_text"]], lambda a, b: a - b, seed=seed)
        row("sc_minus_probe_text", "elm", gap)


def _answers(corpus: Corpus, task: Task, examples: Sequence[Example], texts: Texts) -> list[dict[str, Any]]:
    entities = [
        {
            slot: {"space": space, "row": row, "title": corpus.spaces[space].title(row)}
            for slot, (space, row) in example.slots.items()
        }
        for example in examples
    ]
    return [
        {
            "task": task.name,
            "condition": condition,
            "prompt": example.prompt,
            "slots": slots,
            "answer": answer,
            "reference": example.target,
        }
        for condition, found in texts.items()
        for example, slots, answer in zip(examples, entities, found, strict=True)
    ]


def _sample(examples: list[Example], task: Task, limit: int | None, seed: int) -> list[Example]:
    if len(examples) < 2:
        raise EvaluationError(
            f"the corpus has {len(examples)} test examples of task {task.name!r}; at least 2 are needed. "
            "Name other tasks, or build the corpus on a larger space"
        )
    if limit is None or limit >= len(examples):
        return examples
    kept = np.sort(np.random.default_rng(seed).permutation(len(examples))[:limit])
    return [examples[i] for i in kept]


def _check_spaces(generator: Generator, corpus: Corpus) -> None:
    for name, space in corpus.spaces.items():
        own = generator.spaces.get(name)
        if own is None:
            raise EvaluationError(
                f"the corpus asks about space {name!r}, the run knows {', '.join(sorted(generator.spaces)) or 'none'}"
            )
        if own.fingerprint != space.fingerprint:
            raise EvaluationError(
                f"space {name!r} of the run has fingerprint {own.fingerprint[:12]}, that of the corpus "
                f"{space.fingerprint[:12]}: evaluate on the space that the model was trained on"
            )
        if own.split_hash != space.split_hash:
            raise EvaluationError(
                f"space {name!r} of the corpus has another split than that of the run: what the model was trained on "
                "would pass for unseen; evaluate on the space that the model was trained on"
            )
