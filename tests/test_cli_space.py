"""`vectalk space`: the exact commands, their output, and one line with exit code 2 when they cannot."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from vectalk.cli.main import main
from vectalk.cli.space import app as space_verbs
from vectalk.space import VectorSpace

YEAR = r"year=title:\((\d{4})\)\s*$"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", rng.standard_normal((50, 4)).astype(np.float32))
    (tmp_path / "ids.csv").write_text("movieId\n" + "".join(f"{n}\n" for n in range(50)))
    films = "".join(f'{n},"Film [b{n}], The ({1960 + n})",Comedy|Drama\n' for n in range(45))
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n" + films)
    user, item = np.nonzero(rng.random((30, 50)) < 0.5)
    ratings = "".join(f"{u + 1},{i},{rng.integers(1, 6)}\n" for u, i in zip(user, item, strict=True))
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n" + ratings)
    return tmp_path


def space_import(folder: Path, *more: str) -> list[str]:
    command = ["space", "import", f"{folder}/vectors.npy", "--ids", f"{folder}/ids.csv", "--name", "film"]
    metadata = ["--metadata", f"{folder}/movies.csv", "--list-column", "genres:|", "--extract", YEAR]
    return [*command, *metadata, "--out", f"{folder}/films", *more]


def call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    output = capsys.readouterr()
    return int(exit_.value.code or 0), output.out, output.err


@pytest.fixture
def films(folder: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert call(space_import(folder, "--missing", "drop", "-q"), capsys)[0] == 0
    return folder / "films"


def test_import(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(space_import(folder, "--missing", "drop", "--json", "--licence", "mine"), capsys)
    assert code == 0
    card = json.loads(out)
    assert (card["name"], card["entities"], card["dim"], card["licence"]) == ("film", 45, 4, "mine")
    assert card["split_by"] == "title"
    told = err.splitlines()
    assert told[0] == "5 of 50 vectors have no metadata: dropped"
    assert told[1].startswith("taken: ids from ")
    assert "titles from 'title' of " in told[1]
    assert told[2].startswith("note: 4 validation and 3 test entities")
    space = VectorSpace.load(folder / "films")
    assert space.fingerprint == card["fingerprint"]
    assert space.metadata(3)["genres"] == ["Comedy", "Drama"]
    assert space.metadata(3)["year"] == 1963


def test_import_options(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--missing", "keep", "--metric", "euclidean", "--split-by", "id", "--dtype", "float16", "--quiet"]
    code, out, err = call(space_import(folder, *options, "--rename", "genres=genres", "--null", "x"), capsys)
    assert (code, err) == (0, "")
    assert "film: 50 entities, 4 dimensions, float16, euclidean" in out
    assert VectorSpace.load(folder / "films").metric == "euclidean"


def test_a_dry_run_shows_what_would_be_taken_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.rglob("*"))
    source = ["space", "import", f"{folder}/vectors.npy", "--ids", f"{folder}/ids.csv", "--dry-run"]
    metadata = ["--metadata", f"{folder}/movies.csv", "--list-column", "genres:|", "--extract", YEAR]
    code, out, err = call([*source, *metadata, "--missing", "drop", "--json"], capsys)
    assert code == 0
    shown = json.loads(out)
    assert (shown["entities"], shown["dim"]) == (45, 4)
    assert shown["ids"] == f"{folder}/ids.csv"
    assert shown["titles"] == f"'title' of {folder}/movies.csv"
    assert shown["vectors"] == f"{folder}/vectors.npy"
    vectors = np.load(folder / "vectors.npy")
    assert [row["id"] for row in shown["rows"]] == ["0", "1", "2", "3", "4"]
    assert shown["rows"][3]["title"] == "Film [b3], The (1963)"
    assert shown["rows"][3]["vector"] == 4
    np.testing.assert_allclose(shown["rows"][3]["values"], vectors[3], atol=1e-4)
    kinds = {name: column["kind"] for name, column in shown["columns"].items()}
    assert kinds == {"id": "text", "title": "text", "genres": "lists of text", "year": "whole numbers"}
    assert shown["columns"]["genres"] == {"kind": "lists of text", "known": 45, "example": ["Comedy", "Drama"]}
    assert shown["notes"] == err.splitlines()
    code, out, _ = call([*source, *metadata, "--missing", "drop"], capsys)
    assert code == 0
    for words in ("Film [b3], The (1963)", "4 numbers: ", "whole numbers", "45 of 45", "nothing was written"):
        assert words in out
    assert sorted(folder.rglob("*")) == before


def test_a_dry_run_of_vectors_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(["space", "import", f"{folder}/vectors.npy", "--dry-run"], capsys)
    assert code == 0
    assert "no titles (name a column with --rename COLUMN=title)" in err
    assert "50 entities with 4 dimensions" in out


def test_a_dry_run_has_the_errors_of_an_import(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for dry in (["--dry-run"], []):
        code, out, err = call(space_import(folder, *dry), capsys)
        assert (code, out) == (2, "")
        assert "5 of 50 vectors have no metadata" in err
    code, out, err = call(["space", "import", f"{folder}/vectors.npy"], capsys)
    assert (code, out) == (2, "")
    assert "give --out (the folder to write) and --name (the name of the space" in " ".join(
        err.replace("│", " ").split()
    )


def test_how_a_table_of_text_is_laid_out_may_be_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = "".join(f"{n}::Фильм {n} ({1960 + n})::Comedy|Drama\n" for n in range(50))
    (folder / "movies.dat").write_bytes(films.encode("cp1251"))
    command = ["space", "import", f"{folder}/vectors.npy", "--ids", f"{folder}/ids.csv", "--name", "film", "--dry-run"]
    command += ["--metadata", f"{folder}/movies.dat", "--list-column", "genres:|", "--json"]
    code, _, err = call(command, capsys)
    assert code == 2
    assert "--encoding" in err
    layout = ["--separator", "::", "--encoding", "cp1251", "--column-names", "id, title, genres"]
    code, out, _ = call([*command, *layout], capsys)
    assert code == 0
    assert [row["title"] for row in json.loads(out)["rows"]] == [f"Фильм {n} ({1960 + n})" for n in range(5)]
    (folder / "movies.dat").write_text(films.replace("::", "\t"))
    code, out, _ = call([*command, "--separator", "tab", "--column-names", "id,title,genres"], capsys)
    assert code == 0
    assert json.loads(out)["columns"]["genres"]["example"] == ["Comedy", "Drama"]


def test_the_guide_s_commands_have_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "own-data.md").read_text(encoding="utf-8")
    table = guide[guide.index("| you have | the command |") :].partition("\n\n")[0]
    assert table.count("\n") > 20
    known = {option for parameter in import_command().params for option in parameter.opts}
    for line in table.splitlines():
        if "space factorize" not in line:
            assert set(re.findall(r"(?<!\w)--[a-z-]+\b", line)) <= known, line


def import_command() -> Any:
    group: Any = typer.main.get_command(space_verbs)
    return group.commands["import"]


def test_factorize(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["space", "factorize", f"{folder}/ratings.csv", "--items", f"{folder}/movies.csv", "--dim", "4"]
    options = ["--list-column", "genres:|", "--extract", YEAR, "--item-name", "film", "--iterations", "3"]
    code, out, _ = call([*command, *options, "--out", f"{folder}/ml", "--json", "--seed", "5"], capsys)
    assert code == 0
    summary = json.loads(out)
    assert (summary["seed"], summary["dim"], summary["users"]) == (5, 4, 30)
    assert VectorSpace.load(folder / "ml" / "items").name == "film"
    code, out, _ = call([*command, *options, "--out", f"{folder}/ml", "--overwrite", "--holdout-ratings", "0"], capsys)
    assert code == 0
    assert "0 held out" in out
    code, out, _ = call(["space", "point", f"{folder}/ml/users", "user 7"], capsys)
    assert code == 0
    assert "liked_genres" in out


def test_info_and_verify(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["space", "info", str(films)], capsys)
    assert code == 0
    assert "45 entities" in out
    assert "genres (list<" in out
    assert json.loads(call(["space", "verify", str(films), "--json"], capsys)[1])["ok"] is True
    vectors = np.load(films / "vectors.npy")
    vectors[0] += 1
    np.save(films / "vectors.npy", vectors)
    code, out, err = call(["space", "verify", str(films)], capsys)
    assert (code, out) == (2, "")
    assert "changed since it was made" in err


def test_neighbors(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = VectorSpace.load(films)
    code, out, _ = call(["space", "neighbors", str(films), "7", "-k", "3", "--json"], capsys)
    assert code == 0
    rows, _ = space.neighbors(space["7"], 3)
    assert [entry["id"] for entry in json.loads(out)["neighbors"]] == [space.column("id")[int(r)].as_py() for r in rows]
    expression = "lerp('7', 'Film [b8], The (1968)', 0.5)"
    code, out, _ = call(["space", "neighbors", str(films), expression, "-k", "45"], capsys)
    assert code == 0
    assert "Film [b9], The (1969)" in out  # brackets are text, not markup
    code, out, _ = call(["space", "neighbors", str(films), "7", "--split", "test", "--json"], capsys)
    found = [entry["id"] for entry in json.loads(out)["neighbors"]]
    assert found
    assert {space.find(name) for name in found} <= set(space.rows("test").tolist())


@pytest.mark.parametrize("verb", ["neighbors", "point"])
def test_a_note_says_which_title_was_taken(films: Path, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "the film b8 (1968)"
    taken = f"{asked!r} is taken as another spelling of 'Film [b8], The (1968)'"
    code, out, err = call(["space", verb, str(films), f"lerp('{asked}', '7', 0.5)", "--json"], capsys)
    assert (code, err) == (0, f"note: {taken}\n")
    assert json.loads(out)["notes"] == [taken]
    assert call(["space", verb, str(films), "Film [b8], The (1968)"], capsys)[2] == ""


def test_point(films: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(["space", "point", str(films), "mean('7', '8')", "--json"], capsys)
    assert code == 0
    point = json.loads(out)
    space = VectorSpace.load(films)
    np.testing.assert_allclose(point["values"], (space["7"].values + space["8"].values) / 2, rtol=1e-5)
    assert point["row"] is None
    assert point["support"]["sources"] == ["Film [b7], The (1967)", "Film [b8], The (1968)"]
    code, out, _ = call(["space", "point", str(films), "7"], capsys)
    assert code == 0
    assert "support:" in out
    assert "year: 1967" in out


def test_a_long_text_is_cut_for_people_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(["word"] * 1000)
    (folder / "movies.csv").write_text("movieId,title,text\n" + "".join(f'{n},Film {n},"{long}"\n' for n in range(50)))
    command = ["space", "import", f"{folder}/vectors.npy", "--ids", f"{folder}/ids.csv", "--name", "film", "-q"]
    assert call([*command, "--metadata", f"{folder}/movies.csv", "--out", f"{folder}/long"], capsys)[0] == 0
    out = call(["space", "point", f"{folder}/long", "7"], capsys)[1]
    assert "... (4999 characters)" in " ".join(out.split())
    out = call(["space", "point", f"{folder}/long", "7", "--json"], capsys)[1]
    assert json.loads(out)["metadata"]["text"] == long


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], "nowhere is not a space"),
        (["neighbors", "{films}", "Film [b7]"], "did you mean 'Film [b7], The (1967)'"),
        (["neighbors", "{films}", "7", "--split", "dev"], "--split must be one of train"),
        (["point", "{films}", "lerp('7', '8')"], "wrong arguments"),
        (["point", "{films}", "random(-1)"], "whole number from 0 on"),
        (["point", "{films}", "random(1e999)"], "whole number from 0 on"),
        (["import", "{films}/nope.npy", "--name", "x", "--out", "{films}/../x"], "nope.npy does not exist"),
        (["factorize", "{films}/../movies.csv", "--out", "{films}/../x"], "has no user column"),
        (["factorize", "{films}/../ratings.csv", "--out", "{films}/../x", "--dim", "0"], "dim must be at least 1"),
        (["factorize", "{films}/../ratings.csv", "--out", "{films}"], "exists already"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    films: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(films.parent.rglob("*"))
    code, out, err = call(["space", *(argument.format(films=films) for argument in arguments)], capsys)
    assert (code, out) == (2, "")
    assert err.startswith("vectalk: error: ")
    assert err.count("\n") == 1
    assert words in err
    assert sorted(films.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["vectors.npy", "entities.parquet"])
def test_a_damaged_space_is_one_line(films: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (films / name).write_bytes((films / name).read_bytes()[:-50])
    code, out, err = call(["space", "info", str(films)], capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "films is not a whole space" in err


def test_every_verb_prints_json_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    films = str(folder / "films")
    ratings = ["factorize", f"{folder}/ratings.csv", "--out", f"{folder}/ml", "--dim", "4", "--iterations", "2"]
    commands = [
        space_import(folder, "--missing", "drop")[1:],
        [*ratings, "--seed", "3"],
        *(["info", films], ["verify", films], ["neighbors", films, "7"], ["point", films, "7"]),
    ]
    for command in commands:
        code, out, err = call(["space", *command, "--quiet", "--json"], capsys)
        assert (code, err) == (0, ""), command
        assert json.loads(out)
