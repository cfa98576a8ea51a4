"""LLMs that cannot work are refused, with the reason; a hub LLM is taken at its revision."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, PreTrainedModel, T5Config

from vectalk.errors import LanguageModelError
from vectalk.files import write_text
from vectalk.llm import loading as llm_module
from vectalk.llm.loading import check_embeddings, load_llm, wrap
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train
from worlds import SHORT, make_llm, save_llm


class Peeking(torch.nn.Module):
    """Wraps a forward pass so that ids are used once more, behind the first layer."""

    def __init__(self, llm: PreTrainedModel) -> None:
        super().__init__()
        self.whole, self.forward_of = llm, llm.forward

    def forward(self, input_ids=None, **inputs):
        output = self.forward_of(input_ids=input_ids, **inputs)
        if input_ids is not None:
            output.logits = output.logits + 0.1 * torch.nn.functional.one_hot(input_ids, output.logits.shape[-1])
        return output


def test_an_llm_that_uses_ids_elsewhere_is_refused(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = make_llm("llama", len(tokenizer))
    assert check_embeddings(llm, "mine") is True
    monkeypatch.setattr(llm, "forward", Peeking(llm).forward)
    with pytest.raises(LanguageModelError, match=r"'mine' gives other logits.*largest gap 0\.1.*beyond the first"):
        wrap(llm, tokenizer, "mine")


def test_an_llm_that_takes_no_embeddings_is_refused(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = make_llm("llama", len(tokenizer))
    before = llm.forward

    def forward(input_ids=None, inputs_embeds=None, **inputs):
        if inputs_embeds is not None:
            raise NotImplementedError("ids only")
        return before(input_ids=input_ids, **inputs)

    monkeypatch.setattr(llm, "forward", forward)
    with pytest.raises(LanguageModelError, match="does not take embeddings in place of ids: ids only"):
        wrap(llm, tokenizer, "mine")


def test_an_llm_without_an_end_token_is_refused(tokenizer) -> None:
    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(LanguageModelError, match="no end-of-text token"):
        wrap(make_llm("llama", len(tokenizer)), endless, "mine")


@pytest.mark.parametrize("initial", [0.2, 0.02])  # with the smaller weights words hardly look at each other
def test_an_encoder_is_refused(tokenizer, tmp_path: Path, initial: float) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    config = BertConfig(vocab_size=len(tokenizer), initializer_range=initial, **shape)
    BertLMHeadModel(config).save_pretrained(tmp_path)  # the library loads it as a causal LLM, which it is not
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match=r"looks ahead.*as in encoders; take a decoder"):
        load_llm(str(tmp_path), device="cpu")
    config.is_decoder = True
    assert check_embeddings(BertLMHeadModel(config).eval(), "mine") is False  # its head is more than a linear map


def test_a_tokenizer_of_another_llm_is_refused(tokenizer, tmp_path: Path) -> None:
    make_llm("llama", len(tokenizer) - 5).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    most = len(tokenizer) - 1
    with pytest.raises(
        LanguageModelError, match=rf"embeddings of {most - 4} tokens, its tokenizer makes ids up to {most}"
    ):
        load_llm(str(tmp_path), device="cpu")


def test_a_translator_is_refused(tokenizer, tmp_path: Path) -> None:
    T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LanguageModelError, match=r"cannot be loaded: it is an encoder-decoder \(t5\)"):
        load_llm(str(tmp_path), device="cpu")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cached repository `someone/tiny`, which is all that there is, since tests reach no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub" / "models--someone--tiny"


def test_a_hub_llm_is_taken_at_its_revision_without_a_network(tokenizer, hub_cache: Path) -> None:
    for commit, ref, width in (("a" * 40, "main", 32), ("b" * 40, "wide", 64)):
        save_llm("llama", tokenizer, hub_cache / "snapshots" / commit, hidden_size=width)
        write_text(hub_cache / "refs" / ref, commit)
    for revision, commit, width in (("main", "a" * 40, 32), ("wide", "b" * 40, 64), ("a" * 40, "a" * 40, 32)):
        llm = load_llm("someone/tiny", revision=revision, device="cpu")
        assert (llm.revision, llm.hidden_size) == (commit, width)
    with pytest.raises(LanguageModelError, match="LLM 'someone/tiny' cannot be loaded") as error:
        load_llm("someone/tiny", revision="other", device="cpu")
    assert "with HF_HUB_OFFLINE=1 only the local cache is used" in str(error.value)


class KilledError(Exception):
    """Stops a run."""


class Killed(Silent):
    """A reporter that stops a run after six steps."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        if done == 6:
            raise KilledError


def test_a_run_goes_on_with_the_commit_that_it_was_started_with(
    corpus: Corpus, tokenizer, hub_cache: Path, tmp_path: Path
) -> None:
    for commit, seed in (("a" * 40, 0), ("b" * 40, 1)):
        save_llm("llama", tokenizer, hub_cache / "snapshots" / commit, seed=seed)
    arguments: tuple[Any, ...] = (corpus, "someone/tiny", tmp_path / "run")
    settings = TrainConfig.load(None, {**SHORT, "stage2.steps": 0})
    write_text(hub_cache / "refs" / "main", "a" * 40)
    with pytest.raises(KilledError):
        train(*arguments, settings, device="cpu", reporter=Killed())
    write_text(hub_cache / "refs" / "main", "b" * 40)
    assert train(*arguments, settings, device="cpu", resume=True).card.llm.revision == "a" * 40


def test_an_llm_that_does_not_fit_is_told_so(random_llm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(llm_module, "check_embeddings", full)
    with pytest.raises(LanguageModelError, match=r"million parameters in torch\.float32\) does not fit .* cpu; take"):
        load_llm(str(random_llm), device="cpu")


def test_folders_that_are_no_llm_are_refused(tmp_path: Path, tokenizer) -> None:
    with pytest.raises(LanguageModelError, match="no such folder"):
        load_llm(str(tmp_path / "nowhere"))
    with pytest.raises(LanguageModelError, match=r"no config\.json"):
        load_llm(str(tmp_path))
    folder = save_llm("llama", tokenizer, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(LanguageModelError, match="cannot be loaded"):
        load_llm(str(folder), device="cpu")
    with pytest.raises(LanguageModelError, match="device 'gpu' cannot be used"):
        load_llm(str(folder), device="gpu")


def test_an_llm_that_lacks_weights_is_refused(tmp_path: Path, tokenizer) -> None:
    folder = save_llm("qwen3", tokenizer, tmp_path / "llm")  # its head is tied, and so is not in the file
    assert load_llm(str(folder), device="cpu").plain_head
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(LanguageModelError, match=r"lacks 1 of its weights \(model\.layers\.1\.mlp\.up_proj\.weight"):
        load_llm(str(folder), device="cpu")


def test_code_of_a_model_folder_is_never_run(random_llm: Path, tmp_path: Path) -> None:
    folder, marker = tmp_path / "llm", tmp_path / "ran"
    shutil.copytree(random_llm, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    with pytest.raises(LanguageModelError, match="cannot be loaded"):
        load_llm(str(folder), device="cpu")
    assert not marker.exists()
