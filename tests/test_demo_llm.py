"""The demo with an LLM of the user: a stored adapter for exactly this LLM, or training for a given time."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vectalk.demo import films
from vectalk.demo.data import demo_data
from vectalk.demo.stored import SKETCH, find_stored, sketch, store, use_stored
from vectalk.errors import RunError
from vectalk.llm.loading import load_llm
from vectalk.model import collate
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, build_corpus
from vectalk.training import TrainConfig
from vectalk.training.recipe import Recipe
from vectalk.training.trainer import train
from worlds import SHORT, call, save_llm

TASKS = ("summary", films.PROFILE)
SMALL = replace(films.PRETRAINED, tasks=TASKS, variants=1, test=4)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the demo's spaces, into which adapters can be stored."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("films", "users"):
        shutil.copytree(demo_data() / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def llm(chat, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLM with a chat template, which counts as pretrained."""
    return save_llm("llama", chat, tmp_path_factory.mktemp("llm") / "llm", max_position_embeddings=512)


@pytest.fixture(scope="module")
def film_corpus(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    suite = films.film_suite(SMALL)
    spaces = {"film": VectorSpace.load(data / "films"), "user": VectorSpace.load(data / "users")}
    return build_corpus(
        spaces, suite, FactsTeacher(suite, spaces), tmp_path_factory.mktemp("work") / "corpus", variants=1
    )


@pytest.fixture(scope="module")
def film_run(film_corpus: Corpus, llm: Path) -> Run:
    """A run with a low-rank update that was trained for a few steps, fast enough to change."""
    settings = {**SHORT, "stage1.steps": 0, "stage2.steps": 6, "stage2.llm": "lora", "stage2.lr_llm": 1e-2}
    return train(film_corpus, str(llm), film_corpus.path.parent / "run", TrainConfig.load(None, settings), device="cpu")


@pytest.fixture(scope="module")
def stored(film_run: Run, llm: Path, data: Path) -> Run:
    return Run.load(store(film_run, data / "mine", "owner/mine", str(llm)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Make the demo small, with the copied data."""
    monkeypatch.setattr(films, "USUAL", SMALL)
    monkeypatch.setattr(films, "PRETRAINED", SMALL)
    monkeypatch.setenv("VECTALK_DEMO_DATA", str(data))


def test_a_stored_adapter_gives_nearly_the_same_logits(
    film_run: Run, stored: Run, llm: Path, film_corpus: Corpus, tmp_path: Path
) -> None:
    loaded = use_stored(stored, tmp_path / "run", str(llm), film_corpus.path)
    vector, logits = np.asarray(film_corpus.spaces["film"].vectors[0], np.float32), []
    for each in (film_run, loaded):
        model, prompts = each.model("cpu")
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        prompt = prompts("Summarise {film}.", {"film": "film"}, "A comedy.")
        dims = {name: space.dim for name, space in film_corpus.spaces.items()}
        with torch.no_grad():
            logits.append(model.logits(collate([prompt], [{"film": vector}], dims, prompts.pad_id)))
    assert torch.allclose(*logits, atol=0.02 * float(logits[0].abs().max()))
    assert not torch.equal(*logits)
    files = sorted(stored.path.rglob("*.safetensors"))
    assert {file.name for file in files} == {"model.safetensors", "adapter_model.safetensors", SKETCH}
    for file in files:
        assert all(t.dtype == torch.float16 for t in load_file(file).values() if t.ndim > 1)
    assert "checkpoints" not in {path.name for path in stored.path.iterdir()}
    for file in stored.path.rglob("*.json"):
        assert str(llm) not in file.read_text()


def test_the_stored_adapter_is_found_for_its_llm_alone(
    stored: Run, llm: Path, data: Path, chat, tokenizer, tmp_path: Path
) -> None:
    found = find_stored(str(llm), data)
    assert found is not None
    assert (found.run.path, found.exact) == (stored.path, True)
    moved = shutil.copytree(llm, tmp_path / "moved")
    assert find_stored(str(moved), data).exact  # the place does not matter
    rounded = load_llm(str(llm), device="cpu").model
    with torch.no_grad():
        for weights in rounded.parameters():
            weights.copy_((weights / 0.05).round() * 0.05)
    rounded.save_pretrained(tmp_path / "rounded")
    chat.save_pretrained(tmp_path / "rounded")
    near = find_stored(str(tmp_path / "rounded"), data)
    assert (near.run.path, near.exact) == (stored.path, False)
    other = save_llm("llama", chat, tmp_path / "other", seed=7, max_position_embeddings=512)
    assert find_stored(str(other), data) is None
    assert abs(np.corrcoef(sketch(load_llm(str(other), device="cpu").model), sketch(rounded))[0, 1]) < 0.5
    assert find_stored(str(save_llm("llama", tokenizer, tmp_path / "plain")), data) is None
    assert find_stored(str(llm), tmp_path) is None


@pytest.mark.slow
def test_the_demo_loads_the_stored_adapter_and_trains_nothing(
    small: None, stored: Run, llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    code, text, error = call(["demo", "--llm", str(llm), "--out", str(out), "--device", "cpu", "--json"], capsys)
    assert code == 0, error
    assert f"using the adapter stored in {stored.path}, so nothing is trained" in error
    result = json.loads(text)
    assert {row["task"] for row in result["metrics"]} == set(TASKS)
    assert len(result["samples"]) == 4
    run = Run.load(out / "run")
    assert run.card.llm.fingerprint == stored.card.llm.fingerprint
    assert not (out / "run" / "checkpoints").exists()
    code, text, error = call(
        ["ask", str(out / "run"), "Summarise {film}.", "--bind", "film='Alien (1979)'", "--device", "cpu"], capsys
    )
    assert code == 0, error


@pytest.mark.slow
def test_without_an_adapter_for_its_llm_the_demo_says_so_and_trains_for_the_time(
    small: None, stored: Run, chat, data: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        films,
        "pretrained_config",
        lambda minutes, recipe, seed: TrainConfig.load(
            None, {**SHORT, "stage1.steps": 0, "stage2.steps": 2, "stage2.llm": "lora", "minutes": minutes}, recipe
        ),
    )
    monkeypatch.setattr(films, "MINUTES", 3.0)
    other = save_llm("llama", chat, tmp_path / "other", seed=7, max_position_embeddings=512)
    command = ["demo", "--llm", str(other), "--device", "cpu", "--json", "--out"]
    code, _, error = call([*command, str(tmp_path / "demo")], capsys)
    assert code == 0, error
    assert f"{data} has no adapter for the LLM {other}; training one, for at most 3 minutes (--minutes)" in error
    assert "3 minutes: training makes at most 2 steps of stage 2" in error
    assert Run.load(tmp_path / "demo" / "run").card.llm.trained == "lora"


def test_minutes_train_a_new_adapter_although_there_is_a_stored_one(small: None, stored: Run, llm: Path) -> None:
    config = films._config(SMALL, Recipe("pretrained", "the test says so"), 2.5, 1)
    assert (config.minutes, config.recipe, config.stage2.llm, config.seed) == (2.5, "pretrained", "lora", 1)
    assert films._config(SMALL, Recipe("pretrained", "the test says so"), None, 0).minutes == films.MINUTES
    assert films._config(SMALL, None, None, 0) == films.config_for(SMALL, 0)
    assert films._config(SMALL, None, 4.0, 0).minutes == 4.0


def test_a_fully_fine_tuned_llm_is_not_stored(short_run: Run, random_llm: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="store a run with a low-rank update"):
        store(short_run, tmp_path / "stored", "owner/mine", str(random_llm))
