"""How near the vectors of places are to those of held-out entities: known answers, a control, saved with the layout."""

import numpy as np

from vectalk.space import VectorSpace
from vectalk.space.layout import Layout, build_layout
from vectalk.space.layout.accuracy import centred_cosines, measure_accuracy, vectors_at_places


def films(vectors: np.ndarray, held_out: int) -> VectorSpace:
    """Films of which the last ones are held out."""
    splits = ["train"] * (len(vectors) - held_out) + ["test"] * held_out
    ids = [f"f{n}" for n in range(len(vectors))]
    return VectorSpace.create("film", vectors.astype(np.float32), {"id": ids, "split": splits}, metric="euclidean")


def plane_of_films(rows: int = 400, held_out: int = 60) -> tuple[VectorSpace, np.ndarray]:
    """Films whose vectors are their two coordinates on the map, far from the origin."""
    coordinates = np.random.default_rng(0).uniform(-1, 1, (rows, 2)).astype(np.float32)
    return films(coordinates + 50, held_out), coordinates


def test_a_map_that_keeps_everything_is_accurate() -> None:
    space, coordinates = plane_of_films()
    accuracy = measure_accuracy(space, coordinates)
    assert accuracy.count == 60
    assert accuracy.place > 0.97
    assert accuracy.nearest > 0.9
    assert abs(accuracy.random) < 0.3  # centred: without that, all vectors would be alike


def test_a_map_without_meaning_has_the_accuracy_of_the_control() -> None:
    space, coordinates = plane_of_films()
    accuracy = measure_accuracy(space, np.random.default_rng(1).permutation(coordinates))
    assert abs(accuracy.place) < 0.3


def test_a_held_out_entity_does_not_help_its_own_place() -> None:
    vectors = np.zeros((12, 3))
    vectors[:, 0] = np.arange(1, 13)
    vectors[10:, 1] = 1000.0  # only the held-out films have this
    space = films(vectors, 2)
    coordinates = np.zeros((12, 2), np.float32)
    coordinates[:, 0] = np.arange(12) / 12
    places, nearest = vectors_at_places(space, coordinates, np.array([10, 11]))
    assert np.array_equal(places[:, 1], [0.0, 0.0])
    assert nearest.tolist() == [9, 9]


def test_an_entity_at_the_very_place_decides_alone() -> None:
    space, coordinates = plane_of_films(40, 1)
    coordinates[39] = coordinates[7]
    places, nearest = vectors_at_places(space, coordinates, np.array([39]))
    assert nearest.tolist() == [7]
    assert np.allclose(places[0], space.vectors[7])


def test_centred_cosines_have_known_values() -> None:
    space = films(np.array([[1.0, 0], [3, 0], [2, 1], [2, -1]]), 0)  # the mean is (2, 0)
    cosines = centred_cosines(space, np.array([[3.0, 0], [3, 0], [2, 0]]), np.array([[5.0, 0], [2, 4], [9, 9]]))
    assert np.allclose(cosines, [1, 0, 0])


def test_a_space_without_held_out_entities_has_no_accuracy() -> None:
    space = films(np.random.default_rng(0).standard_normal((30, 4)), 0)
    assert build_layout(space, method="pca").accuracy is None


def test_the_accuracy_is_saved_with_the_layout(tmp_path) -> None:
    space = films(np.random.default_rng(0).standard_normal((200, 4)), 40).save(tmp_path / "films")
    layout = build_layout(space, method="pca")
    layout.save()
    assert layout.accuracy.count == 40
    assert Layout.load(space).accuracy == layout.accuracy
