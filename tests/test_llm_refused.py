"""LLMs that cannot work are refused, with the reason; a hub LLM is taken at its revision."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertLMHeadModel, PreTrainedModel, T5Config

from vectalk.errors import LanguageModelError
from vectalk.files import write_text
from vectalk.llm import loading as llm_module
from vectalk.llm.loading import check_embeddings, load_llm, wrap
from vectalk.tasks import Corpus
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
    with pytest.raises(LanguageModelError, match=r"cannot be loaded: .*T5Config"):
        load_llm(str(tmp_path), device="cpu")


# Loads an LLM by hub name, as it was at a revision, out of a cache that is all there is.
FROM_CACHE = """
import sys
from vectalk.errors import LanguageModelError
from vectalk.llm.loading import load_llm

for revision in sys.argv[1:]:
    try:
        llm = load_llm("someone/tiny", revision=revision, device="cpu")
        print(revision, llm.revision, llm.hidden_size)
    except LanguageModelError as error:
        print(revision, "error:", error)
"""


def test_a_hub_llm_is_taken_at_its_revision_without_a_network(tokenizer, tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--someone--tiny"
    for commit, ref, width in (("a" * 40, "main", 32), ("b" * 40, "wide", 64)):
        save_llm("llama", tokenizer, cache / "snapshots" / commit, hidden_size=width)
        write_text(cache / "refs" / ref, commit)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
    command = [sys.executable, "-c", FROM_CACHE, "main", "wide", "a" * 40, "other"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:3] == [f"main {'a' * 40} 32", f"wide {'b' * 40} 64", f"{'a' * 40} {'a' * 40} 32"], done.stderr
    assert lines[3].startswith("other error: LLM 'someone/tiny' cannot be loaded")
    assert "HF_HUB_OFFLINE=1 keeps to what is in the cache" in lines[3]


GONE_ON = """
import json, sys
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train

class Killed(Silent):
    def step(self, stage, done, steps, note):
        if done == 6 and sys.argv[4] == "kill":
            raise KeyboardInterrupt

settings = TrainConfig.load(None, json.loads(sys.argv[3]))
run = train(Corpus.load(sys.argv[1]), "someone/tiny", sys.argv[2], settings, device="cpu", reporter=Killed(),
            resume=sys.argv[4] == "resume")
print(run.card.llm.revision)
"""


def test_a_run_goes_on_with_the_commit_that_it_was_started_with(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    cache, environment = tmp_path / "hub" / "models--someone--tiny", {**os.environ, "HF_HUB_OFFLINE": "1"}
    for commit in ("a" * 40, "b" * 40):
        save_llm("llama", tokenizer, cache / "snapshots" / commit)
    settings = json.dumps({**SHORT, "stage2.steps": 0})
    said = []
    for commit, how in (("a", "kill"), ("b", "resume")):
        write_text(cache / "refs" / "main", commit * 40)
        command = [sys.executable, "-c", GONE_ON, str(corpus.path), str(tmp_path / "run"), settings, how]
        given = {**environment, "HF_HUB_CACHE": str(tmp_path / "hub")}
        done = subprocess.run(command, env=given, capture_output=True, text=True)
        said.append((done.returncode == 0, done.stdout.strip(), done.stderr))
    assert said[0][0] is False
    assert "KeyboardInterrupt" in said[0][2]
    assert said[1][:2] == (True, "a" * 40), said[1][2]


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
