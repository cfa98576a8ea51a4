"""`load_llm`: load a decoder LLM without changes, and check that it accepts vectors in place of words."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from vectalk.errors import LanguageModelError
from vectalk.llm.failures import failures_of, first_line, incomplete, unloadable
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.location import Located, locate_llm
from vectalk.llm.quantisation import LoadIn, is_quantised, keep_trainable, packing
from vectalk.llm.quiet import hushed
from vectalk.llm.tokenizer import config_of, tokenizer_of

TOLERANCE = 1e-3
# What an LLM may recommend for sampling; vectalk has a setting of the same name and meaning for each.
RECOMMENDED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size")


@dataclass
class LanguageModel:
    """A decoder LLM with its tokenizer.

    Attributes:
        model: the `AutoModelForCausalLM`, in evaluation mode.
        tokenizer: the tokenizer of the LLM.
        name: `owner/name` on the hub, or a folder or GGUF file.
        revision: commit hash of a hub model, None for a folder or file.
        plain_head: whether the logits are the head applied to the last hidden state and nothing more, so that they can
            be computed at some positions only.
        embedding_rms: root mean square of the token embeddings that enter the first layer.
        fingerprint: fingerprint of the weights (see `fingerprint`).
        own_dtype: data type of the saved weights, if the configuration names it.
        recommended: settings that its generation_config.json recommends for sampling (see `RECOMMENDED`).
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    plain_head: bool
    embedding_rms: float
    fingerprint: str | None = None
    own_dtype: str | None = None
    recommended: dict[str, Any] = field(default_factory=dict)

    def save_recommended(self, folder: str | Path) -> None:
        """Write the recommended settings into the generation_config.json of a folder, for those who load the LLM."""
        if self.recommended:
            settings: Any = self.model.generation_config
            GenerationConfig(**{**settings.to_diff_dict(), "do_sample": True, **self.recommended}).save_pretrained(
                folder
            )

    @property
    def hidden_size(self) -> int:
        """H, the width of a token embedding."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def context(self) -> int | None:
        """Longest sequence of the LLM, in tokens; None if its configuration has none."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)


def pick_device(name: str = "auto") -> torch.device:
    """Return a torch device; `auto` is CUDA if available, else MPS if available, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LanguageModelError(
            f"device {name!r} cannot be used: {str(error).splitlines()[0]}; take cpu, cuda or auto"
        ) from None
    return device


def load_llm(
    name: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    load_in: LoadIn | None = None,
) -> LanguageModel:
    """Load an LLM by hub name, folder or GGUF file, and check that it accepts embeddings in place of token ids.

    Weights are read from safetensors or a GGUF file; a pickle is never opened.

    Args:
        name: a local folder or GGUF file, else `owner/name` on the hub.
        revision: branch, tag or commit of a hub model.
        device: `auto`, `cpu`, `cuda`, ...
        dtype: data type of the weights; `auto` is float32 on a CPU and the type of the checkpoint elsewhere.
        load_in: pack the weights of linear layers in `4bit` or `8bit` (see `packing`); None: do not.

    Raises:
        LanguageModelError: the LLM cannot be loaded, has no tokenizer, or gives other logits from embeddings.
    """
    place = pick_device(device)
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise LanguageModelError(f"unknown dtype {dtype!r}; take auto, float32, bfloat16 or float16")
    # On a CPU half precision is slow and inexact.
    weight_type: Any = torch.float32 if dtype == "auto" and place.type == "cpu" else dtype
    source = locate_llm(name, revision)
    tokenizer = tokenizer_of(source)
    saved = config_of(source)
    packed = {} if load_in is None else packing(load_in, name, saved, place, weight_type, source.gguf)
    model = load_weights(source, weight_type, **packed)
    keep_trainable(model)
    model.name_or_path = source.name  # PEFT saves this name; the path of a cache folder would be useless there
    try:
        model = (model if packed else torch.nn.Module.to(model, place)).eval()
        language = wrap(model, tokenizer, source.name, source.commit)
    except torch.OutOfMemoryError as error:
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        raise LanguageModelError(
            f"LLM {name!r} ({millions:,.0f} million parameters in {model.dtype}) does not fit into the memory of "
            f"{place}; take a smaller LLM, another device, or, without full fine-tuning, dtype=bfloat16"
        ) from error
    language.fingerprint = fingerprint(str(source.place))
    language.own_dtype = None if saved.dtype is None else str(saved.dtype).removeprefix("torch.")
    return language


def load_weights(source: Located, dtype: Any = "auto", **options: Any) -> PreTrainedModel:
    """Load a located causal LLM with all its weights, without running code from its folder.

    Args:
        source: where the LLM is.
        dtype: data type of torch; `auto` is the type of the checkpoint.
        options: further arguments of `from_pretrained`, such as those of `packing`.

    Raises:
        LanguageModelError: the LLM cannot be loaded, or lacks weights.
    """
    try:
        with hushed():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(source.folder),
                dtype=dtype,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
                **source.options,
                **({} if source.gguf is None else _unpacked()),
                **options,
            )
    except failures_of(source.gguf) as error:
        raise unloadable(source.name, error, source.place) from None
    model, report = loaded
    if report["missing_keys"]:  # transformers would continue with random weights in their place
        raise incomplete(source.name, model, sorted(report["missing_keys"]))
    return model


def _unpacked() -> dict[str, Any]:
    """Return the option that unpacks the weights of a GGUF file, because packed weights cannot be trained."""
    known = hasattr(transformers, "GgufConfig")  # older versions of transformers always unpack them
    return {"quantization_config": transformers.GgufConfig(dequantize=True)} if known else {}


def wrap(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, revision: str | None = None
) -> LanguageModel:
    """Check a loaded model, and return it with its tokenizer.

    Args:
        model: the LLM.
        tokenizer: its tokenizer.
        name: name of the LLM.
        revision: commit of a hub model.

    Raises:
        LanguageModelError: the LLM cannot be used.
    """
    if tokenizer.eos_token_id is None:
        raise LanguageModelError(f"LLM {name!r}: its tokenizer has no end-of-text token, so answers could not end")
    table: Any = model.get_input_embeddings()
    rows = len(table.weight)
    # Tokens that were added later need no embedding, because prompts and answers never use them.
    ids = [tokenizer.vocab_size - 1, tokenizer.eos_token_id]
    if max(ids) >= rows:
        raise LanguageModelError(
            f"LLM {name!r} has embeddings of {rows} tokens, its tokenizer makes ids up to {max(ids)}: they do not "
            "belong together; copy the tokenizer of this LLM into its folder"
        )
    plain_head = check_embeddings(model, name)
    # What a checkpoint recommends for sampling (a repetition penalty, say) would change every answer, so it is
    # stored beside the model for callers who ask for it.
    recommended = {
        key: value for key in RECOMMENDED if (value := getattr(model.generation_config, key, None)) is not None
    }
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    model.generation_config = GenerationConfig(**{key: getattr(model.generation_config, key, None) for key in names})
    with torch.no_grad():
        size = min(int(model.config.get_text_config().vocab_size), 8192)
        rms = table(torch.arange(size, device=model.device)).float().square().mean().sqrt().item()
    return LanguageModel(model, tokenizer, name, revision, plain_head, rms, recommended=recommended)


@torch.no_grad()
def check_embeddings(model: PreTrainedModel, name: str) -> bool:
    """Check that a model gives the same logits from embeddings as from ids, and that it does not look ahead.

    Some models use the ids beyond the first layer (embeddings per layer), and would misread a vector.

    Args:
        model: the LLM.
        name: name of the LLM, for errors.

    Returns:
        Whether the logits are the head applied to the last hidden state and nothing more.

    Raises:
        LanguageModelError: the logits differ, or the model looks ahead.
    """
    vocabulary = int(model.config.get_text_config().vocab_size)
    ids = torch.randint(0, vocabulary, (1, 6), generator=torch.Generator().manual_seed(0)).to(model.device)
    try:
        embeds = model.get_input_embeddings()(ids)
        from_ids = model(input_ids=ids).logits.float()
        from_embeds = model(inputs_embeds=embeds).logits.float()
        changed = torch.cat([ids[:, :-1], (ids[:, -1:] + 1) % vocabulary], 1)
        before = model(input_ids=changed).logits.float()[:, :-1]
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # models raise many kinds of errors, assertions among them
        # The kernels of a quantisation may not run on this device.
        fix = "; it is quantised: take the same model without quantisation" if is_quantised(model) else ""
        raise LanguageModelError(
            f"LLM {name!r} does not take embeddings in place of ids: {first_line(error)}{fix}"
        ) from None
    if not torch.allclose(from_ids, from_embeds, atol=TOLERANCE, rtol=TOLERANCE):
        gap = (from_ids - from_embeds).abs().max().item()
        raise LanguageModelError(
            f"LLM {name!r} gives other logits from embeddings than from ids (largest gap {gap:.3g}): it uses ids "
            "beyond the first layer, so it cannot read a vector as a word; take another model"
        )
    # Rounding depends on which tokens the experts of a mixture, or the products of packed weights, process together.
    slack = 1e-4 if model.dtype == torch.float32 and not is_quantised(model) else 0.05
    if (from_ids[:, :-1] - before).abs().max() > slack * from_ids.abs().max():
        raise LanguageModelError(
            f"LLM {name!r} looks ahead: its output at a word depends on the words after it, as in encoders; "
            "take a decoder, which writes from left to right"
        )
    try:
        hidden = model.base_model(inputs_embeds=embeds).last_hidden_state
        head = model.get_output_embeddings()
        return bool(torch.allclose(head(hidden).float(), from_ids, atol=TOLERANCE, rtol=TOLERANCE))
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, TypeError, RuntimeError):
        return False
