"""Check that weights are safe to read: safetensors hold only numbers, a pickle can run code when it is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vectalk.errors import VectalkError

# Pickles that the libraries read if there are no safetensors -> the safetensors.
PICKLES = {"pytorch_model.bin": "model.safetensors", "adapter_model.bin": "adapter_model.safetensors"}


def check_weights(folder: Path, what: str, error: type[VectalkError], *, whole: bool = False) -> None:
    """Refuse a folder whose weights a library would read from a pickle; no file is opened as a pickle.

    Args:
        folder: folder of a model, or of a part of a model.
        what: owner of the weights, for the message.
        error: type of the error to raise.
        whole: whether the library that reads the weights ignores safetensors in several files.

    Raises:
        error: the weights are in a pickle; the message says how to convert it.
    """
    pickle = _pickle_of(folder, whole)
    if pickle is not None:
        raise error(
            f"{what} has its weights in {pickle}, a pickle, which can run code when it is opened: vectalk reads "
            f"only safetensors. If you trust the file, convert it:\n{conversion(pickle)}"
        )


def weight_files(folder: Path) -> list[Path]:
    """Return the files from which the weights of a folder are read; if it does not name them, all possible ones.

    In the local cache, the folder of a hub model may hold other weights as well.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        names = _read(index).get("weight_map")
        files = sorted({folder / str(name) for name in names.values()}) if isinstance(names, dict) else []
        if files and all(file.is_file() for file in files):
            return files
    return sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))


def damaged_weights(folder: Path) -> str | None:
    """Say which file of weights is missing or cannot be read, and what to do; return None if all can be read.

    Only the headers of the files are read; they tell whether a file is complete.
    """
    from safetensors import SafetensorError, safe_open

    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not whole.is_file() and "transformers_weights" not in _read(folder / "config.json"):
        parts = sorted(folder.glob("model-*-of-*.safetensors"))
        if parts and not index.is_file():
            return f"it has parts of the weights ({parts[0].name}) but no {index.name}; download all files of the model"
        weight_map = _read(index).get("weight_map")
        names = sorted(set(map(str, weight_map.values()))) if isinstance(weight_map, dict) else []
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            return (
                f"{len(missing)} of the {len(names)} files in {index.name} are missing ({missing[0]}); download all "
                "files of the model"
            )
    for file in weight_files(folder):
        if file.suffix == ".safetensors":
            try:
                with safe_open(file, framework="numpy"):
                    pass
            except (SafetensorError, OSError) as error:
                return (
                    f"{file.name} ({file.stat().st_size:,} bytes) cannot be read as safetensors ({error}): it is "
                    "damaged or not completely downloaded; download it again"
                )
    return None


def check_fetched(folder: Path, what: str, repository: str, error: type[VectalkError]) -> None:
    """Refuse a hub model without safetensors; its pickles were not fetched.

    Raises:
        error: the model has no safetensors; the message says how to convert it.
    """
    if not any(folder.glob("*.safetensors")):
        copy = repository.partition("/")[2]
        raise error(
            f"{what} has no weights in safetensors on the hub, and vectalk reads no others: a pickle, such as "
            "pytorch_model.bin, can run code when it is opened. If you trust it, convert it into a folder, and name "
            'that:\npython -c "from transformers import AutoModelForCausalLM as Model, AutoTokenizer as Tokenizer\n'
            f"Model.from_pretrained({repository!r}, use_safetensors=False).save_pretrained({copy!r}); "
            f'Tokenizer.from_pretrained({repository!r}).save_pretrained({copy!r})"'
        )


def conversion(pickle: Path) -> str:
    """Return a command that writes the tensors of a pickle as safetensors, without running code of the pickle."""
    target = PICKLES.get(pickle.name)
    if target is None:  # several files, which only transformers can join
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
    """Return the pickle that a library would open in a folder; None if there is none."""
    for name, safe in PICKLES.items():
        parts = (folder / f"{safe}.index.json").is_file()
        if (folder / safe).is_file() or (parts and not whole):
            continue
        stem, _, suffix = name.partition(".")
        others = () if parts else sorted(folder.glob(f"{stem}-*.{suffix}"))
        pickles = [path for path in (folder / name, *others) if path.is_file()]
        if pickles:
            return pickles[0]
    file = _read(folder / "config.json").get("transformers_weights")  # takes precedence over all other files
    if not isinstance(file, str) or file.endswith((".safetensors", ".safetensors.index.json")):
        return None
    return folder / file


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; an empty one if it is malformed, which loading the model then reports."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
