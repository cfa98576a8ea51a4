"""Formats: each card says its format and who wrote it, and what a newer version wrote is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fuzz_worlds import READERS, corpus
from vectalk.errors import RunError, VectalkError
from vectalk.evaluation.judges import Sheet, write_sheet
from vectalk.evaluation.report import write_report
from vectalk.files import read_json, write_json
from vectalk.model.export import MARKER, ExportCard
from vectalk.model.run import Run
from vectalk.readback import ReadBack
from vectalk.reading.cards import read_card, refuse_newer, stamp
from vectalk.space import VectorSpace
from vectalk.talk.narrate import narration
from vectalk.tasks import Corpus
from vectalk.version import __version__
from worlds import call

# The card of each kind of folder, and what opens it.
CARDS: dict[str, tuple[str, str, Callable[[Path], object]]] = {
    "space": ("space", "space/space.json", lambda folder: VectorSpace.load(folder / "space")),
    "concept": ("concept", "space/concepts/comedy/concept.json", READERS["concept"].use),
    "corpus": ("corpus", "corpus/corpus.json", lambda folder: Corpus.load(folder / "corpus")),
    "run": ("run", "run/elm.json", lambda folder: Run.load(folder / "run")),
    "export": ("export", MARKER, ExportCard.read),
    "read-back": (
        "read-back",
        "readback/readback.json",
        lambda folder: ReadBack.load(folder / "readback", VectorSpace.load(folder / "space")),
    ),
    "report": ("evaluation", "config.json", write_report),
    "curves": ("evaluation", "curves.json", write_report),
    "sheet": ("evaluation", "config.json", lambda folder: write_sheet(folder, folder.with_name("a-sheet"))),
    "key": ("sheet", "sheet/key.json", lambda folder: Sheet.load(folder / "sheet")),
    "narration": ("narration", "manifest.json", lambda folder: list(narration(folder))),
}


@pytest.mark.parametrize("kind", CARDS)
def test_what_a_newer_version_wrote_is_refused(kind: str, tmp_path: Path) -> None:
    name, file, use = CARDS[kind]
    READERS[name].make(tmp_path / "folder")
    path = tmp_path / "folder" / file
    use(tmp_path / "folder")
    card = read_json(path)
    assert card["format"] == 1
    # A newer format may have other fields, and lack any that are known here.
    write_json(path, {"format": 99, "vectalk": "9.9", "else": 1})
    words = (
        rf"{re.escape(str(path))} has format 99, written by vectalk 9\.9; this is vectalk .* up to 1: update vectalk"
    )
    with pytest.raises(VectalkError, match=words):
        use(tmp_path / "folder")
    write_json(path, {**card, "format": True})
    with pytest.raises(VectalkError, match="format: True must be a whole number"):
        use(tmp_path / "folder")


@pytest.mark.parametrize("kind", ["space", "concept", "corpus", "read-back", "key"])
def test_a_card_says_who_wrote_it(kind: str, tmp_path: Path) -> None:
    name, file, _ = CARDS[kind]
    READERS[name].make(tmp_path)
    assert list(read_json(tmp_path / file).items())[:2] == [("format", 1), ("vectalk", __version__)]


def test_a_run_names_its_writer_among_its_versions(tmp_path: Path) -> None:
    write_json(tmp_path / "elm.json", {"format": 2, "versions": {"vectalk": "0.7.1"}})
    with pytest.raises(RunError, match=r"written by vectalk 0\.7\.1"):
        Run.load(tmp_path)
    write_json(tmp_path / "elm.json", {"format": 2})
    with pytest.raises(RunError, match="written by a newer vectalk"):
        Run.load(tmp_path)


def test_a_card_without_a_format_is_as_old_as_can_be(tmp_path: Path) -> None:
    corpus(tmp_path)
    path = tmp_path / "space" / "space.json"
    card = read_json(path)
    write_json(path, {key: value for key, value in card.items() if key not in ("format", "vectalk")})
    assert VectorSpace.load(tmp_path / "space").dim == 4
    refuse_newer({}, 1, path)
    refuse_newer([], 1, path)


def test_the_command_line_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    READERS["space"].make(tmp_path)
    write_json(tmp_path / "space" / "space.json", {**stamp(7), "vectalk": "8.0"})
    code, _, err = call(["space", "info", str(tmp_path / "space")], capsys)
    assert code == 2
    assert err.startswith("vectalk: error: ")
    assert err.endswith("reads formats up to 1: update vectalk\n")


def test_a_malformed_card_names_file_and_fields(tmp_path: Path) -> None:
    READERS["space"].make(tmp_path)
    path = tmp_path / "space" / "space.json"
    card = json.loads(path.read_text())
    write_json(path, {**card, "dim": "wide", "metric": "taxi"})
    with pytest.raises(VectalkError, match=r"space\.json is malformed: dim: .*; metric: Input should be 'cosine'"):
        VectorSpace.load(tmp_path / "space")
    card["normalizer"]["scale"][0] = 0.0
    write_json(path, card)
    with pytest.raises(VectalkError, match=r"normalizer\.scale\.0: Input should be greater than"):
        VectorSpace.load(tmp_path / "space")
    path.write_text("[" * 100_000)
    with pytest.raises(VectalkError, match=r"space\.json is not valid JSON"):
        read_card(path, 1, dict)


@pytest.mark.parametrize("dtype", [np.int64, np.complex64, object])
def test_vectors_that_are_no_floats_are_refused(dtype: type, tmp_path: Path) -> None:
    READERS["space"].make(tmp_path)
    place = tmp_path / "space" / "vectors.npy"
    np.save(place, np.ones(np.load(place).shape, dtype))
    with pytest.raises(VectalkError, match=r"save the vectors as float32|not a whole space"):
        VectorSpace.load(tmp_path / "space")
