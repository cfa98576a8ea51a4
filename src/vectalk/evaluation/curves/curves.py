"""Curves: how answers change between two entities, along a concept, and with the number of ratings of a user.

Each row of `curves.jsonl` is one figure: `{curve, space, task, subject, metric, condition, x, value, low, high, n}`. A
figure is a mean over pairs, entities or users, with its bootstrap 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vectalk.errors import EvaluationError
from vectalk.evaluation.answers import AnswerCache, Answers, Generator, Progress, run_identity, run_path
from vectalk.evaluation.curves.cold_start import RatingsOf, cold_start, crossings
from vectalk.evaluation.curves.plot import page
from vectalk.evaluation.curves.shifts import STEPS, shifts
from vectalk.evaluation.curves.subject import Row, Subject, subjects
from vectalk.evaluation.curves.walks import ALPHAS, interpolations
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.ratings import find_ratings
from vectalk.evaluation.records import FORMAT, card_of, rows_of
from vectalk.evaluation.report import write_report
from vectalk.evaluation.settings import Settings
from vectalk.evaluation.text_llm import Chat, TextLLM
from vectalk.files import write_json, write_jsonl, write_text
from vectalk.readback import CachedEncoder, TextEncoder, check_encoder, get_encoder
from vectalk.readback.readback import MOST_TEXTS
from vectalk.reading.cards import stamp
from vectalk.tasks import Corpus

__all__ = ["ALPHAS", "KINDS", "STEPS", "curves"]
KINDS = ("interpolation", "shift", "cold_start")


def curves(
    generator: Generator,
    corpus: Corpus,
    out: str | Path,
    *,
    kinds: Sequence[str] = KINDS,
    tasks: Sequence[str] | None = None,
    pairs: int = 100,
    entities: int = 40,
    concepts: int = 5,
    users: int = 60,
    ratings: str | None = None,
    chat: Chat | None = None,
    encoder: str | None = None,
    trust_encoder: bool = False,
    readback_texts: int = MOST_TEXTS,
    seed: int = 0,
    max_new_tokens: int = 160,
    progress: Progress = lambda what, done, total: None,
) -> list[Row]:
    """Measure the curves of a model and write `curves.jsonl`, `curves_answers.jsonl`, `curves.json`, `curves.html`.

    If `out` also holds an evaluation, its report is written again, with the curves. Curves of other kinds in `out` are
    kept if they have the same run and settings. The same call resumes an interrupted measurement.

    Args:
        generator: the model that answers; it must decode greedily.
        corpus: the corpus, with tasks, reference texts and spaces.
        out: folder of the results.
        kinds: the kinds of curves: `interpolation`, `shift`, `cold_start`.
        tasks: names of tasks about one entity; the first such task of each space when omitted.
        pairs: number of random pairs of test entities for `interpolation`.
        entities: number of test entities for `shift`.
        concepts: number of concepts for `shift`: the most frequent values of the first list or category attribute that
            the task states.
        users: number of test users for `cold_start`; only for a space of users that comes from a factorisation.
        ratings: path of the held-out ratings (see `find_ratings`).
        chat: an LLM that reads the titles of both ends of a walk and their shares instead of a vector (`text_llm`), and
            also the facts of both in words (`told_llm`).
        encoder: text encoder of the read-back. None means the encoder that created the vectors of the spaces if a text
            encoder did, else `tfidf`.
        trust_encoder: also load the encoder that the spaces name if vectalk does not know that encoder.
        readback_texts: most training references of a task for the fit of the read-back.
        seed: seed of pairs, samples, random concepts and resamples.
        max_new_tokens: longest answer, in tokens.
        progress: called with a label of the current step, the number of finished items, and the total.

    Returns:
        The rows of `curves.jsonl`.

    Raises:
        EvaluationError: a kind is unknown, no task is about one entity, or there are too few test entities.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise EvaluationError(f"unknown curve {unknown[0]!r}; allowed are {', '.join(KINDS)}")
    out, curve_tasks = Path(out), subjects(corpus, tasks)
    name, same = Settings.make(encoder=encoder, trust_encoder=trust_encoder).encoded_by(corpus.spaces)
    check_encoder(name)
    encode: str | TextEncoder = name
    if name != "tfidf":
        encode = CachedEncoder(get_encoder(name), corpus.path / "embeddings", partial(progress, "encoding texts"))
    identity, unfinished = run_identity(generator), out / "curves.partial.jsonl"
    cache = AnswerCache(unfinished, progress)
    answers = Answers(generator, cache, identity=identity, max_new_tokens=max_new_tokens)
    text_llms = [] if chat is None else [TextLLM(chat, corpus, cache, facts) for facts in (False, True)]
    held_out = find_ratings(corpus.spaces, ratings, seed) if "cold_start" in kinds else None
    facts = Facts(corpus, seed, progress)
    rows: list[Row] = []
    answer_rows: list[Row] = []
    notes = []
    if chat is None:
        reason = "not run (no LLM was given that could read titles)"
        notes = [f"interpolation, {condition}: {reason}" for condition in ("text_llm", "told_llm")]
    for task in curve_tasks:
        one = Subject.of(corpus, task, facts, answers, encode, same, readback_texts, seed)
        results: list[tuple[list[Row], list[str]]] = []
        if "interpolation" in kinds:
            results.append(interpolations(one, pairs, text_llms))
        if "shift" in kinds:
            results.append(shifts(one, concepts, entities))
        folds = RatingsOf.space(one.space) if "cold_start" in kinds else None
        if folds is not None:
            known = held_out if held_out is not None and held_out.users == one.space.name else None
            results.append(cold_start(one, folds, users, known))
        for new_rows, new_notes in results:
            rows, notes = rows + new_rows, notes + new_notes
        answer_rows += one.answer_rows
    basis: dict[str, Any] = {
        "run": {"path": run_path(generator), "identity": identity},
        "tasks": [t.name for t in curve_tasks],
    }
    basis |= {"encoder": name, "same_encoder": same, "readback_texts": readback_texts, "seed": seed}
    sizes = {"pairs": pairs, "entities": entities, "concepts": concepts, "users": users}
    earlier = _earlier_curves(out, basis, kinds)
    rows, answer_rows = earlier.rows + rows, earlier.answer_rows + answer_rows
    notes = list(dict.fromkeys(earlier.notes + notes))
    measured = {**earlier.sizes, **dict.fromkeys(kinds, sizes)}
    write_jsonl(out / "curves_answers.jsonl", answer_rows)
    card = {**stamp(FORMAT), **basis, "sizes": measured, "crossings": crossings(rows), "notes": notes}
    write_json(out / "curves.json", card)
    write_text(out / "curves.html", page(rows))
    write_jsonl(out / "curves.jsonl", rows)
    unfinished.unlink(missing_ok=True)
    if (out / "metrics.jsonl").is_file():
        write_report(out)
    return rows


class _EarlierCurves(NamedTuple):
    """Curves of other kinds that were measured before and are kept."""

    rows: list[Row]
    answer_rows: list[Row]
    notes: list[str]
    sizes: dict[str, Any]


def _earlier_curves(out: Path, basis: dict[str, Any], kinds: Sequence[str]) -> _EarlierCurves:
    """Return the curves of other kinds in a folder, if they have the same run, tasks, encoder and seed (`basis`)."""
    if not (out / "curves.json").is_file():
        return _EarlierCurves([], [], [], {})
    card = card_of(out, "curves.json")
    if any(card.get(key) != value for key, value in basis.items()):
        return _EarlierCurves([], [], [], {})
    rows, answer_rows = (
        [row for row in rows_of(out, name) if row["curve"] not in kinds]
        for name in ("curves.jsonl", "curves_answers.jsonl")
    )
    notes = [note for note in card.get("notes", []) if note.partition(":")[0].partition(",")[0] not in kinds]
    sizes = {kind: size for kind, size in card.get("sizes", {}).items() if kind not in kinds}
    return _EarlierCurves(rows, answer_rows, notes, sizes)
