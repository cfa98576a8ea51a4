"""Consistency: is the vector that a text reads back as close to the vector of the question?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from vectalk.evaluation.metrics.bootstrap import corrected, joined, mean_of
from vectalk.evaluation.metrics.rows import cosines, retrieval_ranks
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.readback import ReadBack, SameEncoder, about_vectors
from vectalk.space.split import TEST


def consistency(
    task_texts: TaskTexts, read_vectors: Mapping[str, np.ndarray], readback: ReadBack | SameEncoder
) -> Iterator[Figure]:
    """Compare the vector that each text reads back as with the vector of the question.

    Args:
        task_texts: the texts of a task that is about a vector.
        read_vectors: condition -> vectors [n, D] that the texts of the condition read back as.
        readback: the read-back map that computed these vectors.
    """
    space, task, centre = readback.space, task_texts.task, readback.centre
    own = about_vectors(task_texts.examples, task.about, space) - centre
    if task.about in task.slots:
        candidates = np.asarray(space.vectors[space.rows(TEST)], np.float32)
    else:
        candidates = about_vectors(list(task_texts.corpus.examples(TEST, task.name)), task.about, space)
    task_texts.scores["sc"] = {condition: cosines(vectors - centre, own) for condition, vectors in read_vectors.items()}
    sc = {condition: mean_of(values) for condition, values in task_texts.scores["sc"].items()}
    yield from task_texts.figures("sc", sc)
    share = {condition: joined(corrected, own_sc, sc["shuffled"], sc["own_text"]) for condition, own_sc in sc.items()}
    yield from task_texts.figures("nsc", share, baselines=("copy_text",))
    ranks = {
        condition: retrieval_ranks(vectors - centre, own, candidates - centre)
        for condition, vectors in read_vectors.items()
    }
    for name, gain in (("recall@1", lambda r: r <= 1), ("recall@10", lambda r: r <= 10), ("mrr", lambda r: 1 / r)):
        yield from task_texts.figures(name, {c: mean_of(gain(r).astype(float)) for c, r in ranks.items()}, baselines=())
