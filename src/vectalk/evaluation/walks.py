"""Walks on the straight line between two test entities: points that nobody is."""

from __future__ import annotations

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.bootstrap import difference, mean_of
from vectalk.evaluation.facts import NotRunError
from vectalk.evaluation.subject import Row, Subject, values_of
from vectalk.evaluation.told import Told
from vectalk.space.split import TEST

ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))
MIDDLE = (0.3, 0.7)  # farther from both ends than from the middle


def interpolations(one: Subject, pairs: int, told: Told | None = None) -> tuple[list[Row], list[str]]:
    """Walk from a to b between random pairs of test entities.

    `sc`: consistency of the answer with the point; `states_a/x`, `states_b/x`: share of the values of attribute x that
    only a (only b) has and that the answer states. `sc_middle` is the mean of each pair's `sc` from alpha 0.3 to 0.7,
    `sc_middle_minus_copy_text` how much the model has more. The condition `text_llm` is told both titles and the mix.

    Returns:
        The rows, and notes on what was not run.
    """
    test, rng = one.space.rows(TEST), np.random.default_rng(one.seed)
    if len(test) < 2:
        raise EvaluationError(f"space {one.space.name!r} has {len(test)} test entities; a walk needs 2")
    ends = np.stack([rng.choice(test, 2, replace=False) for _ in range(pairs)])
    a, b = (np.asarray(one.space.vectors[ends[:, i]], np.float32) for i in range(2))
    true = {
        name: [tuple(values_of(reader.value(int(row))) for row in pair) for pair in ends]
        for name, reader in one.readers.items()
        if reader.kind != "number"
    }
    titles = [[one.space.title(int(row)) for row in pair] for pair in ends]
    named = [f"{number}: {first} – {second}" for number, (first, second) in enumerate(titles)]
    rows: list[Row] = []
    notes: list[str] = []
    middle: dict[str, list[np.ndarray]] = {}
    for alpha in ALPHAS:
        points = (1 - alpha) * a + alpha * b
        texts = {"elm": one.ask(points, f"between pairs, {alpha:g}"), "copy_text": one.copy(points)}
        if told is not None:
            try:
                texts["text_llm"] = told.mixed(one.task, one.slot, ends, alpha, one.references)
            except NotRunError as error:
                notes.append(f"interpolation, text_llm: not run ({error})")
                told = None
        rows += one.supported("interpolation", "elm", alpha, points, None)
        for condition, said in texts.items():
            found = one.consistency(said, points)
            one.keep("interpolation", condition, alpha, named, points, said, found, ends=titles)
            rows.append(one.row("interpolation", "sc", condition, alpha, found))
            if MIDDLE[0] <= alpha <= MIDDLE[1]:
                middle.setdefault(condition, []).append(found)
            for name, sides in true.items():
                stated = [values_of(one.readers[name].read(text)) for text in said]
                for side, mine, other in (("a", 0, 1), ("b", 1, 0)):
                    shares = [_share(s, pair[mine] - pair[other]) for s, pair in zip(stated, sides, strict=True)]
                    metric = f"states_{side}/{name}"
                    rows.append(one.row("interpolation", metric, condition, alpha, np.array(shares)))
    means = {condition: np.mean(found, axis=0) for condition, found in middle.items()}
    for condition, values in means.items():
        rows.append(one.row("interpolation", "sc_middle", condition, 0.5, values))
        if condition != "elm":
            gap = one.joint(pairs, [mean_of(means["elm"]), mean_of(values)], difference)
            rows.append(one.figure("interpolation", f"sc_middle_minus_{condition}", "elm", 0.5, gap))
    return rows, notes


def _share(stated: set[str], wanted: set[str]) -> float:
    return len(stated & wanted) / len(wanted) if wanted else float("nan")
