"""How fast a run with a pretrained LLM trains and answers, compared with the usual tools on the same work.

    python benchmarks/speed_smollm2.py RUN [--llm FOLDER] [--pairs 3]

RUN is a finished run with a low-rank update, such as one of `smollm2.py`. All comparisons take turns in one process, so
that a busy machine slows both; ratios are medians of the turns.

- `ratio_peft_trainer`: real tokens a second of our training step, divided by those of `transformers.Trainer` with PEFT
  on the same examples, in batches of the same size. Both train an update of the same modules and rank, with the same
  type of products and the same targets. `Trainer` groups examples by length; pad tokens are in the place of the soft
  tokens, and it trains no adapter.
- `ratio_generate_batched`: answers a second of our decode loop, divided by those of `generate` in batches of 32 sorted
  by length. Both answer the same questions greedily, to the same length.
- `ratio_vllm`: answers a second of our decode loop, divided by those of vLLM in this process; left out, with a message,
  where vLLM is not installed.
- A single chat: time to the first token, and tokens a second after it.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorForSeq2Seq, GenerationConfig, Trainer, TrainerCallback, TrainingArguments

from common import interleaved, parser, print_table, shown_path, write_result
from vectalk.decoding.settings import Generated
from vectalk.llm.loading import load_llm
from vectalk.model import collate
from vectalk.model.export import export_merged
from vectalk.model.prompt import IGNORED
from vectalk.model.run import Run
from vectalk.talk import ELM, Decoding, TransformersEngine
from vectalk.talk.engine import vectors_of
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.loop import Loop
from vectalk.training.lora import add_lora
from vectalk.training.mixture import Mixture
from vectalk.training.setup import Setup
from vectalk.training.stage import prepare
from vllm_engines import Asked, questions_of

BATCH = 32  # rows of `generate` and of our loop
WARM = 1  # turns before the measured ones
CHATS = 5


def training(run: Run, llm: str, steps: int, pairs: int) -> dict[str, float]:
    """Measure tokens a second of our training step, and of `Trainer` with PEFT on the same examples."""
    config = TrainConfig.load(run.path / "config.yaml").model_copy(update={"minutes": None, "choose_decoding": False})
    with TemporaryDirectory() as place:
        setup = Setup.make(Corpus.load(run.corpus_path), llm, Path(place) / "run", config, claim=False)
        stage = [stage for stage in setup.stages if stage.steps][-1]
        prepare(setup.model, stage, config.lora)
        mixture = Mixture(setup.train_set)
        loop = Loop(setup.model, mixture, stage, 2, config, setup.accelerator, setup.half)
        trainer, tokens = peft_trainer(setup, llm, config, steps, Path(place))
        clock = StepClock()
        trainer.add_callback(clock)

        def ours() -> float:
            real, batches, started = 0, loop.batches(0), time.perf_counter()
            for step in range(steps):
                supervised, pieces = next(batches)
                loop.value(loop.step(supervised, pieces, 0.01, step))
                real += sum(int(piece.attention_mask.sum()) for piece in pieces)
            return (time.perf_counter() - started) / real

        def theirs() -> float:
            clock.begun = None
            trainer.train()
            assert clock.begun is not None
            return (clock.ended - clock.begun) / tokens

        interleaved(ours, theirs, WARM)
        one, two = interleaved(ours, theirs, pairs)
    return {
        "smollm2_train_tokens_per_s": 1 / statistics.median(one),
        "smollm2_peft_trainer_tokens_per_s": 1 / statistics.median(two),
        "ratio_peft_trainer": statistics.median(b / a for a, b in zip(one, two, strict=True)),
    }


class StepClock(TrainerCallback):
    """Notes when the first step of `Trainer` begins and when the last one ends: its start is not counted."""

    begun: float | None = None
    ended = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.begun = self.begun or time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.ended = time.perf_counter()


def peft_trainer(setup: Setup, llm: str, config: TrainConfig, steps: int, place: Path) -> tuple[Trainer, int]:
    """Return a `Trainer` over the examples of our first batches, and the number of their tokens."""
    numbers = np.concatenate([numbers for _, numbers in first_batches(setup, config, steps)])
    rows = []
    for number in numbers:
        prompt, _ = setup.train_set.prompt(int(number))
        rows.append({"input_ids": list(prompt.ids), "labels": list(prompt.labels), "length": len(prompt)})
    language = load_llm(llm, device=str(setup.model.device), dtype=setup.factory.dtype)
    tokenizer = language.tokenizer
    tokenizer.pad_token_id = setup.prompts.pad_id
    arguments = TrainingArguments(
        str(place / "trainer"),
        per_device_train_batch_size=config.batch_size,
        num_train_epochs=1,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        learning_rate=1e-6,
        weight_decay=config.weight_decay,
        max_grad_norm=config.clip,
        use_cpu=setup.model.device.type == "cpu",
        bf16=setup.half,
        dataloader_pin_memory=False,
    )
    return (
        Trainer(
            model=add_lora(language.model, config.lora),
            args=arguments,
            train_dataset=rows,  # type: ignore[arg-type]
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        ),
        sum(row["length"] for row in rows),
    )


def first_batches(setup: Setup, config: TrainConfig, count: int) -> list[tuple[Any, np.ndarray]]:
    """Return the examples of the first batches of training, as (examples, numbers)."""
    order = Mixture(setup.train_set).order(config.batch_size, [config.seed, 2], 0, config.batch_tokens)
    return [next(order) for _ in range(count)]


def answering(elm: ELM, count: int, tokens: int, pairs: int) -> tuple[dict[str, float], Asked]:
    """Measure answers a second of our decode loop, and of `generate` in batches sorted by length."""
    engine = elm.engine
    assert isinstance(engine, TransformersEngine)
    engine.batch_size = BATCH
    questions, slots = questions_of(elm, count)
    decoding = Decoding(max_new_tokens=tokens)

    def ours() -> float:
        return seconds(lambda: engine.generate(questions, slots, decoding))

    def theirs() -> float:
        return seconds(lambda: generate_batched(engine, questions, slots, tokens))

    interleaved(ours, theirs, WARM)
    one, two = interleaved(ours, theirs, pairs)
    figures = {
        "smollm2_answers_per_s": count / statistics.median(one),
        "smollm2_generate_answers_per_s": count / statistics.median(two),
        "ratio_generate_batched": statistics.median(b / a for a, b in zip(one, two, strict=True)),
    }
    return figures, (questions, slots)


@torch.inference_mode()
def generate_batched(engine: TransformersEngine, questions: list[str], slots: list[Any], tokens: int) -> list[str]:
    """Answer by transformers' `generate`, in batches of questions of similar length."""
    prompts = [engine.prompt(question, each) for question, each in zip(questions, slots, strict=True)]
    settings = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=engine.prompts.stop_ids,
        pad_token_id=engine.prompts.pad_id,
    )
    order, texts = np.argsort([len(prompt) for prompt in prompts], kind="stable"), [""] * len(prompts)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        vectors = [vectors_of(slots[n]) for n in rows]
        batch = collate([prompts[n] for n in rows], vectors, engine.dims, engine.prompts.pad_id, "left")
        ids = engine.model.generate(batch.to(engine.model.device), generation_config=settings)
        for n, text in zip(rows, engine.prompts.tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
            texts[n] = text
    return texts


def with_vllm(elm: ELM, asked: Asked, llm: str, tokens: int, pairs: int) -> dict[str, float]:
    """Measure our decode loop and vLLM on the same questions."""
    from vectalk.talk.vllm_engine import VllmEngine

    with TemporaryDirectory() as place:
        export_merged(elm.run, Path(place) / "plain", llm=llm)
        # On a CPU, the share is of the whole memory. vLLM would take nearly all, but this process needs some too.
        engine = VllmEngine(Path(place) / "plain", dtype="auto", gpu_memory_utilization=0.3, max_model_len=2048)
        decoding = Decoding(max_new_tokens=tokens)
        both = (lambda: seconds(lambda: elm.engine.generate(*asked, decoding)),
                lambda: seconds(lambda: engine.generate(*asked, decoding)))  # fmt: skip
        interleaved(*both, WARM)
        one, two = interleaved(*both, pairs)
    return {
        "smollm2_vllm_answers_per_s": len(asked[0]) / statistics.median(two),
        "ratio_vllm": statistics.median(b / a for a, b in zip(one, two, strict=True)),
    }


def chatting(elm: ELM, asked: Asked, tokens: int) -> dict[str, float]:
    """Measure a single chat: the wait for the first token, and the tokens a second after it."""
    waits, rates = [], []
    for number in range(CHATS + WARM):
        question, slots = asked[0][number % len(asked[0])], asked[1][number % len(asked[0])]
        stream, started = elm.engine.stream(question, slots, Decoding(max_new_tokens=tokens)), time.perf_counter()
        next(stream)
        first = time.perf_counter()
        answer = returned(stream)
        if number >= WARM:
            waits.append(first - started)
            if len(answer.ids) > 1:
                rates.append((len(answer.ids) - 1) / (time.perf_counter() - first))
    figures = {"smollm2_first_token_ms": 1000 * statistics.median(waits)}
    return {**figures, "smollm2_chat_tokens_per_s": statistics.median(rates)} if rates else figures


def returned(stream: Generator[str, None, Generated]) -> Generated:
    """Read a stream to its end, and return the complete answer."""
    while True:
        try:
            next(stream)
        except StopIteration as end:
            answer: Generated = end.value
            return answer


def seconds(work: Callable[[], object]) -> float:
    """Return the time that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the result."""
    arguments = parser(__doc__)
    arguments.add_argument("run", help="folder of a run with a low-rank update")
    arguments.add_argument("--llm", help="folder of its base LLM, if it was moved")
    arguments.add_argument("--steps", type=int, default=4, help="training steps of a turn")
    arguments.add_argument("--count", type=int, default=128, help="questions")
    arguments.add_argument("--tokens", type=int, default=48, help="longest answer, in tokens")
    arguments.add_argument("--pairs", type=int, default=3, help="measured turns of each")
    arguments.add_argument("--name", default="speed-smollm2", help="of the result")
    options = arguments.parse_args()
    run = Run.load(options.run)
    if run.card.llm.trained != "lora":
        sys.exit(f"{options.run} has no low-rank update (its LLM: {run.card.llm.trained}); name a run of --lora")
    llm = options.llm or run.base()[0]
    figures = training(run, llm, options.steps, options.pairs)
    elm = ELM.from_pretrained(options.run, llm=options.llm)
    answers, asked = answering(elm, options.count, options.tokens, options.pairs)
    figures |= answers | chatting(elm, asked, options.tokens)
    left_out = ""
    if find_spec("vllm") is None:
        left_out = "ratio_vllm was not measured: vLLM is not installed (pip install 'vectalk[vllm]')"
        print(left_out, file=sys.stderr)
    else:
        figures |= with_vllm(elm, asked, llm, options.tokens, options.pairs)
    print_table(list(figures.items()), ["figure", "value"])
    command = f"python benchmarks/speed_smollm2.py {shown_path(options.run)}"
    command += "".join(f" --{key} {getattr(options, key)}" for key in ("steps", "count", "tokens", "pairs")
                       if getattr(options, key) != arguments.get_default(key))  # fmt: skip
    settings = {key: getattr(options, key) for key in ("steps", "count", "tokens", "pairs")}
    note = {"note": left_out} if left_out else {}
    path = write_result(options.name, command, figures, settings=settings, **note)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
