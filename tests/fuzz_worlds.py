"""Valid folders of every kind that vectalk reads, small and quickly made, and a little use of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from vectalk.concepts import Concept, shelf
from vectalk.evaluation.answers import AnswerCache
from vectalk.evaluation.curves.cold_start import RatingsOf
from vectalk.evaluation.judges import QUESTIONS, Sheet, score, write_sheet
from vectalk.evaluation.ratings import find_ratings
from vectalk.evaluation.records import CARDS, ROWS, card_of, rows_of
from vectalk.evaluation.report import write_report
from vectalk.files import write_json, write_jsonl, write_text
from vectalk.model.adapter import ElmAdapter, ElmAdapterConfig, open_adapter
from vectalk.model.export import MARKER, ExportCard
from vectalk.model.run import FrameCard, LlmCard, Run, RunCard, SpaceCard, write_card
from vectalk.readback import CachedEncoder, ReadBack
from vectalk.space import VectorSpace
from vectalk.space.factorization.ratings import factorize
from vectalk.talk.narrate import COLUMNS, MARK, narration
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus
from vectalk.tasks.corpus.check.corpus_check import check_corpus
from vectalk.training.folder import RunFolder, base_of
from worlds import make_films

SUITE = """
name: small
attributes: {film: {genres: {kind: list}}}
tasks:
- name: summary
  slots: {film: film}
  about: film
  states: [genres]
  prompts: ["Summarise {film}."]
  facts: ["A film of {{ film.genres | listed }}.", "It is {{ film.genres | series }}."]
"""
WAITING = 60  # rows of the space


# ---- valid folders, each made once


def space(folder: Path) -> None:
    make_films(WAITING, 4).save(folder / "space")


def concept(folder: Path) -> None:
    space(folder)
    films = VectorSpace.load(folder / "space")
    shelf.keep(Concept.fit(films, films.where("genres", "Comedy"), name="comedy", random_concepts=2, bootstraps=2))


def corpus(folder: Path) -> None:
    space(folder)
    spaces, suite = {"film": VectorSpace.load(folder / "space")}, Suite.parse(SUITE, "suite")
    build_corpus(spaces, suite, FactsTeacher(suite, spaces), folder / "corpus", variants=1)


def run(folder: Path) -> None:
    space(folder)
    films, out = VectorSpace.load(folder / "space"), folder / "run"
    torch.manual_seed(0)
    config = ElmAdapterConfig(space="film", vector_dim=4, llm_hidden_size=8, soft_tokens=2, width=4)
    ElmAdapter.create(config, films.normalizer, 1.0).save_pretrained(out / "adapters" / "film")
    place = SpaceCard(
        path="../space",
        fingerprint=films.fingerprint,
        split_hash=films.split_hash,
        dim=4,
        soft_tokens=2,
        adapter="film",
    )
    card = RunCard(
        llm=LlmCard(name="some/llm", hidden_size=8, dtype="float32"),
        spaces={"film": place},
        template="{{ messages }}",
        template_hash="0" * 64,
        frame=FrameCard(before="Question: ", after="\nAnswer: ", end="\n"),
        corpus="../corpus",
        versions={"vectalk": "0.1.0"},
    )
    write_text(out / "tasks.yaml", SUITE)
    write_text(out / "config.yaml", "seed: 0\ndtype: auto\nstage1: {steps: 1}\n")
    write_card(out, card)


def begun(folder: Path) -> None:
    identity = {"corpus": "0" * 64, "llm": "some/llm", "revision": None, "weights": None, "config": {}, "start": None}
    write_json(folder / "checkpoints" / "identity.json", {**identity, "commit": None})
    write_json(folder / "checkpoints" / "frame.json", {"before": "a", "after": "b", "end": "c"})
    rows = [{"stage": 1, "step": n, "validation_loss": 1.0, "task_losses": {"summary": 1.0}} for n in (1, 2)]
    write_jsonl(folder / "training.jsonl", rows)


def exported(folder: Path) -> None:
    frame = {"before": "a", "after": "b", "end": "c"}
    card = {"format": 1, "soft_tokens": {"film": 2}, "stop_ids": [1], "template": "t", "frame": frame}
    write_json(folder / MARKER, {**card, "adapters": {"film": "film"}, "ids_equal": True})


def figures(value: float | None = 0.5) -> dict[str, Any]:
    return {"value": value, "low": 0.4, "high": 0.6, "n": 8}


def evaluation(folder: Path) -> None:
    where = {"space": "film", "task": "summary"}
    conditions = ("elm", "shuffled", "copy_text", "own_text")
    rows = [{**where, "metric": m, "condition": c, **figures()} for m in ("sc", "recovery") for c in conditions]
    rows += [{**where, "metric": "sc_minus_shuffled", "condition": "elm", **figures()}]
    rows += [{**where, "metric": "score_minus_majority/genres", "condition": "probe", **figures()}]
    write_jsonl(folder / "metrics.jsonl", rows)
    slots = {"film": {"space": "film", "row": 1, "title": "Film 1"}}
    said = {"task": "summary", "prompt": "Summarise {film}.", "slots": slots, "answer": "a", "reference": "b"}
    answers = [{**said, "condition": c, "sc": 0.1 * n, "true": 0.5} for c in conditions for n in range(4)]
    write_jsonl(folder / "answers.jsonl", answers)
    place = {"path": "films", "fingerprint": "f" * 64, "split_hash": "5" * 64, "dim": 4}
    made = {"path": "corpus", "suite": "s", "teacher": "facts", "counts": {"test": 8}, "spaces": {"film": place}}
    card = {"format": 1, "vectalk": "0.1.0", "date": "2025-01-01", "python": "3.11", "corpus": made}
    llm = {"name": "llm", "trained": "lora", "revision": None, "fingerprint": "f" * 64}
    card |= {"run": {"path": "run", "identity": "i" * 20, "llm": llm, "versions": {"torch": "2"}}, "tasks": ["summary"]}
    card |= {"readback": {"summary": {"encoder": "tfidf", "r2": 0.3}}, "not_run": {"stage1": "not asked for"}}
    write_json(folder / "config.json", {**card, "notes": ["a note"], "seed": 0, "conditions": ["elm"], "limit": None})
    places = [[float(n), float(n % 3)] for n in range(6)]
    drawn = {"share": [0.5, 0.2], "titles": list("abcdef"), "places": places, "rows": list(range(6))}
    write_json(folder / "map.json", {"film": {**drawn, "values": {"decade": ["1", "2"] * 3, "genres": [["x"]] * 6}}})
    question = {"name": "quality", "text": "good?", "means": {"elm": figures()}, "alpha": None, "sc": figures()}
    write_json(folder / "ratings.json", {"raters": ["a"], "n": 1, "conditions": ["elm"], "questions": [question]})
    lines = [
        {**where, "curve": curve, "subject": subject, "metric": metric, "condition": condition, "x": x, **figures()}
        for curve, metric in (("interpolation", "sc"), ("interpolation", "sc_middle"), ("shift", "target"))
        for subject in (None, "comedy")
        for condition in ("elm", "copy_text")
        for x in (0.0, 0.5, 1.0)
    ]
    lines += [{**lines[0], "curve": "cold_start", "metric": "bc_auc", "x": x} for x in (1, 50, None)]
    lines += [{**lines[1], "metric": "sc_middle_minus_copy_text"}, {**lines[0], "metric": "states_a/genres"}]
    write_jsonl(folder / "curves.jsonl", [*lines, {**lines[0], "curve": "shift", "metric": "spearman_95"}])
    stop = {**where, "curve": "interpolation", "condition": "elm", "subject": "0", "ends": ["a", "b"], "sc": 0.5}
    stops = [{**stop, "x": x, "answer": f"at {x}", "at": [x, x]} for x in (0, 0.5, 1)]
    write_jsonl(folder / "curves_answers.jsonl", stops)
    crossing = {**where, "metric": "bc_auc", "condition": "elm", "above": 5, "surely": "all"}
    write_json(folder / "curves.json", {"format": 1, "crossings": [crossing], "notes": ["n"], "sizes": {"shift": {}}})
    write_jsonl(folder / "answers.partial.jsonl", [{"key": "k", "answer": "a"}])


def sheet(folder: Path) -> None:
    evaluation(folder / "evaluation")
    made = write_sheet(folder / "evaluation", folder / "sheet", each=2)
    lines = [["rater", "item", *QUESTIONS], *(["ann", item.item, *(3 for _ in QUESTIONS)] for item in made.items)]
    write_text(folder / "ann.csv", "".join(",".join(map(str, line)) + "\n" for line in lines))


def narrated(folder: Path) -> None:
    write_json(folder / "manifest.json", {"format": 1, "fingerprint": "f", "parts": 1, "vectalk": "0.1.0"})
    table = pa.table({name: [0, 1] if name == "row" else ["a", "b"] for name in COLUMNS})
    pq.write_table(table.replace_schema_metadata({MARK: b"f"}), folder / "part-00000.parquet")


def read_back(folder: Path) -> None:
    corpus(folder)
    opened = Corpus.load(folder / "corpus")
    ReadBack.fit(opened.spaces["film"], list(opened.examples("train")), "tfidf").save(folder / "readback")


def ratings(folder: Path) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 20, 300), rng.integers(0, 15, 300)
    table = pa.table({"user": users.astype(str), "item": items.astype(str), "rating": np.ones(300)})
    made = factorize(
        table.group_by(["user", "item"]).aggregate([("rating", "mean")]).rename_columns(table.column_names),
        folder / "factors",
        min_ratings=1,
        holdout=0.2,
        user_name="user",
        item_name="film",
    )
    assert made


class Letters:
    """A frozen encoder: how often some letters stand in a text."""

    name = "letters"

    def encode(self, texts) -> np.ndarray:
        counts = np.array([[1 + text.count(sign) for sign in "aei"] for text in texts], np.float32).reshape(-1, 3)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def encoded(folder: Path) -> None:
    CachedEncoder(Letters(), folder / "embeddings").encode(["one", "two"])


# ---- reading them, and a little use


def use_space(folder: Path) -> None:
    films = VectorSpace.load(folder / "space")
    films.support(films[0])
    films.neighbors(films[films.title(1)], 3)
    films.metadata(2)
    assert films.entities.num_rows == len(films)
    films.verify()


def use_concept(folder: Path) -> None:
    films = VectorSpace.load(folder / "space")
    for comedy in shelf.load_all(films):
        comedy.shift(films[0], 1.0)
        assert str(comedy)
        assert isinstance(comedy.statistics.warnings, list)


def use_corpus(folder: Path) -> None:
    opened = Corpus.load(folder / "corpus")
    for split in ("train", "validation", "test"):
        examples = list(opened.examples(split, "summary"))
        assert sum(batch.num_rows for batch in opened.batches(split, 7)) >= len(examples)
        for example in examples:
            for name, row in example.slots.values():
                opened.spaces[name].title(row)
    assert len(opened) >= 0


def use_run(folder: Path) -> None:
    opened = Run.load(folder / "run")
    assert opened.suite.spaces
    assert isinstance(opened.config, dict)
    assert opened.corpus_path.is_absolute()
    opened.spaces()
    for card in opened.card.spaces.values():
        adapter = open_adapter(opened.path / "adapters" / (card.adapter or "film"))
        adapter(torch.zeros(1, adapter.config.vector_dim))


def use_begun(folder: Path) -> None:
    opened = object.__new__(RunFolder)
    opened.checkpoints, opened.log_path = folder / "checkpoints", folder / "training.jsonl"
    opened.frame()
    opened.evaluations(1)
    base_of(folder)


def use_evaluation(folder: Path) -> None:
    write_report(folder)
    AnswerCache(folder / "answers.partial.jsonl", lambda what, done, total: None)
    for name in ROWS:
        assert isinstance(rows_of(folder, name), list)
    for name in CARDS:
        card_of(folder, name)


def use_sheet(folder: Path) -> None:
    score(Sheet.load(folder / "sheet"), [folder / "ann.csv"])


def write_another_sheet(folder: Path) -> None:
    write_sheet(folder / "evaluation", folder / "another", each=1, overwrite=True)


def use_ratings(folder: Path) -> None:
    films, users = (VectorSpace.load(folder / "factors" / side) for side in ("items", "users"))
    find_ratings({"film": films, "user": users})
    folds = RatingsOf.space(users)
    if folds is not None and len(folds.by_user):
        folds.factors.fold_in(*folds.of(users, 0))


@dataclass(frozen=True)
class Reader:
    make: Callable[[Path], None]
    use: Callable[[Path], Any]
    files: tuple[str, ...]


READERS = {
    "space": Reader(
        space,
        use_space,
        ("space/space.json", "space/entities.parquet", "space/vectors.npy", "space/support.safetensors"),
    ),
    "concept": Reader(
        concept,
        use_concept,
        ("space/concepts/comedy/concept.json", "space/concepts/comedy/direction.safetensors"),
    ),
    "corpus": Reader(
        corpus,
        use_corpus,
        ("corpus/corpus.json", "corpus/suite.yaml", "corpus/train-00000.parquet", "corpus/test-00000.parquet"),
    ),
    "check": Reader(
        corpus,
        lambda folder: check_corpus(Corpus.load(folder / "corpus")),
        ("corpus/corpus.json", "corpus/train-00000.parquet"),
    ),
    "run": Reader(
        run,
        use_run,
        (
            "run/elm.json",
            "run/tasks.yaml",
            "run/config.yaml",
            "run/adapters/film/config.json",
            "run/adapters/film/model.safetensors",
        ),
    ),
    "begun": Reader(begun, use_begun, ("checkpoints/identity.json", "checkpoints/frame.json", "training.jsonl")),
    "export": Reader(exported, ExportCard.read, (MARKER,)),
    "evaluation": Reader(evaluation, use_evaluation, (*ROWS, *CARDS, "answers.partial.jsonl")),
    "sheet": Reader(sheet, use_sheet, ("sheet/key.json", "ann.csv")),
    "answers": Reader(sheet, write_another_sheet, ("evaluation/answers.jsonl", "evaluation/config.json")),
    "narration": Reader(narrated, lambda folder: list(narration(folder)), ("manifest.json", "part-00000.parquet")),
    "read-back": Reader(
        read_back,
        lambda folder: ReadBack.load(folder / "readback", VectorSpace.load(folder / "space"))(["a text"]),
        (
            "readback/readback.json",
            "readback/readback.safetensors",
            "readback/encoder.json",
            "readback/encoder.safetensors",
        ),
    ),
    "ratings": Reader(
        ratings,
        use_ratings,
        ("factors/factors.json", "factors/biases.npz", "factors/ratings_train.parquet", "factors/ratings_test.parquet"),
    ),
    "embeddings": Reader(
        encoded,
        lambda folder: CachedEncoder(Letters(), folder / "embeddings").encode(["one", "three"]),
        ("*.keys.npy", "*.rows.npy"),
    ),
}
