"""Statistics of the training ratings, as columns of the items and users.

Items: `n_ratings`, `mean_rating`, `rating_sd`.

Users: the same three, and, where the items have titles, lists or a `year`, what they *liked* - the items that
a user rated at or above his own mean:

- `liked_titles`: up to 5 items of the train split that he rated most above what others gave them (against the item's
  mean, shrunken to that of all), ties to the more popular: best rated alone would name the same few for everybody;
- for each list column such as `genres`: `liked_genres`, the 3 values most over-represented among his liked
  items against all training ratings (by shrunken log-odds, found at least twice); `top_genres`, the 3
  commonest; `disliked_genres`, the 3 most under-represented of those that one would expect at least 3 times
  and finds at most three quarters as often;
- `liked_decades`: the 2 commonest decades of his liked items, as "1990s".

Means and deviations are rounded to two decimals; the deviation is that of the ratings at hand (not n - 1).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa

from vectalk.space.importing.tables import is_list, is_text
from vectalk.space.split import TRAIN, assign_splits

SHRINK = 5.0  # ratings of evidence that a log-odds, or an item's mean, must outweigh
EXPECTED = 3.0  # least expected count of a value that may be called disliked
RARE = 0.75  # a disliked value comes at most this often, relative to what is expected
VALUES = 500  # of a list column only the commonest values are counted
BLOCK = 1_000_000


def rating_figures(row: np.ndarray, rating: np.ndarray, rows: int) -> dict[str, np.ndarray]:
    """Return count, mean and standard deviation [R] of the ratings [n] of each row."""
    count = np.bincount(row, minlength=rows)
    mean = np.bincount(row, rating, minlength=rows) / np.maximum(count, 1)
    variance = np.bincount(row, np.square(rating - mean[row]), minlength=rows) / np.maximum(count, 1)
    return {"n_ratings": count, "mean_rating": np.round(mean, 2), "rating_sd": np.round(np.sqrt(variance), 2)}


def user_figures(user: np.ndarray, item: np.ndarray, rating: np.ndarray, users: int, items: pa.Table) -> pa.Table:
    """Return the figures of users, one row each.

    Args:
        user: [n] user rows.
        item: [n] item rows.
        rating: [n] training ratings.
        users: number of users U.
        items: the item entities [I], with their metadata columns and their split; without it titles are split by rule.
    """
    figures = rating_figures(user, rating, users)
    columns = {name: pa.array(values) for name, values in figures.items()}
    count = np.maximum(figures["n_ratings"], 1)
    mean = np.bincount(user, rating, minlength=users) / count
    liked = rating >= mean[user] - 1e-9
    if "title" in items.column_names:
        columns["liked_titles"] = _liked_titles(user, item, rating, liked, users, items)
    for name in items.column_names:
        if is_list(items[name].type) and is_text(items[name].type.value_type):
            columns |= _list_figures(name, user, item, liked, users, items)
    if "year" in items.column_names and pa.types.is_integer(items["year"].type):
        columns["liked_decades"] = _liked_decades(user[liked], item[liked], users, items)
    return pa.table(columns)


def _liked_titles(
    user: np.ndarray, item: np.ndarray, rating: np.ndarray, liked: np.ndarray, users: int, items: pa.Table
) -> pa.Array:
    titles = items["title"].to_pylist()
    popular = np.bincount(item, minlength=len(titles))
    everyone = float(rating.mean()) if len(rating) else 0.0
    usual = (np.bincount(item, rating, minlength=len(titles)) + SHRINK * everyone) / (popular + SHRINK)
    above = np.round(rating - usual[item], 6)
    known = np.array([title is not None for title in titles])
    # The stored split takes precedence, because it may come from an older rule.
    parted = np.asarray(items["split"]) if "split" in items.column_names else assign_splits(titles, "title")
    train = parted == TRAIN
    rows = np.flatnonzero(liked & (train & known)[item])
    order = rows[np.lexsort((item[rows], -popular[item[rows]], -above[rows], user[rows]))]
    starts = np.searchsorted(user[order], np.arange(users + 1))
    return pa.array(
        [[titles[i] for i in item[order[a : min(a + 5, b)]]] for a, b in pairwise(starts)],
        pa.list_(pa.string()),
    )


def _list_figures(
    name: str, user: np.ndarray, item: np.ndarray, liked: np.ndarray, users: int, items: pa.Table
) -> dict[str, pa.Array]:
    lists = [values or [] for values in items[name].to_pylist()]
    item_count = np.bincount(item, minlength=len(lists))
    weight: dict[str, int] = {}
    for values, times in zip(lists, item_count, strict=True):
        for value in values:
            weight[value] = weight.get(value, 0) + int(times)
    names = sorted(weight, key=lambda value: (-weight[value], value))[:VALUES]
    at = {value: column for column, value in enumerate(names)}
    holds = np.zeros((len(lists), len(names)), bool)
    for row, values in enumerate(lists):
        holds[row, [at[value] for value in values if value in at]] = True
    counts = np.zeros((users, len(names)))
    rows, things = user[liked], item[liked]
    for start in range(0, len(rows), BLOCK):
        where, which = np.nonzero(holds[things[start : start + BLOCK]])
        np.add.at(counts, (rows[start : start + BLOCK][where], which), 1.0)
    total = np.bincount(rows, minlength=users)[:, None]
    share = np.array([weight[value] for value in names]) / max(len(item), 1)
    expected = total * share
    lean = np.log((counts + SHRINK) / (expected + SHRINK)) - np.log(
        (total - counts + SHRINK) / (total - expected + SHRINK)
    )
    return {
        f"liked_{name}": _best(lean, (lean > 0) & (counts >= 2), names, 3),
        f"top_{name}": _best(counts, counts > 0, names, 3),
        f"disliked_{name}": _best(-lean, (expected >= EXPECTED) & (counts <= RARE * expected), names, 3),
    }


def _liked_decades(user: np.ndarray, item: np.ndarray, users: int, items: pa.Table) -> pa.Array:
    years = [None if year is None else year // 10 * 10 for year in items["year"].to_pylist()]
    decades = sorted({year for year in years if year is not None})
    at = np.array([-1 if year is None else decades.index(year) for year in years])[item]
    counts = np.zeros((users, len(decades)))
    np.add.at(counts, (user[at >= 0], at[at >= 0]), 1.0)
    return _best(counts, counts > 0, [f"{decade}s" for decade in decades], 2)


def _best(score: np.ndarray, allowed: np.ndarray, names: list[str], count: int) -> pa.Array:
    """Return for each row the names of its best allowed scores [U, G]; ties go to the earlier name."""
    order = np.argsort(np.where(allowed, -score, np.inf), axis=1, kind="stable")[:, :count]
    picked = [[names[c] for c in row if fits[c]] for row, fits in zip(order, allowed, strict=True)]
    return pa.array(picked, pa.list_(pa.string()))
