"""From ratings to two spaces: what is held out stays unseen, and figures are those one counts by hand."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vectalk.errors import SpaceError
from vectalk.space import VectorSpace
from vectalk.space.factorization.figures import rating_figures, user_figures
from vectalk.space.factorization.ratings import factorize, hold_out, read_ratings
from vectalk.space.factorization.wals import WalsConfig
from vectalk.space.importing.tables import Columns
from vectalk.space.split import split_of
from vectalk.space.titles import title_key

SMALL = WalsConfig(dim=4, iterations=2)
COLUMNS = Columns(extract={"year": ("title", r"\((\d{4})\)$")}, list_columns={"genres": "|"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    user, item = np.nonzero(rng.random((40, 60)) < 0.4)
    order = rng.permutation(len(user))
    rating = rng.integers(1, 11, len(user)) / 2
    lines = [f"{user[n] + 1},{item[n] * 10},{rating[n]},{n}\n" for n in order]
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + "".join(lines))
    genres = ["Comedy", "Comedy|Drama", "Western"]
    films = [f"{n * 10},Film {n} ({1950 + n}),{genres[n % 3]}\n" for n in range(59)]  # film 59 is unknown
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n" + "".join(films))
    return tmp_path


def run(folder: Path, out: str = "out", **options):
    settings = {"items": folder / "movies.csv", "columns": COLUMNS, "config": SMALL, "item_name": "film"}
    return factorize(folder / "ratings.csv", folder / out, **{**settings, **options})


# ---- reading


@pytest.mark.parametrize("header", ["userId,movieId,rating", "user_id,item_id,score", "user,item,rating"])
def test_the_usual_names_are_known(tmp_path: Path, header: str) -> None:
    (tmp_path / "r.csv").write_text(header + "\n007,1,3.5\n7,1,4\n")
    table = read_ratings(tmp_path / "r.csv")
    assert table.to_pylist() == [
        {"user": "007", "item": "1", "rating": 3.5},
        {"user": "7", "item": "1", "rating": 4.0},
    ]


def test_other_names_are_told_and_parquet_is_read(tmp_path: Path) -> None:
    table = pa.table({"who": [1, 2], "what": [5, 6], "how": [1, 2], "timestamp": [8, 9]})
    pq.write_table(table, tmp_path / "r.parquet")
    read = read_ratings(tmp_path / "r.parquet", user="who", item="what", rating="how")
    assert read.column_names == ["user", "item", "rating", "timestamp"]
    assert read["user"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("who,movieId,rating\n1,2,3\n", "has no user column .*it has who, movieId, rating; name it with --user-column"),
        ("userId,movieId,rating\n", "has no ratings"),
        ("userId,movieId,rating\n1,2,3\n1,3,good\n", "line 3: column 'rating' has 'good'"),
        ("userId,movieId,rating\n1,2,3\n1,3,\n", "line 3: column 'rating' has ''"),
        ("userId,movieId,rating\n1,2,inf\n", "line 2: column 'rating' has 'inf'"),
        ("userId,movieId,rating\n1,2,3\n,3,1\n", "line 3: no user in column 'userId'"),
        (
            "userId,movieId,rating\n1,2,3\n2,2,3\n1,2,4\n",
            r"line 4: user '1' rated item '2' already in line 2 \(1 such",
        ),
    ],
)
def test_faults_are_named_by_their_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(SpaceError, match=words):
        read_ratings(tmp_path / "r.csv")


# ---- holding out


def test_a_fifth_of_each_users_ratings_is_held_out() -> None:
    user = np.repeat(np.arange(6), [1, 4, 5, 10, 33, 100])[np.random.default_rng(0).permutation(153)]
    held = hold_out(user, 0.2, seed=1)
    assert np.bincount(user, held).tolist() == [0, 0, 1, 2, 6, 20]
    np.testing.assert_array_equal(held, hold_out(user, 0.2, seed=1))
    assert (held != hold_out(user, 0.2, seed=2)).any()
    assert not hold_out(user, 0.0).any()
    with pytest.raises(SpaceError, match="below 1"):
        hold_out(user, 1.0)


def test_every_user_keeps_training_ratings_and_nothing_is_in_both(folder: Path) -> None:
    made = run(folder, holdout=0.9, min_ratings=1)
    assert len(made.users) == 40
    train, test = (pq.read_table(folder / "out" / f"ratings_{name}.parquet") for name in ("train", "test"))
    users = set(made.users.column("id").to_pylist())
    assert set(train["user"].to_pylist()) == users >= set(test["user"].to_pylist())
    assert set(train["item"].to_pylist()) == set(made.items.column("id").to_pylist()) >= set(test["item"].to_pylist())
    pairs = [set(zip(t["user"].to_pylist(), t["item"].to_pylist(), strict=True)) for t in (train, test)]
    assert not pairs[0] & pairs[1]


def test_no_held_out_rating_leaves_a_trace(folder: Path) -> None:
    """Turn every held-out rating round: vectors, figures and the choice of items stay what they were."""
    config = WalsConfig(dim=4, iterations=2, feedback="explicit")
    before = run(folder, "before", config=config, min_ratings=2)
    test = pq.read_table(folder / "before" / "ratings_test.parquet")
    held = set(zip(test["user"].to_pylist(), test["item"].to_pylist(), strict=True))
    assert len(held) > 100
    head, *lines = (folder / "ratings.csv").read_text().splitlines()
    turned = []
    for line in lines:
        user, item, rating, time = line.split(",")
        turned.append(",".join([user, item, str(5.5 - float(rating)) if (user, item) in held else rating, time]))
    assert turned != lines
    (folder / "ratings.csv").write_text("\n".join([head, *turned]) + "\n")
    after = run(folder, "after", config=config, min_ratings=2)
    assert after.items.fingerprint == before.items.fingerprint
    assert after.users.fingerprint == before.users.fingerprint
    assert after.items.entities.equals(before.items.entities)
    assert after.users.entities.equals(before.users.entities)
    again = pq.read_table(folder / "after" / "ratings_test.parquet")
    assert not again.equals(test)


# ---- the figures


def test_figures_counted_by_hand() -> None:
    titles = ["Alpha", "Beta", "Gamma", "Delta"]
    train = [split_of(title_key(title)) == "train" for title in titles]
    items = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "title": titles,
            "genres": [["Comedy"], ["Comedy", "Drama"], ["Drama"], []],
            "year": [1994, 1999, 2003, None],
        }
    )
    user, item = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 2, 2, 3])
    rating = np.array([5.0, 4.0, 1.0, 3.0, 3.0])
    figures = user_figures(user, item, rating, 2, items).to_pylist()
    assert figures[0]["n_ratings"] == 3
    assert figures[0]["mean_rating"] == 3.33
    assert figures[0]["rating_sd"] == 1.7  # of 5, 4, 1: sqrt(26 / 9)
    assert figures[0]["liked_titles"] == [title for title, fits in zip(titles[:2], train[:2], strict=True) if fits]
    assert figures[0]["liked_decades"] == ["1990s"]
    assert figures[0]["top_genres"] == ["Comedy", "Drama"]
    assert figures[0]["liked_genres"] == ["Comedy"]  # 2 of 2 liked, 2 of 5 ratings; Drama: once only
    assert figures[1]["liked_decades"] == ["2000s"]
    assert figures[1]["top_genres"] == ["Drama"]
    assert figures[1]["rating_sd"] == 0.0
    counted = rating_figures(item, rating, 4)
    assert counted["n_ratings"].tolist() == [1, 1, 2, 1]
    assert counted["mean_rating"].tolist() == [5.0, 4.0, 2.0, 3.0]
    assert counted["rating_sd"].tolist() == [0.0, 0.0, 1.0, 0.0]


def test_what_a_user_likes_and_avoids_is_relative_to_everyone() -> None:
    """Drama is half of all ratings. User 0 likes 12 dramas and 3 westerns, user 1 dislikes every drama."""
    genres = [["Drama"]] * 20 + [["Western"]] * 4 + [["Comedy"]] * 16
    items = pa.table({"id": [str(n) for n in range(40)], "genres": genres})
    user = np.array([0] * 40 + [1] * 40)
    item = np.tile(np.arange(40), 2)
    likes = {0: [*range(12), 20, 21, 22], 1: [*range(24, 40), 23]}
    rating = np.array([5.0 if i in likes[u] else 1.0 for u, i in zip(user, item, strict=True)])
    first, second = user_figures(user, item, rating, 2, items).to_pylist()
    assert set(first["liked_genres"]) == {"Drama", "Western"}
    assert first["top_genres"] == ["Drama", "Western"]
    assert first["disliked_genres"] == ["Comedy"]  # 0 of 6 expected
    assert second["liked_genres"] == ["Comedy"]
    assert second["disliked_genres"] == ["Drama"]  # Western: fewer than 3 expected, so nothing is said of it


def test_liked_titles_are_those_of_the_train_split_that_others_like_less() -> None:
    titles = [f"Film {n}" for n in range(40)]
    train = [n for n in range(40) if split_of(title_key(titles[n])) == "train"]
    chosen = train[:7] + [n for n in range(40) if n not in train][:3]
    rating = np.full(len(chosen), 4.0)
    others, theirs = train[5:6] * 3 + train[4:5] * 2 + train[0:1] * 2, np.array([1.0] * 5 + [5.0] * 2)
    items = pa.table({"id": titles, "title": titles})
    user, item = np.array([0] * len(chosen) + [1] * len(others)), np.array(chosen + others)

    def liked() -> list[str]:
        ratings = np.concatenate([rating, theirs])
        return user_figures(user, item, ratings, 2, items).to_pylist()[0]["liked_titles"]

    # User 1 dislikes the first two and loves the one that is therefore left out; the rest are told by their rows.
    assert liked() == [titles[n] for n in (train[5], train[4], train[1], train[2], train[3])]
    rating[6] = 5.0
    assert liked() == [titles[train[6]]]  # nothing else lies above his own mean


def test_favourites_differ_between_users_who_rate_the_famous_alike() -> None:
    titles = [f"Film {n}" for n in range(30)]
    train = [n for n in range(30) if split_of(title_key(titles[n])) == "train"]
    famous, own = train[:2], train[2:12]
    user, item, rating = [], [], []
    for who, favourite in enumerate(own):  # everybody loves the famous ones; each alone loves one that others do not
        for film in (*famous, *own):
            user.append(who)
            item.append(film)
            rating.append(5.0 if film in (*famous, favourite) else 2.0)
    items = pa.table({"id": titles, "title": titles})
    figures = user_figures(np.array(user), np.array(item), np.array(rating), len(own), items).to_pylist()
    assert [f["liked_titles"][0] for f in figures] == [titles[n] for n in own]


# ---- the folder


def test_the_folder_holds_what_it_says(folder: Path) -> None:
    made = run(folder)
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        "biases.npz",
        "factors.json",
        "items",
        "ratings_test.parquet",
        "ratings_train.parquet",
        "users",
    ]
    assert (made.items.name, made.items.split_by, made.users.name, made.users.split_by) == (
        "film",
        "title",
        "user",
        "id",
    )
    for name in ("items", "users"):
        VectorSpace.load(folder / "out" / name).verify()
    train = pq.read_table(folder / "out" / "ratings_train.parquet")
    for row in (0, 5, 17):
        film, user = made.items.metadata(row), made.users.metadata(row)
        mine = [r["rating"] for r in train.to_pylist() if r["item"] == film["id"]]
        assert film["n_ratings"] == len(mine) >= 5
        assert film["mean_rating"] == pytest.approx(np.mean(mine), abs=0.006)
        assert film["rating_sd"] == pytest.approx(np.std(mine), abs=0.006)
        his = [r["rating"] for r in train.to_pylist() if r["user"] == user["id"]]
        assert user["n_ratings"] == len(his)
        assert user["title"] == f"user {user['id']}"
        assert set(user["liked_genres"]) <= {"Comedy", "Drama", "Western"}
    settings = json.loads((folder / "out" / "factors.json").read_text())
    assert settings["dim"] == 4
    assert settings["ratings_train"] == train.num_rows
    assert made.items.metadata(made.items.find("590"))["title"] == "590"  # without metadata: kept, named by its id


def test_the_same_seed_gives_the_same_folder(folder: Path) -> None:
    first, second, other = run(folder, "a"), run(folder, "b"), run(folder, "c", config=WalsConfig(dim=4, seed=1))
    assert first.items.fingerprint == second.items.fingerprint != other.items.fingerprint
    assert first.users.fingerprint == second.users.fingerprint


def test_items_with_few_ratings_are_left_out(folder: Path) -> None:
    made = run(folder, min_ratings=13)
    assert min(made.items.column("n_ratings").to_pylist()) >= 13
    assert made.summary["items_dropped"] == 60 - len(made.items) > 0
    with pytest.raises(SpaceError, match=r"no item has 1000 training ratings .*--min-ratings"):
        run(folder, "none", min_ratings=1000)


def test_items_are_optional(folder: Path) -> None:
    made = run(folder, items=None, columns=None)
    assert made.items.split_by == "id"
    assert made.users.column_names == ["id", "title", "n_ratings", "mean_rating", "rating_sd", "split"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id_name": "imdb"}, "no column 'imdb'; it has movieId"),
        ({"holdout": 1.5}, "holdout must be"),
        ({"min_ratings": 0}, "min_ratings must be"),
        ({"columns": Columns(rename={"genres": "n_ratings"})}, "--rename n_ratings="),
        ({"items": "nope.csv"}, "nope.csv does not exist"),
        ({"rating_column": "stars"}, "no column 'stars'"),
    ],
)
def test_a_mistake_leaves_nothing_behind(folder: Path, change: dict, words: str) -> None:
    before = sorted(folder.iterdir())
    with pytest.raises(SpaceError, match=words):
        run(folder, **change)
    assert sorted(folder.iterdir()) == before


def test_an_existing_folder_is_kept_unless_told(folder: Path) -> None:
    first = run(folder)
    with pytest.raises(ValueError, match="exists already"):
        run(folder, config=WalsConfig(dim=3))
    assert VectorSpace.load(folder / "out" / "items").fingerprint == first.items.fingerprint
    assert run(folder, config=WalsConfig(dim=3), overwrite=True).items.dim == 3
