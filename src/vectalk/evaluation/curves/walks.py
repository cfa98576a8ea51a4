"""Walks on the straight line between two test entities: points that nobody is."""

from __future__ import annotations

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.curves.subject import Row, Subject, values_of
from vectalk.evaluation.metrics.bootstrap import difference, mean_of
from vectalk.evaluation.probes.facts import NotRunError
from vectalk.evaluation.told import Told
from vectalk.space.split import TEST

ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))
MIDDLE = (0.3, 0.7)  # farther from both ends than from the middle


def interpolations(one: Subject, pairs: int, told: Told | None = None) -> tuple[list[Row], list[str]]:
    """Walk from a to b between random pairs of test entities.

    `sc`: consistency of the answer with the point; `states_a/x`, `states_b/x`: share of the values of attribute x that
    only a (only b) has and that the answer states. Of each pair's `sc`, `sc_middle` is the mean from alpha 0.3 to 0.7,
    `sc_ends` that of both ends, and `sc_walk` the former less the latter: what leaving the entities costs, whatever is
    told of the entities themselves. `sc_middle_minus_copy_text` is how much the model has more, and so on. Beside the
    model stand the text of the nearest training entity, what the probes read at the point (`probe_text`), at the ends
    the entities' own reference texts (`own_text`), and an LLM that is told both titles and the mix (`text_llm`).

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
    consistency: dict[str, dict[float, np.ndarray]] = {}
    for alpha in ALPHAS:
        points = (1 - alpha) * a + alpha * b
        texts = {"elm": one.ask(points, f"between pairs, {alpha:g}"), "copy_text": one.copy(points)}
        if one.task.facts:
            texts["probe_text"] = one.facts.spell_at(one.task, points)
        if alpha in (0.0, 1.0) and (own := one.own(ends[:, int(alpha)])) is not None:
            texts["own_text"] = own
        if told is not None:
            try:
                texts["text_llm"] = told.mixed(one.task, one.slot, ends, alpha, one.references)
            except NotRunError as error:
                notes.append(f"interpolation, text_llm: not run ({error})")
                told = None
        rows += one.supported("interpolation", "elm", alpha, points, None)
        for condition, said in texts.items():
            found = one.consistency(said, points)
            consistency.setdefault(condition, {})[alpha] = found
            one.keep("interpolation", condition, alpha, named, points, said, found, ends=titles)
            rows.append(one.row("interpolation", "sc", condition, alpha, found))
            for name, sides in true.items():
                stated = [values_of(one.readers[name].read(text)) for text in said]
                for side, mine, other in (("a", 0, 1), ("b", 1, 0)):
                    shares = [_share(s, pair[mine] - pair[other]) for s, pair in zip(stated, sides, strict=True)]
                    metric = f"states_{side}/{name}"
                    rows.append(one.row("interpolation", metric, condition, alpha, np.array(shares)))
    return rows + _parts(one, consistency), notes


def _parts(one: Subject, consistency: dict[str, dict[float, np.ndarray]]) -> list[Row]:
    """Return the rows of the middle and the ends of walks; `consistency`: condition -> alpha -> SC [pairs]."""
    rows = []
    parts: dict[str, dict[str, np.ndarray]] = {"sc_middle": {}, "sc_ends": {}, "sc_walk": {}}
    for condition, found in consistency.items():
        if not {0.0, 1.0} <= found.keys():  # given up on the way
            continue
        inner = [values for alpha, values in found.items() if MIDDLE[0] <= alpha <= MIDDLE[1]]
        parts["sc_ends"][condition] = (found[0.0] + found[1.0]) / 2
        if inner:
            parts["sc_middle"][condition] = np.mean(inner, axis=0)
            parts["sc_walk"][condition] = parts["sc_middle"][condition] - parts["sc_ends"][condition]
    for metric, each in parts.items():
        for condition, values in each.items():
            rows.append(one.row("interpolation", metric, condition, 0.5, values))
            if condition != "elm":
                gap = one.joint(len(values), [mean_of(each["elm"]), mean_of(values)], difference)
                rows.append(one.figure("interpolation", f"{metric}_minus_{condition}", "elm", 0.5, gap))
    return rows


def _share(stated: set[str], wanted: set[str]) -> float:
    return len(stated & wanted) / len(wanted) if wanted else float("nan")
