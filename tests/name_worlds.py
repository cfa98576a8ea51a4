"""Tokenizers and titles for the tests of names, and a strict reader of the names in a text."""

import json
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from vectalk.decoding.names import RowNames, constrain

TITLES = [
    "Alien (1979)",
    "Alien",
    "Aliens",
    "Alien’s Return",
    '"Great Performances" Cats (1998)',
    "Cats (1998)",
    "Plain “Comedy” (1999)",
    "Сталкер (1979)",
    "東京物語 (1953)",
    "Ærø & Łódź",
    "Heat (1995)",
    "It",
    "8½ (1963)",
]
TEXTS = [f'Fans of “{title}” and of "{title}", or of them all.' for title in TITLES] * 3
END = "</s>"


def byte_level(texts: Sequence[str] = TEXTS, vocabulary: int = 500) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE whose tokens may join marks and letters, as they do in newer LLMs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def sentencepiece(
    texts: Sequence[str] = TEXTS, vocabulary: int = 300, fallback: bool = True
) -> PreTrainedTokenizerFast:
    """Return a BPE in the manner of sentencepiece, with a token for each byte where `fallback` is set."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<unk>", END], show_progress=False)
    trained.train_from_iterator(texts, trainer)
    model = json.loads(trained.to_str())["model"]
    vocab, merges = dict(model["vocab"]), [tuple(pair) for pair in model["merges"]]
    if fallback:
        for value in range(256):
            vocab[f"<0x{value:02X}>"] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=fallback, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps if fallback else [steps[0], *steps[2:]])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token=END, pad_token=END)


def write(tokenizer: PreTrainedTokenizerFast, row: RowNames, seed: int, steps: int = 200, loud: float = 1.0) -> str:
    """Let random logits write a text under a constraint; opening marks are made likely."""
    rng, ids = np.random.default_rng(seed), []
    pieces = row.names.tokens.pieces
    marks = [n for n, piece in enumerate(pieces) if piece is not None and (b'"' in piece or "“".encode() in piece)]
    for _ in range(steps):
        logits = torch.from_numpy(rng.standard_normal((1, len(tokenizer))) * loud)
        logits[0, marks] += 3.0
        logits[0, tokenizer.eos_token_id] = -torch.inf
        constrain(logits, [row])
        ids.append(int(logits.argmax()))
        row.advance(ids[-1])
    return str(tokenizer.decode(ids))


def names_in(text: str, titles: Sequence[str] = TITLES) -> list[str]:
    """Return the names in a text. What follows an opening mark must be a title and its closing mark.

    Only the last mark may lack its end, where the text is cut.
    """
    names, place = [], 0
    closing = {'"': '"', "“": "”"}
    while (place := min((p for mark in closing if (p := text.find(mark, place)) >= 0), default=-1)) >= 0:
        mark, rest = closing[text[place]], text[place + 1 :]
        fits = [title for title in titles if rest.startswith(title + mark)]
        if not fits:
            assert any((title + mark).startswith(rest.rstrip("�")) for title in titles), f"not a title: {rest[:60]!r}"
            break
        names.append(max(fits, key=len))
        place += 1 + len(names[-1]) + 1
    return names
