"""How fast the engine answers: many vectors against one `generate` a vector, and a short question among long ones.

The LLM is the embedded demo's, the adapter random, so that answers have the length that `--tokens` says. The one-by-one
loop is transformers' own `generate` on the same embeddings; both run in turns. For the latency, a question of few words
is streamed alone, and while `--long` long answers are being written for another thread.
"""

from __future__ import annotations

import statistics
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from common import ROOT, interleaved, parser, print_table, write_result
from vectalk.model import ElmAdapter, ElmAdapterConfig, ElmModel, PromptFormat, collate, load_llm
from vectalk.space import VectorSpace
from vectalk.talk.decoding import Decoding
from vectalk.talk.engine import TransformersEngine

QUESTIONS = ["Summarise {film}.", "Who would enjoy {film}?", "What makes {film} special, and what does it lack?"]


def make_engine(llm: str, space: VectorSpace, batch: int, device: str) -> TransformersEngine:
    """Return an engine on an LLM with a random adapter."""
    language = load_llm(llm, device=device)
    config = ElmAdapterConfig(vector_dim=space.dim, llm_hidden_size=language.hidden_size, soft_tokens=4, width=256)
    adapter = ElmAdapter.create(config, space.normalizer, language.embedding_rms)
    model = ElmModel(language, {"film": adapter}).eval()
    return TransformersEngine(model, PromptFormat(language.tokenizer, {"film": 4}), batch)


def asked(space: VectorSpace, rows: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Return questions and their slots for as many rows, going round the space."""
    vectors = np.asarray(space.vectors, np.float32)
    slots = [{"film": ("film", vectors[n % len(space)])} for n in range(rows)]
    return [QUESTIONS[n % len(QUESTIONS)] for n in range(rows)], slots


@torch.inference_mode()
def one_by_one(
    engine: TransformersEngine, questions: list[str], slots: list[dict[str, Any]], limit: int
) -> list[tuple]:
    """Answer by one `generate` a vector; returns ids."""
    made = []
    settings = GenerationConfig(
        max_new_tokens=limit,
        do_sample=False,
        eos_token_id=engine.prompts.stop_ids,
        pad_token_id=engine.prompts.pad_id,
    )
    for question, given in zip(questions, slots, strict=True):
        vectors = [{slot: vector for slot, (_, vector) in given.items()}]
        batch = collate([engine.prompt(question, given)], vectors, engine.dims, engine.prompts.pad_id)
        ids = engine.model.generate(batch.to(engine.model.device), generation_config=settings)[0].tolist()
        made.append(tuple(token for token in ids if token not in engine.prompts.stop_ids))
    return made


def bulk(engine: TransformersEngine, space: VectorSpace, arguments: Any) -> dict[str, float]:
    """Measure rows a second both ways, in turns, and how many texts agree."""
    few, many = asked(space, arguments.alone), asked(space, arguments.rows)
    decoding = Decoding(max_new_tokens=arguments.tokens)
    texts: dict[str, list[tuple]] = {}

    def alone() -> float:
        started = time.perf_counter()
        texts["alone"] = one_by_one(engine, *few, arguments.tokens)
        return (time.perf_counter() - started) / arguments.alone

    def together() -> float:
        started = time.perf_counter()
        texts["together"] = [made.ids for made in engine.generate(*many, decoding)]
        return (time.perf_counter() - started) / arguments.rows

    engine.generate(*few, decoding)
    ones, manies = interleaved(alone, together, arguments.pairs)
    ratio = statistics.median(a / b for a, b in zip(ones, manies, strict=True))
    same = [a == b for a, b in zip(texts["alone"], texts["together"], strict=False)]
    return {
        "bulk_rows_per_s": 1 / statistics.median(manies),
        "alone_rows_per_s": 1 / statistics.median(ones),
        "ratio_bulk": ratio,
        "bulk_same_texts": float(np.mean(same)),
    }


def latency(engine: TransformersEngine, space: VectorSpace, arguments: Any) -> dict[str, float]:
    """Measure the time to the first token of a short question, alone and among long ones."""
    questions, slots = asked(space, arguments.long)
    stop = threading.Event()
    long = Decoding(max_new_tokens=400, temperature=1.0)

    def first() -> float:
        started = time.perf_counter()
        stream = engine.stream("Summarise {film}.", slots[next(turn) % len(slots)], Decoding(max_new_tokens=2))
        next(stream)
        seconds = time.perf_counter() - started
        stream.close()
        return seconds

    def others() -> None:
        while not stop.is_set():
            engine.generate(questions, slots, long, lambda done, total: None)

    turn = count()
    first()
    alone = [first() for _ in range(arguments.shots)]
    thread = threading.Thread(target=others, daemon=True)
    thread.start()
    time.sleep(1.0)
    among = []
    for _ in range(arguments.shots):
        among.append(first())
        time.sleep(0.05)
    stop.set()
    thread.join()
    return {
        "first_token_alone_ms": 1000 * statistics.median(alone),
        "first_token_among_ms": 1000 * statistics.median(among),
        "ratio_first_token": statistics.median(among) / statistics.median(alone),
        "ratio_first_token_p90": float(np.quantile(among, 0.9)) / statistics.median(alone),
    }


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("--llm", default=str(ROOT / "demo-data" / "base-llm"))
    arguments.add_argument("--space", default=str(ROOT / "demo-data" / "films"))
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--alone", type=int, default=100, help="rows answered one by one")
    arguments.add_argument("--tokens", type=int, default=48)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--pairs", type=int, default=1)
    arguments.add_argument("--long", type=int, default=32, help="long answers among which a short one is asked for")
    arguments.add_argument("--shots", type=int, default=40)
    arguments.add_argument("--name", default="engine")
    given = arguments.parse_args()
    space = VectorSpace.load(given.space)
    engine = make_engine(given.llm, space, given.batch, given.device)
    figures = {**latency(engine, space, given), **bulk(engine, space, given)}
    print_table(list(figures.items()), ["figure", "value"])
    command = "python benchmarks/engine.py" + ("" if given.rows == 20_000 else f" --rows {given.rows}")
    write_result(given.name, command, figures, llm=Path(given.llm).name, batch=given.batch, tokens=given.tokens)


if __name__ == "__main__":
    main()
