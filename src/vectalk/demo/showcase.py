"""A few answers side by side: the answer of the model, its answer about another vector, and the text of a probe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vectalk.concepts import Concept
from vectalk.evaluation.probes.facts import Facts
from vectalk.space import Point, VectorSpace
from vectalk.space.split import TEST
from vectalk.talk import ELM
from vectalk.tasks.attributes import DERIVED
from vectalk.tasks.surroundings import SpaceReader

FILM, VIEWER = "Summarise {film}.", "Describe the taste of {user}."
SHIFT = 3.0  # standard deviations along the concept


@dataclass(frozen=True)
class Sample:
    """One question about one point.

    Attributes:
        what: description of the point.
        source: the point as an expression.
        question: the question.
        truth: the reference text; None if the point is not an entity.
        answer: the answer of the model.
        shuffled: the answer of the model to the same question about another vector.
        probe: a text written from the values that a probe reads from the vector.
        support: whether the vector is in distribution.
    """

    what: str
    source: str
    question: str
    truth: str | None
    answer: str
    shuffled: str
    probe: str
    support: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        return asdict(self)


def showcase(elm: ELM, facts: Facts, seed: int = 0) -> list[Sample]:
    """Ask about a test film, the middle of two test films, a film shifted along a concept, and a test viewer."""
    films, users = elm.spaces["film"], elm.spaces["user"]
    rng = np.random.default_rng(seed)
    known = _well_known(films)
    film, a, b, moved, other = (films[int(row)] for row in rng.choice(known, 5, replace=False))
    viewer, stranger = (users[int(row)] for row in rng.choice(_with_all_ratings(users), 2, replace=False))
    comedy = Concept.fit(films, positive=films.where("genres", "Comedy"), name="comedy")
    questions = [
        ("a film that training never saw", FILM, film, other),
        ("half way between two films", FILM, films.point(f"lerp({a.source}, {b.source}, 0.5)"), other),
        (f"{moved.title}, moved {SHIFT:g} sd towards comedy", FILM, comedy.shift(moved, SHIFT), other),
        ("a viewer that training never saw", VIEWER, viewer, stranger),
    ]
    return [_sample(elm, facts, *question) for question in questions]


def _sample(elm: ELM, facts: Facts, what: str, question: str, point: Point, other: Point) -> Sample:
    space = point.space.name
    answer, control = elm.ask([question, question], [{space: point}, {space: other}])
    task = next(task for task in elm.suite.tasks if question in task.prompts)
    truth = None if point.row is None else facts.teacher.write(task, {space: point.row}, "truth")
    probe = facts.teacher.spell(task, {space: probed(facts, point)}, "truth") or ""
    return Sample(what, point.source, question, truth, answer.text, control.text, probe, str(answer.support))


def probed(facts: Facts, point: Point) -> dict[str, Any]:
    """Return attribute -> value, read from the vector by probes and by its nearest entities, without the model."""
    space, values = point.space.name, {}
    readers = facts.teacher.readers[space]
    for name, reader in readers.items():
        if isinstance(reader, SpaceReader):
            values[name] = reader.at(point.values[None])[0]
        else:
            probe = facts.probe(space, name)
            values[name] = None if probe is None else probe.predict(point.values[None])[0]
    for name, reader in readers.items():
        if isinstance(reader, SpaceReader) and reader.kind in DERIVED:
            values[name] = reader.derive(values[str(reader.attribute.of)])
    return values


def _well_known(films: VectorSpace) -> np.ndarray:
    """Return the rows of the half of the test films with the most ratings, which readers are likely to know."""
    rows = films.rows(TEST)
    count = np.array([films.column("n_ratings")[int(row)].as_py() for row in rows])
    return rows[count >= np.median(count)]


def _with_all_ratings(users: VectorSpace) -> np.ndarray:
    """Return the rows of the test viewers whose vectors come from all of their ratings."""
    return np.array([row for row in users.rows(TEST) if users.column("mean_rating")[int(row)].as_py() is not None])
