"""What training may not know of the test set is planted and found: leaks and duplicates."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planted import ROWS, SUITE, build_films, found, plant, save_space, set_target, word
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, Suite, build_corpus
from vectalk.tasks.corpus.check import check_corpus
from vectalk.tasks.corpus.check.duplicates import ALIKE, signatures
from vectalk.tasks.teachers.texts import TextsTeacher


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> VectorSpace:
    return save_space(tmp_path_factory.mktemp("check") / "films")


@pytest.fixture
def made(space: VectorSpace, tmp_path: Path) -> Corpus:
    return build_films(space, tmp_path / "corpus")


# ---- leaks


def test_an_entity_that_is_set_aside_in_a_training_example(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["slots"][0]["row"] = ROWS - 1

    report = check_corpus(plant(made, "train", change))
    leaks = [finding for finding in report.problems if finding.kind == "leak"]
    assert [finding.count for finding in leaks] == [1]
    assert leaks[0].examples[0].endswith("is of test")


def test_a_training_entity_in_a_test_example(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["slots"][0]["row"] = 3

    report = check_corpus(plant(made, "test", change))
    assert [f.message for f in report.problems if f.kind == "leak"] == [
        "1 validation or test examples are only about training entities"
    ]


def test_an_entity_that_is_nowhere(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[5]["slots"][0]["row"] = ROWS
        rows[6]["slots"][0]["space"] = "flim"

    assert ("unknown-entity", "problem", 2) in found(check_corpus(plant(made, "train", change)))


def test_a_title_set_aside_that_a_training_target_names(made: Corpus, space: VectorSpace) -> None:
    title = space.title(ROWS - 3)
    start = str(made.table("train")["target"][8].as_py())
    report = check_corpus(plant(made, "train", set_target(8, f"{start} Like “{title}”.")))
    assert found(report) == [("hidden-title", "problem", 1)]
    assert f"names “{title}”" in report.findings[0].examples[0]
    bare = title.rpartition(" (")[0]
    report = check_corpus(plant(made, "train", set_target(8, f"{start} It is like {bare} in that.")))
    assert found(report) == [("hidden-title", "warning", 1)]
    seen = space.title(3)
    assert found(check_corpus(plant(made, "train", set_target(8, f"{start} Like “{seen}”.")))) == []


def test_a_target_that_names_its_own_title(made: Corpus, space: VectorSpace) -> None:
    row = made.table("test")["slots"][4].as_py()[0]["row"]
    start, title = str(made.table("test")["target"][4].as_py()), space.title(row).rpartition(" (")[0]
    report = check_corpus(plant(made, "test", set_target(4, f"{start} So {title} ends.")))
    assert found(report) == [("own-title", "problem", 1)]
    assert report.figures["own_titles"] == {"summary": 1}
    suite = Suite.model_validate({**SUITE, "tasks": [{**SUITE["tasks"][0], "names_title": True}]})
    (made.path / "suite.yaml").write_text(suite.dump())
    assert [f.kind for f in check_corpus(Corpus.load(made.path)).problems] == []


def test_one_title_in_two_splits(space: VectorSpace, tmp_path: Path) -> None:
    table = space.entities.to_pydict()
    table["title"][ROWS - 1] = table["title"][0].upper().replace("(1950)", "(1951)")
    other = VectorSpace.create("film", np.array(space.vectors), table).save(tmp_path / "films")
    suite = Suite.model_validate(SUITE)
    corpus = build_corpus({"film": other}, suite, TextsTeacher(suite, {"film": other}, {"": "text"}), tmp_path / "c")
    (finding,) = check_corpus(corpus).findings
    assert (finding.kind, finding.level, finding.count) == ("twin-title", "warning", 1)
    assert finding.examples == [f"{table['title'][ROWS - 1]} (test)"]


# ---- duplicates


def test_test_targets_that_are_training_targets(made: Corpus) -> None:
    texts = made.table("train")["target"].to_pylist()[::4]

    def change(rows: list[dict[str, Any]]) -> None:
        for n in range(6):
            rows[n]["target"] = "  " + texts[n].upper().replace(" ", "  ")

    report = check_corpus(plant(made, "test", change))
    duplicates = [f for f in report.problems if f.kind == "duplicate"]
    assert [f.count for f in duplicates] == [6]
    assert "6 of 60 validation and test targets are identical to a training target" in duplicates[0].message
    assert duplicates[0].examples[0].startswith("test 0 = train 0: ")
    assert report.figures["duplicates"]["tasks"]["summary"]["identical_to_training"] == 0.1


def test_test_targets_that_are_nearly_training_targets(made: Corpus) -> None:
    texts = made.table("train")["target"].to_pylist()[::4]

    def change(rows: list[dict[str, Any]]) -> None:
        for n in range(6):
            rows[n]["target"] = texts[n] + " indeed"  # one more word among some 40

    report = check_corpus(plant(made, "test", change))
    near = [f for f in report.findings if f.kind == "duplicate"]
    assert [(f.level, f.count) for f in near] == [("warning", 6)]
    assert "nearly identical to a training target" in near[0].message


def test_one_text_for_many(made: Corpus) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows[:80]:
            row["target"] = rows[0]["target"]

    report = check_corpus(plant(made, "train", change))
    said = [f.message for f in report.warnings if f.kind == "duplicate"]
    assert said == ["task 'summary': 13% of the targets are identical to a target about other entities"]


def test_signatures_tell_how_alike_texts_are() -> None:
    rng = random.Random(1)

    def pair(shared: float) -> tuple[str, str]:
        """Two texts whose runs of three words have about this Jaccard similarity."""
        size = 120
        same = round(2 * shared / (1 + shared) * size)
        start = [word(rng) for _ in range(same)]
        return tuple(" ".join([*start, *(word(rng) for _ in range(size - same))]) for _ in range(2))  # type: ignore[return-value]

    def share_found(shared: float) -> float:
        pairs = [pair(shared) for _ in range(60)]
        return float(((signatures([a for a, _ in pairs]) == signatures([b for _, b in pairs])).sum(1) >= ALIKE).mean())

    assert share_found(0.92) > 0.9
    assert share_found(0.5) < 0.2
    same, again, turned = signatures(["one two", "one two", "two one"])
    assert (same == again).all()
    assert not (same == turned).any()
