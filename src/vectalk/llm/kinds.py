"""Folders that transformers cannot load as a causal LLM: `kind_of` says what they are, and what the user can do.

Only small files are read, before anything large is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

POINTER = b"version https://git-lfs.github.com/spec/"
VOCABULARIES = ("tokenizer.json", "*.model", "*vocab*", "merges.txt", "*.tiktoken", "tekken.json")
# Tokenizers of bytes or characters, which need no vocabulary file.
BYTE_TOKENIZERS = ("ByT5Tokenizer", "PerceiverTokenizer", "CanineTokenizer")
# Ends of the names of classes that write text.
WRITERS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def kind_of(folder: Path) -> str | None:
    """Say what a folder holds instead of a causal LLM, and what to do; return None if it may be a causal LLM.

    Args:
        folder: an existing folder; the snapshot of a hub model may lack files.
    """
    if (folder / "elm.json").is_file():
        return (
            "it is a run of vectalk, not a base LLM; start training from it with --from, or ask it with `vectalk ask`"
        )
    if pointer := _pointer_in(folder):
        return pointer_problem(pointer)
    if (folder / "adapter_config.json").is_file():
        return _adapter_problem(_read(folder / "adapter_config.json"))
    if (folder / "modules.json").is_file():
        return (
            "it is an embedding model of sentence-transformers, which turns texts into vectors and writes no text; "
            "give a causal LLM with --llm (this model can be used as --encoder)"
        )
    if (folder / "model_index.json").is_file():
        return "it is a pipeline of diffusers, which makes images; give a causal LLM"
    if (folder / "config.json").is_file():
        config = _read(folder / "config.json")
        return _config_problem(config) if config else "its config.json is not a JSON object; download it again"
    return _problem_without_config(folder)


def gguf_files(folder: Path) -> list[Path]:
    """Return the GGUF files of a folder, without those of image encoders."""
    return sorted(path for path in folder.glob("*.gguf") if not path.name.startswith("mmproj"))


def _pointer_in(folder: Path) -> Path | None:
    """Return the first file that transformers would read and that is a Git LFS pointer; None if there is none."""
    weights = list(folder.glob("*.safetensors")) or list(folder.glob("*.bin"))
    others = [path for pattern in ("*.json", "*.model", "*.txt", "*.tiktoken") for path in folder.glob(pattern)]
    for file in sorted([*weights, *others]):
        if file.is_file() and file.stat().st_size < 1024 and file.read_bytes().startswith(POINTER):
            return file
    return None


def pointer_problem(file: Path) -> str:
    """Say that a file is a Git LFS pointer, and what to do."""
    size = re.search(rb"^size (\d+)", file.read_bytes()[:1024], re.MULTILINE)
    of = f" of {int(size.group(1)):,} bytes" if size else ""
    return (
        f"{file.name} is a Git LFS pointer: a few lines in place of a file{of} that was not downloaded; run "
        "`git lfs install` and `git lfs pull` in its folder, or download the model with `hf download`"
    )


def _adapter_problem(card: dict[str, Any]) -> str:
    kind, base = str(card.get("peft_type") or "PEFT"), card.get("base_model_name_or_path")
    kind = "LoRA" if kind.upper() == "LORA" else kind
    of = f" of {base!r}" if base else ""
    if "PROMPT" in kind.upper() or kind.upper().endswith("_TUNING"):
        return (
            f"it is a {kind} adapter (PEFT){of}, not a complete LLM; it is a learned prompt, which cannot be merged "
            "into an LLM; give the base LLM without it"
        )
    return (
        f"it is a {kind} adapter (PEFT){of}, not a complete LLM; merge it into its base LLM with peft: "
        "`AutoPeftModelForCausalLM.from_pretrained(ADAPTER).merge_and_unload().save_pretrained(FOLDER)`, copy the "
        "tokenizer into FOLDER, and give FOLDER"
    )


def _config_problem(config: dict[str, Any]) -> str | None:
    """Say why a config.json does not describe a causal LLM that transformers can build; return None if it does."""
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    kind, classes = str(config.get("model_type") or ""), [str(c) for c in config.get("architectures") or ()]
    if kind and kind not in CONFIG_MAPPING:
        if isinstance(config.get("auto_map"), dict):
            names = _class_names(config["auto_map"])
            files = sorted({f"{name.split('--')[-1].split('.')[0]}.py" for name in names})
            return (
                f"model type {kind!r} needs its own code ({', '.join(files)}; trust_remote_code), and vectalk never "
                "runs code from a model folder; take a model whose type is part of transformers"
            )
        return (
            f"model type {kind!r} is unknown to transformers {transformers.__version__}; update transformers, or take "
            "another model"
        )
    writes = any(name.endswith(WRITERS) for name in classes)
    if kind in ENCODERS and not config.get("is_decoder") and not config.get("is_encoder_decoder") and not writes:
        return (
            f"it is a text encoder ({classes[0] if classes else kind}), which turns texts into vectors and writes no "
            "text; take a decoder, which writes from left to right (an encoder can be used as --encoder)"
        )
    if config.get("is_encoder_decoder"):
        return (
            f"it is an encoder-decoder ({classes[0] if classes else kind}), which reads one text and writes another; "
            "take a decoder, which writes from left to right"
        )
    method = _quantisation_method(config)
    if method is not None and not any(known.startswith(method) for known in AUTO_QUANTIZATION_CONFIG_MAPPING):
        return f"it is quantised by {method!r}, which transformers cannot read; take the model without quantisation"
    return None


def quantisation_of(folder: Path) -> str | None:
    """Return how the checkpoint in a folder is quantised, such as "awq, 4 bits"; None if it is not."""
    config = _read(folder / "config.json")
    method, card = _quantisation_method(config), config.get("quantization_config") or {}
    bits = card.get("bits") or next((b for b in (4, 8) if card.get(f"load_in_{b}bit")), None)
    return None if method is None else f"{method}, {bits} bits" if bits else method


def _quantisation_method(config: dict[str, Any]) -> str | None:
    card = config.get("quantization_config")
    if not isinstance(card, dict):
        return "mlx" if isinstance(config.get("quantization"), dict) else None
    bitsandbytes = card.get("load_in_4bit") or card.get("load_in_8bit")
    return str(card.get("quant_method") or ("bitsandbytes" if bitsandbytes else "mlx" if "group_size" in card else "?"))


def _problem_without_config(folder: Path) -> str:
    """Say what a folder without config.json holds, and what to do."""
    if ggufs := gguf_files(folder):
        return f"the folder holds GGUF files; give one of them: {_listed(ggufs)}"
    if snapshots := sorted(folder.glob("snapshots/*/config.json")):
        return f"it is a folder of the hub's local cache; give the model inside: {snapshots[-1].parent}"
    if checkpoints := sorted(folder.glob("*/config.json")):
        return f"it has no config.json, but its subfolders have; give one of {_listed(p.parent for p in checkpoints)}"
    if (folder / "params.json").is_file() or list(folder.glob("consolidated.*")):
        return "it has no config.json: it is in the format of its publisher; take the version for transformers"
    if list(folder.glob("**/*.onnx")):
        return "it has no config.json: it is a model for ONNX Runtime; take the checkpoint in safetensors"
    return (
        "it has no config.json; give a folder with config.json, weights and tokenizer, a GGUF file, or owner/name of a "
        "model on the hub"
    )


def lacks_tokenizer(folder: Path) -> bool:
    """Return whether a folder has no file of a tokenizer's vocabulary, and needs one."""
    kind = _read(folder / "tokenizer_config.json").get("tokenizer_class")
    return kind not in BYTE_TOKENIZERS and not any(any(folder.glob(name)) for name in VOCABULARIES)


def base_name_of(folder: Path) -> str:
    """Return the name of the model that a folder was made from, as its config.json says; "" if it does not say."""
    return str(_read(folder / "config.json").get("_name_or_path") or "")


def missing_weights(folder: Path) -> str | None:
    """Say that a folder has no weights in safetensors, and what to do; return None if it has."""
    if any(folder.glob("*.safetensors")):
        return None
    suffixes = (".bin", ".gguf", ".h5", ".msgpack", ".pth", ".pt", ".onnx")
    others = sorted(path for path in folder.iterdir() if path.suffix in suffixes)
    gguf = next((path for path in others if path.suffix == ".gguf"), None)
    fix = f"give {gguf}" if gguf else "download them, or take the same model in safetensors"
    existing = f" (only {_listed(path.name for path in others)})" if others else ""
    return f"it has no weights in safetensors{existing}; {fix}"


def _read(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file; an empty one if there is none, since transformers then says what is wrong."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _class_names(auto_map: dict[str, Any]) -> Iterable[str]:
    """Yield the names of the classes in an `auto_map`, whose values may be pairs."""
    for value in auto_map.values():
        yield from (str(name) for name in (value if isinstance(value, list) else [value]) if name)


def _listed(names: Iterable[object]) -> str:
    """Return the first five names with commas, and dots if there are more."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:5]) + (", ..." if len(texts) > 5 else "")
