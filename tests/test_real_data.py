"""Real files, where they are: VECTALK_DATA, or `../shared/data` beside the checkout; skipped, visibly, elsewhere."""

import json
import os
from pathlib import Path

import pytest

from vectalk.cli.main import main
from vectalk.space import VectorSpace

DATA = Path(os.environ.get("VECTALK_DATA") or Path(__file__).parents[2] / "shared" / "data")
FACTS = ["--list-column", "genres:|", "--null", "(no genres listed)", "--extract", r"year=title:\((\d{4})\)\s*$"]
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not (DATA / "movielens-latest-small").is_dir(), reason=f"no MovieLens at {DATA}"),
]


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*words])
    assert stopped.value.code == 0


def test_foreign_vectors_are_imported_with_titles_years_and_genres(tmp_path, capsys) -> None:
    foreign, films = DATA / "movielens-25m-item-vectors", DATA / "movielens-latest-small"
    run(
        *("space", "import", str(foreign / "vectors.npy"), "--ids", str(foreign / "ids.csv")),
        *("--metadata", str(films / "movies.csv"), "--name", "film", "--missing", "drop", "--split-by", "title"),
        *FACTS,
        *("--out", str(tmp_path / "film"), "--json", "--quiet"),
    )
    space = VectorSpace.load(tmp_path / "film")
    assert (len(space), space.dim) == (5407, 50)
    row = space.find("Toy Story (1995)")
    assert space.metadata(row)["year"] == 1995
    assert space.metadata(row)["genres"] == ["Adventure", "Animation", "Children", "Comedy", "Fantasy"]
    assert "Toy Story 2 (1999)" in [space.title(int(r)) for r in space.neighbors(space[row], 5)[0]]
    capsys.readouterr()


def test_a_film_has_one_split_in_both_spaces(tmp_path, capsys) -> None:
    foreign, films = DATA / "movielens-25m-item-vectors", DATA / "movielens-latest-small"
    run(
        *("space", "factorize", str(films / "ratings.csv"), "--items", str(films / "movies.csv"), *FACTS),
        *("--item-name", "film", "--user-name", "user", "--dim", "16", "--out", str(tmp_path / "own"), "--json"),
    )
    run(
        *("space", "import", str(foreign / "vectors.npy"), "--ids", str(foreign / "ids.csv")),
        *("--metadata", str(films / "movies.csv"), "--name", "film", "--missing", "drop", "--split-by", "title"),
        *FACTS,
        *("--out", str(tmp_path / "film"), "--json", "--quiet"),
    )
    capsys.readouterr()
    own, others = VectorSpace.load(tmp_path / "own" / "items"), VectorSpace.load(tmp_path / "film")
    splits = dict(zip(others.column("id").to_pylist(), others.column("split").to_pylist(), strict=True))
    both = [
        (i, s)
        for i, s in zip(own.column("id").to_pylist(), own.column("split").to_pylist(), strict=True)
        if i in splits
    ]
    assert len(both) > 2000
    assert all(splits[i] == s for i, s in both)
    assert json.loads((tmp_path / "own" / "factors.json").read_text())
