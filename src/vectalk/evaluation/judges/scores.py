"""Figures from filled-in rating sheets: means of conditions, agreement of raters, correlation with consistency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from vectalk.errors import EvaluationError, SpaceError
from vectalk.evaluation.judges.sheet import HIGHEST, LOWEST, QUESTIONS, Item, Sheet
from vectalk.evaluation.metrics.bootstrap import Estimate, correlation, difference, estimate, mean_of
from vectalk.space.importing.delimited import rows_of

Ratings = dict[str, dict[tuple[str, str], float]]
"""Question -> (rater, item) -> rating."""


def score(sheet: Sheet, paths: Sequence[str | Path], seed: int = 0) -> dict[str, Any]:
    """Return for each question the mean rating of each condition, the agreement, and the correlation with SC.

    The bootstrap for the intervals resamples test examples, with all conditions of an example together. Agreement is
    Krippendorff's alpha for interval data, over all items that at least two raters rated. The correlation is
    Spearman's, between the mean rating of an item and its SC.

    Args:
        sheet: the sheet, with its key.
        paths: filled-in CSV files, from the page or a spreadsheet; a file may have several raters.
        seed: seed of the resamples.

    Returns:
        What `ratings.json` holds: raters, n, conditions and questions.

    Raises:
        EvaluationError: a file or a rating is not valid, or the files have no ratings.
    """
    ratings = read_ratings(sheet, paths)
    raters = sorted({rater for of in ratings.values() for rater, _ in of})
    if not raters:
        raise EvaluationError(f"there are no ratings in {', '.join(map(str, paths))}")
    conditions = list(dict.fromkeys(sorted((item.condition for item in sheet.items), key=_order)))
    questions = [
        {"name": name, "text": QUESTIONS[name], **_question(sheet, ratings[name], conditions, raters, seed)}
        for name in QUESTIONS
    ]
    n = sum(len(of) for of in ratings.values())
    return {"raters": raters, "n": n, "conditions": conditions, "questions": questions}


def read_ratings(sheet: Sheet, paths: Sequence[str | Path]) -> Ratings:
    """Read filled-in sheets that the page or a spreadsheet saved, in any encoding and with any separator.

    The column `rater` names the rater; without it, the file name does. Empty cells are ignored.

    Raises:
        EvaluationError: a file or a rating is not valid.
    """
    known = {item.item for item in sheet.items}
    width = len(sheet.items[0].item)
    ratings: Ratings = {name: {} for name in QUESTIONS}
    for path in map(Path, paths):
        if not path.is_file():
            raise EvaluationError(f"{path} does not exist")
        for number, row in _rows(path):
            missing = [name for name in ("item", *QUESTIONS) if name not in row]
            if missing:
                raise EvaluationError(f"{path} has no column {missing[0]!r}; it must have item, {', '.join(QUESTIONS)}")
            item = row["item"].strip().zfill(width)  # a spreadsheet drops leading zeros
            if item not in known:
                raise EvaluationError(f"{path}, line {number}: item {item!r} is not on the sheet")
            rater = row.get("rater", "").strip() or path.stem
            for name in QUESTIONS:
                text = row[name].strip()
                if not text:
                    continue
                if (rater, item) in ratings[name]:
                    raise EvaluationError(f"{path}: {rater!r} rated item {item} twice")
                ratings[name][rater, item] = _value(text, f"{path}, line {number}, {name}")
    return ratings


def _value(text: str, where: str) -> float:
    try:
        value = float(text.replace(",", "."))  # some spreadsheets write a decimal comma, as in 4,0
    except ValueError:
        value = float("nan")
    if value not in range(LOWEST, HIGHEST + 1):
        raise EvaluationError(f"{where}: a rating must be a whole number from {LOWEST} to {HIGHEST}, not {text!r}")
    return value


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a filled-in sheet, each with its line number.

    Raises:
        EvaluationError: the file is not a table of text.
    """
    try:
        yield from rows_of(path)
    except SpaceError as error:
        raise EvaluationError(str(error)) from None


def _question(
    sheet: Sheet, ratings: dict[tuple[str, str], float], conditions: list[str], raters: list[str], seed: int
) -> dict[str, Any]:
    examples = {key: row for row, key in enumerate(dict.fromkeys(map(_example, sheet.items)))}
    means, sc = np.full((2, len(examples), len(conditions)), np.nan)
    table = np.full((len(raters), len(sheet.items)), np.nan)
    for column, item in enumerate(sheet.items):
        table[:, column] = [ratings.get((rater, item.item), np.nan) for rater in raters]
        at = examples[_example(item)], conditions.index(item.condition)
        if np.isfinite(table[:, column]).any():
            means[at] = np.nanmean(table[:, column])
        sc[at] = np.nan if item.sc is None else item.sc
    n = len(examples)
    figures = {c: estimate(n, [mean_of(means[:, i])], seed=seed) for i, c in enumerate(conditions)}
    gaps = {}
    if "elm" in conditions:
        own = mean_of(means[:, conditions.index("elm")])
        for i, c in enumerate(conditions):
            if c != "elm":
                gaps[c] = estimate(n, [own, mean_of(means[:, i])], difference, seed=seed)._asdict()
    return {
        "means": {c: figure._asdict() for c, figure in figures.items()},
        "elm_minus": gaps,
        "alpha": alpha(table),
        "sc": _with_sc(means, sc, seed)._asdict(),
    }


def _with_sc(means: np.ndarray, sc: np.ndarray, seed: int) -> Estimate:
    """Return the rank correlation of ratings and SC, over the examples with a rating and an SC for each condition."""
    complete = np.isfinite(means).all(axis=1) & np.isfinite(sc).all(axis=1)
    if complete.sum() < 3:
        return Estimate(None, None, None, int(complete.sum()))
    a, b = (rankdata(values[complete]).reshape(-1, values.shape[1]) for values in (means, sc))
    return estimate(int(complete.sum()), [correlation(a, b)], seed=seed)


def alpha(table: np.ndarray) -> float | None:
    """Return Krippendorff's alpha for interval data of ratings [raters, items]; NaN means no rating.

    1 means full agreement, 0 means chance. None if no item has two ratings, or if all ratings are equal.
    """
    counts = np.isfinite(table).sum(axis=0)
    table = table[:, counts >= 2]
    values = table[np.isfinite(table)]
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    # The squared differences within items; each pair of ratings has the weight 1 / (ratings of the item - 1).
    within = sum(
        float(np.square(column[:, None] - column[None]).sum()) / (len(column) - 1)
        for column in (item[np.isfinite(item)] for item in table.T)
    )
    total = 2.0 * len(values) * float(np.square(values - values.mean()).sum())
    return float(1.0 - (len(values) - 1) * within / total)


def _example(item: Item) -> tuple[str, int]:
    return item.task, item.example


def _order(condition: str) -> tuple[int, str]:
    first = ("elm", "shuffled", "copy_text", "probe_text", "own_text")
    return (first.index(condition), "") if condition in first else (len(first), condition)
