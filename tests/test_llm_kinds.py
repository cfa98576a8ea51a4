"""What users give as --llm: a GGUF file is loaded; of adapters, pointers, encoders the error says what they are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel, BitNetQuantConfig, MistralConfig, MistralModel
from transformers.integrations.bitnet import replace_with_bitnet_linear

from gguf_file import write_gguf
from offline import cached, hub_cache
from vectalk.errors import LanguageModelError, TeacherError, TrainingError
from vectalk.llm.failures import unloadable
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.loading import load_llm
from vectalk.llm.local import LocalModel, LocalTransport
from vectalk.llm.tokenizer import load_context, load_tokenizer
from vectalk.model.run import Run
from vectalk.talk.elm import ELM
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, call, make_llm, save_llm

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1234567\n"
SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}


@pytest.fixture
def folder(random_llm: Path, tmp_path: Path) -> Path:
    """A copy of a complete LLM, for tests that damage it."""
    shutil.copytree(random_llm, tmp_path / "llm")
    return tmp_path / "llm"


def change(folder: Path, **values: Any) -> None:
    """Change the config.json of a folder; None removes a value."""
    config = {**json.loads((folder / "config.json").read_text()), **values}
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def refused(place: Path | str) -> str:
    """The message about an LLM that cannot be loaded."""
    with pytest.raises(LanguageModelError) as error:
        load_llm(str(place), device="cpu")
    return str(error.value)


# ---- adapters, pointers, encoders, ...


def test_an_adapter_names_its_base_and_says_how_to_merge(random_llm: Path, tokenizer, tmp_path: Path) -> None:
    llm = make_llm("llama", len(tokenizer))
    llm.name_or_path = "someone/base"
    get_peft_model(llm, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    message = refused(tmp_path)
    assert "it is a LoRA adapter (PEFT) of 'someone/base'" in message
    assert "merge_and_unload()" in message
    shutil.copy(random_llm / "config.json", tmp_path)  # as some training programs leave it
    assert "it is a LoRA adapter (PEFT) of 'someone/base'" in refused(tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_named(folder: Path, file: str) -> None:
    (folder / file).write_text(POINTER)
    message = refused(folder)
    assert f"{file} is a Git LFS pointer: a few lines in place of a file of 1,234,567 bytes" in message
    assert "git lfs pull" in message


def test_a_pointer_among_the_parts_of_the_weights_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").write_text(POINTER)
    assert "model-00002-of-00002.safetensors is a Git LFS pointer" in refused(folder)


def test_a_pointer_that_is_never_read_is_ignored(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_text(POINTER)
    assert load_llm(str(folder), device="cpu").hidden_size == 32


# For some families transformers makes a tokenizer without vocabulary if files are missing, and reports nothing.
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "gemma", "mamba", "opt"])
def test_a_folder_without_tokenizer_says_so(folder: Path, family: str) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    change(folder, model_type=family, _name_or_path="someone/base")
    message = refused(folder)
    assert "it has no tokenizer" in message
    assert "copy tokenizer.json and tokenizer_config.json of the model that it was made from (someone/base)" in message


def test_a_tokenizer_without_vocabulary_is_refused(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("")
    change(folder, model_type="gpt2")
    assert "its tokenizer has no vocabulary" in refused(folder)


def test_a_folder_without_weights_says_what_there_is(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    assert "it has no weights in safetensors (only tf_model.h5)" in refused(folder)
    assert load_context(str(folder)) == 256  # the rest can be read
    assert len(load_tokenizer(str(folder))) > 100


@pytest.mark.parametrize("kind", [{}, {"architectures": ["BertForMaskedLM"]}, {"model_type": "modernbert"}])
def test_a_text_encoder_says_that_it_is_one(tokenizer, tmp_path: Path, kind: dict[str, Any]) -> None:
    BertModel(BertConfig(vocab_size=len(tokenizer), **SMALL)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    change(tmp_path, **kind)
    message = refused(tmp_path)
    assert "it is a text encoder (Bert" in message
    assert "take a decoder" in message


def test_a_sentence_transformer_says_that_it_is_one(folder: Path) -> None:
    (folder / "modules.json").write_text("[]")
    assert "it is an embedding model of sentence-transformers" in refused(folder)


def test_an_embedding_model_made_from_a_decoder_has_no_head(tokenizer, tmp_path: Path) -> None:
    config = MistralConfig(vocab_size=len(tokenizer), num_key_value_heads=1, **SMALL)
    MistralModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    message = refused(tmp_path)
    assert "lacks 1 of its weights (lm_head.weight, ...)" in message
    assert "it has no language-model head, like an embedding model" in message


@pytest.mark.parametrize(
    ("card", "how"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, "awq, 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes, 4 bits"),
        ({"load_in_8bit": True}, "bitsandbytes, 8 bits"),
        ({"quant_method": "hqq", "quant_config": {}}, "hqq"),
    ],
)
def test_a_quantised_checkpoint_names_its_library(folder: Path, card: dict[str, Any], how: str) -> None:
    change(folder, quantization_config=card)
    message = refused(folder)
    assert f"it is quantised ({how}), and " in message
    assert message.endswith("or take the same model without quantisation")
    assert "config.json, weights and tokenizer" not in message


def test_a_quantised_llm_is_loaded_and_not_fine_tuned(corpus: Corpus, tokenizer, tmp_path: Path) -> None:
    config = BitNetQuantConfig()
    llm: Any = replace_with_bitnet_linear(make_llm("llama", len(tokenizer)), ["lm_head"], config)
    llm.config.quantization_config = {"quant_method": "bitnet"}
    llm.save_pretrained(tmp_path / "llm")
    tokenizer.save_pretrained(tmp_path / "llm")
    arguments: tuple[Any, ...] = (corpus, str(tmp_path / "llm"), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"is quantised, and its packed weights cannot be trained: .*--lora"):
        train(*arguments, TrainConfig.load(None, SHORT), device="cpu")
    assert not (tmp_path / "run").exists()
    adapters_alone = TrainConfig.load(None, {**SHORT, "stage1.steps": 2, "stage2.steps": 0})
    assert train(*arguments, adapters_alone, device="cpu").card.llm.trained == "frozen"


@pytest.mark.parametrize(
    "config", [{"quantization_config": {"quant_method": "exl2"}}, {"quantization": {"group_size": 64, "bits": 4}}]
)
def test_a_quantisation_that_transformers_would_ignore_is_refused(folder: Path, config: dict[str, Any]) -> None:
    change(folder, **config)
    assert "which transformers cannot read; take the model without quantisation" in refused(folder)


def test_a_model_with_custom_code_names_the_code_that_is_not_run(folder: Path) -> None:
    names = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "someone/own--modeling_own.Own"}
    change(folder, model_type="own", auto_map=names)
    message = refused(folder)
    assert "model type 'own' needs its own code (configuration_own.py, modeling_own.py; trust_remote_code)" in message
    assert "vectalk never runs code" in message
    change(folder, auto_map=None)
    assert "model type 'own' is unknown to transformers" in refused(folder)
    change(folder, model_type="llama", auto_map=names)  # a type that transformers has needs no such code
    assert load_llm(str(folder), device="cpu").hidden_size == 32


def test_folders_that_hold_something_else_say_what(tmp_path: Path, run: Run, random_llm: Path) -> None:
    assert "it is a run of vectalk" in refused(run.path)
    (tmp_path / "model_index.json").write_text("{}")
    assert "it is a pipeline of diffusers" in refused(tmp_path)
    (tmp_path / "model_index.json").unlink()
    shutil.copytree(random_llm, tmp_path / "snapshots" / "abc")
    assert f"give the model inside: {tmp_path / 'snapshots' / 'abc'}" in refused(tmp_path)
    shutil.move(tmp_path / "snapshots" / "abc", tmp_path / "checkpoint-5")
    assert f"give one of {tmp_path / 'checkpoint-5'}" in refused(tmp_path)
    weights = tmp_path / "checkpoint-5" / "model.safetensors"
    assert "it is a file; give the folder with config.json" in refused(weights)


def test_a_local_teacher_gives_the_same_message(folder: Path) -> None:
    change(folder, quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(TeacherError, match=r"cannot be loaded: it is quantised \(awq, 4 bits\)"):
        LocalTransport(LocalModel(model=str(folder), device="cpu"))


def test_the_command_line_reports_it_without_a_traceback(
    folder: Path, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "model.safetensors").write_text(POINTER)
    code, _, err = call(["train", str(corpus.path), "--llm", str(folder), "--out", str(tmp_path / "run"), "-q"], capsys)
    assert code == 2
    assert "is a Git LFS pointer" in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


# ---- GGUF


@pytest.mark.parametrize("place", ["model.gguf", "folder"])
def test_without_its_package_a_gguf_file_names_the_extra(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    for file in ("model.gguf", "folder/model-Q4_K_M.gguf", "folder/mmproj-model.gguf"):
        (tmp_path / file).write_bytes(b"GGUF" + b"\0" * 64)
    monkeypatch.setattr("transformers.utils.is_gguf_available", lambda: False)
    assert "is a GGUF file, and reading it needs the package gguf: pip install 'vectalk[gguf]'" in refused(
        tmp_path / place
    )
    monkeypatch.chdir(tmp_path)  # a relative path is no name on the hub
    assert "is a GGUF file" in refused(place)


def test_gguf_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    assert "no such file" in refused("nowhere.gguf")
    (tmp_path / "a.gguf").write_text(POINTER)
    assert "a.gguf is a Git LFS pointer" in refused(tmp_path / "a.gguf")
    (tmp_path / "a.gguf").write_bytes(b"PK" * 40)
    assert "it does not begin like a GGUF file" in refused(tmp_path / "a.gguf")
    (tmp_path / "a.gguf").rename(tmp_path / "a-00001-of-00003.gguf")
    (tmp_path / "a-00001-of-00003.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    assert "one part of a split GGUF file" in refused(tmp_path / "a-00001-of-00003.gguf")
    (tmp_path / "b-Q8_0.gguf").write_bytes(b"GGUF" + b"\0" * 64)
    assert "cannot be loaded: its tokenizer" not in refused(tmp_path / "b-Q8_0.gguf")  # the file is damaged
    assert f"the folder holds GGUF files; give one of them: {tmp_path / 'a-00001-of-00003.gguf'}" in refused(tmp_path)
    error = unloadable("b", ValueError("GGUF model with architecture x is not supported"), tmp_path / "b-Q8_0.gguf")
    assert "architecture x is not supported; take another file if this one is damaged" in str(error)


def test_a_gguf_file_gives_the_llm_that_it_was_made_from(chat, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="needs the extra [gguf]")
    llm = make_llm("llama", len(chat), hidden_size=64, intermediate_size=64, head_dim=32)
    path = write_gguf(llm, chat, tmp_path / "model.gguf")
    read = load_llm(str(path), device="cpu")
    ids = torch.arange(5, 25)[None]
    assert torch.allclose(read.model(ids).logits, llm(ids).logits, atol=1e-6)
    text = "An island of red sand."
    assert read.tokenizer(text).input_ids == chat(text).input_ids
    assert read.tokenizer.chat_template == chat.chat_template
    assert load_context(str(path)) == 256
    packed = load_llm(str(write_gguf(llm, chat, tmp_path / "model-Q8_0.gguf", quantised=True)), device="cpu")
    gap = (packed.model(ids).logits - llm(ids).logits).abs().max()
    assert 0 < gap < 0.1 * llm(ids).logits.abs().max()
    assert read.fingerprint == fingerprint(str(path)) != packed.fingerprint
    with pytest.raises(LanguageModelError, match="the folder holds GGUF files"):
        load_llm(str(tmp_path), device="cpu")
    path.write_bytes(path.read_bytes()[:3000])
    assert "take another file if this one is damaged" in refused(path)


@pytest.mark.parametrize("trained", ["lora", "full"])
def test_a_run_on_a_gguf_file_is_trained_and_asked(corpus: Corpus, tokenizer, tmp_path: Path, trained: str) -> None:
    pytest.importorskip("gguf", reason="needs the extra [gguf]")
    (tmp_path / "llm").mkdir()
    llm = make_llm("llama", len(tokenizer), hidden_size=64, intermediate_size=64, head_dim=32)
    write_gguf(llm, tokenizer, tmp_path / "llm" / "model.gguf", quantised=True)
    config = TrainConfig.load(None, {**SHORT, "stage2.llm": trained})
    run = train(corpus, str(tmp_path / "llm"), tmp_path / "run", config, device="cpu")
    shutil.move(
        tmp_path, moved := tmp_path.with_name(f"{tmp_path.name}-moved")
    )  # the run finds its base LLM by a relative path
    island = str(corpus.spaces["island"].column("id")[0])
    elm = ELM.from_pretrained(moved / "run", spaces={"island": corpus.spaces["island"].path}, device="cpu")
    assert run.card.llm.name == "../llm"
    assert elm.ask("Describe {island}.", {"island": island}, max_new_tokens=4).text is not None


def test_a_hub_model_that_is_an_adapter_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = cached(hub_cache(monkeypatch, tmp_path), "someone/adapter", "a" * 40)
    (snapshot / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "b/c"}))
    assert "it is a LoRA adapter (PEFT) of 'b/c'" in refused("someone/adapter")


def test_a_hub_repository_of_gguf_files_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cached(hub_cache(monkeypatch, tmp_path), "someone/quants", "a" * 40) / "params.json").write_text("{}")
    assert "run `hf download someone/quants FILE.gguf` and give that file" in refused("someone/quants")


def test_complete_folders_are_loaded(tokenizer, tmp_path: Path) -> None:
    for family in ("llama", "qwen3", "gpt2", "gemma3", "mamba"):
        assert load_llm(str(save_llm(family, tokenizer, tmp_path / family)), device="cpu").hidden_size == 32
