"""Consistency: is the vector that a text reads back as the one that was asked about?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from vectalk.evaluation.metrics.bootstrap import corrected, joined, mean_of
from vectalk.evaluation.metrics.rows import cosines, retrieval_ranks
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.readback import ReadBack, SameEncoder, about_vectors
from vectalk.space.split import TEST


def consistency(
    given: TaskTexts, found: Mapping[str, np.ndarray], readback: ReadBack | SameEncoder
) -> Iterator[Figure]:
    """Compare what each text reads back as with the vector that was asked about.

    Args:
        given: the texts of a task that is about a vector.
        found: condition -> the vectors [n, D] that its texts read back as.
        readback: what read them.
    """
    space, task, centre = readback.space, given.task, readback.centre
    own = about_vectors(given.examples, task.about, space) - centre
    if task.about in task.slots:
        rivals = np.asarray(space.vectors[space.rows(TEST)], np.float32)
    else:
        rivals = about_vectors(list(given.corpus.examples(TEST, task.name)), task.about, space)
    given.scores["sc"] = {condition: cosines(vectors - centre, own) for condition, vectors in found.items()}
    sc = {condition: mean_of(values) for condition, values in given.scores["sc"].items()}
    yield from given.figures("sc", sc)
    share = {condition: joined(corrected, own_sc, sc["shuffled"], sc["own_text"]) for condition, own_sc in sc.items()}
    yield from given.figures("nsc", share, rivals=("copy_text",))
    ranks = {condition: retrieval_ranks(vectors - centre, own, rivals - centre) for condition, vectors in found.items()}
    for name, gain in (("recall@1", lambda r: r <= 1), ("recall@10", lambda r: r <= 10), ("mrr", lambda r: 1 / r)):
        yield from given.figures(name, {c: mean_of(gain(r).astype(float)) for c, r in ranks.items()}, rivals=())
