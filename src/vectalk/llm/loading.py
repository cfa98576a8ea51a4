"""Load an untouched decoder LLM and make sure that it can take vectors as words."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
from transformers.utils import logging

from vectalk.errors import LanguageModelError
from vectalk.hub_address import HubAddress
from vectalk.llm.weights import check_fetched, check_weights, weight_files

TOLERANCE = 1e-3
# What is fetched of a model on the hub; other kinds of weights, and the folders of other libraries, stay there.
CONFIG = ("config.json",)
TOKENIZER = ("*.json", "*.model", "*.txt", "*.jinja")
WEIGHTS = (*TOKENIZER, "*.safetensors")
LEFT_OUT = ("*/*", "consolidated*")
SAMPLES, SAMPLE_BYTES = 64, 1 << 14
# What an LLM may recommend for sampling; vectalk has a setting of the same name and meaning for each.
RECOMMENDED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "no_repeat_ngram_size")
WHOLE, WHOLE_BYTES = "whole:", 256 << 20


@dataclass
class LanguageModel:
    """A decoder LLM with its tokenizer.

    Attributes:
        model: the `AutoModelForCausalLM`, in evaluation mode.
        tokenizer: its tokenizer.
        name: `owner/name` on the hub, or folder.
        revision: commit hash of a hub model, or None for a folder.
        plain_head: whether logits are just the output embedding of the last hidden state, so that they may be
            computed at chosen positions only.
        embedding_rms: root mean square of the token embeddings as they enter the first layer.
        fingerprint: of its weights (see `fingerprint`).
        own_dtype: the type of the weights as they are saved, where the configuration says so.
        recommended: the settings that its generation_config.json recommends for sampling (see `RECOMMENDED`).
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

    Its weights are read from safetensors; a pickle is never opened.

    Args:
        name: a local folder, else `owner/name` on the hub.
        revision: branch, tag or commit of a hub model.
        device: where it lives.
        dtype: `auto` is float32 on a CPU and the checkpoint's own type elsewhere; or a torch name.

    Raises:
        LanguageModelError: it cannot be loaded, has no tokenizer, or gives other logits from embeddings.
    """
    place = pick_device(device)
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise LanguageModelError(f"unknown dtype {dtype!r}; take auto, float32, bfloat16 or float16")
    wanted: Any = dtype
    if dtype == "auto" and place.type == "cpu":
        wanted = torch.float32  # half precision is slow and inexact there
    source = locate_llm(name, revision)
    tokenizer = _auto(AutoTokenizer, name, source)
    try:
        with hushed():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                str(source.folder),
                dtype=wanted,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise _unloadable(name, error) from None
    model, report = loaded
    if report["missing_keys"]:  # the library would go on with random weights in their place
        missing = sorted(report["missing_keys"])
        raise LanguageModelError(
            f"LLM {name!r} lacks {len(missing)} of its weights ({missing[0]}, ...): it is not a whole causal LLM"
        )
    model.name_or_path = source.name  # PEFT writes it down, and a folder of the cache tells nobody anything
    try:
        model = torch.nn.Module.to(model, place).eval()
        language = wrap(model, tokenizer, source.name, source.commit)
    except torch.OutOfMemoryError as error:
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        raise LanguageModelError(
            f"LLM {name!r} ({millions:,.0f} million parameters in {model.dtype}) does not fit into the memory of "
            f"{place}; take a smaller LLM, another device, or, where it is not trained whole, dtype=bfloat16"
        ) from error
    language.fingerprint = fingerprint(str(source.folder))
    saved = _auto(AutoConfig, name, source).dtype
    language.own_dtype = None if saved is None else str(saved).removeprefix("torch.")
    return language


class Located(NamedTuple):
    """Where an LLM is.

    Attributes:
        folder: with its files; of a hub model the snapshot in the local cache.
        name: as it was given, or `owner/name` of a hub model.
        commit: of a hub model, None for a folder.
    """

    folder: Path
    name: str
    commit: str | None


def locate_llm(name: str, revision: str | None = None, files: tuple[str, ...] = WEIGHTS) -> Located:
    """Find an LLM by hub name or folder; of a hub model the files are fetched where the cache lacks them.

    Args:
        name: a local folder, else `owner/name` or `hf://owner/name` on the hub.
        revision: branch, tag or commit of a hub model.
        files: patterns of the files that are needed.

    Raises:
        LanguageModelError: there is no such model, or its weights are a pickle.
    """
    folder, commit = Path(name).expanduser(), None
    if not folder.exists():
        address = HubAddress.of_model(name)
        if address is None:
            raise LanguageModelError(
                f"LLM folder {name} is not a model (no such folder); give a Hugging Face folder, or owner/name of a "
                "model on the hub"
            )
        address = address if address.revision is not None else address._replace(revision=revision)
        try:
            folder = address.download(files, LanguageModelError, LEFT_OUT)
        except LanguageModelError as error:
            raise _unloadable(name, error) from None
        name, commit = address.repository, folder.name
    if not (folder / "config.json").is_file():
        found = "it has no config.json" if folder.is_dir() else "it is a file"
        raise LanguageModelError(
            f"LLM folder {name} is not a model ({found}); give a Hugging Face folder or a hub name"
        )
    if files == WEIGHTS:
        check_weights(folder, f"LLM {name!r}", LanguageModelError)
        if commit is not None:
            check_fetched(folder, f"LLM {name!r}", name, LanguageModelError)
    return Located(folder, name, commit)


def fingerprint(name: str, like: str | None = None) -> str | None:
    """Return a hash that changes with the weights of an LLM's folder, None for what is no folder.

    It is of whole files up to 256 MB together, which takes a moment; of larger ones of sizes and samples, which a
    change of all weights cannot pass, but one of a few could.

    Args:
        name: the folder; of a hub model that of its snapshot (see `locate_llm`).
        like: an older fingerprint that this one is to be compared with, which may be of samples whatever the size.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        return None
    digest = _hash(weight_files(folder), like)
    if like not in (None, digest):  # an older version took all that may be weights, also what is not read
        every = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin"))
        digest = like if _hash(every, like) == like else digest
    return digest


def _hash(files: list[Path], like: str | None) -> str:
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
    return _auto(AutoTokenizer, name, locate_llm(name, revision, TOKENIZER))


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
    return _auto(AutoConfig, name, locate_llm(name, revision, CONFIG))


def _auto(kind: Any, name: str, source: Located) -> Any:
    """Load what `AutoTokenizer` or `AutoConfig` finds in a folder."""
    try:
        with hushed():
            return kind.from_pretrained(str(source.folder), trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _unloadable(name, error) from None


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
    # What a checkpoint recommends for sampling (a repetition penalty, say) would leak into every answer: it is stored
    # beside the model, for those who ask for it.
    recommended = {
        key: value for key in RECOMMENDED if (value := getattr(model.generation_config, key, None)) is not None
    }
    kept = ("bos_token_id", "eos_token_id", "pad_token_id")
    model.generation_config = GenerationConfig(**{key: getattr(model.generation_config, key, None) for key in kept})
    with torch.no_grad():
        size = min(int(model.config.get_text_config().vocab_size), 8192)
        rms = table(torch.arange(size, device=model.device)).float().square().mean().sqrt().item()
    return LanguageModel(model, tokenizer, name, revision, plain_head, rms, recommended=recommended)


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
