"""Concepts in a world whose directions are known: what is found, how sure it is, what a shift does."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

import vectalk as vt
from vectalk.concepts import shelf, statistics
from vectalk.concepts.concept import fit_many
from vectalk.concepts.directions import METHODS
from vectalk.concepts.examples import Examples
from vectalk.demo.world import RICHES, World
from vectalk.errors import ConceptError, ExpressionError, UnknownEntityError
from worlds import call

QUICK = {"random_concepts": 20, "bootstraps": 5}


@pytest.fixture(scope="module")
def space(world: World) -> vt.VectorSpace:
    return world.space(1000)


@pytest.fixture(scope="module")
def salt(space: vt.VectorSpace) -> vt.Concept:
    return vt.Concept.fit(space, space.where("riches", "salt"), name="salt")


def level(world: World, vector: np.ndarray, riches: str = "salt") -> float:
    return float(world.directions[RICHES.index(riches)] @ vector)


def labels(space: vt.VectorSpace, rows: np.ndarray) -> np.ndarray:
    return np.isin(np.arange(len(space)), rows)


# ---- fitting


@pytest.mark.parametrize("method", METHODS)
def test_the_true_direction_is_found(world, space, method) -> None:
    concept = vt.Concept.fit(space, space.where("riches", "salt"), method=method, **QUICK)
    assert np.linalg.norm(concept.vector) == pytest.approx(1.0, abs=1e-5)
    assert level(world, concept.vector) > 0.95
    assert concept.statistics.auc > 0.95
    assert concept.statistics.low > 0.9
    assert concept.statistics.stability > 0.9
    assert concept.statistics.p_value == pytest.approx(1 / (1 + statistics.PERMUTATIONS))
    assert concept.statistics.warnings == []


def test_only_training_entities_decide_the_direction(space, salt) -> None:
    vectors, train = np.array(space.vectors), space.rows("train")
    others = np.setdiff1d(np.arange(len(space)), train)
    vectors[others] = -7.0 * vectors[others]
    poisoned = vt.VectorSpace.create("island", vectors, space.entities, metric="euclidean")
    again = vt.Concept.fit(poisoned, space.where("riches", "salt"), **QUICK)
    np.testing.assert_allclose(again.vector, salt.vector, atol=1e-6)
    assert again.statistics.auc < 0.1


def test_no_test_entity_moves_it_even_when_it_is_named(space, salt) -> None:
    has = space.where("riches", "salt", "train")
    lacks = np.setdiff1d(space.rows("train"), has)
    alone = vt.Concept.fit(space, has, lacks, **QUICK)
    np.testing.assert_array_equal(alone.vector, salt.vector)
    assert alone.statistics.auc is None
    assert "not measured" in alone.statistics.warnings[0]


def test_a_concept_of_nothing_says_so() -> None:
    space = World.make().space(1000)
    noise = np.random.default_rng(5).choice(len(space), 200, replace=False)
    found = vt.Concept.fit(space, noise, **QUICK).statistics
    assert found.p_value > 0.05
    assert found.low < 0.5 < found.high
    assert "may be chance" in found.warnings[0]


def test_few_positives_are_warned_of(space) -> None:
    few = space.where("riches", "salt", "train")[:10]
    found = vt.Concept.fit(space, few, **QUICK).statistics
    assert found.positives == 10
    assert "only 10 positives" in found.warnings[0]


@pytest.mark.parametrize("form", ["rows", "mask", "ids", "titles", "points"])
def test_positives_in_any_form(space, salt, form) -> None:
    rows = space.where("riches", "salt")
    given = {
        "rows": rows.tolist(),
        "mask": labels(space, rows),
        "ids": [space.column("id")[int(row)].as_py() for row in rows],
        "titles": [space.title(int(row)) for row in rows],
        "points": [space[int(row)] for row in rows],
    }[form]
    np.testing.assert_array_equal(vt.Concept.fit(space, given, **QUICK).vector, salt.vector)


@pytest.mark.parametrize(
    ("positive", "negative", "error", "says"),
    [
        ([0], None, ConceptError, "needs at least 2 of each"),
        ([0, 1, 99_999], None, ConceptError, "rows 0 to 999"),
        (["Nowhere at all"], None, UnknownEntityError, "has no entity"),
        ([0, 1, 2], [2, 3, 4], ConceptError, "both positive and negative"),
        ([1.5], None, ConceptError, "1.5 is not a row"),
        (np.ones(3, bool), None, ConceptError, "a mask of space"),
    ],
)
def test_bad_examples_are_named(space, positive, negative, error, says) -> None:
    with pytest.raises(error, match=says):
        vt.Concept.fit(space, positive, negative, **QUICK)


def test_unknown_method_is_named(space) -> None:
    with pytest.raises(ConceptError, match=r"unknown method 'tree'.*logistic"):
        vt.Concept.fit(space, space.where("riches", "salt"), method="tree")


def test_points_of_nobody_are_no_examples(space) -> None:
    with pytest.raises(ConceptError, match="is not an entity"):
        vt.Concept.fit(space, [space.point("random(1)")])


# ---- use


def test_shift_raises_what_it_names_and_nothing_else(world, space, salt) -> None:
    start = space[int(space.rows("test")[0])]
    moved = [salt.shift(start, steps).values for steps in (-2, 0, 2)]
    levels = [level(world, vector) for vector in moved]
    assert levels[1] == pytest.approx(level(world, start.values), abs=1e-5)
    np.testing.assert_allclose(np.diff(levels), 2.0, rtol=0.15)  # the world's deviation is one along every direction
    for other in set(RICHES) - {"salt"}:
        assert abs(level(world, moved[2] - moved[0], other)) < 0.6
    assert "salt" in world.truth(salt.shift(start, 4).values)["riches"]


def test_score_and_shift_have_the_same_unit(space, salt) -> None:
    start = space[3]
    assert salt.score(salt.shift(start, 1.5)) == pytest.approx(salt.score(start) + 1.5, abs=1e-4)
    scores = salt.score(space.vectors[space.rows("train")])
    assert scores.mean() == pytest.approx(0.0, abs=1e-4)
    assert scores.std() == pytest.approx(1.0, abs=1e-3)


def test_keep_norm_turns(space, salt) -> None:
    start = space[3]
    turned = salt.shift(start, 3, keep_norm=True)
    assert np.linalg.norm(turned.values) == pytest.approx(np.linalg.norm(start.values), rel=1e-5)
    assert salt.score(turned) > salt.score(start)
    assert turned.sources == start.sources == (space.title(3),)


def test_rank_has_both_ends(space, salt) -> None:
    rows, scores = salt.rank(5)
    everyone = salt.score(np.asarray(space.vectors))
    np.testing.assert_array_equal(rows, np.argsort(-everyone, kind="stable")[:5])
    assert (np.diff(scores) <= 0).all()
    rows, scores = salt.rank(5, lowest=True, split_name="test")
    assert np.isin(rows, space.rows("test")).all()
    assert (np.diff(scores) >= 0).all()


def test_reach_ends_where_support_does(space, salt) -> None:
    start = space[int(space.rows("train")[0])]
    low, high = salt.reach(start)
    assert low < 0 < high
    assert space.support(salt.shift(start, high)).verdict != "far"
    assert high == 8.0 or space.support(salt.shift(start, high + 0.25)).verdict == "far"
    assert salt.reach(salt.shift(start, 40)) == (0.0, 0.0)


def test_cosine_to_its_opposite(space, salt) -> None:
    rows = space.where("riches", "salt")
    opposite = vt.Concept.fit(space, np.setdiff1d(np.arange(len(space)), rows), rows, **QUICK)
    assert salt.cosine(opposite) == pytest.approx(-1.0, abs=1e-3)


def test_a_concept_means_nothing_elsewhere(salt) -> None:
    other = World.make(seed=9).space(300)
    with pytest.raises(ConceptError, match="a direction means nothing in another space"):
        salt.shift(other[0], 1)


# ---- statistics


def test_auc_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 9, 200).astype(float), rng.random(200) < 0.3  # many ties
    assert statistics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))
    low, high = statistics.auc_interval(scores, labels, rng)
    assert low < statistics.auc(scores, labels) < high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(100):
        labels = np.arange(120) < 40
        low, high = statistics.auc_interval(rng.standard_normal(120) + labels, labels, rng)
        covered += low <= 0.7602 <= high  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    assert covered >= 88


def test_p_values_of_nothing_are_spread_evenly() -> None:
    rng = np.random.default_rng(2)
    p = [statistics.permutation_p(rng.standard_normal(80), np.arange(80) < 20, rng) for _ in range(100)]
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) < 0.1) < 0.2


def test_benjamini_hochberg_by_hand() -> None:
    assert statistics.benjamini_hochberg([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])
    assert statistics.benjamini_hochberg([]) == []


def test_many_concepts_are_corrected_for_their_number(space) -> None:
    rng = np.random.default_rng(3)
    found = {name: Examples.of(space, space.where("riches", name)) for name in RICHES[:2]}
    found |= {f"noise {n}": Examples.of(space, rng.choice(len(space), 100, replace=False)) for n in range(6)}
    concepts = fit_many(space, found, random_concepts=0, bootstraps=0)
    assert [c.statistics.family for c in concepts] == [8] * 8
    real, noise = concepts[:2], concepts[2:]
    assert all(c.statistics.q_value == pytest.approx(4 / (1 + statistics.PERMUTATIONS)) for c in real)
    assert all(c.statistics.q_value > 0.05 for c in noise)
    assert all("not significant" in " ".join(c.statistics.warnings) for c in noise)


# ---- files and names


def test_save_and_load(tmp_path, salt) -> None:
    space = salt.space.save(tmp_path / "islands")
    salt = replace(salt, space=space)
    assert shelf.names(space) == []
    folder = shelf.keep(salt)
    assert sorted(path.name for path in folder.iterdir()) == ["concept.json", "direction.safetensors"]
    again = vt.Concept.load(folder)
    np.testing.assert_array_equal(again.vector, salt.vector)
    assert again.statistics == salt.statistics
    assert (again.name, again.deviation, again.mean) == (salt.name, salt.deviation, salt.mean)
    assert shelf.find(space, "SALT").name == "salt"
    with pytest.raises(ConceptError, match="no concept 'slat'; did you mean salt"):
        shelf.find(space, "slat")
    with pytest.raises(vt.VectalkError, match="exists already"):
        shelf.keep(salt)
    (folder / "direction.safetensors").write_bytes(b"no")
    with pytest.raises(ConceptError, match="not a complete concept"):
        vt.Concept.load(folder)


def test_load_refuses_another_space_and_another_split(tmp_path, space, salt) -> None:
    folder = salt.save(tmp_path / "salt")
    with pytest.raises(ConceptError, match=r"use Concept\.load\(path, space\)"):
        vt.Concept.load(folder)
    with pytest.raises(ConceptError, match=r"fitted on a space with fingerprint .* fit it there"):
        vt.Concept.load(folder, World.make(seed=9).space(300))
    table = space.entities.drop_columns("split").append_column("split", pa.array(["train"] * len(space)))
    parted = vt.VectorSpace.create("island", np.asarray(space.vectors), table, metric="euclidean")
    with pytest.raises(ConceptError, match="another split"):
        vt.Concept.load(folder, parted)
    with pytest.raises(ConceptError, match=r"no concept\.json"):
        vt.Concept.load(tmp_path)


@pytest.mark.parametrize("name", ["film noir", "Sci-Fi", "it's odd", "a/b", "../up"])
def test_odd_names_stay_in_their_folder_and_parse_back(tmp_path, salt, name) -> None:
    concept = replace(salt, name=name, space=salt.space.save(tmp_path / "islands"))
    folder = shelf.keep(concept)
    assert folder.parent == tmp_path / "islands" / "concepts"
    assert shelf.names(concept.space) == [name]
    moved = concept.shift(concept.space[2], -1.5)
    again = concept.space.point(moved.source, shelf.FUNCTIONS)
    np.testing.assert_allclose(again.values, moved.values, atol=1e-6)
    assert again.sources == (concept.space.title(2),)


def test_turn_is_the_shift_that_keeps_the_norm(tmp_path, salt) -> None:
    concept = replace(salt, space=salt.space.save(tmp_path / "islands"))
    shelf.keep(concept)
    turned = concept.shift(concept.space[2], 2, keep_norm=True)
    np.testing.assert_allclose(concept.space.point(turned.source, shelf.FUNCTIONS).values, turned.values, atol=1e-6)


def test_expressions_tell_what_is_wrong(tmp_path, salt) -> None:
    with pytest.raises(ConceptError, match="was not saved"):
        salt.space.point("concept('salt')", shelf.FUNCTIONS)
    space = salt.space.save(tmp_path / "islands")
    with pytest.raises(ConceptError, match="vectalk concept fit"):
        space.point("concept('salt')", shelf.FUNCTIONS)
    with pytest.raises(ExpressionError, match="name of a concept in quotes"):
        space.point("concept(2)", shelf.FUNCTIONS)


# ---- the command line


def test_command_line(tmp_path, space, capsys) -> None:
    folder = str(tmp_path / "islands")
    space.save(folder)
    code, out, err = call(["concept", "fit", folder, "--where", "riches=salt", "--name", "salt", "--json"], capsys)
    assert code == 0, err
    (card,) = json.loads(out)
    assert card["name"] == "salt"
    assert card["auc"] > 0.95
    code, out, _ = call(["concept", "fit", folder, "--all", "riches", "--min", "30", "--json"], capsys)
    assert code == 2  # salt is there already
    code, out, _ = call(
        ["concept", "fit", folder, "--all", "riches", "--min", "30", "--json", "--prefix", "all "], capsys
    )
    assert code == 0
    assert {card["name"] for card in json.loads(out)} == {f"all {name}" for name in RICHES}
    code, out, _ = call(["concept", "list", folder, "--json"], capsys)
    assert len(json.loads(out)) == len(RICHES) + 1
    code, out, _ = call(["concept", "show", folder, "salt", "--json", "--at", space.title(0)], capsys)
    shown = json.loads(out)
    assert shown["nearest"][0]["name"] == "all salt"
    assert shown["nearest"][0]["cosine"] > 0.99
    assert shown["top"][0]["score"] > 2 > -2 > shown["bottom"][0]["score"]
    assert shown["at"]["reach"][0] <= 0 <= shown["at"]["reach"][1]
    code, out, _ = call(["concept", "show", folder, "salt", "--at", space.title(0)], capsys)
    assert "stability" in out
    quoted = f"'{space.title(0)}' + 2 * concept(salt)"
    code, out, _ = call(["space", "point", folder, quoted, "--json"], capsys)
    assert (code, json.loads(out)["support"]["sources"]) == (0, [space.title(0)])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "to define the positives; you gave none"),
        (["--where", "riches=salt", "--all", "riches"], "you gave --where and --all"),
        (["--all", "riches", "--name", "one"], "--name is for a single concept"),
        (["--all", "riches", "--min", "9999"], "lower --min"),
        (["--where", "riches=sult"], "did you mean salt"),
        (["--where", "riches=salt", "--negative", "0"], "--negative works only together with --positive"),
        (["--where", "riches=salt", "--method", "tree"], "unknown method 'tree'"),
    ],
)
def test_command_line_errors(tmp_path, space, capsys, options, says) -> None:
    folder = str(tmp_path / "islands")
    space.save(folder)
    code, _, err = call(["concept", "fit", folder, *options], capsys)
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "islands" / "concepts").exists()


def test_slots_take_concepts(tmp_path, salt) -> None:
    concept = replace(salt, space=salt.space.save(tmp_path / "islands"))
    shelf.keep(concept)
    elm = object.__new__(vt.ELM)  # binding a slot needs no model
    elm.spaces = {"island": concept.space}
    expected = concept.shift(concept.space[0], 2)
    for written in (expected.source, f"island:{expected.source}"):
        found = elm.point("island", written)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
        assert found.sources == expected.sources
