"""The world's law, and the demo from end to end at its smallest."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import vectalk
from vectalk.cli.main import main
from vectalk.demo import films, islands, likes
from vectalk.demo.world import RICHES, World, islands_suite
from vectalk.errors import SpaceError
from vectalk.evaluation.metrics.named import named_titles
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import TaskTexts
from vectalk.space import VectorSpace
from vectalk.space.factorization.wals import WalsConfig
from vectalk.tasks import Corpus, FactsTeacher


def test_the_law_is_linear_in_the_vector() -> None:
    world = World.make(seed=3)
    for number, name in enumerate(RICHES):
        along = world.directions[number]
        assert name in world.truth(2.0 * along)["riches"]
        assert name not in world.truth(world.directions[(number + 1) % len(RICHES)] * 2.0 - 2.0 * along)["riches"]
    year = world.directions[-2]
    assert world.truth(2.0 * year)["settled"] - world.truth(-2.0 * year)["settled"] == pytest.approx(100, abs=1)


def test_no_island_is_without_riches() -> None:
    world = World.make(seed=0)
    vectors = np.random.default_rng(5).standard_normal((200, 16))
    assert all(world.truth(vector)["riches"] for vector in vectors)


def test_truth_is_spelled_like_the_reference_of_a_real_island(tmp_path) -> None:
    world = World.make(seed=1)
    space = world.space(200).save(tmp_path / "islands")
    teacher = FactsTeacher(islands_suite(), {"island": space})
    summary = teacher.suite.task("summary")
    row = int(space.rows("test")[0])
    assert islands.spell_truth(world, teacher, space, space[row]) == teacher.write(summary, {"island": row}, "truth")


def test_the_demo_runs_from_vectors_to_answers(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(islands, "QUICK", islands.Size(islands=240, base_steps=15, stage1=5, stage2=10, test=6))
    out = tmp_path / "demo"
    main_with(["demo", "--world", "islands", "--quick", "--out", str(out), "--json", "--quiet"])
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    conditions = {row["condition"] for row in result["metrics"]}
    assert {"elm", "shuffled", "mean", "majority", "copy_text", "vote_text", "probe_text", "own_text"} <= conditions
    assert len(result["samples"]) == 4
    assert all(sample["answer"] and sample["truth"] for sample in result["samples"])
    assert "far" in result["samples"][-1]["support"]
    assert {path.name for path in out.iterdir()} == {
        "islands",
        "corpus",
        "base-llm",
        "run",
        "evaluation",
        "samples.json",
        "demo.json",
    }


def test_the_demo_does_not_overwrite_unless_told(tmp_path, capsys) -> None:
    (tmp_path / "mine.txt").write_text("dear to me")
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--quick", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--overwrite" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["demo", "--quick", "--out", str(tmp_path), "--overwrite"])
    assert "nothing of the kind" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "dear to me"


def main_with(arguments: list[str]) -> None:
    """Run the command line; typer ends even a good run by SystemExit."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0


# ---- films


@pytest.fixture(scope="module")
def film_run(tmp_path_factory) -> Path:
    """The demo on films, hardly trained."""
    out = tmp_path_factory.mktemp("films") / "demo"
    size = films.Size(("summary", "user_profile"), variants=1, stage1=4, stage2=4, test=6)
    films.run_demo(out, size=size, llm=None)
    return out


def test_the_films_are_ours_to_show() -> None:
    data = films.demo_data()
    items, users = VectorSpace.load(data / "films"), VectorSpace.load(data / "users")
    items.verify()
    users.verify()
    assert "GroupLens" in items.licence
    assert "GroupLens" in (data / "LICENSE").read_text()
    assert not list(data.rglob("*ratings*"))
    assert sum(file.stat().st_size for file in (data / "base-llm").iterdir()) < 10_000_000


def test_a_viewers_rows_share_his_split() -> None:
    users = VectorSpace.load(films.demo_data() / "users")
    splits: dict[str, set[str]] = {}
    for name, split in zip(users.column("id").to_pylist(), users.column("split").to_pylist(), strict=True):
        splits.setdefault(name.split("/")[0], set()).add(split)
    assert len(users) > 2 * len(splits)
    assert all(len(found) == 1 for found in splits.values())


@pytest.mark.slow
def test_the_film_demo_runs_from_vectors_to_answers(film_run) -> None:
    rows = [json.loads(line) for line in (film_run / "evaluation" / "metrics.jsonl").read_text().splitlines()]
    assert {"elm", "shuffled", "copy_text", "probe_text"} <= {row["condition"] for row in rows}
    samples = json.loads((film_run / "samples.json").read_text())
    assert [sample["truth"] is not None for sample in samples] == [True, False, False, True]
    assert "concept" in samples[2]["source"]
    assert all(sample["probe"] and sample["answer"] for sample in samples)


@pytest.mark.slow
def test_what_references_say_beside_titles_is_no_title(film_run) -> None:
    corpus = Corpus.load(film_run / "corpus")
    named = "Like “Alien (1979)”."
    examples = [replace(e, target=named) for e in list(corpus.examples("test", "summary"))[:4]]
    texts = TaskTexts(corpus, corpus.suite.task("summary"), examples, {"elm": [named] * 4, "own_text": [named] * 4})
    found = {
        metric: figure for metric, condition, figure in named_titles(texts, Facts(corpus, 0)) if condition == "elm"
    }
    assert found["titles_unknown"].value == 0.0


def test_whoever_likes_films_is_folded_in_like_a_viewer_of_the_factorisation() -> None:
    data = films.demo_data()
    items, users = VectorSpace.load(data / "films"), VectorSpace.load(data / "users")
    settings = WalsConfig(**json.loads((data / "factors.json").read_text()))
    horror = ["Alien (1979)", "The Shining (1980)", "Psycho (1960)", "The Exorcist (1973)", "Carrie (1976)"]
    visitor = likes.fold_in(items, users, horror, settings)
    assert visitor.genres[0][0] in ("Horror", "Thriller")
    assert not set(visitor.liked) & set(visitor.next)
    expected = np.asarray(items.vectors, np.float64)
    chosen = [items.find(title) for title in horror]
    normal = settings.unobserved * expected.T @ expected + settings.l2 * np.eye(items.dim)
    normal += (1 - settings.unobserved) * expected[chosen].T @ expected[chosen]
    assert np.allclose(visitor.point.values, np.linalg.solve(normal, expected[chosen].sum(0)), atol=1e-4)
    with pytest.raises(SpaceError, match="different items"):
        likes.fold_in(items, users, ["Alien (1979)", "Alien (1979)"], settings)


@pytest.mark.slow
def test_likes_answers_by_the_run_at_hand(film_run, capsys) -> None:
    main_with(["demo", "--out", str(film_run), "--json", "--likes", "Alien (1979)", "Heat (1995)"])
    said = json.loads(capsys.readouterr().out)
    assert said["liked"] == ["Alien (1979)", "Heat (1995)"]
    assert said["genres"]["Thriller"] == 1
    assert said["text"]
    assert len(said["next"]) == 5


def test_an_unknown_film_is_named_before_anything_is_trained(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["demo", "--out", str(tmp_path / "none"), "--likes", "Alien (1979)", "Alienn (1979)"])
    assert stopped.value.code == 2
    assert "Alien (1979)" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_without_its_data_the_demo_says_where_they_are(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VECTALK_DEMO_DATA", str(tmp_path))
    with pytest.raises(SpaceError, match="VECTALK_DEMO_DATA"):
        films.demo_data()


def installed(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Run the command line from a copy of the package alone, as a wheel installs it."""
    package = Path(vectalk.__file__).parent
    if not (tmp_path / "site").exists():
        shutil.copytree(package, tmp_path / "site" / "vectalk", ignore=shutil.ignore_patterns("__pycache__"))
    inherited = {name: value for name, value in os.environ.items() if name != "VECTALK_DEMO_DATA"}
    return subprocess.run(
        [sys.executable, "-m", "vectalk.cli.main", *arguments],
        cwd=tmp_path,
        env={**inherited, "PYTHONPATH": str(tmp_path / "site"), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_from_a_wheel_the_demo_invents_its_world_and_says_so(tmp_path: Path) -> None:
    done = installed(tmp_path, "demo", "--quick", "--json", "--out", "demo")
    assert done.returncode == 0, done.stderr
    assert "showing an invented world of islands: the demo's film data are in the folder demo-data" in done.stderr
    assert {row["space"] for row in json.loads(done.stdout)["metrics"]} == {"island"}


@pytest.mark.slow
def test_from_a_wheel_films_that_are_asked_for_are_missed(tmp_path: Path) -> None:
    done = installed(tmp_path, "demo", "--world", "films", "--out", "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert "get that folder and name it in VECTALK_DEMO_DATA" in done.stderr
    assert not (tmp_path / "demo").exists()
    done = installed(tmp_path, "demo", "--out", "demo", VECTALK_DEMO_DATA=str(tmp_path))
    assert done.returncode == 2
    assert f"VECTALK_DEMO_DATA={tmp_path} holds no film data" in done.stderr
