"""A small base LLM, trained from scratch on the texts of training entities, without their vectors.

It replaces a pretrained LLM if none is available. It can write texts like those of the corpus, and it can answer a
question when the entity is described in words (`Summarise genres: comedy; decade: 1990s.`). Its training data has no
vectors, no titles from questions, and no validation or test entities. It has no other knowledge.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from vectalk.errors import TrainingError
from vectalk.files import atomic_folder, write_json
from vectalk.llm.quiet import hushed
from vectalk.model.prompt import PromptFormat
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.tasks.suite import pieces_of
from vectalk.tasks.teachers.facts import FactsTeacher
from vectalk.training.config import StageConfig
from vectalk.training.order import length_grouped
from vectalk.training.stage import learning_rate

SPECIAL = ["<|pad|>", "<|end|>"]
PLAIN_SHARE = 0.25  # share of the texts that are learned without a question


def texts_of(corpus: Corpus, split_name: str, seed: int = 0) -> Iterator[tuple[str | None, str]]:
    """Yield (question, target) pairs with slots described in words; the question is None for a text without one."""
    teacher = FactsTeacher(corpus.suite, corpus.spaces)
    choice = random.Random(seed)
    for task in corpus.suite.tasks:  # one neighbour search for all entities is faster
        teacher.prepare(task, {slot: corpus.spaces[s].rows(split_name).tolist() for slot, s in task.slots.items()})
    for example in corpus.examples(split_name):
        if choice.random() < PLAIN_SHARE:
            yield None, example.target
            continue
        used = teacher.used(corpus.suite.task(example.task))
        words = {slot: teacher.brief(space, row, used[slot]) for slot, (space, row) in example.slots.items()}
        yield "".join(words[text] if is_slot else text for text, is_slot in pieces_of(example.prompt)), example.target


def train_tokenizer(texts: Iterator[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[1], bos_token=SPECIAL[1]
    )


def make_base_llm(
    corpus: Corpus,
    out: str | Path,
    *,
    hidden: int = 192,
    layers: int = 4,
    vocabulary: int = 2048,
    steps: int = 1500,
    batch_size: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, steps, note: None,
) -> Path:
    """Train a small Llama on a corpus's training texts and save it as a Hugging Face folder.

    Args:
        corpus: corpus whose training texts are learned.
        out: folder to create.
        hidden: hidden size, a multiple of 32; each attention head has width 32.
        layers: number of layers.
        vocabulary: number of tokens of the tokenizer.
        steps: optimiser steps.
        batch_size: texts per step.
        lr: peak learning rate.
        seed: seed of all random choices.
        overwrite: replace the folder if it exists.
        progress: called with the number of steps done, the number of all steps, and the current work or loss as text.

    Returns:
        The folder.

    Raises:
        TrainingError: `hidden` is not a multiple of 32.
    """
    if hidden % 32:
        raise TrainingError(f"hidden must be a multiple of 32, not {hidden}")
    progress(0, steps, "reading texts")
    pairs = list(texts_of(corpus, TRAIN, seed))
    progress(0, steps, "learning tokens")
    tokenizer = train_tokenizer((f"{q or ''}\n{t}" for q, t in pairs), vocabulary)
    progress(0, steps, "tokenising")
    encoded = _encode(pairs, tokenizer)
    held_out = _encode(list(texts_of(corpus, VALIDATION, seed))[:512], tokenizer)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )
    stage = StageConfig(steps=steps, llm="full", lr_llm=lr, floor=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    order = length_grouped(np.array([len(ids) for ids in encoded]), batch_size, [seed])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * learning_rate(stage, step)
        loss = model(**_padded([encoded[i] for i in next(order)])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        progress(step + 1, steps, f"loss {loss.item():.3f}")
    progress(steps, steps, "measuring")
    model.eval()
    with torch.no_grad():
        losses = [model(**_padded(held_out[i : i + 64])).loss.item() for i in range(0, len(held_out), 64)]
    with atomic_folder(out, "made.json", overwrite=overwrite) as folder:
        with hushed():
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(
            folder / "made.json",
            {
                "by": "vectalk base-llm",
                "parameters": sum(p.numel() for p in model.parameters()),
                "texts": len(pairs),
                "steps": steps,
                "seed": seed,
                "validation_loss": round(sum(losses) / max(len(losses), 1), 4),
                "suite": corpus.suite.name,
                "spaces": {name: space.fingerprint for name, space in corpus.spaces.items()},
            },
        )
    return Path(out)


def _encode(pairs: list[tuple[str | None, str]], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    prompts = PromptFormat(tokenizer, {})
    encoded = []
    for question, target in pairs:
        if question is None:
            encoded.append([*tokenizer(target).input_ids, int(tokenizer.eos_token_id)])
        else:
            encoded.append(list(prompts(question.replace("{", "(").replace("}", ")"), {}, target).ids))
    return encoded


def _padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}
