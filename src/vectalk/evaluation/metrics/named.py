"""Named titles: do the titles in a text exist, are they correct, and are they near the vector of the question?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vectalk.evaluation.metrics.bootstrap import mean_of
from vectalk.evaluation.metrics.claims import STATED, TRUE, ratio
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.readback import about_vectors
from vectalk.space import VectorSpace
from vectalk.space.neighbors import similarity
from vectalk.space.split import TRAIN
from vectalk.tasks.name_spans import TitleIndex, name_spans
from vectalk.tasks.naming import known_titles, listed_titles

MOST_ROWS = 20_000  # most training entities that a named entity is compared with


def named_titles(task_texts: TaskTexts, facts: Facts) -> Iterator[Figure]:
    """Check the names in the texts on tasks whose reference texts name titles; titles in the question do not count.

    Names are in quotation marks, in *italics*, or before a year in brackets (see `name_spans`). A name may be another
    spelling of a title, or lack the year if only one title has that name.

    `names_invented`: share of the names that are no title of any space of the corpus. `names_right`: share of the names
    that the facts list for the entity (neighbours, favourites); only on tasks whose reference texts name titles from
    these lists. `names_per_answer`: mean number of names. `titles_percentile`: percentage of training entities that are
    less similar to the vector of the question than the named entity; only for names of the same space.
    """
    own = [{task_texts.corpus.spaces[s].title(row) for s, row in e.slots.values()} for e in task_texts.examples]
    index = _known_titles(task_texts, facts)
    references = _named(task_texts.references, own, index)
    if np.mean([bool(titles) for titles in references]) < STATED:
        return
    named = {condition: _named(texts, own, index) for condition, texts in task_texts.texts.items()}
    counts = {condition: np.array([len(titles) for titles in each], float) for condition, each in named.items()}
    unknown = {c: np.array([sum(t not in index for t in titles) for titles in n], float) for c, n in named.items()}
    yield from task_texts.figures("names_invented", {c: ratio(unknown[c], counts[c]) for c in named})
    yield from task_texts.figures("names_per_answer", {c: mean_of(counts[c]) for c in named})
    rows = {slot: task_texts.rows(slot) for slot in task_texts.task.slots}
    listed = listed_titles(task_texts.task, facts.teacher.readers, rows)
    correct = sum(len(titles & right) for titles, right in zip(references, listed, strict=True))
    if correct >= TRUE * sum(map(len, references)):
        right = {c: np.array([len(a & b) for a, b in zip(n, listed, strict=True)], float) for c, n in named.items()}
        yield from task_texts.figures("names_right", {c: ratio(right[c], counts[c]) for c in named})
    spaces = set(task_texts.task.slots.values())
    if task_texts.task.about is not None and len(spaces) == 1:
        near = _Nearness(task_texts, task_texts.corpus.spaces[spaces.pop()])
        if any(near.row_of.keys() & titles for titles in references):
            places = {condition: near(each) for condition, each in named.items()}
            yield from task_texts.figures("titles_percentile", {c: ratio(*places[c]) for c in named})


class _Nearness:
    """Measures how near the named entities are to the vectors of the questions."""

    def __init__(self, task_texts: TaskTexts, space: VectorSpace) -> None:
        self.space = space
        self.vectors = about_vectors(task_texts.examples, task_texts.task.about, space)
        rows = space.rows(TRAIN)
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(np.int64)]
        self.known = np.sort(similarity(self.vectors, space.vectors[rows], space.metric), axis=1)
        self.row_of = {title: row for row, title in reversed(list(enumerate(_titles(space))))}

    def __call__(self, named: Sequence[set[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Return for each text the sum [n] of the percentiles of its known titles, and the number [n] of them."""
        total, count = np.zeros(len(named)), np.zeros(len(named))
        for i, titles in enumerate(named):
            rows = [self.row_of[title] for title in titles if title in self.row_of]
            if rows:
                own = similarity(self.vectors[i][None], self.space.vectors[np.sort(rows)], self.space.metric)[0]
                total[i] = 100 * np.searchsorted(self.known[i], own - 1e-6).sum() / self.known.shape[1]
                count[i] = len(rows)
        return total, count


def _named(texts: Sequence[str], own: Sequence[set[str]], index: TitleIndex) -> list[set[str]]:
    """Return for each text the titles that it names, and the names that mean no title."""
    named = []
    for text, titles in zip(texts, own, strict=True):
        names = (span.name for span in name_spans(text, index.__contains__, index.means))
        named.append({index.resolve(name) or name for name in names} - titles)
    return named


def _titles(space: VectorSpace) -> list[str]:
    return space.column("title" if "title" in space.column_names else "id").to_pylist()


def _known_titles(task_texts: TaskTexts, facts: Facts) -> TitleIndex:
    """Return the titles of all entities, and the titles in columns that hold titles."""
    titles = {title: None for space in task_texts.corpus.spaces.values() for title in _titles(space) if title}
    for space in set(task_texts.task.slots.values()):
        titles |= dict.fromkeys(sorted(known_titles(list(facts.teacher.readers[space].values()))))
    return TitleIndex(titles)
