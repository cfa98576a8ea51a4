"""Makers of small worlds: islands with a corpus, tiny random LLMs of several families, the settings of short runs."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from vectalk.cli.main import main
from vectalk.demo.world import World, islands_suite
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus

# ChatML-like, with a turn of the system that is always there.
CHAT_TEMPLATE = (
    "<|im_start|>system\nBe brief.<|im_end|>\n"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A small suite that is whole.
SUITE: dict[str, Any] = {
    "name": "small",
    "attributes": {"film": {"genres": {"kind": "list"}, "decade": {"kind": "decade", "column": "year"}}},
    "tasks": [
        {
            "name": "summary",
            "slots": {"film": "film"},
            "about": "film",
            "states": ["genres"],
            "prompts": ["Summarise {film}."],
            "facts": ["A film of {{ film.genres | listed }}.", "Made in the {{ film.decade }}."],
        }
    ],
}
# The settings of the shared run.
CONFIG: dict[str, Any] = {
    "batch_size": 32,
    "eval_every": 50,
    "eval_examples": 64,
    "save_every": 1000,
    "adapter.width": 64,
    "stage1.steps": 150,
    "stage1.lr_adapter": 5e-3,
    "stage2.steps": 350,
    "stage2.lr_llm": 3e-3,
    "stage2.lr_adapter": 3e-3,
}
# The settings of runs that only have to run.
SHORT: dict[str, Any] = {
    "batch_size": 8,
    "eval_every": 4,
    "eval_examples": 8,
    "save_every": 5,
    "adapter.width": 16,
    "adapter.soft_tokens": 2,
    "stage1.steps": 12,
    "stage2.steps": 12,
}


def make_islands(folder: Path, *, rows: int = 400, suite: Suite | None = None, variants: int = 2, **options) -> Corpus:
    """Save a space of islands and build the corpus of a suite on it."""
    suite, space = suite or islands_suite(), World.make().space(rows).save(folder / "islands")
    teacher = FactsTeacher(suite, {"island": space})
    return build_corpus({"island": space}, suite, teacher, folder / "corpus", variants=variants, **options)


def chat_tokenizer(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return a copy with a chat template."""
    made = copy.deepcopy(tokenizer)
    made.add_special_tokens({"extra_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    made.chat_template = CHAT_TEMPLATE
    return made


COMMON = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", COMMON),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", {**COMMON, "tie_word_embeddings": True}),
    "gpt2": (
        "GPT2Config",
        "GPT2LMHeadModel",
        {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256, "bos_token_id": 1, "eos_token_id": 1},
    ),
    "gemma3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {**COMMON, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}
# Families that differ in how they place, norm and route; tried where a loss and its gradients are compared.
MORE_FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {**COMMON, "use_parallel_residual": True}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**COMMON, "sliding_window": 16}),
    "opt": (
        "OPTConfig",
        "OPTForCausalLM",
        {**COMMON, "ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
    ),
    "phi": ("PhiConfig", "PhiForCausalLM", {**COMMON, "num_key_value_heads": 2}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", {**COMMON, "num_local_experts": 4, "num_experts_per_tok": 2}),
}
# As parameters of a test: four that show the kinds, and, slow, the others.
EACH_FAMILY = [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_FAMILIES)]
# Recurrent: what stands before a text in its row is not forgotten.
RECURRENT = (
    "MambaConfig",
    "MambaForCausalLM",
    {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0, "eos_token_id": 1},
)


def make_llm(family: str, vocabulary: int, seed: int = 0, **options: Any) -> PreTrainedModel:
    """Make a random two-layer LLM whose weights are large enough for its words to depend on what it read."""
    config_class, model_class, settings = {**FAMILIES, **MORE_FAMILIES, "mamba": RECURRENT}[family]
    torch.manual_seed(seed)
    config = getattr(transformers, config_class)(
        vocab_size=vocabulary, initializer_range=0.2, **{**settings, **options}
    )
    return getattr(transformers, model_class)(config).eval()


def save_llm(family: str, tokenizer: PreTrainedTokenizerFast, folder: Path, **options: Any) -> Path:
    """Save a random LLM with its tokenizer as a Hugging Face folder."""
    make_llm(family, len(tokenizer), **options).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def call(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command line in this process; returns exit code, stdout and stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    output = capsys.readouterr()
    return int(stopped.value.code or 0), output.out, output.err


def log_of(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's log without the seconds, which no two runs share."""
    rows = [json.loads(line) for line in (run / "training.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def each(examples: list[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Group examples."""
    groups: dict[Any, list[Any]] = {}
    for example in examples:
        groups.setdefault(key(example), []).append(example)
    return groups


def space_of(**columns: Any) -> VectorSpace:
    """Return a space of films with these metadata, all of them in the train split."""
    rows = len(next(iter(columns.values())))
    vectors = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    names = {"id": [str(n) for n in range(rows)], "title": [f"Film {n}" for n in range(rows)]}
    return VectorSpace.create("film", vectors, {**names, "split": ["train"] * rows, **columns})


def make_films(rows: int = 400, dim: int = 8, seed: int = 0, **options) -> VectorSpace:
    """Return films in five clusters."""
    rng = np.random.default_rng(seed)
    centers = 3 * rng.standard_normal((5, dim))
    vectors = (centers[np.arange(rows) % 5] + rng.standard_normal((rows, dim))).astype(np.float32)
    table = {
        "id": [str(1000 + n) for n in range(rows)],
        "title": [f"Film {n} ({1950 + n % 70})" for n in range(rows)],
        "kind": [n % 5 for n in range(rows)],
        "genres": [["Drama"] if n % 2 else ["Comedy", "Drama"] if n % 4 else [] for n in range(rows)],
    }
    return VectorSpace.create("film", vectors, table, **options)
