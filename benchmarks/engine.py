"""How fast the engine answers: bulk narration against one `generate` a vector, a short question among long ones.

The vectors are those of a run's space with some noise, as many as `--rows`, narrated as `vectalk narrate` does it.
After each part some of its rows are answered by transformers' own `generate`, one vector at a time: the two take turns,
and texts are compared. Memory is looked at whenever rows are done. For the latency, a question of few words is streamed
alone, and while `--long` long answers are being written for another thread.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import GenerationConfig

from agreement import agreement
from common import held_mb, parser, print_table, shown_path, write_result
from vectalk.decoding.settings import Generated
from vectalk.model import collate
from vectalk.space import VectorSpace
from vectalk.talk import ELM, Decoding, TransformersEngine
from vectalk.talk.engine import Slots, vectors_of
from vectalk.talk.narrate import Job, job, open_folder, write_part
from vectalk.tasks.suite import slots_in

NOISE = 0.2  # of the vectors' own spread


def many(space: VectorSpace, rows: int, folder: Path) -> Path:
    """Write a space of so many vectors: a space's own, over and over, each time with other noise."""
    rng, own = np.random.default_rng(0), np.asarray(space.vectors, np.float32)
    vectors = own[np.arange(rows) % len(own)]
    vectors += NOISE * own.std(0) * rng.standard_normal(vectors.shape, np.float32)
    return Path(VectorSpace.create("many", vectors, {"id": [str(n) for n in range(rows)]}).save(folder).path)


@torch.inference_mode()
def one_by_one(engine: TransformersEngine, question: str, slots: list[Slots], limit: int) -> list[Generated]:
    """Answer by one `generate` a vector."""
    made, stops = [], engine.prompts.stop_ids
    settings = GenerationConfig(
        max_new_tokens=limit, do_sample=False, eos_token_id=stops, pad_token_id=engine.prompts.pad_id
    )
    for given in slots:
        batch = collate([engine.prompt(question, given)], [vectors_of(given)], engine.dims, engine.prompts.pad_id)
        ids = engine.model.generate(batch.to(engine.model.device), generation_config=settings)[0].tolist()
        kept = tuple(token for token in ids if token not in stops)
        text = str(engine.prompts.tokenizer.decode(kept, skip_special_tokens=True)).strip()
        made.append(Generated(text, len(kept) < len(ids), kept))
    return made


def bulk(work: Job, sample: int) -> dict[str, float]:
    """Measure rows a second both ways, part by part, how many texts agree, and the memory held."""
    engine, mark = work.elm.engine, open_folder(work)
    assert isinstance(engine, TransformersEngine)
    slot = slots_in(work.question)[0]
    rng, limit = np.random.default_rng(0), work.decoding.max_new_tokens
    ours, theirs, memory = [], [], []
    same, gaps = [], []
    for part in range(work.parts):
        rows, held = work.rows_of(part), []
        started = time.perf_counter()
        write_part(work, part, mark, lambda done, total, held=held: held.append(held_mb()))  # type: ignore[misc]
        ours.append((time.perf_counter() - started) / len(rows))
        memory.append(max(held))
        chosen = np.sort(rng.choice(len(rows), min(sample, len(rows)), replace=False))
        slots = [{slot: (work.name, np.asarray(work.space.vectors[rows.start + n], np.float32))} for n in chosen]
        started = time.perf_counter()
        alone = one_by_one(engine, work.question, slots, limit)
        theirs.append((time.perf_counter() - started) / len(chosen))
        written = pq.read_table(work.path(part)).take(chosen).to_pylist()
        # Once more, for the tokens: parts keep texts alone.
        made = engine.generate([work.question] * len(slots), slots, work.decoding)
        if [one.text for one in made] != [row["text"] for row in written]:
            sys.exit("a part holds other texts than the engine writes")
        share, found = agreement(engine, [work.question] * len(slots), slots, made, alone)
        same.append(share)
        gaps += found
        print(f"part {part + 1} of {work.parts}: {1 / ours[-1]:.1f} rows/s, alone {1 / theirs[-1]:.2f}, "
              f"{100 * share:.0f} % the same, {memory[-1]:.0f} MB", file=sys.stderr)  # fmt: skip
    return {
        "bulk_rows_per_s": 1 / float(np.mean(ours)),
        "alone_rows_per_s": 1 / float(np.mean(theirs)),
        "ratio_bulk": statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
        "bulk_same_texts": float(np.mean(same)),
        "bulk_widest_gap": max(gaps, default=0.0),
        "bulk_memory_mb": max(memory),
        "ratio_bulk_memory": max(memory[1:], default=memory[0]) / memory[0],
    }


def latency(engine: TransformersEngine, questions: list[str], slots: list[Slots], shots: int) -> dict[str, float]:
    """Measure the time to the first token of a short question, alone and among long ones."""
    stop, turn = threading.Event(), count()
    long = Decoding(max_new_tokens=400, temperature=1.0)

    def first() -> float:
        started = time.perf_counter()
        number = next(turn) % len(slots)
        stream = engine.stream(questions[number], slots[number], Decoding(max_new_tokens=2))
        next(stream)
        seconds = time.perf_counter() - started
        stream.close()
        return seconds

    def others() -> None:
        while not stop.is_set():
            engine.generate(questions, slots, long)

    first()
    alone = [first() for _ in range(shots)]
    thread = threading.Thread(target=others, daemon=True)
    thread.start()
    time.sleep(1.0)
    among = []
    for _ in range(shots):
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
    arguments.add_argument("run", help="folder of a run")
    arguments.add_argument("--device", default="cpu")
    arguments.add_argument("--rows", type=int, default=20_000)
    arguments.add_argument("--sample", type=int, default=20, help="rows of each part that are answered one by one")
    arguments.add_argument("--tokens", type=int, default=64)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--long", type=int, default=32, help="long answers among which a short one is asked for")
    arguments.add_argument("--shots", type=int, default=40)
    arguments.add_argument("--name", default="engine")
    given = arguments.parse_args()
    elm = ELM.from_pretrained(given.run, device=given.device)
    engine, task = elm.engine, next(task for task in elm.suite.tasks if len(task.slots) == 1)
    assert isinstance(engine, TransformersEngine)
    ((slot, name),) = task.slots.items()
    vectors = np.asarray(elm.spaces[name].vectors[: given.long], np.float32)
    prompts = [task.prompts[n % len(task.prompts)] for n in range(len(vectors))]
    figures = latency(engine, prompts, [{slot: (name, vector)} for vector in vectors], given.shots)
    engine.batch_size = given.batch
    with TemporaryDirectory() as place:
        space = many(elm.spaces[name], given.rows, Path(place) / "many")
        decoding = Decoding(max_new_tokens=given.tokens)
        work = job(elm, space, Path(place) / "out", task=task.name, name=name, decoding=decoding)
        figures |= bulk(work, given.sample)
    print_table(list(figures.items()), ["figure", "value"])
    command = f"python benchmarks/engine.py {shown_path(given.run)}"
    command += "" if given.rows == 20_000 else f" --rows {given.rows}"
    settings = {"batch": given.batch, "tokens": given.tokens, "compared": given.sample * work.parts}
    write_result(given.name, command, figures, task=task.name, **settings)


if __name__ == "__main__":
    main()
