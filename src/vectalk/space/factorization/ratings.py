"""From a table of ratings to a space of items and a space of users that share one factorisation."""

from __future__ import annotations

from collections.abc import Callable
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
from vectalk.space.factorization.rating_reader import read_ratings
from vectalk.space.factorization.wals import Factors, WalsConfig, wals
from vectalk.space.importing.tables import Columns, as_text, id_column, read_table
from vectalk.space.vector_space import VectorSpace


@dataclass(frozen=True)
class Factorization:
    """What `factorize` made: two spaces of one factorisation, and a summary of it."""

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
    holdout: float = 0.2,
    min_ratings: int = 5,
    item_name: str = "item",
    user_name: str = "user",
    licence: str = "",
    overwrite: bool = False,
    on_iteration: Callable[[int, float], None] | None = None,
) -> Factorization:
    """Factorise ratings and write one folder, whole or not at all.

    The folder holds the spaces `items` and `users`, whose entities carry the figures of
    `vectalk.space.factorization.figures`; `ratings_train.parquet` and `ratings_test.parquet` (`user`, `item`: ids
    as in the spaces; `rating`); `biases.npz` (`item`, `user`, `mean`) and `factors.json` (the resolved settings). The
    held-out ratings are set aside first: no vector, bias, figure or choice of items has seen them.

    Args:
        ratings: file (see `read_ratings`), or a table with `user`, `item`, `rating`.
        out: the folder.
        items: metadata of the items, a file or a table, joined by id; ratings of items that it lacks stay.
        config: settings of the factorisation; its seed also draws the hold-out.
        columns: how the columns of `items` are prepared.
        id_name: the column of `items` that holds ids, where it cannot be guessed.
        user_column: name of the user column of `ratings`, where it cannot be guessed.
        item_column: name of its item column.
        rating_column: name of its rating column.
        holdout: share of each user's ratings set aside.
        min_ratings: items with fewer training ratings are left out.
        item_name: name of the item space, e.g. `film`.
        user_name: name of the user space.
        licence: a note that travels with both spaces.
        overwrite: replace `out` where it exists.
        on_iteration: called with the iteration and the loss.

    Raises:
        SpaceError: the tables or the settings do not do; the message says how to mend it.
    """
    config = config or WalsConfig()
    if min_ratings < 1:
        raise SpaceError(f"min_ratings must be at least 1, not {min_ratings}")
    with atomic_folder(out, "factors.json", overwrite=overwrite) as folder:
        table = (
            ratings
            if isinstance(ratings, pa.Table)
            else read_ratings(ratings, user=user_column, item=item_column, rating=rating_column)
        )
        train, test, dropped = _divide(table, holdout, min_ratings, config.seed)
        user_ids, user = _rows(train["user"])
        item_ids, item = _rows(train["item"])
        values = train["rating"].to_numpy()
        item_table = _item_entities(item_ids, items, columns or Columns(), id_name)
        factors = wals(user, item, values, config, on_iteration=on_iteration)
        for name, array in rating_figures(item, values, len(item_ids)).items():
            item_table = _put(item_table, name, array)
        user_table = user_figures(user, item, values, len(user_ids), item_table)
        titles = pa.array([f"{user_name} {name}" for name in user_ids.to_pylist()])
        user_table = user_table.add_column(0, "title", titles).add_column(0, "id", user_ids)
        split_by = "title" if "title" in item_table.column_names else "id"
        VectorSpace.create(item_name, factors.items, item_table, split_by=split_by, licence=licence).save(
            folder / "items"
        )
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
    """Set ratings aside, then drop the items that the rest says too little about."""
    user_ids, user = _rows(table["user"])
    item_ids, item = _rows(table["item"])
    held = hold_out(user, holdout, seed)
    kept_items = np.bincount(item[~held], minlength=len(item_ids)) >= min_ratings
    kept_users = np.bincount(user[~held & kept_items[item]], minlength=len(user_ids)) > 0
    known = kept_items[item] & kept_users[user]
    if not known.any():
        raise SpaceError(
            f"no item has {min_ratings} training ratings "
            f"({table.num_rows} ratings of {len(item_ids)} items); "
            "lower --min-ratings"
        )
    dropped = {"items_dropped": int((~kept_items).sum()), "users_dropped": int((~kept_users).sum())}
    return table.filter(pa.array(known & ~held)), table.filter(pa.array(known & held)), dropped


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


def _item_entities(
    ids: pa.Array, items: str | Path | pa.Table | None, columns: Columns, id_name: str | None
) -> pa.Table:
    if items is None:
        return columns.apply(pa.table({"id": ids}), "the ratings (no --items given)")
    where = "the items" if isinstance(items, pa.Table) else str(items)
    table = (
        items if isinstance(items, pa.Table) else read_table(items, ("id", "title", *([id_name] if id_name else [])))
    )
    source = id_column(table, id_name, where, "--id-column")
    table = columns.apply(table.rename_columns(["id" if n == source else n for n in table.column_names]), where)
    keys = as_text(table["id"]).combine_chunks()
    if len(pc.unique(keys)) < len(keys):
        raise SpaceError(f"{where}: column {source!r} holds an id more than once; keep one row an item")
    at = pc.index_in(ids, keys)
    if at.null_count == len(ids):
        raise SpaceError(
            f"{where}: none of the {len(ids)} rated items stands in column {source!r}; name another with --id-column"
        )
    found = {name: table[name].combine_chunks().take(at) for name in table.column_names if name not in ("id", "split")}
    if "title" in found:  # an item without metadata keeps its id as a name
        found["title"] = pc.coalesce(found["title"].cast(pa.string()), ids)
    return pa.table({"id": ids, **found})


def _put(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    if name in table.column_names:
        raise SpaceError(f"the items have a column {name!r} of their own; rename it with --rename {name}=other_name")
    return table.append_column(name, pa.array(values))
