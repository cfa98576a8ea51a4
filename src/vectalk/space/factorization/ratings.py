"""Factorise a table of ratings into a space of items and a space of users."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectalk.errors import SpaceError
from vectalk.files import atomic_folder, write_json
from vectalk.space.factorization.figures import rating_figures, user_figures
from vectalk.space.factorization.item_entities import item_entities
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.factorization.rating_values import Repeated
from vectalk.space.factorization.wals import Factors, WalsConfig, wals
from vectalk.space.importing.tables import Columns
from vectalk.space.vector_space import VectorSpace


@dataclass(frozen=True)
class Factorization:
    """The result of `factorize`: two spaces of one factorisation, and a summary."""

    items: VectorSpace
    users: VectorSpace
    factors: Factors
    summary: dict[str, Any]


def hold_out(user: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Return a mask [n] of held-out ratings: `share` of each user's, rounded down, at least one left in."""
    if not 0.0 <= share < 1.0:
        raise SpaceError(f"holdout must be at least 0 and below 1, not {share}")
    draw = np.random.default_rng(seed).random(len(user))
    order = np.lexsort((draw, user))
    count = np.bincount(user)
    rank = np.empty(len(user), np.int64)
    rank[order] = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    return rank < np.floor(share * count[user] + 1e-9)


def factorize(
    ratings: str | Path | pa.Table,
    out: str | Path,
    *,
    items: str | Path | pa.Table | None = None,
    config: WalsConfig | None = None,
    columns: Columns | None = None,
    id_name: str | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
    separator: str | None = None,
    header: bool | None = None,
    valid: Collection[float] = (),
    repeated: Repeated | None = None,
    holdout: float = 0.2,
    min_ratings: int = 5,
    item_name: str = "item",
    user_name: str = "user",
    licence: str = "",
    overwrite: bool = False,
    on_iteration: Callable[[int, float], None] | None = None,
    tell: Callable[[str], None] = lambda message: None,
) -> Factorization:
    """Factorise ratings and write the result to a folder, completely or not at all.

    The folder holds the spaces `items` and `users`, whose entities carry the figures of
    `vectalk.space.factorization.figures` (no mean and deviation where all ratings are one); `ratings_train.parquet` and
    `ratings_test.parquet` (`user`, `item`: ids as in the spaces; `rating`); `biases.npz` (`item`, `user`, `mean`) and
    `factors.json` (the resolved settings). The held-out ratings are removed first: no vector, bias, figure or choice of
    items depends on them.

    Args:
        ratings: a file, or a table, see `read_ratings`, which takes `user_column` to `repeated` too. Under implicit
            feedback ratings may be missing: each line then counts as 1.
        out: the folder.
        items: metadata of the items, a file or a table, joined by id; ratings of items that it lacks stay.
        config: settings of the factorisation; its seed also draws the hold-out.
        columns: how the columns of `items` are prepared; what stands for "unknown" there stands for "not rated" in the
            ratings, and such ratings are left out.
        id_name: the column of `items` that holds ids, where it cannot be guessed.
        user_column: name of the user column of `ratings`, where it cannot be guessed.
        item_column: name of its item column.
        rating_column: name of its rating column; `none` if there is none.
        separator: separator of its columns, if it is a text file and the separator cannot be guessed.
        header: whether the first line of a text file has column names, if this cannot be guessed.
        valid: values that look like "not rated" but are ratings.
        repeated: how to merge repeated pairs of user and item: `sum`, `last`, `mean`, `refuse`.
        holdout: held-out share of each user's ratings.
        min_ratings: items with fewer training ratings are left out.
        item_name: name of the item space, e.g. `film`.
        user_name: name of the user space.
        licence: licence note that is saved with both spaces.
        overwrite: replace `out` where it exists.
        on_iteration: called with the iteration and the loss.
        tell: called with the layout that was detected, and with possible mistakes.

    Raises:
        SpaceError: the tables or the settings are not suitable; the message says how to correct them.
    """
    config, columns = config or WalsConfig(), columns or Columns()
    if min_ratings < 1:
        raise SpaceError(f"min_ratings must be at least 1, not {min_ratings}")
    with atomic_folder(out, "factors.json", overwrite=overwrite) as folder:
        table = read_ratings(
            ratings,
            user=user_column,
            item=item_column,
            rating=rating_column,
            separator=separator,
            header=header,
            feedback=config.feedback,
            nulls=columns.null_values,
            valid=valid,
            repeated=repeated,
            tell=tell,
        )
        train, test, dropped = _divide(table, holdout, min_ratings, config.seed)
        user_ids, user = _rows(train["user"])
        item_ids, item = _rows(train["item"])
        values = train["rating"].to_numpy()
        item_table = item_entities(item_ids, items, columns, id_name, tell)
        factors = wals(user, item, values, config, on_iteration=on_iteration)
        # If all ratings are equal, as for clicks, their mean and deviation have no meaning.
        unrated = ("mean_rating", "rating_sd") if values.min() == values.max() else ()
        for name, array in rating_figures(item, values, len(item_ids)).items():
            item_table = item_table if name in unrated else _put(item_table, name, array)
        split_by = "title" if "title" in item_table.column_names else "id"
        item_space = VectorSpace.create(item_name, factors.items, item_table, split_by=split_by, licence=licence)
        user_table = user_figures(user, item, values, len(user_ids), item_space.entities).drop_columns(list(unrated))
        titles = pa.array([f"{user_name} {name}" for name in user_ids.to_pylist()])
        user_table = user_table.add_column(0, "title", titles).add_column(0, "id", user_ids)
        item_space.save(folder / "items")
        VectorSpace.create(user_name, factors.users, user_table, licence=licence).save(folder / "users")
        pq.write_table(train, folder / "ratings_train.parquet")
        pq.write_table(test, folder / "ratings_test.parquet")
        np.savez(folder / "biases.npz", item=factors.item_bias, user=factors.user_bias, mean=factors.mean)
        summary = {
            **factors.summary(),
            "ratings_train": train.num_rows,
            "ratings_test": test.num_rows,
            "holdout": holdout,
            "min_ratings": min_ratings,
            **dropped,
        }
        write_json(folder / "factors.json", summary)
    out = Path(out)
    return Factorization(VectorSpace.load(out / "items"), VectorSpace.load(out / "users"), factors, summary)


def _divide(table: pa.Table, holdout: float, min_ratings: int, seed: int) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """Hold ratings out, then drop the items with too few training ratings."""
    user_ids, user = _rows(table["user"])
    item_ids, item = _rows(table["item"])
    held_out = hold_out(user, holdout, seed)
    frequent_items = np.bincount(item[~held_out], minlength=len(item_ids)) >= min_ratings
    rated_users = np.bincount(user[~held_out & frequent_items[item]], minlength=len(user_ids)) > 0
    known = frequent_items[item] & rated_users[user]
    if not known.any():
        raise SpaceError(
            f"no item has {min_ratings} training ratings "
            f"({table.num_rows} ratings of {len(item_ids)} items); "
            "lower --min-ratings"
        )
    dropped = {"items_dropped": int((~frequent_items).sum()), "users_dropped": int((~rated_users).sum())}
    return table.filter(pa.array(known & ~held_out)), table.filter(pa.array(known & held_out)), dropped


def _rows(ids: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """Return the distinct ids, as numbers in order where all are, else as text, and each id's row [n]."""
    encoded = ids.combine_chunks().dictionary_encode()
    names = encoded.dictionary
    try:
        order = pc.array_sort_indices(names.cast(pa.int64()))
    except pa.ArrowInvalid:
        order = pc.array_sort_indices(names)
    rank = np.empty(len(names), np.int64)
    rank[order.to_numpy()] = np.arange(len(names))
    return names.take(order), rank[encoded.indices.to_numpy()]


def _put(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    if name in table.column_names:
        raise SpaceError(f"the items already have a column {name!r}; rename it with --rename {name}=other_name")
    return table.append_column(name, pa.array(values))
