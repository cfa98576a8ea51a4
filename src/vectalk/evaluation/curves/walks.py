"""Walks on the straight line between two test entities, through points that belong to no entity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vectalk.errors import EvaluationError
from vectalk.evaluation.curves.subject import Row, Subject, values_of
from vectalk.evaluation.metrics.bootstrap import difference, mean_of
from vectalk.evaluation.probes.facts import NotRunError
from vectalk.evaluation.text_llm import TextLLM
from vectalk.space.split import TEST

ALPHAS = tuple(round(0.1 * i, 1) for i in range(11))
MIDDLE = (0.3, 0.7)  # alphas closer to the middle of the walk than to its ends


def interpolations(one: Subject, pairs: int, text_llms: Sequence[TextLLM] = ()) -> tuple[list[Row], list[str]]:
    """Ask about points between random pairs of test entities a and b.

    Metrics: `sc` is the consistency of the answer with the point. `states_a/x` is the share of the values of attribute
    x that only a has and that the answer states; `states_b/x` is the same for b. For each pair, `sc_middle` is the mean
    `sc` from alpha 0.3 to 0.7, `sc_ends` is the mean `sc` of both ends, and `sc_walk` is `sc_middle` minus `sc_ends`:
    the loss from leaving the entities. `sc_middle_minus_copy_text` is the difference of the model to `copy_text`, and
    so on for the other metrics and conditions.

    The model is compared with the text of the nearest training entity (`copy_text`), with texts of the values that
    probes read at the point (`probe_text`), at the ends with the entities' own reference texts (`own_text`), and with
    LLMs that read both titles and their shares (`text_llm`), and also the facts of both (`told_llm`).

    Returns:
        The rows of the curves, and notes on conditions that were not run.
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
    labels = [f"{number}: {first} – {second}" for number, (first, second) in enumerate(titles)]
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
        for text_llm in text_llms:
            try:
                texts[text_llm.condition] = text_llm.mixed(one.task, one.slot, ends, alpha, one.references)
            except NotRunError as error:
                notes.append(f"interpolation, {text_llm.condition}: not run ({error})")
        rows += one.supported("interpolation", "elm", alpha, points, None)
        for condition, answers in texts.items():
            sc = one.consistency(answers, points)
            consistency.setdefault(condition, {})[alpha] = sc
            one.record("interpolation", condition, alpha, labels, points, answers, sc, ends=titles)
            rows.append(one.row("interpolation", "sc", condition, alpha, sc))
            for name, sides in true.items():
                stated = [values_of(one.readers[name].read(text)) for text in answers]
                for side, mine, other in (("a", 0, 1), ("b", 1, 0)):
                    shares = [_share(s, pair[mine] - pair[other]) for s, pair in zip(stated, sides, strict=True)]
                    metric = f"states_{side}/{name}"
                    rows.append(one.row("interpolation", metric, condition, alpha, np.array(shares)))
    return rows + _parts(one, consistency), list(dict.fromkeys(notes))


def _parts(one: Subject, consistency: dict[str, dict[float, np.ndarray]]) -> list[Row]:
    """Return the rows for the middle and the ends of walks; `consistency`: condition -> alpha -> SC [pairs]."""
    rows = []
    parts: dict[str, dict[str, np.ndarray]] = {"sc_middle": {}, "sc_ends": {}, "sc_walk": {}}
    for condition, sc in consistency.items():
        if not {0.0, 1.0} <= sc.keys():  # the condition stopped before the end of the walk
            continue
        inner = [values for alpha, values in sc.items() if MIDDLE[0] <= alpha <= MIDDLE[1]]
        parts["sc_ends"][condition] = (sc[0.0] + sc[1.0]) / 2
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


def _share(stated: set[str], values: set[str]) -> float:
    return len(stated & values) / len(values) if values else float("nan")
