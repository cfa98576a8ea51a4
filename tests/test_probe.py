"""The probe finds what is there: attributes that are linear in the vector, by vote, or by neither."""

import numpy as np
import pytest

from linear_world import DIM, SUITE, make_space, truth
from vectalk.errors import EvaluationError
from vectalk.evaluation.metrics.rows import majority, sample_f1
from vectalk.evaluation.probes.probe import Coding, Probe, known_values, tune
from vectalk.space import VectorSpace
from vectalk.tasks import FactsTeacher, Suite, load_suite
from vectalk.tasks.attributes import SURROUNDINGS, Attribute, AttributeReader
from vectalk.tasks.surroundings import Surroundings


@pytest.fixture(scope="module")
def space() -> VectorSpace:
    return make_space()


def reader(space: VectorSpace, name: str) -> AttributeReader:
    return AttributeReader(name, Suite.parse(SUITE, "linear").attributes["film"][name], space)


@pytest.mark.parametrize(("name", "score"), [("genres", 0.93), ("decade", 0.9), ("rating", 0.98)])
def test_linear_attributes_are_read(space: VectorSpace, name: str, score: float) -> None:
    attribute = reader(space, name)
    probe = Probe.fit(attribute)
    rows, true = known_values(attribute, "test")
    found = probe.predict(space.vectors[rows])
    if name == "genres":
        reached = np.mean([sample_f1(a, b) for a, b in zip(found, true, strict=True)])
    elif name == "decade":
        reached = np.mean([a == b for a, b in zip(found, true, strict=True)])
    else:
        reached = np.corrcoef(found, true)[0, 1]
    assert reached >= score
    assert probe.validation_score == max(probe.scores.values()) >= score
    assert set(probe.scores) == {"linear", "vote", "mlp"}
    assert probe.kind == attribute.kind


def test_reading_follows_any_vector(space: VectorSpace) -> None:
    """Points that are nobody, far along one axis, have the attributes that the axis means."""
    probe = Probe.fit(reader(space, "decade"), candidates=("linear",))
    points = np.zeros((2, DIM), np.float32)
    points[:, 3] = -2, 2
    assert probe.predict(points) == [truth(p)["decade"] for p in points] == ["1980s", "1990s"]


def test_a_curved_attribute_is_left_to_the_networks() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((900, 2)).astype(np.float32)
    kind = ["same" if a * b > 0 else "other" for a, b in vectors]
    space = VectorSpace.create("s", vectors, {"id": [str(i) for i in range(900)], "kind": kind}, metric="euclidean")
    probe = Probe.fit(AttributeReader("kind", Attribute(kind="category"), space))
    assert probe.name != "linear"
    assert probe.scores["linear"] < 0.75
    assert probe.scores["mlp"] > 0.85


def test_probes_are_seeded() -> None:
    space = make_space(250)
    attribute, points = reader(space, "rating"), space.vectors[:20]
    one, again, two = (Probe.fit(attribute, seed=s, candidates=("mlp",)).predict(points) for s in (1, 1, 2))
    assert one == again
    assert one != two


def test_vote_leaves_a_row_out() -> None:
    """Sixteen copies of one vector: fifteen of one kind and one of another, which outvotes nobody."""
    vectors = np.repeat(np.eye(4, dtype=np.float32), 30, axis=0)
    split = np.where(np.arange(120) % 30 < 20, "train", np.where(np.arange(120) % 30 < 25, "validation", "test"))
    kind = np.repeat(["a", "b", "c", "d"], 30)
    columns = {"id": [str(i) for i in range(120)], "split": split.tolist(), "number": np.arange(120.0).tolist()}
    space = VectorSpace.create("s", vectors, {**columns, "kind": kind.tolist()})
    vote = Probe.fit(AttributeReader("kind", Attribute(kind="category"), space), candidates=("vote",))
    assert vote.predict(np.eye(4)) == ["a", "b", "c", "d"]
    vote = Probe.fit(AttributeReader("number", Attribute(kind="number"), space), candidates=("vote",))
    # Ties go to the smaller rows: 0 to 14 without an exclusion, 1 to 15 without row 0.
    assert vote.predict(np.eye(4)[:1]) == pytest.approx([7.0])
    assert vote.predict(np.eye(4)[:1], exclude=np.array([0])) == pytest.approx([8.0])


def test_thresholds_are_per_value_only_where_that_holds_up() -> None:
    """Value a is there above 0.3, b above 0.6: no common threshold fits. Under noise alone, one is kept."""
    rng = np.random.default_rng(0)
    coding = Coding.__new__(Coding)
    coding.target, coding.classes, coding.index = "list", ["z", "a", "b"], {"z": 0, "a": 1, "b": 2}
    coding.place = np.arange(3.0)
    scores = np.column_stack([np.ones(400), rng.uniform(0.1, 0.7, (400, 2))])
    known = [["z", *(n for n, s, t in zip("ab", row[1:], (0.3, 0.6), strict=True) if s > t)] for row in scores]
    thresholds, score = tune("list", coding, scores, known)
    assert thresholds is not None
    assert thresholds[1] == pytest.approx(0.3, abs=0.03)
    assert thresholds[2] == pytest.approx(0.6, abs=0.03)
    assert score > 0.97
    assert coding.decode(np.array([[0.9, 0.4, 0.5], [0.9, 0.2, 0.65]]), thresholds) == [["z", "a"], ["z", "b"]]


def test_a_list_is_never_empty_and_keeps_the_order_of_the_metadata(space: VectorSpace) -> None:
    coding = Coding(reader(space, "genres"), known_values(reader(space, "genres"), "train")[1])
    scores = np.zeros((2, 3))
    scores[0, coding.index["Horror"]], scores[0, coding.index["Comedy"]] = 0.9, 0.8
    scores[1, coding.index["Drama"]] = 0.1
    assert coding.decode(scores, np.full(3, 0.5)) == [["Comedy", "Horror"], ["Drama"]]


def test_majority(space: VectorSpace) -> None:
    assert majority(reader(space, "rating"), [1.0, 2.0, 6.0], []) == 3.0
    assert majority(reader(space, "decade"), ["1980s", "1990s", "1990s"], []) == "1990s"
    # The commonest set is not the one that scores best on validation.
    sets = [["a"], ["a"], ["b", "c"]]
    assert majority(reader(space, "genres"), sets, [["b"], ["c"], ["a"]]) == ["b", "c"]


def test_what_cannot_be_probed_is_named(space: VectorSpace) -> None:
    with pytest.raises(EvaluationError, match="'similar' consists of titles"):
        Probe.fit(reader(space, "similar"))
    small = make_space(40)
    with pytest.raises(EvaluationError, match=r"'decade' of space 'film' is known for \d+ training"):
        Probe.fit(reader(small, "decade"))
    with pytest.raises(EvaluationError, match="unknown probe 'tree'"):
        Probe.fit(reader(space, "decade"), candidates=("tree",))


def test_what_lies_around_is_looked_up_for_all_at_once(space: VectorSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = FactsTeacher(load_suite("movies"), {"film": space}).readers["film"]
    around = next(found for found in readers.values() if found.kind in SURROUNDINGS and found.present)
    sizes, at = list[int](), Surroundings.at

    def counted(self: Surroundings, vectors: np.ndarray, exclude: np.ndarray | None = None):
        sizes.append(len(vectors))
        return at(self, vectors, exclude)

    monkeypatch.setattr(Surroundings, "at", counted)
    rows, values = known_values(around, "train")
    assert len(rows) == len(values) > 1
    assert sizes
    assert 1 not in sizes
