"""Weights that are safe to read: safetensors hold numbers, while a pickle can run code when it is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vectalk.errors import VectalkError

# What the libraries fall back to where the safetensors are missing.
PICKLES = {"pytorch_model.bin": "model.safetensors", "adapter_model.bin": "adapter_model.safetensors"}


def check_weights(folder: Path, what: str, error: type[VectalkError], *, whole: bool = False) -> None:
    """Refuse a folder whose weights would be read from a pickle; nothing of it is opened.

    Args:
        folder: of a model, or of a part of one.
        what: whose weights they are, for the message.
        error: what to raise.
        whole: the library that reads them knows no safetensors in several files, and passes over such.

    Raises:
        error: names the pickle, and how to convert it.
    """
    pickle = _pickle_of(folder, whole)
    if pickle is not None:
        raise error(
            f"{what} has its weights in {pickle}, a pickle, which can run code when it is opened: vectalk reads "
            f"safetensors only. Where you trust the file, convert it:\n{conversion(pickle)}"
        )


def weight_files(folder: Path) -> list[Path]:
    """Return the files from which the weights of a folder are read, where it says so; else all that may be weights.

    In the local cache a model on the hub may have others beside them, as many as were ever fetched.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        named = _read(index).get("weight_map")
        files = sorted({folder / str(name) for name in named.values()}) if isinstance(named, dict) else []
        if files and all(file.is_file() for file in files):
            return files
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))


def check_fetched(folder: Path, what: str, repository: str, error: type[VectalkError]) -> None:
    """Refuse what was fetched of a model on the hub where it has no safetensors; its pickles were not fetched.

    Raises:
        error: says how to convert the model.
    """
    if not any(folder.glob("*.safetensors")):
        copy = repository.partition("/")[2]
        raise error(
            f"{what} has no weights in safetensors on the hub, and vectalk reads no others: a pickle, such as "
            "pytorch_model.bin, can run code when it is opened. Where you trust it, convert it into a folder, and name "
            'that:\npython -c "from transformers import AutoModelForCausalLM as Model, AutoTokenizer as Tokenizer\n'
            f"Model.from_pretrained({repository!r}, use_safetensors=False).save_pretrained({copy!r}); "
            f'Tokenizer.from_pretrained({repository!r}).save_pretrained({copy!r})"'
        )


def conversion(pickle: Path) -> str:
    """Return a command that writes the tensors of a pickle as safetensors; it runs no code of the pickle either."""
    target = PICKLES.get(pickle.name)
    if target is None:  # in several files, which only the library puts together
        folder = str(pickle.parent)
        return (
            'python -c "from transformers import AutoModelForCausalLM as Model\n'
            f'Model.from_pretrained({folder!r}, use_safetensors=False).save_pretrained({folder!r})"'
        )
    return (
        'python -c "import torch; from safetensors.torch import save_file; '
        f"weights = torch.load({str(pickle)!r}, weights_only=True)\n"
        "save_file({name: tensor.clone().contiguous() for name, tensor in weights.items()}, "
        f"{str(pickle.with_name(target))!r}, {{'format': 'pt'}})\""
    )


def _pickle_of(folder: Path, whole: bool) -> Path | None:
    """Return the pickle that a library would open in a folder, if there is one."""
    for name, safe in PICKLES.items():
        parts = (folder / f"{safe}.index.json").is_file()
        if (folder / safe).is_file() or (parts and not whole):
            continue
        stem, _, suffix = name.partition(".")
        others = () if parts else sorted(folder.glob(f"{stem}-*.{suffix}"))
        pickles = [path for path in (folder / name, *others) if path.is_file()]
        if pickles:
            return pickles[0]
    named = _read(folder / "config.json").get("transformers_weights")  # goes before all others
    if not isinstance(named, str) or named.endswith((".safetensors", ".safetensors.index.json")):
        return None
    return folder / named


def _read(path: Path) -> dict[str, Any]:
    """Return a JSON object, an empty one for anything else: whoever loads the model says what is wrong with it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
