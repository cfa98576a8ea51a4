"""Load an untouched decoder LLM and make sure that it can take vectors as words."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import cached_file, logging

from vectalk.errors import LanguageModelError

TOLERANCE = 1e-3
SAMPLES, SAMPLE_BYTES = 64, 1 << 14
WHOLE, WHOLE_BYTES = "whole:", 256 << 20


@dataclass
class LanguageModel:
    """A decoder LLM with its tokenizer.

    Attributes:
        model: the `AutoModelForCausalLM`, in evaluation mode.
        tokenizer: its tokenizer.
        name: hub name or folder.
        revision: commit hash of a hub model, or None for a folder.
        plain_head: whether logits are just the output embedding of the last hidden state, so that they may be
            computed at chosen positions only.
        embedding_rms: root mean square of the token embeddings as they enter the first layer.
        fingerprint: of a folder's weights, None for a hub model, which its revision tells.
        own_dtype: the type of the weights as they are saved, where the configuration says so.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str | None
    plain_head: bool
    embedding_rms: float
    fingerprint: str | None = None
    own_dtype: str | None = None

    @property
    def hidden_size(self) -> int:
        """H, the width of a token embedding."""
        return int(self.model.config.get_text_config().hidden_size)

    @property
    def context(self) -> int | None:
        """Longest sequence that the model was made for, in tokens, where its configuration says so."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None)


@contextmanager
def hushed() -> Iterator[None]:
    """Keep transformers' progress bars away, and what it has to tell PEFT, while files are read or written."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def pick_device(name: str = "auto") -> torch.device:
    """Return a torch device; `auto` takes CUDA, then MPS, then the CPU."""
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


def load_llm(name: str, *, revision: str | None = None, device: str = "auto", dtype: str = "auto") -> LanguageModel:
    """Load an LLM by hub name or folder and check that it takes embeddings in place of ids.

    Args:
        name: hub name, or a local folder.
        revision: branch, tag or commit of a hub model.
        device: where it lives.
        dtype: `auto` is float32 on a CPU and the checkpoint's own type elsewhere; or a torch name.

    Raises:
        LanguageModelError: it cannot be loaded, has no tokenizer, or gives other logits from embeddings.
    """
    source = _source(name)
    place = pick_device(device)
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise LanguageModelError(f"unknown dtype {dtype!r}; take auto, float32, bfloat16 or float16")
    wanted: Any = dtype
    if dtype == "auto" and place.type == "cpu":
        wanted = torch.float32  # half precision is slow and inexact there
    tokenizer = load_tokenizer(name, revision=revision)
    try:
        with hushed():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source, revision=revision, dtype=wanted, output_loading_info=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise _unloadable(name, error) from None
    model, report = loaded
    if report["missing_keys"]:  # the library would go on with random weights in their place
        missing = sorted(report["missing_keys"])
        raise LanguageModelError(
            f"LLM {name!r} lacks {len(missing)} of its weights ({missing[0]}, ...): it is not a whole causal LLM"
        )
    try:
        model = torch.nn.Module.to(model, place).eval()
        language = wrap(model, tokenizer, name, commit_of(name, revision))
    except torch.OutOfMemoryError as error:
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        raise LanguageModelError(
            f"LLM {name!r} ({millions:,.0f} million parameters in {model.dtype}) does not fit into the memory of "
            f"{place}; take a smaller LLM, another device, or, where it is not trained whole, dtype=bfloat16"
        ) from error
    language.fingerprint = fingerprint(name)
    saved = load_config(name, revision=revision).dtype
    language.own_dtype = None if saved is None else str(saved).removeprefix("torch.")
    return language


def commit_of(name: str, revision: str | None = None) -> str | None:
    """Return the commit of a hub model that the cache holds for a branch, tag or commit; None for a folder."""
    if Path(name).expanduser().is_dir():
        return None
    found = cached_file(name, "config.json", revision=revision, local_files_only=True)
    snapshot = Path(found).parent if found is not None else Path()
    return snapshot.name if snapshot.parent.name == "snapshots" else revision


def fingerprint(name: str, like: str | None = None) -> str | None:
    """Return a hash that changes with the weights of an LLM's folder, None for a hub name.

    It is of whole files up to 256 MB together, which takes a moment; of larger ones of sizes and samples, which a
    change of all weights cannot pass, but one of a few could.

    Args:
        name: folder, or hub name.
        like: an older fingerprint that this one is to be compared with, which may be of samples whatever the size.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    files = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
    whole = sum(p.stat().st_size for p in files) <= WHOLE_BYTES and (like is None or like.startswith(WHOLE))
    found = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        found.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            if whole:
                found.update(hashlib.file_digest(file, "sha256").digest())
            for part in range(0 if whole else SAMPLES):
                file.seek(size * part // SAMPLES)
                found.update(file.read(SAMPLE_BYTES))
    return (WHOLE if whole else "") + found.hexdigest()


def load_tokenizer(name: str, *, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an LLM by hub name or folder.

    Raises:
        LanguageModelError: there is none.
    """
    try:
        with hushed():
            return AutoTokenizer.from_pretrained(_source(name), revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(name, error) from None


def load_context(name: str, *, revision: str | None = None) -> int | None:
    """Return the longest sequence that an LLM was made for, from its configuration alone; None where that says nothing.

    Raises:
        LanguageModelError: there is no such model.
    """
    return getattr(load_config(name, revision=revision).get_text_config(), "max_position_embeddings", None)


def load_config(name: str, *, revision: str | None = None) -> Any:
    """Load the configuration of an LLM by hub name or folder.

    Raises:
        LanguageModelError: there is no such model.
    """
    try:
        return AutoConfig.from_pretrained(_source(name), revision=revision, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(name, error) from None


def _source(name: str) -> str:
    """Return what the library is to load: a hub name as it is, a folder that was checked."""
    folder = Path(name).expanduser()
    if not name.startswith((".", "/", "~")) and not folder.is_dir():
        return name
    if not (folder / "config.json").is_file():
        found = "it has no config.json" if folder.is_dir() else "no such folder"
        raise LanguageModelError(
            f"LLM folder {name} is not a model ({found}); give a Hugging Face folder or a hub name"
        )
    return str(folder)


def _unloadable(name: str, error: Exception) -> LanguageModelError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return LanguageModelError(
        f"LLM {name!r} cannot be loaded: {first}; give a folder with config.json, weights and tokenizer, or the "
        "name of a hub model (HF_HUB_OFFLINE=1 keeps to what is in the cache)"
    )


def wrap(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, revision: str | None = None
) -> LanguageModel:
    """Check a loaded model and wrap it."""
    if tokenizer.eos_token_id is None:
        raise LanguageModelError(f"LLM {name!r}: its tokenizer has no end-of-text token, so answers could not end")
    table: Any = model.get_input_embeddings()
    rows = len(table.weight)
    ids = [tokenizer.vocab_size - 1, tokenizer.eos_token_id]  # what is added beyond need never be said
    if max(ids) >= rows:
        raise LanguageModelError(
            f"LLM {name!r} has embeddings of {rows} tokens, its tokenizer makes ids up to {max(ids)}: they do not "
            "belong together; put the tokenizer beside the LLM that it was made for"
        )
    plain_head = check_embeddings(model, name)
    # What a checkpoint recommends for sampling (a repetition penalty, say) would leak into every answer.
    kept = ("bos_token_id", "eos_token_id", "pad_token_id")
    model.generation_config = GenerationConfig(**{key: getattr(model.generation_config, key, None) for key in kept})
    with torch.no_grad():
        size = min(int(model.config.get_text_config().vocab_size), 8192)
        rms = table(torch.arange(size, device=model.device)).float().square().mean().sqrt().item()
    return LanguageModel(model, tokenizer, name, revision, plain_head, rms)


@torch.no_grad()
def check_embeddings(model: PreTrainedModel, name: str) -> bool:
    """Refuse a model whose logits from ids and from their embeddings differ, or that looks ahead.

    Returns whether its head is plain. Some models use the ids for more than the first layer (embeddings per layer),
    and would misread a vector.
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
    except (NotImplementedError, ValueError, TypeError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise LanguageModelError(f"LLM {name!r} does not take embeddings in place of ids: {reason}") from None
    if not torch.allclose(from_ids, from_embeds, atol=TOLERANCE, rtol=TOLERANCE):
        gap = (from_ids - from_embeds).abs().max().item()
        raise LanguageModelError(
            f"LLM {name!r} gives other logits from embeddings than from ids (largest gap {gap:.3g}): it uses ids "
            "beyond the first layer, so it cannot read a vector as a word; take another model"
        )
    slack = 1e-4 if model.dtype == torch.float32 else 0.05  # rounding differs with what experts share a product
    if (from_ids[:, :-1] - before).abs().max() > slack * from_ids.abs().max():
        raise LanguageModelError(
            f"LLM {name!r} looks ahead: what it says of a word depends on the words after it, as in encoders; "
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
