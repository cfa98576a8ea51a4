"""Bulk narration: every row once, in whole parts, whatever was killed in between."""

import json
import multiprocessing
import os
import random
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vectalk as vt
from vectalk.errors import EngineError, PromptError
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM, Decoding
from vectalk.talk.narrate import Job, job, narrate, narration
from worlds import call

SHORT = Decoding(max_new_tokens=8)


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


@pytest.fixture(scope="module")
def whole(elm: ELM, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """An uninterrupted narration of all islands."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    narrate(small(elm, folder))
    return pa.concat_tables(narration(folder))


def small(elm: ELM, folder: Path, **options) -> Job:
    return job(elm, "island", folder, **{"task": "summary", "rows": 48, "decoding": SHORT, **options})


def test_every_row_has_the_text_that_asking_gives(elm: ELM, whole: pa.Table) -> None:
    space, rows = elm.spaces["island"], whole.to_pylist()
    assert [row["row"] for row in rows] == list(range(len(space)))
    assert [row["title"] for row in rows] == [space.title(n) for n in range(len(space))]
    question = elm.suite.tasks[0].prompts[0]
    assert elm.suite.tasks[0].name == "summary"
    for n in (0, 47, 48, len(space) - 1):
        answer = elm.ask(question, {"island": space[n]}, max_new_tokens=8)
        assert (rows[n]["text"], rows[n]["finished"]) == (answer.text, answer.finished)


def test_shards_make_the_whole(elm: ELM, whole: pa.Table, tmp_path: Path) -> None:
    work = small(elm, tmp_path / "out")
    for shard in (2, 3):
        narrate(work, shard=(shard, 3))
    with pytest.raises(EngineError, match=r"lacks 3 of 9 parts \(part-00000.parquet"):
        list(narration(work.folder))
    report = narrate(work, shard=(1, 3))
    assert (report["parts"], report["rows"], report["skipped"]) == (3, 144, 0)
    assert pa.concat_tables(narration(work.folder)).equals(whole)


def test_what_is_written_is_not_made_again(elm: ELM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, calls = small(elm, tmp_path / "out", rows=150), []
    narrate(work)
    work.path(1).unlink()
    generate = elm.engine.generate
    monkeypatch.setattr(elm.engine, "generate", lambda *given: calls.append(len(given[0])) or generate(*given))
    seen: list[tuple[int, int]] = []
    report = narrate(work, progress=lambda done, total: seen.append((done, total)))
    assert calls == [150]
    assert (report["parts"], report["skipped"]) == (1, 2)
    assert seen[0] == (150, 400)
    assert seen[-1] == (400, 400)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_points_it_is_complete_in_the_end(elm: ELM, whole: pa.Table, tmp_path: Path) -> None:
    work, chance = small(elm, tmp_path / "out", rows=16), random.Random(0)
    elm.engine.batch_size, before = 4, elm.engine.batch_size
    for n in range(10):
        where, after = ("generating", "writing", "renaming")[n % 3], chance.randrange(1, 48)
        child = multiprocessing.get_context("fork").Process(target=die, args=(work, where, after))
        child.start()
        child.join(120)
        assert child.exitcode == -signal.SIGKILL
    elm.engine.batch_size = before
    there = sum(work.path(part).is_file() for part in range(work.parts))
    assert 0 < there < work.parts
    assert narrate(work)["skipped"] == there
    assert pa.concat_tables(narration(work.folder)).equals(whole)
    assert sorted(path.name for path in work.folder.iterdir() if not path.name.startswith("part-")) == ["manifest.json"]


def die(work: Job, where: str, after: int) -> None:
    """Narrate until so many rows were made by this process, then be killed without warning: in the midst of a part, of
    writing its file, or when it is about to get its name."""
    made = 0

    def generate(questions, slots, decoding, progress):
        begun = made

        def tell(done: int, total: int) -> None:
            nonlocal made
            made = begun + done
            if where == "generating" and made >= after:
                os.kill(os.getpid(), signal.SIGKILL)

        return engine_generate(questions, slots, decoding, tell)

    def write_table(table: pa.Table, path: Path) -> None:
        whole_table(table, path)
        if where == "writing" and made >= after:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    def replace(old: Path, new: Path) -> None:
        if where == "renaming" and made >= after and "part-" in str(new):
            os.kill(os.getpid(), signal.SIGKILL)
        renamed(old, new)

    # All in this process alone, which does not live on.
    engine_generate, whole_table, renamed = work.elm.engine.generate, pq.write_table, os.replace
    work.elm.engine.generate, pq.write_table, os.replace = generate, write_table, replace
    narrate(work)


def test_a_folder_of_something_else_is_left_alone(elm: ELM, tmp_path: Path) -> None:
    narrate(small(elm, tmp_path / "out", rows=200))
    for options, what in (
        ({"decoding": Decoding(max_new_tokens=9)}, "decoding"),
        ({"rows": 100}, "parts, rows_per_part"),
        ({"task": None, "question": "Who should visit {island}?"}, "question, decoding"),
    ):
        with pytest.raises(EngineError, match=f"something else: its {what} differ"):
            narrate(small(elm, tmp_path / "out", **{"rows": 200, **options}))


def test_samples_do_not_repeat_from_part_to_part(elm: ELM, tmp_path: Path) -> None:
    warm = Decoding(max_new_tokens=8, temperature=1.5, seed=4)
    same = np.repeat(elm.spaces["island"].vectors[:1], 60, axis=0)
    space = VectorSpace.create("again", same, {"id": [str(n) for n in range(60)]}).save(tmp_path / "again")
    texts = []
    for rows, folder in ((20, "a"), (20, "b")):
        work = job(elm, space.path, tmp_path / folder, task="summary", name="island", rows=rows, decoding=warm)
        narrate(work)
        texts.append([row["text"] for table in narration(work.folder) for row in table.to_pylist()])
    assert texts[0] == texts[1]
    assert texts[0][:20] != texts[0][20:40]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "sing"}, "the run has no task 'sing'; it has summary"),
        ({"task": None}, "a task or a question"),
        ({"task": None, "question": "What do {a} and {b} share?"}, r"one vector at a time; .*\['a', 'b'\]"),
        ({"name": "film"}, "the run has no space 'film'; it has island"),
    ],
)
def test_what_does_not_fit_is_refused(elm: ELM, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        small(elm, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_vectors_of_another_space_must_be_named(elm: ELM, tmp_path: Path) -> None:
    table = {"id": [str(n) for n in range(50)]}
    other = VectorSpace.create("rocks", np.random.default_rng(0).standard_normal((50, 16)), table)
    saved = other.save(tmp_path / "rocks")
    with pytest.raises(PromptError, match=r"none of the spaces that the run was trained on \(island\).*--as NAME"):
        job(elm, saved.path, tmp_path / "out", task="summary")
    assert narrate(job(elm, saved.path, tmp_path / "out", task="summary", name="island", decoding=SHORT))["rows"] == 50


def test_the_command_line(elm: ELM, whole: pa.Table, tmp_path: Path, capsys) -> None:
    command = ["narrate", str(elm.run.path), "island", "--task", "summary", "--out", str(tmp_path / "out")]
    command += ["--rows-per-part", "100", "--max-new-tokens", "8", "--device", "cpu", "--json"]
    for shard in ("1/2", "2/2"):
        code, out, _ = call([*command, "--shard", shard], capsys)
        assert code == 0
        assert json.loads(out)["rows"] == 200
    assert pa.concat_tables(narration(tmp_path / "out")).select(["text"]).equals(whole.select(["text"]))
    for shard, message in (("0/2", "shard 0/2 does not exist"), ("x", "--shard must be K/N")):
        code, _, err = call([*command, "--shard", shard], capsys)
        assert code == 2
        assert message in err
