"""No pickle is ever opened: weights are safetensors, and where there is only a pickle, how to convert it is said."""

import ast
import json
import os
import pickle
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from elm_models import SOFT, card_for, make_model
from offline import FakeHub, cached, fake_transformers, hub_cache
from vectalk.errors import EvaluationError, LanguageModelError, RunError, SpaceError, TeacherError
from vectalk.files import write_text
from vectalk.llm.client import transport_to
from vectalk.llm.loading import load_llm
from vectalk.llm.local import LocalModel
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.llm.weights import conversion
from vectalk.model import ElmAdapter, PromptFormat
from vectalk.model.run import Run, save_model, write_card
from vectalk.readback import SentenceEncoder
from vectalk.readback.encoder import MINILM
from vectalk.space import VectorSpace
from worlds import save_llm

SOURCE = Path(__file__).parents[1] / "src" / "vectalk"


class Poison:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {shlex.quote(str(self.marker))}",)


@pytest.fixture
def marker(tmp_path: Path):
    """A file that a poisoned pickle writes; whatever was done, it must not be there in the end."""
    path = tmp_path / "a-pickle-was-opened"
    yield path
    assert not path.exists()


def poison(file: Path, marker: Path) -> Path:
    """Write a pickle that does harm when it is opened."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(Poison(marker)))
    return file


def pickled(folder: Path, name: str = "model.safetensors", to: str = "pytorch_model.bin") -> Path:
    """Turn the safetensors of a folder into a pickle, as older models have them."""
    torch.save(load_file(folder / name), folder / to)
    (folder / name).unlink()
    return folder


def test_a_poisoned_pickle_is_one(tmp_path: Path) -> None:
    file = poison(tmp_path / "x.bin", tmp_path / "harm")
    pickle.loads(file.read_bytes())
    assert (tmp_path / "harm").exists()


@pytest.fixture
def llm(tmp_path: Path, tokenizer) -> Path:
    return save_llm("llama", tokenizer, tmp_path / "llm")


def run_command(command: str) -> None:
    """Do what `python -c "..."` would, here."""
    program, option, code = shlex.split(command)
    assert (program, option) == ("python", "-c")
    exec(code, {})


def test_an_llm_in_a_pickle_is_refused_with_how_to_convert_it(llm: Path) -> None:
    before = load_llm(str(llm), device="cpu")
    pickled(llm)
    with pytest.raises(LanguageModelError) as refused:
        load_llm(str(llm), device="cpu")
    first, *command = str(refused.value).splitlines()
    assert f"has its weights in {llm / 'pytorch_model.bin'}, a pickle" in first
    assert load_tokenizer(str(llm))  # which needs no weights
    run_command("\n".join(command))
    after = load_llm(str(llm), device="cpu")
    for name, weight in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], weight, rtol=0, atol=0)


def test_so_is_one_in_several(llm: Path) -> None:
    weights = load_file(llm / "model.safetensors")
    names = sorted(weights)
    parts = {f"pytorch_model-0000{n + 1}-of-00002.bin": names[n::2] for n in range(2)}
    for file, held in parts.items():
        torch.save({name: weights[name] for name in held}, llm / file)
    index = {"metadata": {}, "weight_map": {name: file for file, held in parts.items() for name in held}}
    (llm / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (llm / "model.safetensors").unlink()
    with pytest.raises(LanguageModelError, match=r"pytorch_model-00001-of-00002\.bin, a pickle") as refused:
        load_llm(str(llm), device="cpu")
    run_command("\n".join(str(refused.value).splitlines()[1:]))
    assert load_llm(str(llm), device="cpu")


def test_nothing_of_a_poisoned_folder_is_opened(llm: Path, marker: Path) -> None:
    (llm / "model.safetensors").unlink()
    poison(llm / "pytorch_model.bin", marker)
    with pytest.raises(LanguageModelError, match=r"pytorch_model\.bin, a pickle, which can run code"):
        load_llm(str(llm), device="cpu")
    with pytest.raises(TeacherError, match=r"pytorch_model\.bin, a pickle, .*\n.*torch\.load.*weights_only=True"):
        transport_to(LocalModel(model=str(llm)))


def test_nor_where_the_safetensors_are_there_too(llm: Path, marker: Path) -> None:
    poison(llm / "pytorch_model.bin", marker)
    assert load_llm(str(llm), device="cpu")


def test_a_configuration_does_not_choose_a_pickle(llm: Path, marker: Path) -> None:
    """transformers takes the file that `transformers_weights` names before all others."""
    poison(llm / "adapter_model.bin", marker)
    shutil.copyfile(llm / "model.safetensors", llm / "adapter_model.safetensors")
    config = json.loads((llm / "config.json").read_text())
    (llm / "config.json").write_text(json.dumps({**config, "transformers_weights": "adapter_model.bin"}))
    with pytest.raises(LanguageModelError, match=r"adapter_model\.bin, a pickle"):
        load_llm(str(llm), device="cpu")


def test_an_llm_of_the_hub_in_a_pickle_is_refused(
    llm: Path, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = hub_cache(monkeypatch, tmp_path / "hub")
    folder = cached(cache, "someone/old", "a" * 40)
    shutil.copytree(llm, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()  # its pickle was never fetched
    with pytest.raises(LanguageModelError) as refused:
        load_llm("someone/old", device="cpu")
    assert "has no weights in safetensors on the hub" in str(refused.value)
    assert "Model.from_pretrained('someone/old', use_safetensors=False).save_pretrained('old')" in str(refused.value)
    poison(folder / "pytorch_model.bin", marker)  # fetched by something else
    with pytest.raises(LanguageModelError, match=r"pytorch_model\.bin, a pickle"):
        load_llm("someone/old", device="cpu")


# ---- what a run holds


@pytest.fixture
def lora(llm: Path, tmp_path: Path) -> Path:
    """A run with a low-rank update that did nothing yet."""
    model = make_model(load_llm(str(llm), device="cpu"))
    update: Any = get_peft_model(model.llm, LoraConfig(r=2, target_modules=["q_proj"]))
    run = tmp_path / "run"
    save_model(run, model, "lora", update)
    write_text(run / "config.yaml", "dtype: auto\n")
    write_card(run, card_for(model, PromptFormat(model.language.tokenizer, SOFT), llm, "lora"))
    return run


def test_a_run_in_pickles_is_refused(lora: Path, marker: Path) -> None:
    assert Run.load(lora).model("cpu")
    adapter = next((lora / "adapters").iterdir())
    weights = (adapter / "model.safetensors").read_bytes()
    (adapter / "model.safetensors").unlink()
    poison(adapter / "pytorch_model.bin", marker)
    with pytest.raises(RunError, match=r"the adapter has its weights in .*pytorch_model\.bin, a pickle"):
        Run.load(lora).model("cpu")
    with pytest.raises(RunError, match="a pickle"):
        ElmAdapter.from_pretrained(adapter)
    (adapter / "model.safetensors").write_bytes(weights)
    (lora / "lora" / "adapter_model.safetensors").unlink()
    poison(lora / "lora" / "adapter_model.bin", marker)
    with pytest.raises(RunError, match=r"run .* has its weights in .*adapter_model\.bin, a pickle") as refused:
        Run.load(lora).model("cpu")
    assert conversion(lora / "lora" / "adapter_model.bin") in str(refused.value)
    assert "adapter_model.safetensors'" in str(refused.value)


# ---- text encoders


@pytest.mark.parametrize("part", ["", "2_Dense"])
def test_an_encoder_in_a_pickle_is_not_even_tried(
    part: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, folder = fake_transformers(monkeypatch), tmp_path / "encoder"
    poison(folder / part / "pytorch_model.bin", marker)
    with pytest.raises(EvaluationError, match=r"text encoder .* has its weights in .*pytorch_model\.bin, a pickle"):
        SentenceEncoder(str(folder)).encode(["a"])
    # Of a part in several files sentence-transformers takes the pickle all the same.
    write_text(folder / part / "model.safetensors.index.json", "{}")
    with pytest.raises(EvaluationError, match="a pickle"):
        SentenceEncoder(str(folder)).encode(["a"])
    assert fake.loaded == []
    (folder / part / "model.safetensors").write_bytes(b"numbers")
    SentenceEncoder(str(folder)).encode(["a"])
    assert len(fake.loaded) == 1


def test_only_numbers_and_text_are_fetched_of_an_encoder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake, hub = fake_transformers(monkeypatch), FakeHub.put(monkeypatch, tmp_path / "hub")
    wanted = ("modules.json", "config.json", "model.safetensors", "vocab.txt", "1_Pooling/config.json")
    for name in (*wanted, "pytorch_model.bin", "2_Dense/pytorch_model.bin", "modeling.py", "onnx/model.onnx"):
        write_text(hub.place / MINILM / name, "{}")
    SentenceEncoder("minilm").encode(["a"])
    assert sorted(hub.fetched) == sorted(wanted)
    assert [place for place, _ in fake.loaded] == [str(hub.place / "cache" / MINILM)]


def test_a_real_encoder_is_read_from_safetensors_alone(tmp_path: Path, tokenizer) -> None:
    """The whole way, where the library is installed: what is saved loads, and as a pickle it does not."""
    library = pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    bert = library.sentence_transformer.modules.Transformer(str(tmp_path / "bert"))
    pooling = library.sentence_transformer.modules.Pooling(32)
    dense = library.sentence_transformer.modules.Dense(32, 8)
    made = library.SentenceTransformer(modules=[bert, pooling, dense], device="cpu")
    made.save(str(tmp_path / "encoder"))
    encoder = SentenceEncoder(str(tmp_path / "encoder"), device="cpu")
    rows, empty = encoder.encode(["a ship", "gold"]), encoder.encode([])
    np.testing.assert_allclose(rows, made.encode(["a ship", "gold"], normalize_embeddings=True), atol=1e-5)
    assert empty.shape == (0, 8)
    for part in ("", "2_Dense"):
        copy = tmp_path / f"copy{part}"
        pickled(shutil.copytree(tmp_path / "encoder", copy) / part)
        with pytest.raises(EvaluationError, match="a pickle"):
            SentenceEncoder(str(copy), device="cpu").encode(["a"])
        run_command(conversion(copy / part / "pytorch_model.bin"))
        np.testing.assert_array_equal(SentenceEncoder(str(copy), device="cpu").encode(["a ship", "gold"]), rows)


# ---- vectors, and the source


def test_vectors_in_a_pickle_are_refused(tmp_path: Path, marker: Path, islands: VectorSpace) -> None:
    assert islands.path is not None
    space = shutil.copytree(islands.path, tmp_path / "space")
    np.save(space / "vectors.npy", np.array([[Poison(marker)]], dtype=object), allow_pickle=True)
    with pytest.raises(SpaceError, match="is not a whole space"):
        VectorSpace.load(space)


FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_the_source_opens_no_pickle() -> None:
    """No module that reads pickles, no `torch.load`, no array of objects; models as safetensors, no code of them."""
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{where} {name}" for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
            if not isinstance(node, ast.Call):
                continue
            called, options = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            unsafe = called in ("torch.load", "yaml.load", "yaml.unsafe_load") or options.get("allow_pickle") == "True"
            unsafe |= options.get("trust_remote_code", "False") != "False"
            if called == "AutoModelForCausalLM.from_pretrained":
                unsafe |= options.get("use_safetensors") != "True" or "trust_remote_code" not in options
            if called == "SentenceTransformer":
                unsafe |= "'use_safetensors': True" not in options["model_kwargs"]
            wrong += [f"{where} {called}"] if unsafe else []
    assert wrong == []
