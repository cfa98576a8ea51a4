"""`locate_llm`: find the files of an LLM, and refuse what is no LLM before anything large is loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from vectalk.errors import LanguageModelError
from vectalk.hub_address import HubAddress
from vectalk.llm.failures import unloadable
from vectalk.llm.kinds import (
    POINTER,
    base_name_of,
    gguf_files,
    kind_of,
    lacks_tokenizer,
    missing_weights,
    pointer_problem,
)
from vectalk.llm.weights import check_fetched, check_weights, damaged_weights

# Patterns of the files that are fetched from the hub; other kinds of weights, and folders of other libraries, are not.
CONFIG = ("config.json",)
TOKENIZER = ("*.json", "*.model", "*.txt", "*.jinja")
WEIGHTS = (*TOKENIZER, "*.safetensors")
IGNORED = ("*/*", "consolidated*")
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


class Located(NamedTuple):
    """Where an LLM is.

    Attributes:
        folder: the folder of its files; for a hub model the snapshot in the local cache.
        name: the name as the user gave it, or `owner/name` of a hub model.
        commit: commit of a hub model, None for a folder or file.
        gguf: name of its GGUF file in the folder, if it is one.
    """

    folder: Path
    name: str
    commit: str | None
    gguf: str | None = None

    @property
    def place(self) -> Path:
        """The GGUF file, or the folder."""
        return self.folder if self.gguf is None else self.folder / self.gguf

    @property
    def options(self) -> dict[str, Any]:
        """Further arguments of `from_pretrained`."""
        return {} if self.gguf is None else {"gguf_file": self.gguf}


def local_place(name: str) -> Path:
    """Return the local path of an LLM: its folder or GGUF file.

    A folder with one GGUF file and no config.json stands for this file.
    """
    place = Path(name).expanduser()
    if place.is_dir() and not (place / "config.json").is_file() and len(files := gguf_files(place)) == 1:
        return files[0]
    return place


def locate_llm(name: str, revision: str | None = None, files: tuple[str, ...] = WEIGHTS) -> Located:
    """Find an LLM by hub name, folder or GGUF file; fetch files of a hub model that the local cache lacks.

    Args:
        name: a local folder or GGUF file, else `owner/name` or `hf://owner/name` on the hub.
        revision: branch, tag or commit of a hub model.
        files: patterns of the files that are needed: CONFIG, TOKENIZER or WEIGHTS.

    Raises:
        LanguageModelError: there is no such model, it is no causal LLM, or its weights are a pickle.
    """
    if not name.strip():
        raise LanguageModelError("the name of the LLM is empty; give a folder, a GGUF file, or owner/name on the hub")
    place, commit = local_place(name), None
    if place.is_file():
        _check_file(name, place)
        return Located(place.parent, name, None, place.name)
    if not place.exists():
        place, name, commit = _fetch(name, revision, files)
    if problem := kind_of(place):
        if commit is not None and not (place / "config.json").is_file():
            problem += f". If the repository holds GGUF files, run `hf download {name} FILE.gguf` and give that file"
        raise LanguageModelError(f"LLM {name!r} cannot be loaded: {problem}")
    if files == WEIGHTS:
        check_weights(place, f"LLM {name!r}", LanguageModelError)
        if commit is not None:
            check_fetched(place, f"LLM {name!r}", name, LanguageModelError)
    problem = _tokenizer_problem(place, commit) if files != CONFIG and lacks_tokenizer(place) else None
    if problem is None and files == WEIGHTS:
        problem = missing_weights(place) or damaged_weights(place)
    if problem:
        raise LanguageModelError(f"LLM {name!r} cannot be loaded: {problem}")
    return Located(place, name, commit)


def _fetch(name: str, revision: str | None, files: tuple[str, ...]) -> tuple[Path, str, str]:
    """Return snapshot folder, `owner/name` and commit of a hub model."""
    address = HubAddress.of_model(name)
    if address is None:
        kind = "file" if name.lower().endswith(".gguf") else "folder"
        raise LanguageModelError(
            f"LLM {kind} {name} is not a model (no such {kind}); give a Hugging Face folder, a GGUF file, or "
            "owner/name of a model on the hub"
        )
    address = address if address.revision is not None else address._replace(revision=revision)
    try:
        folder = address.download(files, LanguageModelError, IGNORED)
    except LanguageModelError as error:
        raise unloadable(name, error) from None
    return folder, address.repository, folder.name


def _tokenizer_problem(folder: Path, commit: str | None) -> str:
    """Say that a folder has no tokenizer, and what to do."""
    problem = "it has no tokenizer (no tokenizer.json, tokenizer.model or vocabulary file)"
    if commit is not None:
        return f"{problem}; take a model with a tokenizer, or download it again if the local cache is not complete"
    base = base_name_of(folder)
    return (
        f"{problem}; copy tokenizer.json and tokenizer_config.json of the model that it was made from"
        f"{f' ({base})' if base else ''} into the folder"
    )


def _check_file(name: str, file: Path) -> None:
    """Raise a LanguageModelError if a file is not a complete GGUF file, or if the package that reads it is missing."""
    with file.open("rb") as opened:
        start = opened.read(len(POINTER))
    problem = None
    if start == POINTER:
        problem = pointer_problem(file)
    elif not start.startswith(b"GGUF"):
        kind = "it does not begin like a GGUF file" if file.suffix == ".gguf" else "it is a file"
        problem = f"{kind}; give the folder with config.json, weights and tokenizer, or a GGUF file"
    elif _SPLIT.search(file.name):
        problem = (
            "it is one part of a split GGUF file; join the parts with llama.cpp's `llama-gguf-split --merge`, and give "
            "the joined file"
        )
    if problem:
        raise LanguageModelError(f"LLM {name!r} cannot be loaded: {problem}")
    from transformers.utils import is_gguf_available

    if not is_gguf_available():
        raise LanguageModelError(
            f"LLM {name!r} is a GGUF file, and reading it needs the package gguf: pip install 'vectalk[gguf]'"
        )
