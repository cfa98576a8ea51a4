"""`vectalk base-llm`: a tiny LLM of one's own, from a corpus to a folder that training takes."""

import json
from pathlib import Path

import pytest

from vectalk.llm.loading import load_llm
from vectalk.tasks import Corpus
from vectalk.training.base_llm import make_base_llm
from worlds import call, make_islands

TINY = ["--hidden", "32", "--layers", "1", "--vocabulary", "300", "--steps", "6", "--batch-size", "8"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_islands(tmp_path_factory.mktemp("small"), rows=60)


def test_a_corpus_becomes_an_llm(small: Corpus, tmp_path: Path, capsys) -> None:
    command = ["base-llm", str(small.path), "--out", str(tmp_path / "llm"), *TINY]
    code, out, err = call([*command, "--json", "--quiet"], capsys)
    card = json.loads(out)
    assert (code, err) == (0, "")
    assert (card["by"], card["steps"], card["spaces"]) == (
        "vectalk base-llm",
        6,
        {"island": small.spaces["island"].fingerprint},
    )
    language = load_llm(str(tmp_path / "llm"), device="cpu")
    assert language.hidden_size == 32
    assert sum(p.numel() for p in language.model.parameters()) == card["parameters"]
    code, out, err = call(command, capsys)
    assert (code, out) == (2, "")
    assert "exists already; name another folder, or pass --overwrite" in err
    code, _, err = call([*command, "--overwrite", "--seed", "1"], capsys)
    assert code == 0
    assert f"vectalk train {small.path} --llm {tmp_path / 'llm'}" in err
    assert json.loads((tmp_path / "llm" / "made.json").read_text())["seed"] == 1


def test_a_width_that_cannot_be_is_named(small: Corpus, tmp_path: Path, capsys) -> None:
    code, out, err = call(["base-llm", str(small.path), "--out", str(tmp_path / "llm"), "--hidden", "40"], capsys)
    assert (code, out) == (2, "")
    assert "hidden must be a multiple of 32, not 40" in err
    assert not (tmp_path / "llm").exists()


def test_it_tells_what_it_does_before_the_first_step(small: Corpus, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    make_base_llm(
        small,
        tmp_path / "llm",
        hidden=32,
        layers=1,
        vocabulary=300,
        steps=3,
        batch_size=8,
        progress=lambda done, steps, doing: seen.append((done, steps, doing)),
    )
    assert seen[:3] == [(0, 3, "reading texts"), (0, 3, "learning tokens"), (0, 3, "tokenising")]
    assert [done for done, _, doing in seen if doing.startswith("loss ")] == [1, 2, 3]
