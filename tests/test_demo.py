"""The world's law, and the demo from end to end at its smallest."""

import json

import numpy as np
import pytest

from vectalk.cli.main import main
from vectalk.demo import islands
from vectalk.demo.world import RICHES, World, islands_suite
from vectalk.tasks import FactsTeacher


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
    monkeypatch.setattr(islands, "QUICK", islands.Size(islands=240, base_steps=30, stage1=10, stage2=20, test=6))
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
