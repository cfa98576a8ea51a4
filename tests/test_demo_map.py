"""What the demo leaves for its map: concepts of known directions, layouts, and the command that opens the page."""

from pathlib import Path

import numpy as np
import pytest

from vectalk.cli.demo import _show_films
from vectalk.concepts import Concept, shelf
from vectalk.demo.concepts import film_examples, island_examples, keep_concepts
from vectalk.demo.data import demo_data
from vectalk.demo.world import RICHES, World
from vectalk.evaluation import Evaluation
from vectalk.space import VectorSpace
from vectalk.space.layout import Layout


@pytest.fixture(scope="module")
def films() -> VectorSpace:
    return VectorSpace.load(demo_data() / "films")


def test_the_films_have_concepts_that_hold_for_held_out_films(films: VectorSpace) -> None:
    concepts = {concept.name: concept for concept in shelf.load_all(films)}
    assert set(concepts) == set(film_examples(films))
    assert {"comedy", "1980s"} <= set(concepts)
    assert min(concept.statistics.low for concept in concepts.values()) > 0.7
    fitted = Concept.fit(films, positive=films.where("genres", "Comedy"), random_concepts=0, bootstraps=2)
    assert fitted.cosine(concepts["comedy"]) > 0.999


def test_the_examples_of_a_decade_are_its_films(films: VectorSpace) -> None:
    years = films.column("year").to_pylist()
    rows = film_examples(films)["1980s"]
    assert {years[int(row)] // 10 for row in rows} == {198}
    assert len(rows) == sum(year is not None and year // 10 == 198 for year in years)


def test_the_spaces_of_the_films_have_layouts_with_their_accuracy() -> None:
    for name in ("films", "users"):
        accuracy = Layout.load(VectorSpace.load(demo_data() / name)).accuracy
        assert accuracy.place > accuracy.nearest > accuracy.random


def test_the_concepts_of_islands_are_the_directions_of_the_world(tmp_path: Path) -> None:
    world = World.make()
    space = world.space(600).save(tmp_path / "islands")
    keep_concepts(space, island_examples(space), random_concepts=0, bootstraps=2)
    for name, direction in zip(RICHES, world.directions, strict=False):
        step = shelf.find(space, name).step.values
        assert np.dot(step, direction) / np.linalg.norm(step) > 0.8
    assert "populous" in shelf.names(space)


def test_the_end_of_the_demo_names_the_command_of_the_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _show_films(Path("runs/demo"), Evaluation([], tmp_path), [], False, False, False)
    words = capsys.readouterr().err
    assert "serve runs/demo/run" in words
    assert "http://127.0.0.1:8000/" in words
