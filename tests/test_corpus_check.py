"""Each thing that can be wrong with a corpus is planted and found; a corpus without it passes."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from planted import TRAIN, build_films, found, plant, save_space, set_target
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from vectalk.tasks.corpus.check import check_corpus
from vectalk.tasks.corpus.check.corpus_check import SCHEMA
from vectalk.tasks.corpus.check.duplicates import normalised
from worlds import call


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> VectorSpace:
    return save_space(tmp_path_factory.mktemp("check") / "films")


@pytest.fixture
def made(space: VectorSpace, tmp_path: Path) -> Corpus:
    return build_films(space, tmp_path / "corpus")


# ---- a clean corpus


def test_a_clean_corpus_passes(made: Corpus) -> None:
    report = check_corpus(made)
    assert found(report) == []
    assert not report.fails(strict=True)
    figures = report.figures
    assert figures["total"] == 4 * TRAIN + 60
    assert figures["examples"] == {"summary": {"train": 4 * TRAIN, "validation": 20, "test": 40}}
    assert figures["teachers"] == {"texts:text": 4 * TRAIN + 60}
    # Four wordings about one film are no duplicates.
    assert figures["duplicates"]["tasks"]["summary"] == dict.fromkeys(
        ("identical", "identical_to_training", "near", "near_to_training"), 0.0
    )
    read = figures["attributes"]["summary"]
    assert read["genres"] == {"read": 620, "stated": 1.0, "agree": 1.0} == read["decade"]


def test_a_corpus_of_templates_passes(corpus: Corpus) -> None:
    """The facts teacher's texts repeat by design: their share is told, and nothing else."""
    report = check_corpus(corpus)
    assert found(report) == []
    told = report.figures["duplicates"]["tasks"]
    texts: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        for example in corpus.examples(split, "summary"):
            texts.setdefault(normalised(example.target), set()).add(example.slots["island"][1])
    shared = sum(
        len(texts[normalised(example.target)]) > 1
        for split in ("train", "validation", "test")
        for example in corpus.examples(split, "summary")
    )
    assert told["summary"]["identical"] == pytest.approx(
        shared
        / (
            2 * len(corpus.spaces["island"].rows("train"))
            + sum(len(corpus.spaces["island"].rows(s)) for s in ("validation", "test"))
        ),
        abs=1e-4,
    )
    assert 0 < told["summary"]["identical"] < 1


# ---- contents


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_targets(made: Corpus, text: str) -> None:
    (finding,) = check_corpus(plant(made, "train", set_target(7, text))).findings
    assert (finding.kind, finding.level, finding.count) == ("empty", "problem", 1)
    assert finding.examples[0].startswith("train 7 (summary, ")


def test_constant_targets(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["target"] = "A film like any other, drama of the 1950s."

    for split in ("train", "validation", "test"):
        made = plant(made, split, change)
    kinds = [finding.kind for finding in check_corpus(made).problems]
    assert "constant" in kinds
    assert "duplicate" in kinds


def test_examples_of_a_task_that_the_suite_lacks(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[3]["task"] = "sumary"

    report = check_corpus(plant(made, "train", change))
    assert ("unknown-task", "problem", 1) in found(report)


def test_prompts_whose_slots_are_not_bound(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[3]["prompt"] = "Summarise {movie}."

    assert found(check_corpus(plant(made, "validation", change))) == [("slots", "problem", 1)]


def test_examples_in_the_file_of_another_split(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[3]["split"] = "test"

    assert found(check_corpus(plant(made, "train", change))) == [("split-label", "problem", 1)]


def test_too_few_examples(made: Corpus) -> None:
    made = plant(made, "test", lambda rows: rows.__delitem__(slice(29, None)))
    (finding,) = check_corpus(made).findings
    assert (finding.kind, finding.level) == ("too-few", "warning")
    assert "fewer than 30 test examples" in finding.message
    assert "summary (29)" in finding.message
    made = plant(made, "validation", lambda rows: rows.__delitem__(slice(1, None)))
    made = plant(made, "train", lambda rows: rows.clear())
    assert [f.message for f in check_corpus(made).problems] == [
        "there is no training example",
        "1 validation examples; training needs at least two to decide when to stop",
    ]


def test_files_that_changed(made: Corpus) -> None:
    rows = pq.read_table(made.path / "test-00000.parquet").to_pylist()
    rows[0]["target"] += " Indeed."
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), made.path / "test-00000.parquet")
    assert found(check_corpus(made)) == [("changed", "warning", 1)]


# ---- lengths and truth


def test_lengths_and_the_longest(made: Corpus) -> None:
    report = check_corpus(plant(made, "validation", set_target(9, "word " * 300)))
    lengths = report.figures["lengths"]
    every = [
        len(f"{example.prompt}{example.target}")
        for split in ("train", "validation", "test")
        for example in Corpus.load(made.path).examples(split)
    ]
    assert lengths["unit"] == "characters"
    assert lengths["all"]["max"] == max(every) == len("Summarise {film}.") + 1500
    assert lengths["all"]["median"] == np.sort(every)[len(every) // 2 - 1]
    assert lengths["longest"].startswith("validation 9 (summary, ")


def test_examples_that_do_not_fit_the_llm(made: Corpus) -> None:
    def measure(prompt: str, spaces: dict[str, str], target: str) -> int:
        assert spaces == {"film": "film"}
        return len(target.split())

    made = plant(made, "train", set_target(9, "word " * 300))
    assert [f for f in check_corpus(made, measure=measure, context=300).problems if f.kind == "too-long"] == []
    report = check_corpus(made, measure=measure, context=299)
    (finding,) = [f for f in report.problems if f.kind == "too-long"]
    assert finding.count == 1
    assert finding.examples[0].endswith("is 300 tokens long")
    assert report.figures["lengths"]["unit"] == "tokens"
    assert report.figures["lengths"]["context"] == 299


@pytest.mark.parametrize(("wrong", "level"), [(0, None), (20, None), (100, "warning"), (450, "problem")])
def test_targets_that_contradict_the_metadata(made: Corpus, wrong: int, level: str | None) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows[:wrong]:
            head, _, rest = row["target"].partition("0s, ")
            row["target"] = f"{head[:-3]}180{'0s, '}{rest}"

    report = check_corpus(plant(made, "train", change))
    said = [f for f in report.findings if f.kind == "contradiction"]
    assert [f.level for f in said] == ([] if level is None else [level])
    assert report.figures["attributes"]["summary"]["decade"]["agree"] == pytest.approx(1 - wrong / 620, abs=1e-3)
    assert report.figures["attributes"]["summary"]["genres"]["agree"] == 1.0
    if said:
        assert "read 1800s, metadata 1950s" in said[0].examples[0]


def test_a_text_that_names_a_part_of_a_list_agrees(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["target"] = row["target"].replace("drama and crime", "drama")

    report = check_corpus(plant(made, "train", change))
    assert report.figures["attributes"]["summary"]["genres"]["agree"] == 1.0


# ---- size, and the command line


def test_memory_stays_bounded(made: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pq.read_table(made.path / "train-00000.parquet")

    def peak(copies: int) -> int:
        for n in range(1, copies):
            pq.write_table(rows, made.path / f"train-{n:05d}.parquet")
        monkeypatch.setattr("vectalk.tasks.corpus.check.corpus_check.SIZE", 256)
        tracemalloc.start()
        check_corpus(made)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(2), peak(20)
    assert (large - small) / (18 * len(rows)) < 600  # bytes an example; a text alone has some 300, and Python's 49


def test_the_command_line(made: Corpus, capsys: pytest.CaptureFixture[str], chat: Any, tmp_path: Path) -> None:
    code, out, err = call(["corpus", "check", str(made.path)], capsys)
    assert code == 0, err
    assert "0 problems, 0 warnings in 620 examples" in out
    chat.save_pretrained(tmp_path / "llm")
    (tmp_path / "llm" / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 60}))
    code, out, err = call(["corpus", "check", str(made.path), "--llm", str(tmp_path / "llm"), "--json"], capsys)
    assert code == 1, err
    report = json.loads(out)
    assert report["problems"] == 1
    assert report["findings"][0]["kind"] == "too-long"
    assert report["lengths"]["unit"] == "tokens"
    assert report["lengths"]["context"] == 60
    plant(made, "test", lambda rows: rows.__delitem__(slice(20, None)))
    code, out, err = call(["corpus", "check", str(made.path)], capsys)
    assert (code, "warning: fewer than 30" in out) == (0, True)
    assert call(["corpus", "check", str(made.path), "--strict"], capsys)[0] == 1
    code, out, err = call(["corpus", "check", str(tmp_path)], capsys)
    assert code == 2
    assert "is not a corpus" in err
    (made.path / "train-00000.parquet").write_text("no")
    code, out, err = call(["corpus", "check", str(made.path)], capsys)
    assert code == 2
    assert "cannot be read" in err
    assert "Traceback" not in err
