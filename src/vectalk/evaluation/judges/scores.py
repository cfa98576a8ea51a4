"""From filled-in rating sheets to figures: means by condition, agreement, correlation with consistency."""

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
    """Return what raters said: for each question the mean of each condition, agreement, and correlation with SC.

    Intervals are bootstraps over test examples, all conditions of an example together. Agreement is Krippendorff's
    alpha for interval data over all items that two or more have rated; correlation is Spearman's, of an item's mean
    rating with its SC.

    Args:
        sheet: the sheet, with its key.
        paths: filled-in CSV files, from the page or a spreadsheet, one or more raters each.
        seed: of the resamples.

    Raises:
        EvaluationError: a file or a rating in it cannot be right, or nothing was rated.
    """
    ratings = read_ratings(sheet, paths)
    raters = sorted({rater for of in ratings.values() for rater, _ in of})
    if not raters:
        raise EvaluationError(f"nothing was rated in {', '.join(map(str, paths))}")
    conditions = list(dict.fromkeys(sorted((item.condition for item in sheet.items), key=_order)))
    questions = [
        {"name": name, "text": QUESTIONS[name], **_question(sheet, ratings[name], conditions, raters, seed)}
        for name in QUESTIONS
    ]
    n = sum(len(of) for of in ratings.values())
    return {"raters": raters, "n": n, "conditions": conditions, "questions": questions}


def read_ratings(sheet: Sheet, paths: Sequence[str | Path]) -> Ratings:
    """Read filled-in sheets, as the page or a spreadsheet saves them, in any encoding and with any separator.

    The rater is the column `rater`, else the name of the file. Blanks are no ratings.
    """
    known = {item.item for item in sheet.items}
    width = len(sheet.items[0].item)
    found: Ratings = {name: {} for name in QUESTIONS}
    for path in map(Path, paths):
        if not path.is_file():
            raise EvaluationError(f"{path} does not exist")
        for number, row in _rows(path):
            missing = [name for name in ("item", *QUESTIONS) if name not in row]
            if missing:
                raise EvaluationError(f"{path} has no column {missing[0]!r}; it must have item, {', '.join(QUESTIONS)}")
            item = row["item"].strip().zfill(width)  # a spreadsheet drops zeros in front
            if item not in known:
                raise EvaluationError(f"{path}, line {number}: item {item!r} is not on the sheet")
            rater = row.get("rater", "").strip() or path.stem
            for name in QUESTIONS:
                said = row[name].strip()
                if not said:
                    continue
                if (rater, item) in found[name]:
                    raise EvaluationError(f"{path}: {rater!r} rated item {item} twice")
                found[name][rater, item] = _value(said, f"{path}, line {number}, {name}")
    return found


def _value(said: str, where: str) -> float:
    try:
        value = float(said.replace(",", "."))  # where commas are decimal signs, a spreadsheet writes 4,0
    except ValueError:
        value = float("nan")
    if value not in range(LOWEST, HIGHEST + 1):
        raise EvaluationError(f"{where}: a rating is a whole number from {LOWEST} to {HIGHEST}, not {said!r}")
    return value


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a filled-in sheet, each with its line.

    Raises:
        EvaluationError: the file is no table of text.
    """
    try:
        yield from rows_of(path)
    except SpaceError as error:
        raise EvaluationError(str(error)) from None


def _question(
    sheet: Sheet, given: dict[tuple[str, str], float], conditions: list[str], raters: list[str], seed: int
) -> dict[str, Any]:
    examples = {key: row for row, key in enumerate(dict.fromkeys(map(_example, sheet.items)))}
    means, sc = np.full((2, len(examples), len(conditions)), np.nan)
    table = np.full((len(raters), len(sheet.items)), np.nan)
    for column, item in enumerate(sheet.items):
        table[:, column] = [given.get((rater, item.item), np.nan) for rater in raters]
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
    """Return the rank correlation of ratings and SC, over the examples of which all conditions have both."""
    whole = np.isfinite(means).all(axis=1) & np.isfinite(sc).all(axis=1)
    if whole.sum() < 3:
        return Estimate(None, None, None, int(whole.sum()))
    a, b = (rankdata(found[whole]).reshape(-1, found.shape[1]) for found in (means, sc))
    return estimate(int(whole.sum()), [correlation(a, b)], seed=seed)


def alpha(table: np.ndarray) -> float | None:
    """Return Krippendorff's alpha of ratings [raters, items] with NaN for none, for interval data.

    1 is full agreement, 0 what chance would bring. None where no item has two ratings, or all ratings are the same.
    """
    counts = np.isfinite(table).sum(axis=0)
    table = table[:, counts >= 2]
    values = table[np.isfinite(table)]
    if len(values) < 2 or np.ptp(values) == 0:
        return None
    # The mean squared difference within items, each pair of ratings weighted by one over (ratings of the item - 1).
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
