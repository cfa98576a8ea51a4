"""Loops: how many answers say the same words again and again?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vectalk.decoding.repetition import loops
from vectalk.evaluation.conditions import GAUSSIANS
from vectalk.evaluation.metrics.bootstrap import mean_of
from vectalk.evaluation.texts import Figure, TaskTexts


def looping(task_texts: TaskTexts) -> Iterator[Figure]:
    """Yield `loops`, the share of texts that loop (see `vectalk.decoding.repetition.loops`), for each condition."""
    scores = {c: np.array([float(loops(text)) for text in texts]) for c, texts in task_texts.texts.items()}
    task_texts.scores["loops"] = scores
    for condition, values in scores.items():
        # Several examples share one random vector; its text counts once.
        count = min(len(values), GAUSSIANS) if condition == "gaussian" else len(values)
        once = np.where(np.arange(len(values)) < count, values, np.nan)
        yield "loops", condition, task_texts.estimate(mean_of(once))._replace(n=count)
