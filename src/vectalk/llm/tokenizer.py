"""Tokenizer and configuration of an LLM, without its weights."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from vectalk.errors import LanguageModelError
from vectalk.llm.failures import failures_of, unloadable
from vectalk.llm.location import CONFIG, TOKENIZER, Located, locate_llm
from vectalk.llm.quiet import hushed

SOME_WORDS = "a b c of the 1 2 что 的"


def load_tokenizer(name: str, *, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Load the tokenizer of an LLM by hub name, folder or GGUF file.

    Raises:
        LanguageModelError: there is no tokenizer, or it has no vocabulary.
    """
    return tokenizer_of(locate_llm(name, revision, TOKENIZER))


def tokenizer_of(source: Located) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a located LLM.

    Raises:
        LanguageModelError: there is no tokenizer, or it has no vocabulary.
    """
    tokenizer: PreTrainedTokenizerBase = _auto(AutoTokenizer, source)
    # If files are missing, transformers may make a tokenizer that turns every text into unknown tokens, or into none.
    ids = tokenizer(SOME_WORDS, add_special_tokens=False).input_ids
    if not set(ids) - {tokenizer.unk_token_id, *tokenizer.added_tokens_decoder}:
        raise LanguageModelError(
            f"LLM {source.name!r} cannot be loaded: its tokenizer has no vocabulary; copy tokenizer.json and "
            "tokenizer_config.json of the model that it was made from into the folder"
        )
    tokenizer.name_or_path = source.name
    return tokenizer


def load_config(name: str, *, revision: str | None = None) -> Any:
    """Load the configuration of an LLM by hub name, folder or GGUF file.

    Raises:
        LanguageModelError: there is no such model.
    """
    return config_of(locate_llm(name, revision, CONFIG))


def config_of(source: Located) -> Any:
    """Load the configuration of a located LLM.

    Raises:
        LanguageModelError: it cannot be read.
    """
    return _auto(AutoConfig, source)


def load_context(name: str, *, revision: str | None = None) -> int | None:
    """Return the longest sequence of an LLM, in tokens, from its configuration; None if the configuration has none.

    Raises:
        LanguageModelError: there is no such model.
    """
    return getattr(load_config(name, revision=revision).get_text_config(), "max_position_embeddings", None)


def _auto(kind: Any, source: Located) -> Any:
    """Load what `AutoTokenizer` or `AutoConfig` finds at a place."""
    try:
        with hushed():
            return kind.from_pretrained(str(source.folder), trust_remote_code=False, **source.options)
    except failures_of(source.gguf) as error:
        part = "" if source.gguf else "tokenizer" if kind is AutoTokenizer else "configuration"
        raise unloadable(source.name, error, source.place, part) from None
