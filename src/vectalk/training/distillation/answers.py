"""The teacher's answers: written in bulk once, and stored beside the corpus part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vectalk.decoding.decoder import Decoder, can_decode
from vectalk.decoding.loop import DecodeLoop, Row, Tally
from vectalk.decoding.settings import Decoding
from vectalk.errors import TrainingError
from vectalk.files import atomic_file
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.without_lora import without_lora
from vectalk.reading.arrays import read_parquet
from vectalk.training.distillation.pairs import Pair, fingerprint_of

FOLDER = ".distillation"
ROWS = 256  # answers of a part; an interrupted run loses at most one part
BATCH = 48  # rows decoded in one step


def teacher_answers(
    model: ElmModel,
    prompts: PromptFormat,
    pairs: Sequence[Pair],
    place: Path,
    *,
    tokens: int,
    temperature: float,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Return the answer of the told LLM to each pair; parts that exist in the folder are read.

    Args:
        model: its LLM answers, without a low-rank update.
        prompts: makes prompts of questions.
        pairs: the questions in words.
        place: folder of the corpus.
        tokens: longest answer.
        temperature: of sampling; 0 is greedy.
        seed: seed of the sampling.
        progress: called with the number of answers and the total.

    Raises:
        TrainingError: the decoding loop does not support the LLM.
    """
    decoding = Decoding(tokens, temperature=temperature, seed=seed)
    key = fingerprint_of(
        [],
        llm=[model.language.name, model.language.revision, model.language.fingerprint],
        frame=asdict(prompts.frame),
        decoding=decoding.settings(),
    )
    folder = place / FOLDER / key
    folder.mkdir(parents=True, exist_ok=True)
    answers: list[str] = []
    progress(0, len(pairs))
    loop: DecodeLoop | None = None
    for number, start in enumerate(range(0, len(pairs), ROWS)):
        some = pairs[start : start + ROWS]
        # Each part has its own fingerprint, so a run that asks for more answers finds the first ones.
        path = folder / f"part-{number:05d}-{fingerprint_of(some)}.parquet"
        if not path.is_file():
            loop = loop or _loop_of(model, prompts)
            report = partial(_report, progress, start, len(pairs))
            texts = _generate(loop, model, prompts, some, decoding, start, report)
            table = pa.table({"told": [pair.told for pair in some], "answer": texts})
            with atomic_file(path) as part:
                pq.write_table(table, part)
        answers += read_parquet(path, ["answer"], error=TrainingError)["answer"].to_pylist()
        progress(len(answers), len(pairs))
    return answers


def _report(progress: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    progress(before + done, total)


def _loop_of(model: ElmModel, prompts: PromptFormat) -> DecodeLoop:
    if not can_decode(model):
        raise TrainingError(
            f"distillation: LLM {model.language.name!r} keeps more state than keys and values, so its answers cannot "
            "be generated in bulk; leave out the objective `distill`"
        )
    return DecodeLoop(Decoder(model, prompts.pad_id), prompts.stop_ids, BATCH)


def _generate(
    loop: DecodeLoop,
    model: ElmModel,
    prompts: PromptFormat,
    pairs: Sequence[Pair],
    decoding: Decoding,
    first: int,
    progress: Callable[[int], None],
) -> list[str]:
    tally = Tally()
    rows = []
    context = model.language.context or 1 << 30
    for number, pair in enumerate(pairs, first):
        prompt = prompts(pair.told, {})
        limit = max(1, min(decoding.max_new_tokens, context - len(prompt)))
        rows.append(Row(prompt, {}, decoding, limit, tally, decoding.draws(number, limit)))
    model.eval()
    with without_lora(model.llm):
        loop.submit(sorted(rows, key=lambda row: -len(row.prompt)))
        done = 0
        while done < len(rows):
            target = min(done + BATCH, len(rows))
            loop.wait(lambda target=target: tally.done >= target)  # type: ignore[misc]
            if tally.error is not None:
                raise tally.error
            progress(done := tally.done)
    return [str(prompts.tokenizer.decode(row.ids, skip_special_tokens=True)).strip() for row in rows]
