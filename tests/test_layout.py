"""The layout of a space: clusters stay together, places become vectors, nothing half written, changes noticed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vectalk.errors import SpaceError
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout, build_layout, fitting
from worlds import call

CLUSTERS = 4


def clusters(rows: int = 240, metric: str = "cosine", **options) -> VectorSpace:
    """Films in four clusters that are far from each other; film n lies in cluster n % 4."""
    rng = np.random.default_rng(0)
    centers = 6 * np.linalg.qr(rng.standard_normal((12, 12)))[0][:CLUSTERS]
    vectors = (centers[np.arange(rows) % CLUSTERS] + 0.5 * rng.standard_normal((rows, 12))).astype(np.float32)
    names = {"id": [f"f{n}" for n in range(rows)], "title": [f"Film {n}" for n in range(rows)]}
    return VectorSpace.create("film", vectors, {**names, **options}, metric=metric)


@pytest.fixture(scope="module")
def laid_out() -> Layout:
    return build_layout(clusters())


@pytest.fixture
def saved(laid_out: Layout, tmp_path: Path) -> Layout:
    space = laid_out.space.save(tmp_path / "films")
    layout = Layout(space, laid_out.coordinates, laid_out.method, laid_out.seed, laid_out.fitted)
    layout.save()
    return layout


def same_cluster(coordinates: np.ndarray, rows: np.ndarray) -> float:
    """Share of the rows whose nearest other entity on the map is of their cluster."""
    distances = np.linalg.norm(coordinates[rows, None] - coordinates[None], axis=-1)
    distances[np.arange(len(rows)), rows] = np.inf
    return float(np.mean(distances.argmin(axis=1) % CLUSTERS == rows % CLUSTERS))


def test_clusters_stay_together(laid_out: Layout) -> None:
    space, coordinates = laid_out.space, laid_out.coordinates
    assert coordinates.shape == (240, 2)
    assert coordinates.dtype == np.float32
    assert np.abs(coordinates).max() == 1.0
    assert laid_out.fitted == len(space.rows("train"))
    assert same_cluster(coordinates, space.rows("train")) == 1.0
    held_out = np.concatenate([space.rows("validation"), space.rows("test")])
    assert len(held_out) > 20
    assert same_cluster(coordinates, held_out) == 1.0


@pytest.mark.parametrize("metric", ["euclidean", "dot"])
def test_other_metrics(metric: str) -> None:
    layout = build_layout(clusters(metric=metric), method="pca")
    assert layout.method == "pca"
    assert same_cluster(layout.coordinates, np.arange(240)) > 0.9


def test_umap_is_taken_where_it_is_installed() -> None:
    pytest.importorskip("umap")
    layout = build_layout(clusters())
    assert layout.method == "umap"
    assert same_cluster(layout.coordinates, np.arange(240)) == 1.0


def test_a_sample_is_fitted_and_the_others_are_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fitting.MOST_FITTED, "tsne", 80)
    steps = []
    layout = build_layout(clusters(), method="tsne", progress=lambda *step: steps.append(step))
    assert layout.fitted == 80
    assert steps[0] == ("fitting tsne on 80 entities", 0, None)
    assert steps[-1][1:] == (160, 160)
    assert same_cluster(layout.coordinates, np.arange(240)) == 1.0


def test_the_same_seed_gives_the_same_layout(laid_out: Layout) -> None:
    again = build_layout(clusters())
    assert np.array_equal(again.coordinates, laid_out.coordinates)


@pytest.mark.parametrize("rows", [1, 2, 3, 9])
def test_few_entities(rows: int) -> None:
    layout = build_layout(clusters(rows, split=["train"] * rows))
    assert np.isfinite(layout.coordinates).all()
    assert len(np.unique(layout.coordinates, axis=0)) == rows


@pytest.mark.parametrize("dim", [1, 2])
def test_few_dimensions(dim: int) -> None:
    vectors = np.linspace(1, 2, 40 * dim, dtype=np.float32).reshape(40, dim)
    space = VectorSpace.create("film", vectors, {"id": [str(n) for n in range(40)]}, metric="euclidean")
    assert np.isfinite(build_layout(space).coordinates).all()


def test_equal_vectors() -> None:
    space = VectorSpace.create("film", np.ones((40, 3), np.float32), {"id": [str(n) for n in range(40)]})
    assert np.isfinite(build_layout(space).coordinates).all()


def test_a_place_of_an_entity_gives_its_vector(laid_out: Layout) -> None:
    for row in (0, 57, 239):
        point, rows, weights = laid_out.point_at(*map(float, laid_out.coordinates[row]))
        assert point.row == row
        assert np.array_equal(point.values, laid_out.space.vectors[row])
        assert rows.tolist() == [row]
        assert weights.tolist() == [1.0]


def test_a_place_beside_an_entity_gives_its_cluster(laid_out: Layout) -> None:
    space = laid_out.space
    for row in range(0, 240, 17):
        x, y = laid_out.coordinates[row] + np.float32(1e-3)
        point, rows, weights = laid_out.point_at(float(x), float(y))
        assert point.row is None
        assert set(rows % CLUSTERS) == {row % CLUSTERS}
        assert weights.sum() == pytest.approx(1)
        assert np.allclose(point.values, weights @ space.vectors[rows], atol=1e-5)
        assert set(space.neighbors(point, 5)[0] % CLUSTERS) == {row % CLUSTERS}
        assert point.sources[0] == space.title(int(rows[0]))


def test_a_place_between_clusters_has_less_support(laid_out: Layout) -> None:
    space, coordinates = laid_out.space, laid_out.coordinates
    centers = [coordinates[np.arange(240) % CLUSTERS == n].mean(axis=0) for n in range(CLUSTERS)]
    between, _, _ = laid_out.point_at(*map(float, np.mean(centers, axis=0)), k=64)
    assert space.support(between).verdict in ("far", "central")


def test_a_vector_is_located_in_its_cluster(laid_out: Layout) -> None:
    space = laid_out.space
    point = space.point("lerp('f0', 'f4', 0.5)")
    distances = np.linalg.norm(laid_out.coordinates - laid_out.at(point), axis=1)
    assert distances.argmin() % CLUSTERS == 0
    assert np.array_equal(laid_out.at(space["f7"]), laid_out.coordinates[7])


def test_a_saved_layout_is_the_same(saved: Layout) -> None:
    loaded = Layout.load(saved.space)
    assert np.array_equal(loaded.coordinates, saved.coordinates)
    assert (loaded.method, loaded.seed, loaded.fitted) == (saved.method, saved.seed, saved.fitted)


def test_a_changed_space_is_noticed(saved: Layout, tmp_path: Path) -> None:
    other = clusters(240, metric="euclidean")
    other.vectors[3] += 1
    changed = VectorSpace.create("film", other.vectors, other.entities).save(tmp_path / "changed")
    for name in ("layout.npy", "layout.json"):
        shutil.copy(saved.space.path / name, changed.path / name)
    with pytest.raises(SpaceError, match="the space has changed"):
        Layout.load(changed)


def test_an_interrupted_save_leaves_nothing(saved: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    space = clusters().save(tmp_path / "other")
    before = sorted(path.name for path in space.path.iterdir())

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vectalk.space.layout.layout.write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Layout(space, saved.coordinates, "tsne", 0, 9).save()
    assert sorted(path.name for path in space.path.iterdir()) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: np.save(folder / "layout.npy", np.zeros((240, 2), np.float32)), "do not belong together"),
        (lambda folder: np.save(folder / "layout.npy", np.zeros((240, 3), np.float32)), "of shape"),
        (lambda folder: np.save(folder / "layout.npy", np.array([{}] * 240), allow_pickle=True), "cannot be read"),
        (lambda folder: (folder / "layout.npy").write_bytes(b"\x93NUM"), "cannot be read"),
        (lambda folder: (folder / "layout.npy").unlink(), "cannot be read"),
        (lambda folder: (folder / "layout.json").write_text("{}"), "malformed"),
        (lambda folder: (folder / "layout.json").unlink(), "has no layout"),
    ],
)
def test_damage_is_named(saved: Layout, damage, message: str) -> None:
    damage(saved.space.path)
    with pytest.raises(SpaceError, match=message):
        Layout.load(saved.space)


def test_unknown_methods_are_named() -> None:
    with pytest.raises(SpaceError, match="take auto, umap, tsne, pca"):
        build_layout(clusters(40), method="mds")


def test_the_verb_keeps_a_layout_that_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "films"
    clusters(60).save(folder)
    command = ["space", "layout", str(folder), "--method", "pca", "--json"]
    code, out, _ = call(command, capsys)
    assert (code, json.loads(out)["computed"]) == (0, True)
    stamp = (folder / "layout.npy").stat().st_mtime_ns
    code, out, _ = call(command, capsys)
    assert (json.loads(out)["computed"], (folder / "layout.npy").stat().st_mtime_ns) == (False, stamp)
    assert json.loads(call([*command, "--overwrite"], capsys)[1])["computed"]
    (folder / "layout.json").write_text((folder / "layout.json").read_text().replace("fingerprint", "finger"))
    assert json.loads(call(command, capsys)[1])["computed"]
    assert Layout.load(VectorSpace.load(folder)).method == "pca"
    code, _, err = call(["space", "layout", str(folder), "--method", "mds", "--overwrite"], capsys)
    assert (code, "mds" in err) == (2, True)
