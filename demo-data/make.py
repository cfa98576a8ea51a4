"""Make the demo's data from MovieLens latest-small: films and viewers as vectors and figures, no ratings.

    python demo-data/make.py DATA/movielens-latest-small

Factorises the ratings with our own WALS and writes two spaces beside this file. `films` has titles, years, genres and
figures over the training ratings. `users` has every viewer twice or more: once as his training ratings give him, and as
he would look to somebody who knew only a handful of the films that he liked, folded in like a newcomer. A model that
learns from these can say something of a visitor after five films. All of one viewer's rows share his split.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vectalk.demo.concepts import film_examples, keep_concepts
from vectalk.files import write_json
from vectalk.space import VectorSpace
from vectalk.space.factorization.figures import user_figures
from vectalk.space.factorization.ratings import Factorization, factorize
from vectalk.space.factorization.wals import WalsConfig
from vectalk.space.importing.tables import Columns
from vectalk.space.layout import build_layout
from vectalk.space.split import assign_splits

HERE = Path(__file__).parent
LICENCE = "GroupLens: research use, no commercial use, see LICENSE beside these data"
HANDFULS = (5, 5, 10, 20)  # liked films by which a viewer is folded in again
MIN_RATINGS = 10


def main() -> None:
    """Write `films` and `users`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("movielens", type=Path, help="folder with ratings.csv and movies.csv")
    source = parser.parse_args().movielens
    with tempfile.TemporaryDirectory() as work:
        made = factorize(
            source / "ratings.csv",
            Path(work) / "factors",
            items=source / "movies.csv",
            config=WalsConfig(),
            columns=Columns(
                null_values=["(no genres listed)"],
                extract={"year": ("title", r"\((\d{4})\)\s*$")},
                list_columns={"genres": "|"},
            ),
            holdout=0.0,
            min_ratings=MIN_RATINGS,
            item_name="film",
            user_name="user",
        )
        films = VectorSpace.create(
            "film",
            made.items.vectors.astype(np.float16),
            made.items.entities.drop_columns(["split"]),
            split_by="title",
            licence=LICENCE,
        )
        users = viewers(made, Path(work) / "factors" / "ratings_train.parquet")
        for name, space in (("films", films), ("users", users)):
            build_layout(space.save(HERE / name, overwrite=True), method="tsne").save()
            print(f"{name}: {len(space)} x {space.dim}")
        films = VectorSpace.load(HERE / "films")
        keep_concepts(films, film_examples(films))
        write_json(HERE / "factors.json", asdict(made.factors.config))  # what folds a newcomer in


def viewers(made: Factorization, ratings: Path, seed: int = 0) -> VectorSpace:
    """Return the space of viewers, each whole and by handfuls of what he liked."""
    table = pq.read_table(ratings)
    user = pc.index_in(table["user"], made.users.column("id")).to_numpy()
    item = pc.index_in(table["item"], made.items.column("id")).to_numpy()
    rating = table["rating"].to_numpy()
    mean = np.bincount(user, rating) / np.bincount(user)
    rng = np.random.default_rng(seed)
    names = made.users.column("id").to_pylist()
    owners, marks, handfuls = [], [], []
    for viewer, name in enumerate(names):
        liked = item[(user == viewer) & (rating >= mean[user])]
        for number, size in enumerate(HANDFULS, start=1):
            if len(liked) > size:
                owners.append(name)
                marks.append((size, number))
                handfuls.append(rng.choice(liked, size, replace=False))
    of = np.repeat(np.arange(len(handfuls)), [len(handful) for handful in handfuls])
    figures = user_figures(of, np.concatenate(handfuls), np.full(len(of), 5.0), len(handfuls), made.items.entities)
    for column in ("mean_rating", "rating_sd"):  # unknown where only that a film was liked is known
        unknown = pa.nulls(len(figures), pa.float64())
        figures = figures.set_column(figures.column_names.index(column), column, unknown)
    whole = made.users.entities.drop_columns(["id", "title", "split"])
    entities = pa.concat_tables([whole, figures.select(whole.column_names).cast(whole.schema)])
    ids = [*names, *(f"{owner}/{number}" for owner, (_, number) in zip(owners, marks, strict=True))]
    titles = [f"viewer {name}" for name in names]
    titles += [f"viewer {o} by {size} films, {n}" for o, (size, n) in zip(owners, marks, strict=True)]
    splits = assign_splits([*names, *owners]).tolist()
    for column, values in (("split", splits), ("title", titles), ("id", ids)):
        entities = entities.add_column(0, column, pa.array(values))
    folded = [made.factors.fold_in(handful, np.full(len(handful), 5.0)) for handful in handfuls]
    vectors = np.concatenate([made.users.vectors, np.stack(folded)]).astype(np.float16)
    return VectorSpace.create("user", vectors, entities, licence=LICENCE)


if __name__ == "__main__":
    main()
