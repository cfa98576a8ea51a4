"""Files: whole or not at all, and never somebody else's."""

import json

import pytest

from vectalk.cli.common import emit
from vectalk.errors import VectalkError
from vectalk.files import atomic_file, atomic_folder, read_json


def test_a_file_appears_whole_or_not_at_all(tmp_path) -> None:
    place = tmp_path / "a.txt"
    place.write_text("old")

    def fail() -> None:
        with atomic_file(place) as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert place.read_text() == "old"
    assert list(tmp_path.iterdir()) == [place]


def test_a_folder_appears_whole_or_not_at_all(tmp_path) -> None:

    def stop() -> None:
        with atomic_folder(tmp_path / "space", "space.json") as part:
            (part / "space.json").write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_only_what_was_made_here_is_replaced(tmp_path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(VectalkError, match="nothing of the kind"), atomic_folder(mine, "space.json", overwrite=True):
        pass
    assert (mine / "thesis.txt").read_text() == "years of work"
    (mine / "space.json").write_text("{}")
    with pytest.raises(VectalkError, match=r"no corpus\.json"), atomic_folder(mine, "corpus.json", overwrite=True):
        pass
    with atomic_folder(mine, "space.json", overwrite=True) as part:
        (part / "space.json").write_text("[]")
    assert [p.name for p in mine.iterdir()] == ["space.json"]


def test_json_that_is_no_text_is_named(tmp_path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(VectalkError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_answers_are_printed_as_they_are(capsys) -> None:
    emit({}, "a film [drama] of the 1990s", as_json=False)
    assert capsys.readouterr().out == "a film [drama] of the 1990s\n"
    emit({"text": "[b]"}, "", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"text": "[b]"}
