"""Packed weights: an LLM is loaded in four or eight bits a weight, with bitsandbytes."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any, Literal

import torch
from transformers import PreTrainedConfig

from vectalk.errors import LanguageModelError

LoadIn = Literal["4bit", "8bit"]


def is_quantised(model: Any) -> bool:
    """Return whether the weights of a loaded model are packed in fewer bits, so that they cannot be trained."""
    return bool(getattr(model, "is_quantized", False))


def packing(
    load_in: LoadIn, name: str, config: PreTrainedConfig, device: torch.device, dtype: Any, gguf: str | None
) -> dict[str, Any]:
    """Return the arguments of `from_pretrained` that pack the weights of an LLM.

    Args:
        load_in: `4bit` (NF4, with packed scales) or `8bit` (LLM.int8).
        name: name of the LLM, for errors.
        config: configuration of the LLM.
        device: device of the weights.
        dtype: dtype of the products; `auto` is bfloat16.
        gguf: name of the LLM's GGUF file, if it is one.

    Raises:
        LanguageModelError: bitsandbytes is missing, the LLM is packed already, or the device is not supported.
    """
    if find_spec("bitsandbytes") is None:
        raise LanguageModelError(
            f"load_in {load_in} needs the package bitsandbytes: pip install 'vectalk[quantized]', or leave out load_in"
        )
    if device.type == "mps":
        raise LanguageModelError(f"load_in {load_in} does not work on {device}; take --device cpu, or leave it out")
    if gguf is not None or getattr(config, "quantization_config", None) is not None:
        kind = "a GGUF file, whose weights are unpacked" if gguf is not None else "quantised already"
        raise LanguageModelError(
            f"load_in {load_in}: LLM {name!r} is {kind}; leave out load_in, or take the same model without quantisation"
        )
    from transformers import BitsAndBytesConfig

    # It would say at every product that activations are rounded to float16, which is how LLM.int8 works.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    if load_in == "8bit":
        settings = BitsAndBytesConfig(load_in_8bit=True)
    else:
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else dtype,
        )
    return {"quantization_config": settings, "device_map": {"": str(device)}}


def keep_trainable(model: Any) -> None:
    """Turn off a layout of four-bit weights that has no gradient.

    On CPUs with AVX512-BF16, bitsandbytes changes the layout at the first forward pass in evaluation mode, and never
    back. A later training step would then get no gradient through these layers, with nothing but a warning.

    Args:
        model: an LLM with packed weights, before its first forward pass.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
