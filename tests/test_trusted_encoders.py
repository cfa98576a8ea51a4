"""A text encoder that a file names is loaded only where vectalk knows it, or somebody asked for it."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest

import vectalk as vt
from linear_world import Oracle, make_corpus
from offline import cached, fake_transformers, forbid_network, hub_cache
from vectalk.errors import EvaluationError, SpaceError
from vectalk.evaluation import evaluate
from vectalk.evaluation.curves.curves import curves
from vectalk.evaluation.settings import Settings
from vectalk.files import read_json, write_json
from vectalk.model.run import Run
from vectalk.readback import ReadBack, SentenceEncoder, check_encoder, encode_space, text_functions
from vectalk.readback.encoder import MINILM
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, call

ASKED = r"--trust-encoder \(trust_encoder=True in Python\)"
FOLDER = "a folder"  # of this machine, which a downloaded file names too
NAMES = ["someone/encoder", "hf://someone/encoder", FOLDER, "encoder", "../encoder"]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    hub_cache(monkeypatch, tmp_path / "hub")
    return forbid_network(monkeypatch)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tried: list[str]):
    return fake_transformers(monkeypatch)


def named(corpus: Corpus, place: Path, encoder: str) -> Corpus:
    """Return a corpus on a copy of its space whose card names an encoder, as one from elsewhere may."""
    if encoder == FOLDER:
        (place / "encoder").mkdir(exist_ok=True)
        encoder = str(place / "encoder")
    (name,) = corpus.spaces
    own = corpus.spaces[name].path
    assert own is not None
    space = shutil.copytree(own, place / "space")
    write_json(space / "space.json", {**read_json(space / "space.json"), "encoder": encoder})
    return Corpus.load(corpus.path, {name: space})


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("world"), 400)


@pytest.mark.parametrize("name", NAMES)
def test_a_space_does_not_have_its_encoder_loaded(
    name: str, linear: Corpus, fake, tried: list[str], tmp_path: Path, capsys
) -> None:
    corpus = named(linear, tmp_path, name)
    space, out = corpus.spaces["film"], tmp_path / "out"
    with pytest.raises(EvaluationError, match=rf"space 'film' names the text encoder '.*{ASKED}"):
        space.point('text("a story")', text_functions(space))
    with pytest.raises(EvaluationError, match=rf"space 'film' names the text encoder '.*{ASKED}"):
        evaluate(Oracle(corpus), corpus, out)
    with pytest.raises(EvaluationError, match=rf"space 'film' names the text encoder '.*{ASKED}"):
        curves(Oracle(corpus), corpus, out)
    for verb in ("point", "neighbors"):
        code, _, err = call(["space", verb, str(space.path), 'text("a story")'], capsys)
        assert (code, "--trust-encoder" in err) == (2, True)
    assert not out.exists()
    assert fake.loaded == []
    assert tried == []


def test_a_run_does_not_either(run: Run, corpus: Corpus, fake, tried: list[str], tmp_path: Path, capsys) -> None:
    place = named(corpus, tmp_path, "someone/encoder").spaces["island"].path
    elm = vt.ELM.from_pretrained(run.path, spaces={"island": str(place)}, device="cpu")
    with pytest.raises(EvaluationError, match=rf"space 'island' names .*{ASKED}"):
        elm.point("island", 'text("a story")')
    asked = ["ask", str(run.path), "Describe {island}.", "--bind", "island=text('a story')", "--device", "cpu"]
    code, _, err = call([*asked, "--space", f"island={place}"], capsys)
    assert (code, "--trust-encoder" in err) == (2, True)
    assert (fake.loaded, tried) == ([], [])
    code, _, err = call([*asked, "--space", f"island={place}", "--trust-encoder"], capsys)
    assert (code, "hf://someone/encoder cannot be fetched" in err) == (2, True)
    assert tried


def test_training_does_not(corpus: Corpus, random_llm: Path, fake, tried: list[str], tmp_path: Path) -> None:
    unknown = named(corpus, tmp_path, "someone/encoder")
    settings = TrainConfig.load(None, {**SHORT, "eval_answers": 4})
    with pytest.raises(EvaluationError, match=rf"space 'island' names .*{ASKED}"):
        train(unknown, str(random_llm), tmp_path / "run", settings, device="cpu")
    assert not (tmp_path / "run" / "checkpoints" / "identity.json").exists()
    assert (fake.loaded, tried) == ([], [])


@pytest.mark.parametrize("name", NAMES[:3])
def test_a_read_back_does_not(name: str, linear: Corpus, fake, tried: list[str], tmp_path: Path) -> None:
    space = linear.spaces["film"]
    cached(tmp_path / "hub", MINILM, "e" * 40)
    ReadBack.fit(space, list(linear.examples("train", "summary")), "minilm", about="film").save(tmp_path / "readback")
    card = read_json(tmp_path / "readback" / "readback.json")
    (tmp_path / "encoder").mkdir()
    other = str(tmp_path / "encoder") if name == FOLDER else name
    write_json(tmp_path / "readback" / "readback.json", {**card, "encoder": other})
    fake.loaded.clear()
    tried.clear()
    with pytest.raises(EvaluationError, match=rf"read-back .* names the text encoder '.*{ASKED}"):
        ReadBack.load(tmp_path / "readback", space)
    assert (fake.loaded, tried) == ([], [])
    assert ReadBack.load(tmp_path / "readback", space, trust_encoder=True).encoder.name == other


def test_the_read_back_of_a_run_is_by_the_encoder_that_was_named(
    run: Run, corpus: Corpus, fake, tried: list[str], tmp_path: Path
) -> None:
    """What is kept in a run under the name of MiniLM may say that it is by another; it is fitted anew then."""
    copy = Run.load(shutil.copytree(run.path, tmp_path / "run", ignore=shutil.ignore_patterns("readback")))
    copy.card.llm.trained, copy.card.corpus = "full", str(corpus.path)
    copy.card.spaces["island"].path = str(corpus.spaces["island"].path)
    model, prompts = copy.model("cpu")
    cached(tmp_path / "hub", MINILM, "e" * 40)
    elm = vt.ELM(copy, model, prompts, copy.spaces())
    first = elm.reranker("Describe {island}.")
    (card,) = (tmp_path / "run" / "readback").glob("*/readback.json")
    write_json(card, {**read_json(card), "encoder": "someone/encoder"})
    again = vt.ELM(copy, model, prompts, copy.spaces()).reranker("Describe {island}.")
    assert again.readback.encoder.name == "minilm"
    np.testing.assert_allclose(again.readback(["salt"]), first.readback(["salt"]), atol=1e-5)
    assert {Path(place).name for place, _ in fake.loaded} == {"e" * 40}
    # A text in a space that no encoder made is read back by what the run keeps.
    write_json(card, {**read_json(card), "encoder": "someone/encoder"})
    with pytest.raises(EvaluationError, match=rf"read-back .* names the text encoder 'someone/encoder'.*{ASKED}"):
        elm.point("island", 'text("salt")')


def test_what_is_known_or_asked_for_is_loaded_safely(
    linear: Corpus, fake, tried: list[str], tmp_path: Path, capsys
) -> None:
    folders = {
        "minilm": cached(tmp_path / "hub", MINILM, "e" * 40),
        "someone/encoder": cached(tmp_path / "hub", "someone/encoder", "f" * 40),
    }
    for name, folder in folders.items():
        place = tmp_path / name.replace("/", "-")
        place.mkdir()
        space = named(linear, place, name).spaces["film"]
        fake.loaded.clear()
        with pytest.raises(SpaceError, match="gives 36 dimensions"):  # which it tells only after it was loaded
            space.point('text("a story")', text_functions(space, trust_encoder=name != "minilm"))
        options = {"use_safetensors": True, "weights_only": True}
        assert fake.loaded == [
            (
                str(folder),
                {"device": None, "trust_remote_code": False, "local_files_only": True, "model_kwargs": options},
            )
        ]


def test_an_encoder_that_is_asked_for_by_name_needs_no_trust(linear: Corpus, fake, tmp_path: Path) -> None:
    folder = cached(tmp_path / "hub", "someone/encoder", "f" * 40)
    corpus = named(linear, tmp_path, "someone/other")
    name, same = Settings(encoder="someone/encoder").encoded_by(corpus.spaces)
    assert (name, same) == ("someone/encoder", False)
    assert Settings(encoder="someone/other").encoded_by(corpus.spaces) == ("someone/other", True)
    assert Settings(trust_encoder=True).encoded_by(corpus.spaces) == ("someone/other", True)
    check_encoder(name)
    assert [place for place, _ in fake.loaded] == [str(folder)]


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = fake_transformers(monkeypatch, tmp_path / "hub", version="5.6.0")
    with pytest.raises(EvaluationError, match=r"sentence-transformers 5\.6\.0 is installed.*take 6\.0 or later"):
        SentenceEncoder("minilm").encode(["a"])
    assert fake.loaded == []
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert "sentence-transformers>=6.0" in project["project"]["optional-dependencies"]["eval"]


def test_a_space_remembers_where_its_encoder_lies(
    fake, tried: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path would be another encoder from another folder, or a name on the hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "films.jsonl").write_text(
        "".join(json.dumps({"id": str(n), "text": f"film {n} " + "abc"[n % 3] * n}) + "\n" for n in range(40))
    )
    made = encode_space("films.jsonl", "films", name="film", encoder="models/mine")
    assert made.encoder == str(tmp_path / "models" / "mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    space = VectorSpace.load(tmp_path / "films")
    point = space.point('text("film 3 aaa")', text_functions(space, trust_encoder=True))
    assert space.neighbors(point, 1)[1][0] > 0.9
    assert tried == []
