"""Stored adapters: a run for one base LLM, small enough for the repository, that the demo loads instead of training.

The weights are in float16, without the base LLM. `base.safetensors` holds a sketch of the base LLM's weights: a few
weights of every matrix. It recognises another copy of the same LLM, such as one whose weights were rounded.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from vectalk.errors import RunError
from vectalk.files import atomic_folder
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.loading import load_llm
from vectalk.llm.location import locate_llm
from vectalk.llm.tokenizer import load_config, load_tokenizer
from vectalk.model.prompt import PromptFormat
from vectalk.model.run import Run, name_base, write_card
from vectalk.space import VectorSpace
from vectalk.tasks.corpus.corpus import relative

SKETCH = "base.safetensors"
FILES = ("tasks.yaml", "config.yaml", "training.jsonl", "decoding.json")  # of the run
PER_MATRIX = 16  # weights of each matrix in a sketch
ALIKE = 0.95  # correlation of two sketches from which the LLMs count as copies of one


@dataclass(frozen=True)
class StoredRun:
    """A stored run that fits a base LLM.

    Attributes:
        run: the stored run.
        exact: whether the weights of the LLM are those of training; otherwise they correlate with them.
    """

    run: Run
    exact: bool


def sketch(model: PreTrainedModel) -> np.ndarray:
    """Return some weights of every matrix of an LLM, at even distances [N], float32."""
    parts = []
    for _, weights in sorted(model.named_parameters()):
        if weights.ndim == 2:
            flat = weights.detach().flatten()
            places = torch.linspace(0, len(flat) - 1, PER_MATRIX, dtype=torch.float64).long()
            parts.append(flat[places.to(flat.device)].float().cpu().numpy())
    return np.concatenate(parts)


def store(run: Run, out: Path, name: str, llm: str) -> Path:
    """Write a run with float16 weights and a sketch of its base LLM.

    Args:
        run: a finished run whose base LLM was not fully fine-tuned.
        out: folder to write; an older stored run is replaced.
        name: name of the base LLM in the card, such as `owner/name`.
        llm: folder or hub name of the base LLM.

    Raises:
        RunError: the run contains an LLM of its own.
    """
    if run.card.llm.trained == "full":
        raise RunError(f"run {run.path} contains a fully fine-tuned LLM; store a run with a low-rank update (--lora)")
    card = run.card.model_copy(deep=True)
    base = load_llm(llm, device="cpu")
    run.check_llm(base)
    with atomic_folder(out, "elm.json", overwrite=True) as folder:
        for file_name in FILES:
            if (run.path / file_name).is_file():
                shutil.copy2(run.path / file_name, folder / file_name)
        for part in ("adapters", "lora"):
            if (run.path / part).is_dir():
                shutil.copytree(run.path / part, folder / part, ignore=shutil.ignore_patterns("README.md"))
        for file in folder.rglob("*.safetensors"):
            weights = {n: t.half() if t.ndim > 1 else t for n, t in load_file(file).items()}
            save_file(weights, file, {"format": "pt"})
        name_base(folder, name)
        save_arrays({"weights": sketch(base.model).astype(np.float16)}, folder / SKETCH)
        for space_name, space in run.spaces().items():
            card.spaces[space_name].path = relative(space.path, out)
        card.llm.name, card.llm.revision, card.corpus = name, None, "corpus"
        write_card(folder, card)
    return out


def find_stored(llm: str, data: Path) -> StoredRun | None:
    """Return the stored run that fits a base LLM; None if there is none.

    Args:
        llm: folder or hub name of the base LLM.
        data: folder whose subfolders may be stored runs.
    """
    runs = [Run.load(file.parent) for file in sorted(data.glob("*/elm.json")) if (file.parent / SKETCH).is_file()]
    if not runs:
        return None
    place = str(locate_llm(llm).place)
    for run in runs:
        if run.card.llm.fingerprint == fingerprint(place, like=run.card.llm.fingerprint):
            return StoredRun(run, True)
    prompts, config = PromptFormat(load_tokenizer(llm), {}), load_config(llm)
    for run in runs:
        same_form = run.card.template_hash == prompts.template_hash
        if same_form and config.get_text_config().hidden_size == run.card.llm.hidden_size:
            stored = load_arrays(run.path / SKETCH)["weights"].astype(np.float32)
            own = sketch(load_llm(llm, device="cpu").model)
            if own.shape == stored.shape and np.corrcoef(own, stored)[0, 1] >= ALIKE:
                return StoredRun(run, False)
    return None


def use_stored(stored: Run, out: Path, llm: str, corpus: Path) -> Run:
    """Write a run that uses a stored adapter with a base LLM at another place, and return it.

    Args:
        stored: the stored run.
        out: folder to create.
        llm: folder or hub name of the base LLM; its weights become those that the new run accepts.
        corpus: folder of a corpus of the same spaces.
    """
    card, source = stored.card.model_copy(deep=True), locate_llm(llm)
    spaces: dict[str, VectorSpace] = stored.spaces()
    with atomic_folder(out, "elm.json") as folder:
        shutil.copytree(stored.path, folder, dirs_exist_ok=True)
        card.llm.name, card.llm.revision = source.name, source.commit
        if source.commit is None:
            card.llm.name = os.path.relpath(source.place.resolve(), out.resolve())
        card.llm.fingerprint = fingerprint(str(source.place), like=card.llm.fingerprint)
        for name, space in spaces.items():
            card.spaces[name].path = relative(space.path, out)
        card.corpus = os.path.relpath(corpus.resolve(), out.resolve())
        write_card(folder, card)
    return Run.load(out)
