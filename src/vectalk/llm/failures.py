"""Errors about an LLM that cannot be loaded: what it is, why it fails, and what to do."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel

from vectalk.errors import LanguageModelError
from vectalk.llm.kinds import quantisation_of

FAILURES = (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError)


def failures_of(gguf: str | None) -> tuple[type[Exception], ...]:
    """Return what transformers may raise for a damaged or unknown checkpoint; for a GGUF file this is any exception."""
    return FAILURES if gguf is None else (Exception,)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the name of its type."""
    if isinstance(error, KeyError):
        return f"the key {error} is missing"
    if "ignore_mismatched_sizes" in str(error):  # the report that this message means is not shown
        return "the shapes of its weights do not fit its config.json, as if its files came from different models"
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".;")


def unloadable(name: str, error: Exception, place: Path | None = None, part: str = "") -> LanguageModelError:
    """Return the error about an LLM that cannot be loaded.

    Args:
        name: the LLM as the user named it.
        error: the error of the library.
        place: folder or GGUF file of the LLM, if it was located.
        part: what could not be read, such as "tokenizer"; "" for the LLM.
    """
    reason = f"its {part} cannot be read: {first_line(error)}" if part else first_line(error)
    if place is not None and place.is_file():
        fix = "take another file if this one is damaged, or a folder with the same model in safetensors"
    elif place is not None and (how := quantisation_of(place)):
        reason, fix = f"it is quantised ({how}), and {reason}", "or take the same model without quantisation"
    else:
        fix = (
            "give a folder with config.json, weights and tokenizer, or the name of a hub model (with HF_HUB_OFFLINE=1 "
            "only the local cache is used)"
        )
    return LanguageModelError(f"LLM {name!r} cannot be loaded: {reason}; {fix}")


def incomplete(name: str, model: PreTrainedModel, missing: list[str]) -> LanguageModelError:
    """Return the error about a model that lacks some of its weights.

    Args:
        name: the LLM as the user named it.
        model: the model that was built.
        missing: names of the missing weights.
    """
    head = model.get_output_embeddings()
    heads = {key for key, value in model.named_parameters() if head is not None and value is head.weight}
    if set(missing) <= heads:
        problem = "it has no language-model head, like an embedding model; take a causal LLM"
    else:
        problem = "it is not a complete causal LLM"
    return LanguageModelError(f"LLM {name!r} lacks {len(missing)} of its weights ({missing[0]}, ...): {problem}")
