"""A run is talked to through the very LLM that it was trained on, wherever that lies, and through no other."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from offline import cached, hub_cache
from vectalk.errors import RunError
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.loading import load_llm
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.folder import RunFolder
from vectalk.training.start import llm_of
from vectalk.training.trainer import train
from worlds import SHORT, call, make_llm, save_llm

FIRST, LATER, COPY, OTHER = "a" * 40, "b" * 40, "c" * 40, "d" * 40


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Iterator[Path]:
    """A cache with an LLM, a copy of it under another name, another LLM of its width, and one whose branch moved on."""
    place = tmp_path_factory.mktemp("hub")
    save_llm("llama", tokenizer, cached(place, "someone/tiny", FIRST))
    save_llm("llama", tokenizer, cached(place, "someone/tiny", LATER), seed=2)
    save_llm("llama", tokenizer, cached(place, "someone/copy", COPY))
    save_llm("llama", tokenizer, cached(place, "someone/other", OTHER), seed=1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield hub_cache(monkeypatch, place)


@pytest.fixture(scope="module")
def lora(cache: Path, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A LoRA on an LLM of the hub, as it was at first."""
    settings = {**SHORT, "stage1.steps": 2, "stage2.steps": 2, "stage2.llm": "lora", "eval_every": 2}
    out = tmp_path_factory.mktemp("runs") / "lora"
    return train(corpus, "someone/tiny", out, TrainConfig.load(None, settings), revision=FIRST, device="cpu")


def place_of(cache: Path, name: str, commit: str) -> Path:
    return cache / f"models--{name.replace('/', '--')}" / "snapshots" / commit


def test_a_run_knows_commit_and_weights_of_its_llm(lora: Run, cache: Path) -> None:
    card = lora.card.llm
    assert (card.name, card.revision) == ("someone/tiny", FIRST)
    assert card.fingerprint == fingerprint(str(place_of(cache, "someone/tiny", FIRST)))
    assert card.fingerprint is not None
    assert load_llm("hf://someone/tiny", revision=LATER, device="cpu").fingerprint != card.fingerprint


def test_it_comes_back_though_the_branch_moved(lora: Run) -> None:
    model, _ = lora.model("cpu")
    assert (model.language.name, model.language.revision) == ("someone/tiny", FIRST)
    for name in ("someone/tiny", "hf://someone/tiny"):
        assert lora.model("cpu", name)[0].language.revision == FIRST


def test_another_repository_is_not_asked_for_the_commit_of_the_first(lora: Run) -> None:
    model, _ = lora.model("cpu", "someone/copy")
    assert (model.language.name, model.language.revision) == ("someone/copy", COPY)


@pytest.mark.parametrize("llm", ["someone/other", f"hf://someone/tiny@{LATER}", "folder"])
def test_another_llm_of_the_same_width_is_refused(lora: Run, cache: Path, llm: str) -> None:
    given = str(place_of(cache, "someone/other", OTHER)) if llm == "folder" else llm
    with pytest.raises(
        RunError, match=r"base LLM in .* is not the one that run .* its weights changed, or it is another"
    ):
        lora.model("cpu", given)


def test_a_folder_with_the_same_weights_will_do(lora: Run, cache: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(place_of(cache, "someone/tiny", FIRST), tmp_path / "copy")
    assert lora.model("cpu", str(copy))[0].language.revision is None
    # What else lies beside the weights is not read, and does not count: a cache holds what anybody ever fetched.
    (copy / "pytorch_model.bin").write_bytes(b"the same in another format")
    (copy / "consolidated.safetensors").write_bytes(b"once more")
    assert lora.model("cpu", str(copy))[0].language.fingerprint == lora.card.llm.fingerprint


def test_a_run_of_an_older_version_knows_all_files(lora: Run, cache: Path, tmp_path: Path, tokenizer) -> None:
    """It hashed a `.bin` beside the safetensors too."""
    folder = shutil.copytree(place_of(cache, "someone/tiny", FIRST), tmp_path / "llm")
    alone = fingerprint(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"the same in another format")
    old = _of_all(folder)
    assert old != alone
    assert fingerprint(str(folder)) == alone
    assert fingerprint(str(folder), like=old) == old
    run = Run.load(lora.path)
    run.card.llm.fingerprint = old
    assert run.model("cpu", str(folder))
    save_llm("llama", tokenizer, folder, seed=5)
    with pytest.raises(RunError, match="is not the one"):
        run.model("cpu", str(folder))


def _of_all(folder: Path) -> str:
    """Return what an older version called the fingerprint of a small folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin")):
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"whole:{digest.hexdigest()}"


def test_sharded_weights_count_as_the_index_names_them(tmp_path: Path) -> None:
    make_llm("llama", 200).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    before = fingerprint(str(tmp_path))
    (tmp_path / "model.fp16.safetensors").write_bytes(b"another variant")
    assert fingerprint(str(tmp_path)) == before
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    part = tmp_path / sorted(index["weight_map"].values())[0]
    part.write_bytes(part.read_bytes()[:-1] + b"\x01")
    assert fingerprint(str(tmp_path)) != before


def test_a_run_without_a_fingerprint_still_loads(lora: Run) -> None:
    run = Run.load(lora.path)
    run.card.llm.fingerprint = None
    assert run.model("cpu")[0].language.revision == FIRST
    assert run.model("cpu", "someone/other")[0].language.revision == OTHER


def test_training_goes_on_from_the_commit_of_a_run(cache: Path, corpus: Corpus, tmp_path: Path, capsys) -> None:
    settings = {**SHORT, "stage1.steps": 2, "stage2.steps": 0, "eval_every": 2}
    config = TrainConfig.load(None, settings)
    frozen = train(corpus, "someone/tiny", tmp_path / "first", config, revision=FIRST, device="cpu")
    assert llm_of(frozen) == "someone/tiny"
    again = train(corpus, llm_of(frozen), tmp_path / "second", config, device="cpu", start=frozen)
    assert again.card.llm.revision == FIRST
    sets = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    command = ["train", str(corpus.path), "--from", str(frozen.path), "--out", str(tmp_path / "third")]
    code, _, err = call([*command, "--device", "cpu", *sets], capsys)
    assert code == 0, err
    assert Run.load(tmp_path / "third").card.llm.revision == FIRST
    # Its adapters speak to no other LLM, and its commit is not asked of another repository.
    with pytest.raises(RunError, match="base LLM in someone/other is not the one"):
        train(corpus, "someone/other", tmp_path / "fourth", config, device="cpu", start=frozen)


def test_a_run_that_is_resumed_need_not_have_had_its_llm_here_when_it_began(
    cache: Path, corpus: Corpus, tmp_path: Path
) -> None:
    """What tells a run that is resumed holds nothing that depends on what the cache happens to hold."""
    folders = [
        RunFolder(tmp_path / "run", corpus, TrainConfig.load(None, dict(SHORT)), name, None, None)
        for name in ("someone/tiny", "someone/nowhere")
    ]
    assert [folder.identity["weights"] for folder in folders] == [None, None]
