"""Named titles: do they exist, are they the ones that the reference may name, do they lie near the vector?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from vectalk.evaluation.metrics.claims import STATED, TRUE, ratio
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.readback import about_vectors
from vectalk.space import VectorSpace
from vectalk.space.neighbors import similarity
from vectalk.space.split import TRAIN

TITLES = ("titles", "neighbors")  # kinds of attributes that are made of titles
MOST_ROWS = 20_000  # training entities that a named one is compared with
_NAMED = re.compile("“([^”]+)”")


def named_titles(given: TaskTexts, facts: Facts) -> Iterator[Figure]:
    """Check the titles in “quotes”, on tasks whose references name some; the titles asked about do not count.

    `titles_unknown`: share of the named titles that no space of the corpus has. `titles_true`: share that are among
    those that the facts know (neighbours, favourites), where the references keep to these. `titles_percentile`: share
    of training entities, in percent, that are less similar to the vector than the named one; known ones only.
    """
    own = [{given.corpus.spaces[s].title(row) for s, row in e.slots.values()} for e in given.examples]
    references = _named(given.references, own)
    if np.mean([bool(titles) for titles in references]) < STATED:
        return
    named = {condition: _named(texts, own) for condition, texts in given.texts.items()}
    counts = {condition: np.array([len(titles) for titles in found], float) for condition, found in named.items()}
    known = _known_titles(given, facts)
    strange = {c: np.array([len(titles - known) for titles in found], float) for c, found in named.items()}
    yield from given.figures("titles_unknown", {c: ratio(strange[c], counts[c]) for c in named})
    true = _true_titles(given, facts)
    kept = sum(len(titles & right) for titles, right in zip(references, true, strict=True))
    if kept >= TRUE * sum(map(len, references)):
        right = {
            c: np.array([len(a & b) for a, b in zip(found, true, strict=True)], float) for c, found in named.items()
        }
        yield from given.figures("titles_true", {c: ratio(right[c], counts[c]) for c in named})
    spaces = set(given.task.slots.values())
    if given.task.about is not None and len(spaces) == 1:
        near = _Nearness(given, given.corpus.spaces[spaces.pop()])
        if any(near.row_of.keys() & titles for titles in references):
            places = {condition: near(found) for condition, found in named.items()}
            yield from given.figures("titles_percentile", {c: ratio(*places[c]) for c in named})


class _Nearness:
    """How near to the vectors that were asked about named entities lie."""

    def __init__(self, given: TaskTexts, space: VectorSpace) -> None:
        self.space = space
        self.vectors = about_vectors(given.examples, given.task.about, space)
        rows = space.rows(TRAIN)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]
        self.known = np.sort(similarity(self.vectors, space.vectors[rows], space.metric), axis=1)
        self.row_of = {title: row for row, title in reversed(list(enumerate(_titles(space))))}

    def __call__(self, named: Sequence[set[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return for each text [n] the sum of the percentiles of the known titles that it names, and their number."""
        total, count = np.zeros(len(named)), np.zeros(len(named))
        for i, titles in enumerate(named):
            rows = [self.row_of[title] for title in titles if title in self.row_of]
            if rows:
                own = similarity(self.vectors[i][None], self.space.vectors[np.sort(rows)], self.space.metric)[0]
                total[i] = 100 * np.searchsorted(self.known[i], own - 1e-6).sum() / self.known.shape[1]
                count[i] = len(rows)
        return total, count


def _named(texts: Sequence[str], own: Sequence[set[str]]) -> list[set[str]]:
    return [set(_NAMED.findall(text)) - asked for text, asked in zip(texts, own, strict=True)]


def _titles(space: VectorSpace) -> list[str]:
    return space.column("title" if "title" in space.column_names else "id").to_pylist()


def _known_titles(given: TaskTexts, facts: Facts) -> set[str]:
    """Return the titles of all spaces, and those in columns of titles."""
    known = {title for space in given.corpus.spaces.values() for title in _titles(space)}
    for space in set(given.task.slots.values()):
        for reader in facts.teacher.readers[space].values():
            if reader.kind == "titles" and reader.present:
                known.update(title for row in range(len(reader.space)) for title in reader.value(row) or ())
    return known


def _true_titles(given: TaskTexts, facts: Facts) -> list[set[str]]:
    """Return for each example the titles that the facts know of its entities."""
    true: list[set[str]] = [set() for _ in given.examples]
    for slot, space in given.task.slots.items():
        rows = given.rows(slot)
        for reader in facts.teacher.readers[space].values():
            if reader.kind in TITLES:
                reader.prepare(rows.tolist())
                for titles, row in zip(true, rows, strict=True):
                    titles.update(reader.value(int(row)) or ())
    return true
