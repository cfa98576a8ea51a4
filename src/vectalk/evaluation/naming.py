"""Conditions of tasks that name entities: other weights of the similarity, and names that are not forced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vectalk.evaluation.answers import AnswerCache, Answers, Ask, Generator, Progress
from vectalk.tasks import Corpus, Task
from vectalk.tasks.names_weight import ALONE, choose_weights, read_weights, write_weights
from vectalk.tasks.naming import naming_sources

NAMING: dict[str, dict[str, Any]] = {
    "trie_only": {"names": "force", "names_weight": 0.0},
    "knn_names": {"names": "force", "names_weight": ALONE},
    "free_names": {"names": "off"},
}


def forces_names(generator: Generator) -> bool:
    """Return whether a generator takes the settings of names."""
    return getattr(generator, "naming", None) is not None


def asking(generator: Generator, cache: AnswerCache, identity: str, decoding: Mapping[str, Any]) -> dict[str, Ask]:
    """Return for each condition of names what asks the model; empty for a generator without these settings."""
    if not forces_names(generator):
        return {}
    return {
        condition: Answers(generator, cache, identity=f"{identity}/{condition}", **decoding, **settings)
        for condition, settings in NAMING.items()
    }


def ensure_weights(
    generator: Any, corpus: Corpus, tasks: Sequence[Task], decoding: Mapping[str, Any], progress: Progress
) -> list[str]:
    """Choose on validation examples the weights that a run lacks, store them in the run, and use them.

    Args:
        generator: an `ELM`; any other generator stays as it is.
        corpus: the corpus of the examples.
        tasks: the tasks that are evaluated.
        decoding: settings of decoding, such as `max_new_tokens`.
        progress: called with a label, the number of finished weights, and the total.

    Returns:
        Notes for the card of the evaluation.
    """
    named = [task for task in tasks if naming_sources(corpus.suite, task)]
    if not named or not forces_names(generator):
        return []
    run, known = generator.run.path, read_weights(generator.run.path)
    missing = [task for task in named if task.name not in known]
    notes = []
    if missing:
        chosen = choose_weights(generator, corpus, missing, decoding=decoding, progress=progress)
        generator.naming.weights.update({name: one.weight for name, one in chosen.items()})
        try:
            write_weights(run, {**known, **chosen})
        except OSError as error:
            notes.append(f"the weights of names are not stored in {run}: {error.strerror}")
    weights = ", ".join(f"{task.name} {generator.naming.weights.get(task.name, '-')}" for task in named)
    return [f"weight of the similarity in names, chosen on validation: {weights}", *notes]
