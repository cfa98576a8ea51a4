"""What a low-rank update changes: all linear modules that it fits, or those that the settings name."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import PreTrainedModel

from vectalk.errors import TrainingError
from vectalk.llm.loading import load_llm
from vectalk.model.run import Run
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.config import LoraConfig
from vectalk.training.lora import add_lora, targets_of
from vectalk.training.trainer import train
from worlds import COMMON, SHORT, call, make_llm, save_llm

WORDS = 40
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP = {"gate_proj", "up_proj", "down_proj"}
STATE_SPACE: dict[str, Any] = {"state_size": 4, "head_dim": 8, "num_heads": 8, "n_groups": 1}
HYBRID: dict[str, Any] = {**COMMON, "mamba_d_state": 4, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1}
IMAGES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "image_size": 28,
    "patch_size": 14,
}
# Family -> class of its causal LLM, configuration, and the modules that an update changes by default.
FAMILIES: dict[str, tuple[str, str, dict[str, Any], set[str]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", COMMON, ATTENTION | MLP),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 2}, {"c_attn", "c_proj", "c_fc"}),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", COMMON, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**COMMON, "num_local_experts": 4}, ATTENTION),
    "llama4": (
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {**COMMON, "num_local_experts": 2, "intermediate_size_mlp": 48, "attention_chunk_size": 8},
        ATTENTION | MLP,
    ),
    "phimoe": ("PhimoeForCausalLM", "PhimoeConfig", {**COMMON, "num_local_experts": 4}, ATTENTION),
    "mamba": ("MambaForCausalLM", "MambaConfig", {**COMMON, "state_size": 4}, {"in_proj"}),
    "mamba2": ("Mamba2ForCausalLM", "Mamba2Config", {**COMMON, **STATE_SPACE, "expand": 2}, {"in_proj"}),
    "falcon_mamba": ("FalconMambaForCausalLM", "FalconMambaConfig", {**COMMON, "state_size": 4}, {"in_proj"}),
    "falcon_h1": (
        "FalconH1ForCausalLM",
        "FalconH1Config",
        {**HYBRID, "mamba_d_ssm": 64},
        ATTENTION | MLP | {"in_proj"},
    ),
    "bamba": (
        "BambaForCausalLM",
        "BambaConfig",
        {**HYBRID, "attn_layer_indices": [1]},
        ATTENTION | MLP | {"in_proj"},
    ),
    "gemma3 with images": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        {
            "text_config": {**COMMON, "vocab_size": WORDS},
            "vision_config": IMAGES,
            "mm_tokens_per_image": 4,
            "image_token_index": 39,
        },
        ATTENTION | MLP,
    ),
}


def make(family: str) -> PreTrainedModel:
    model, config, settings, _ = FAMILIES[family]
    torch.manual_seed(0)
    more = {} if "text_config" in settings else {"vocab_size": WORDS}
    return getattr(transformers, model)(getattr(transformers, config)(**{**settings, **more})).eval()


def last_parts(names: list[str]) -> set[str]:
    return {name.rpartition(".")[2] for name in names}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_update_changes_all_that_it_fits_and_all_of_it_gets_gradients(family: str) -> None:
    llm = make(family)
    names = targets_of(llm, LoraConfig()).names
    assert last_parts(names) == FAMILIES[family][3]
    assert not any("vision" in name or name == "lm_head" for name in names)
    peft_model = add_lora(llm, LoraConfig(rank=2))
    words = llm.get_input_embeddings()(torch.arange(3, 35)[None])
    llm(inputs_embeds=words).logits.square().sum().backward()
    gradients = {n: p.grad for n, p in peft_model.named_parameters() if "lora_B" in n}
    assert len(gradients) == len(names)
    assert [name for name, gradient in gradients.items() if gradient is None] == []


def test_a_message_names_the_modules_that_are_left_out() -> None:
    assert targets_of(make("llama"), LoraConfig()).message() is None
    message = targets_of(make("llama4"), LoraConfig()).message()
    assert message is not None
    assert "but not router (its output is not the product of its input and its weights)" in message
    message = targets_of(make("mamba"), LoraConfig()).message()
    assert message is not None
    assert (
        "changes the linear modules in_proj, but not x_proj, dt_proj, out_proj (kernels read their weights" in message
    )


def test_the_trial_leaves_the_llm_as_it_was() -> None:
    llm = make_llm("llama", WORDS).train()
    before = {name: value.clone() for name, value in llm.state_dict().items()}
    targets_of(llm, LoraConfig())
    assert llm.training
    assert all(torch.equal(value, before[name]) for name, value in llm.state_dict().items())
    assert not any(module._forward_hooks for module in llm.modules())


def test_settings_name_modules_by_the_end_of_their_names() -> None:
    llm = make("llama")
    names = targets_of(llm, LoraConfig(targets=["q_proj", "layers.1.mlp.up_proj"])).names
    assert names == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.up_proj",
    ]
    assert LoraConfig.model_validate({"targets": "q_proj, v_proj"}).targets == ["q_proj", "v_proj"]
    assert LoraConfig.model_validate({"targets": "all-linear"}).targets is None
    assert all("vision" not in n for n in targets_of(make("gemma3 with images"), LoraConfig(targets=["q_proj"])).names)


@pytest.mark.parametrize(
    ("family", "target", "message"),
    [
        (
            "llama",
            "q_prj",
            r"'q_prj' is no linear module of LLM 'mine'; did you mean q_proj.*its linear modules are q_proj, k_proj",
        ),
        ("llama", "proj", "'proj' is no linear module"),
        ("llama", "lm_head", "'lm_head' is no linear module"),
        ("llama", "embed_tokens", "'embed_tokens' is no linear module"),
        ("gpt2", "q_proj", r"'q_proj' is no linear module .*c_proj"),
        ("llama4", "router", r"does not fit 'router' of LLM 'mine' \(its output is not the product"),
        ("mamba", "out_proj", r"does not fit 'out_proj' of LLM 'mine' \(kernels read their weights"),
        ("mamba", "conv1d", r"'conv1d' is no linear module .*its linear modules are in_proj"),
    ],
)
def test_a_wrong_target_is_refused_with_the_closest_names(family: str, target: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        targets_of(make(family), LoraConfig(targets=[target]), "mine")


def test_a_wrong_target_is_refused_before_anything_is_trained(
    corpus: Corpus, random_llm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(corpus.path), "--llm", str(random_llm), "--out", str(tmp_path / "run"), "--lora", "-q"]
    code, _, err = call([*arguments, "--set", "lora.targets=q_prj"], capsys)
    assert code == 2
    assert "did you mean q_proj" in err
    assert not (tmp_path / "run").exists()
    code, _, err = call([*arguments, "--set", "lora.targets=[]"], capsys)
    assert code == 2
    assert "lora.targets" in err


def test_a_run_on_a_state_space_llm_learns_an_update_and_logs_what_is_left_out(
    corpus: Corpus, tokenizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    llm = save_llm("mamba", tokenizer, tmp_path / "llm")
    caplog.set_level("INFO", "vectalk")
    config = TrainConfig.load(None, {**SHORT, "stage2.llm": "lora", "lora.rank": 2})
    run = train(corpus, str(llm), tmp_path / "run", config, device="cpu")
    assert "but not x_proj, dt_proj, out_proj" in caplog.text
    model, _ = Run.load(run.path).model("cpu")
    base = load_llm(str(llm), device="cpu").model
    words = base.get_input_embeddings()(torch.arange(5, 20)[None])
    assert not torch.allclose(model.llm(inputs_embeds=words).logits, base(inputs_embeds=words).logits)


def test_targets_of_the_settings_are_those_of_the_saved_update(
    corpus: Corpus, random_llm: Path, tmp_path: Path
) -> None:
    settings = {**SHORT, "stage2.llm": "lora", "lora.targets": ["v_proj"], "lora.rank": 2}
    run = train(corpus, str(random_llm), tmp_path / "run", TrainConfig.load(None, settings), device="cpu")
    model, _ = run.model("cpu")
    changed = {
        name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.llm.named_parameters() if "lora_" in name
    }
    assert changed == {"v_proj"}
    assert run.config["lora"]["targets"] == ["v_proj"]
