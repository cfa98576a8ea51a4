"""Replacing a folder: whatever stops the process, what was there or what takes its place is whole."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vectalk.concepts import shelf
from vectalk.demo import islands
from vectalk.errors import EvaluationError, VectalkError
from vectalk.evaluation.settings import PARTIAL, STARTED, claim
from vectalk.files import atomic_folder, new_folder, put_back
from vectalk.space import VectorSpace
from worlds import make_films

# Replaces a folder, and dies of itself at the n-th rename or removal, as by a kill.
KILLED = """
import os, shutil, sys
from pathlib import Path
from vectalk.files import atomic_folder, new_folder

folder, way, last, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), 0

def counted(work):
    def call(*given, **named):
        global calls
        calls += 1
        if calls == last:
            os._exit(9)
        return work(*given, **named)
    return call

os.replace, shutil.rmtree = counted(os.replace), counted(shutil.rmtree)
if way == "atomic":
    with atomic_folder(folder, "kind.json", overwrite=True) as part:
        (part / "kind.json").write_text("new")
else:
    with new_folder(folder, "kind.json", overwrite=True) as part:
        (part / "kind.json").write_text("new")
"""


def write(folder: Path, text: str, way: Callable = atomic_folder, **options) -> None:
    with way(folder, "kind.json", **options) as part:
        (part / "kind.json").write_text(text)


def killed(folder: Path, way: str, last: int) -> int:
    arguments = [sys.executable, "-c", KILLED, str(folder), way, str(last)]
    return subprocess.run(arguments, env={**os.environ}, check=False).returncode


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    codes = []
    for last in range(1, 9):
        folder = tmp_path / str(last) / "folder"
        write(folder, "old")
        codes.append(killed(folder, "atomic", last))
        put_back(folder)  # as the next reader does
        assert (folder / "kind.json").read_text() in ("old", "new"), last
        write(folder, "newer", overwrite=True)
        assert (folder / "kind.json").read_text() == "newer"
        left = [name for name in names(folder.parent) if not name.endswith(".tmp")]
        assert left == ["folder"], "what was left aside is cleaned up"
    assert codes[:3] == [9, 9, 9]
    assert codes[-1] == 0, "every moment was tried"


def test_a_kill_while_new_work_grows_keeps_the_old(tmp_path: Path) -> None:
    codes = []
    for last in range(1, 6):
        folder = tmp_path / str(last) / "folder"
        write(folder, "old")
        codes.append(killed(folder, "new", last))
        there = {(path / "kind.json").read_text() for path in folder.parent.iterdir()}
        assert codes[-1] == 0 or "old" in there, last
        write(folder, "newer", new_folder, overwrite=True)
        assert (folder / "kind.json").read_text() == "newer"
        assert names(folder.parent) == ["folder"]
    assert codes[0] == 9
    assert codes[-1] == 0


def test_a_rename_that_fails_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "folder", "old")
    replace = os.replace

    def fail(source, target) -> None:
        if str(source).endswith(".tmp"):
            raise OSError("no space left on the device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write(tmp_path / "folder", "new", overwrite=True)
    assert (tmp_path / "folder" / "kind.json").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_a_removal_that_fails_costs_nothing_and_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "folder", "old")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *given, **named: None)
        write(tmp_path / "folder", "new", overwrite=True)
    assert (tmp_path / "folder" / "kind.json").read_text() == "new"
    assert len(names(tmp_path)) == 2
    write(tmp_path / "folder", "newer", overwrite=True)
    assert names(tmp_path) == ["folder"]


def test_what_a_link_stands_for_is_replaced(tmp_path: Path) -> None:
    write(tmp_path / "far" / "folder", "old")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    write(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "folder" / "kind.json").read_text() == "new"
    assert names(tmp_path / "far") == ["folder"]


def test_work_that_fails_brings_the_old_folder_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder, "old", new_folder)

    def stop() -> None:
        with new_folder(folder, "kind.json", overwrite=True) as place:
            (place / "kind.json").write_text("half")
            assert (tmp_path / ".folder.old" / "kind.json").read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert (folder / "kind.json").read_text() == "old"
    assert names(tmp_path) == ["folder"]
    write(folder, "new", new_folder, overwrite=True)
    assert (folder / "kind.json").read_text() == "new"
    assert names(tmp_path) == ["folder"]


def test_unfinished_work_says_where_the_old_folder_is(tmp_path: Path) -> None:
    write(tmp_path / "folder", "half")
    write(tmp_path / ".folder.old", "old")
    with pytest.raises(VectalkError, match=r"unfinished work .* is kept in .*\.folder\.old"):
        write(tmp_path / "folder", "new", new_folder)
    assert (tmp_path / ".folder.old" / "kind.json").read_text() == "old"


def test_a_demo_that_fails_leaves_the_one_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "demo", "old")
    (tmp_path / "demo" / "kind.json").rename(tmp_path / "demo" / "demo.json")

    def fail(*given, **named) -> None:
        raise VectalkError("the disk is full")

    monkeypatch.setattr(islands, "build_corpus", fail)
    with pytest.raises(VectalkError, match="disk is full"):
        islands.run_demo(tmp_path / "demo", size=islands.QUICK, overwrite=True)
    assert (tmp_path / "demo" / "demo.json").read_text() == "old"


def test_readers_find_what_waits_aside(tmp_path: Path) -> None:
    space = make_films().save(tmp_path / "films")
    from vectalk.concepts import Concept

    shelf.keep(Concept.fit(space, space.where("genres", "Comedy"), name="comedy", random_concepts=2, bootstraps=2))
    os.replace(space.path / "concepts" / "comedy", space.path / "concepts" / ".comedy.old")
    assert shelf.names(space) == ["comedy"]
    os.replace(tmp_path / "films", tmp_path / ".films.old")
    assert len(VectorSpace.load(tmp_path / "films")) == len(space)
    assert names(tmp_path) == ["films"]


def test_an_evaluation_stays_until_another_is_whole(tmp_path: Path) -> None:
    for name in ("metrics.jsonl", "answers.jsonl", "report.html", PARTIAL):
        (tmp_path / name).write_text("old")
    (tmp_path / ".metrics.123.tmp.jsonl").write_text("half")  # by a process that was killed
    with pytest.raises(EvaluationError, match="holds an evaluation"):
        claim(tmp_path, {"run": "b"}, False)
    claim(tmp_path, {"run": "b"}, True)
    assert (tmp_path / "metrics.jsonl").read_text() == "old"
    assert not (tmp_path / PARTIAL).exists()
    claim(tmp_path, {"run": "b"}, False)  # goes on
    with pytest.raises(EvaluationError, match="interrupted evaluation of another run"):
        claim(tmp_path, {"run": "c"}, False)
    assert (tmp_path / STARTED).is_file()
