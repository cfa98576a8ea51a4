"""Curves: what answers do along a line between two entities, along a concept, and as a user's ratings come in.

Every figure is a row of `curves.jsonl`: `{curve, space, task, subject, metric, condition, x, value, low, high, n}`, a
mean over pairs, entities or users with its bootstrap 95 % interval.
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

    Where `out` holds an evaluation too, its report is written anew, with the curves. Other kinds of curves there stay,
    where they are of the same run and measured alike. Interrupted, it goes on where it stopped.

    Args:
        generator: what answers, greedily.
        corpus: tasks, reference texts and spaces.
        out: folder of the results.
        kinds: which curves.
        tasks: names of tasks about one entity; the first such task of each space when omitted.
        pairs: random pairs of test entities to walk between.
        entities: test entities to shift.
        concepts: concepts to shift along, the commonest values of the first list or category that a task states.
        users: test users whose ratings are folded in one after another, where the space came from a factorisation.
        ratings: where held-out ratings are (see `find_ratings`).
        chat: an LLM that is told both titles of a walk.
        encoder: text encoder of the read-back; when None, the one that made the spaces, where one did, else `tfidf`.
        trust_encoder: take the one that made the spaces also where vectalk does not know it.
        readback_texts: training references of a task that the read-back is fitted on at most.
        seed: decides pairs, samples, random concepts and resamples.
        max_new_tokens: longest answer.
        progress: called with what is going on, how much is done, how much there is.

    Raises:
        EvaluationError: an unknown kind, no task is about one entity, or there are too few test entities.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        raise EvaluationError(f"unknown curve {unknown[0]!r}; there are {', '.join(KINDS)}")
    out, chosen = Path(out), subjects(corpus, tasks)
    name, same = Settings.make(encoder=encoder, trust_encoder=trust_encoder).encoded_by(corpus.spaces)
    check_encoder(name)
    encode: str | TextEncoder = name
    if name != "tfidf":
        encode = CachedEncoder(get_encoder(name), corpus.path / "embeddings", partial(progress, "encoding texts"))
    identity, unfinished = run_identity(generator), out / "curves.partial.jsonl"
    kept = AnswerCache(unfinished, progress)
    answers = Answers(generator, kept, identity=identity, max_new_tokens=max_new_tokens)
    told = None if chat is None else TextLLM(chat, corpus, kept)
    held_out = find_ratings(corpus.spaces, ratings, seed) if "cold_start" in kinds else None
    facts = Facts(corpus, seed, progress)
    rows: list[Row] = []
    said: list[Row] = []
    notes = (
        [] if chat is not None else ["interpolation, text_llm: not run (no LLM was given that could be told titles)"]
    )
    for task in chosen:
        one = Subject.of(corpus, task, facts, answers, encode, same, readback_texts, seed)
        found: list[tuple[list[Row], list[str]]] = []
        if "interpolation" in kinds:
            found.append(interpolations(one, pairs, told))
        if "shift" in kinds:
            found.append(shifts(one, concepts, entities))
        folds = RatingsOf.space(one.space) if "cold_start" in kinds else None
        if folds is not None:
            known = held_out if held_out is not None and held_out.users == one.space.name else None
            found.append(cold_start(one, folds, users, known))
        for made, why in found:
            rows, notes = rows + made, notes + why
        said += one.answer_rows
    basis: dict[str, Any] = {
        "run": {"path": run_path(generator), "identity": identity},
        "tasks": [t.name for t in chosen],
    }
    basis |= {"encoder": name, "same_encoder": same, "readback_texts": readback_texts, "seed": seed}
    sizes = {"pairs": pairs, "entities": entities, "concepts": concepts, "users": users}
    before = _before(out, basis, kinds)
    rows, said, notes = before.rows + rows, before.said + said, list(dict.fromkeys(before.notes + notes))
    measured = {**before.sizes, **dict.fromkeys(kinds, sizes)}
    write_jsonl(out / "curves_answers.jsonl", said)
    card = {**stamp(FORMAT), **basis, "sizes": measured, "crossings": crossings(rows), "notes": notes}
    write_json(out / "curves.json", card)
    write_text(out / "curves.html", page(rows))
    write_jsonl(out / "curves.jsonl", rows)
    unfinished.unlink(missing_ok=True)
    if (out / "metrics.jsonl").is_file():
        write_report(out)
    return rows


class _Before(NamedTuple):
    """What stays of curves that were measured before."""

    rows: list[Row]
    said: list[Row]
    notes: list[str]
    sizes: dict[str, Any]


def _before(out: Path, basis: dict[str, Any], kinds: Sequence[str]) -> _Before:
    """Return the other kinds of curves in a folder where they rest on the same run and the same judge."""
    if not (out / "curves.json").is_file():
        return _Before([], [], [], {})
    card = card_of(out, "curves.json")
    if any(card.get(key) != value for key, value in basis.items()):
        return _Before([], [], [], {})
    rows, said = (
        [row for row in rows_of(out, name) if row["curve"] not in kinds]
        for name in ("curves.jsonl", "curves_answers.jsonl")
    )
    notes = [note for note in card.get("notes", []) if note.partition(":")[0].partition(",")[0] not in kinds]
    return _Before(rows, said, notes, {kind: size for kind, size in card.get("sizes", {}).items() if kind not in kinds})
