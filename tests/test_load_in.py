"""`load_in`: the weights of the base LLM are packed in four or eight bits, in training and wherever the run is used."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from vectalk.errors import LanguageModelError, TrainingError
from vectalk.llm.loading import load_llm
from vectalk.llm.quantisation import is_quantised, packing
from vectalk.llm.tokenizer import load_config
from vectalk.model.export import export_merged
from vectalk.model.run import Run
from vectalk.talk.elm import ELM
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, call, save_llm

# Rows of 64 weights: the smallest block that is packed.
WIDE = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 4}
PACKED = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes: vectalk[quantized]")


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_without_bitsandbytes_the_error_names_the_extra(random_llm: Path) -> None:
    with pytest.raises(LanguageModelError, match=r"pip install 'vectalk\[quantized\]'"):
        load_llm(str(random_llm), device="cpu", load_in="4bit")


def test_packed_weights_are_never_fully_fine_tuned() -> None:
    with pytest.raises(TrainingError, match="load_in is '4bit', and a stage trains all weights"):
        TrainConfig.load(None, {"load_in": "4bit"})
    with pytest.raises(TrainingError, match="load_in is '8bit' and shard is true"):
        TrainConfig.load(None, {"load_in": "8bit", "shard": True, "stage2.llm": "lora"})
    assert TrainConfig.load(None, {"load_in": "8bit", "stage2.llm": "lora"}).load_in == "8bit"
    with pytest.raises(TrainingError, match=r"load_in: Input should be '4bit' or '8bit'"):
        TrainConfig.load(None, {"load_in": "2bit", "stage2.llm": "lora"})


def test_the_command_line_names_the_allowed_values(short_run: Run, capsys) -> None:
    code, _, error = call(["ask", str(short_run.path), "Describe {island}.", "--load-in", "5bit"], capsys)
    assert code == 2
    assert "--load-in is 4bit, 8bit or none, not '5bit'" in " ".join(error.split())


@PACKED
def test_a_quantised_llm_is_not_packed_again(random_llm: Path) -> None:
    config = load_config(str(random_llm))
    config.quantization_config = {"quant_method": "gptq"}
    with pytest.raises(LanguageModelError, match="is quantised already; leave out load_in"):
        packing("4bit", "mine", config, torch.device("cpu"), torch.float32, None)
    with pytest.raises(LanguageModelError, match="is a GGUF file"):
        packing("4bit", "mine", load_config(str(random_llm)), torch.device("cpu"), torch.float32, "a.gguf")


@PACKED
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_gradients_pass_through_packed_weights_after_an_evaluation(bits: str, tokenizer, tmp_path: Path) -> None:
    language = load_llm(str(save_llm("llama", tokenizer, tmp_path / "llm", **WIDE)), device="cpu", load_in=bits)
    embeds = language.model.get_input_embeddings()(torch.tensor([[3, 5, 7, 9]])).detach()
    gradients = []
    for _ in range(2):
        inputs = embeds.clone().requires_grad_()
        language.model.train()(inputs_embeds=inputs).logits[0, -1, 5].backward()
        gradients.append(inputs.grad)
        with torch.no_grad():
            language.model.eval()(inputs_embeds=embeds)
    assert gradients[0][0, 0].abs().sum() > 0
    assert torch.allclose(*gradients, rtol=1e-3)
    # The slope that the outputs have: a step along the gradient raises the logit by what the gradient says.
    step = 0.05 * gradients[0] / gradients[0].norm()
    with torch.no_grad():
        after, before = (language.model(inputs_embeds=embeds + s * step).logits[0, -1, 5] for s in (1, -1))
    assert float(after - before) == pytest.approx(0.1 * float(gradients[0].norm()), rel=0.2)


@PACKED
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
@pytest.mark.parametrize("how", ["lora", "frozen"])
def test_a_run_loads_its_llm_as_it_was_trained(
    bits: str, how: str, corpus: Corpus, tokenizer, tmp_path: Path, capsys
) -> None:
    llm = save_llm("llama", tokenizer, tmp_path / "llm", **WIDE)
    short = {**SHORT, "stage1.steps": 2, "stage2.steps": 3, "stage2.llm": how, "lora.rank": 2, "load_in": bits}
    run = train(corpus, str(llm), tmp_path / "run", TrainConfig.load(None, short), device="cpu")
    assert run.card.llm.load_in == bits
    model, prompts = run.model("cpu")
    assert is_quantised(model.llm)
    again, _ = run.model("cpu")
    whole, _ = run.model("cpu", load_in="none")
    assert not is_quantised(whole.llm)
    elms = [ELM(run, each, prompts, run.spaces()) for each in (model, again, whole)]
    texts = [elm.ask("Describe {island}.", {"island": elm.spaces["island"][0]}, max_new_tokens=4).text for elm in elms]
    assert texts[0] == texts[1]
    # The export has whole weights: those of the base LLM, and any update merged into them.
    export_merged(run, tmp_path / "plain")
    plain = load_llm(str(tmp_path / "plain"), device="cpu")
    assert not is_quantised(plain.model)
    base = load_llm(str(llm), device="cpu")
    ids = torch.tensor([[3, 5, 7]])
    same = np.allclose(plain.model(ids).logits.detach(), base.model(ids).logits.detach(), atol=1e-4)
    assert same == (how == "frozen")
