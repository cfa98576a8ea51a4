"""How fast training is: real tokens a second, beside what public code for such models does and beside `Trainer`.

    python benchmarks/training.py [--size demo|films|giant ...] [--pairs 3]

Weights are random and so are the words; the lengths of the texts are those of film paragraphs (log-normal, median 62
tokens) or of the demo's. No data is needed. Four loops learn the same kind of examples:

- `public`: as public code for such models is written. Vectors are put in by a Python loop over all tokens, rows are
  padded to the longest, the order is random, logits are made for every token.
- `trainer`: Hugging Face `Trainer` on rows of equal length without any vector, so without padding.
- `ours`: the loop of `vectalk train` at its defaults.
- `ours_float32`: the same in float32, for a comparison in equal arithmetic where the default is bfloat16.

Stage 1 trains the adapter alone (`Trainer` has none; there the token embeddings are trained, so that the gradient goes
through all layers too), stage 2 everything. On a CPU the processor's own seconds are counted, with one thread, so that
other work on the machine counts less. Each loop is a process of its own; they take turns, and figures are medians of
the turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from accelerate import Accelerator
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from common import parser, peak_mb, print_table, write_result
from vectalk.model import ElmModel
from vectalk.model.llm import LanguageModel
from vectalk.model.prompt import IGNORED
from vectalk.space import VectorSpace
from vectalk.training.adapters import make_adapters
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.config import TrainConfig
from vectalk.training.data import Examples
from vectalk.training.loop import Loop, half_pays
from vectalk.training.stage import prepare
from vectalk.training.tokens import KINDS, Tokens

SOFT, QUESTION, D = 4, 14, 64
WARM = 3  # steps before the clock runs: memory is mapped in the first ones
LOOPS = ("public", "trainer", "ours", "ours_float32")
FILMS = {"median": 62, "spread": 0.53}  # tokens of a paragraph, log-normal
SIZES: dict[str, dict[str, Any]] = {
    "demo": {
        "hidden": 128,
        "layers": 3,
        "vocabulary": 1024,
        "batch": 32,
        "median": 22,
        "spread": 0.35,
        "steps": 8,
        "turns": 4,
    },
    "films": {"hidden": 576, "layers": 4, "vocabulary": 49_152, "batch": 16, "steps": 1, "turns": 2, **FILMS},
    "giant": {"hidden": 2048, "layers": 16, "vocabulary": 151_936, "batch": 32, "steps": 4, **FILMS},
}


class Bench:
    """One size of LLM with its examples, and the loops over them."""

    def __init__(self, size: str, seed: int = 0) -> None:
        self.settings = SIZES[size]
        self.place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        hidden = self.settings["hidden"]
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=self.settings["vocabulary"],
            hidden_size=hidden,
            intermediate_size=hidden * 8 // 3 // 32 * 32,
            num_hidden_layers=self.settings["layers"],
            num_attention_heads=hidden // 64 or 2,
            max_position_embeddings=1024,
            pad_token_id=0,
        )
        self.llm: PreTrainedModel = LlamaForCausalLM(config).to(self.place)  # type: ignore[arg-type]
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((1000, D)).astype(np.float32)
        self.space = VectorSpace.create("item", vectors, {"id": [str(n) for n in range(1000)]})
        self.examples = self._examples(rng)

    def _examples(self, rng: np.random.Generator) -> Examples:
        count = 50 * self.settings["batch"]
        answers = np.clip(rng.lognormal(np.log(self.settings["median"]), self.settings["spread"], count), 4, 400)
        lengths = QUESTION + SOFT + answers.astype(np.int64)
        arrays: dict[str, Any] = {
            "ids": rng.integers(2, self.settings["vocabulary"], lengths.sum()),
            "lengths": lengths,
            "answers": np.full(count, QUESTION + SOFT),
            "tasks": np.zeros(count),
            "slots": np.ones(count),
            "slot_names": np.zeros(count),
            "slot_spaces": np.zeros(count),
            "slot_rows": rng.integers(0, 1000, count),
            "slot_places": np.full(count, 8),
        }
        tokens = Tokens({k: np.asarray(arrays[k], kind) for k, kind in KINDS.items()}, ["item"], ["item"], ["text"])
        return Examples(tokens, {"item": self.space}, SimpleNamespace(pad_id=0, soft_tokens={"item": SOFT}))  # type: ignore[arg-type]

    def model(self, config: TrainConfig) -> ElmModel:
        language = LanguageModel(self.llm, None, "random", None, plain_head=True, embedding_rms=0.02)  # type: ignore[arg-type]
        return ElmModel(language, make_adapters({"item": self.space}, config, language))

    def loop(self, name: str, stage: int) -> Callable[[], tuple[float, int]]:
        """Return what makes some steps of a loop and gives its seconds and real tokens."""
        made = {"public": self.public, "trainer": self.trainer}.get(name)
        steps = made(stage) if made is not None else self.ours(stage, name == "ours_float32")

        def turn() -> tuple[float, int]:
            start, tokens = self.clock(), 0
            for _ in range(self.settings["steps"] * (3 if made is None else 1)):  # ours are short
                tokens += next(steps)
            return self.clock() - start, tokens

        if made is None or name == "public":
            for _ in range(WARM):
                next(steps)
        return turn if name != "trainer" else lambda: self.of_trainer(stage)

    def clock(self) -> float:
        return clock(self.place)

    def ours(self, number: int, exact: bool) -> Iterator[int]:
        kind = "none" if exact else "auto"
        config = TrainConfig.load(None, {"batch_size": self.settings["batch"], "autocast": kind, "adapter.width": 512})
        stage = (config.stage1, config.stage2)[number - 1]
        model = self.model(config)
        prepare(model, stage, config.lora)
        accelerator = Accelerator(cpu=self.place.type == "cpu")
        half = not exact and half_pays(self.place, self.settings["hidden"])
        loop = Loop(model, self.examples, stage, number, config, accelerator, half)
        for step, (tokens, pieces) in enumerate(loop.batches(0)):
            model.llm.requires_grad_(number == 2)
            loss = loop.step(tokens, pieces, 0.01, step)
            if self.place.type == "cpu":
                loss.item()
            yield sum(int(batch.attention_mask.sum()) for batch in pieces)

    def public(self, number: int) -> Iterator[int]:
        """The rival, written anew after what public code does."""
        adapter = torch.nn.Sequential(
            torch.nn.Linear(D, 512), torch.nn.GELU(), torch.nn.Linear(512, SOFT * self.settings["hidden"])
        ).to(self.place)
        trained = [*adapter.parameters(), *(self.llm.parameters() if number == 2 else [])]
        optimizer = torch.optim.AdamW(trained, 1e-5)
        rng, tokens = np.random.default_rng(0), self.examples.tokens
        half = self.place.type == "cuda"
        while True:
            self.llm.requires_grad_(number == 2).train()
            chosen = rng.choice(len(self.examples), self.settings["batch"], replace=False)
            rows = [tokens.words(np.array([n])).tolist() for n in chosen]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
            mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=self.place)
            labels = ids.clone()
            labels[:, : QUESTION + SOFT] = IGNORED
            labels[mask.cpu() == 0] = IGNORED
            marked = torch.zeros_like(ids, dtype=torch.bool)
            marked[:, 8 : 8 + SOFT] = True
            with torch.autocast(self.place.type, torch.bfloat16, enabled=half):
                vectors = torch.from_numpy(np.asarray(self.space.vectors[tokens.slots(chosen).row])).to(self.place)
                soft = adapter(vectors).view(len(chosen), SOFT, -1)
                embeds = self.llm.get_input_embeddings()(ids.to(self.place)).clone()
                for b in range(len(chosen)):
                    taken = 0
                    for t in range(longest):
                        if marked[b, t]:
                            embeds[b, t] = soft[b, taken].to(embeds.dtype)
                            taken += 1
                loss = self.llm(inputs_embeds=embeds, attention_mask=mask, labels=labels.to(self.place)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            loss.item()
            yield int(mask.sum())

    def trainer(self, number: int) -> Iterator[int]:
        yield 0

    def of_trainer(self, number: int) -> tuple[float, int]:
        """Some steps of Hugging Face's `Trainer`, its start and end left out."""
        steps, batch = self.settings["steps"], self.settings["batch"]
        length = int(self.examples.lengths.mean())
        rng = np.random.default_rng(0)
        rows = [rng.integers(2, self.settings["vocabulary"], length) for _ in range((steps + 1) * batch)]
        data = [{"input_ids": torch.from_numpy(row), "labels": torch.from_numpy(row)} for row in rows]
        self.llm.requires_grad_(number == 2)
        self.llm.get_input_embeddings().requires_grad_(True)
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                per_device_train_batch_size=batch,
                max_steps=steps + 1,
                report_to=[],
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                learning_rate=1e-5,
                use_cpu=self.place.type == "cpu",
                bf16=self.place.type == "cuda",
                dataloader_pin_memory=False,
            )
            marks: list[float] = []
            made = Trainer(model=self.llm, args=arguments, train_dataset=data)  # type: ignore[arg-type]
            made.add_callback(_Marks(marks, self.clock))
            made.train()
        return marks[-1] - marks[0], steps * batch * length

    def forward_overhead(self, pairs: int) -> float:
        """Return the time of the ELM's forward pass over that of the plain LLM's on as many tokens.

        Either has its freed memory kept, as `vectalk train` does: otherwise the C library clears pages anew for one
        of the two or the other, which in a small LLM is more than what is asked here.
        """
        model = self.model(TrainConfig()).eval()
        chosen = np.argsort(self.examples.lengths)[-self.settings["batch"] :]
        batch = self.examples.batch(chosen[: max(2, len(chosen) // 2)]).to(self.place)
        batch.shared, ratios = 0, []
        with torch.no_grad():
            base, words = self.llm.base_model, batch.input_ids
            passes = (lambda: model.hidden(batch), lambda: base(input_ids=words, use_cache=False))
            for turn in range(10 * pairs + 2):
                spent = [0.0, 0.0]
                for which in (turn % 2, 1 - turn % 2):  # either comes first as often
                    start = self.clock()
                    passes[which]()
                    spent[which] = self.clock() - start
                ratios.append(spent[0] / spent[1])
        return statistics.median(ratios[2:])


class _Marks(TrainerCallback):
    """Notes when steps end."""

    def __init__(self, marks: list[float], clock: Callable[[], float]) -> None:
        self.marks, self.clock = marks, clock

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.marks.append(self.clock())


def clock(place: torch.device) -> float:
    """Return seconds: of the processor on a CPU, of the wall on a GPU once it is done."""
    if place.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def matmul_peak(kind: torch.dtype) -> float:
    """Return the most floating-point operations a second that a square product reached."""
    place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    n, best = (8192 if place.type == "cuda" else 1024), 0.0
    a, b = torch.randn(n, n, device=place, dtype=kind), torch.randn(n, n, device=place, dtype=kind)
    for _ in range(8):
        start = clock(place)
        a @ b
        best = max(best, 2 * n**3 / max(clock(place) - start, 1e-9))
    return best


class Worker:
    """A loop in a process of its own, which makes a turn whenever it is told to."""

    def __init__(self, size: str, name: str, stage: int) -> None:
        command = [sys.executable, __file__, "--worker", size, name, str(stage)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def turn(self) -> float:
        """Return the tokens a second of a turn."""
        return self._ask("turn")

    def close(self) -> float:
        """Return the peak memory in MB, and end the process."""
        peak = self._ask("peak")
        self.process.communicate()
        return peak

    def _ask(self, what: str) -> float:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("answer "):  # libraries print too
                return float(line.split()[1])
        raise SystemExit(f"the process ended early: {self.process.args}")


def work(size: str, name: str, stage: int) -> None:
    """Answer a `Worker`."""
    if name.startswith("ours") and not torch.cuda.is_available():
        keep_freed_memory()  # as `vectalk train` does
    turn = Bench(size).loop(name, stage)
    print("answer 0", flush=True)
    for line in sys.stdin:
        if line.strip() == "turn":
            seconds, tokens = turn()
            answer = tokens / seconds
        else:
            answer = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else peak_mb()
        print(f"answer {answer}", flush=True)


def measure(size: str, pairs: int) -> tuple[dict[str, float], list[list[Any]]]:
    """Measure all loops in both stages."""
    figures: dict[str, float] = {}
    table = []
    if not torch.cuda.is_available():
        keep_freed_memory()  # of this process, which measures the overhead of a forward pass
    bench = Bench(size)
    pairs *= bench.settings.get("turns", 1)  # short ones differ more
    hidden, settings = bench.settings["hidden"], bench.settings
    body = sum(p.numel() for p in bench.llm.base_model.parameters()) - settings["vocabulary"] * hidden
    learned = 1 - (QUESTION + SOFT) / float(bench.examples.lengths.mean())
    peaks = {True: matmul_peak(torch.bfloat16), False: matmul_peak(torch.float32)}
    for stage in (1, 2):
        loops = {name: Worker(size, name, stage) for name in LOOPS}
        speeds: dict[str, list[float]] = {name: [] for name in LOOPS}
        for turn in range(pairs):
            for name in LOOPS[:: 1 if turn % 2 == 0 else -1]:
                speeds[name].append(loops[name].turn())
                print(f"{size} stage {stage} {name}: {speeds[name][-1]:.0f} tokens/s", file=sys.stderr, flush=True)
        # Useful operations: forward 2 a weight and token, backward 2 for what flows on and 2 for the weight's own.
        operations = (4 if stage == 1 else 6) * (body + settings["vocabulary"] * hidden * learned)
        for name in LOOPS:
            speed = statistics.median(speeds[name])
            half = bench.place.type == "cuda" or (name == "ours" and half_pays(bench.place, hidden))
            share = speed * operations / peaks[half]
            memory = loops[name].close()
            figures[f"{size}_stage{stage}_{name}_tokens_per_second"] = speed
            figures[f"{size}_stage{stage}_{name}_peak_mb"] = memory
            table.append([size, stage, name, speed, memory, share])
            figures[f"{size}_stage{stage}_{name}_share_of_peak"] = share
        for key, ours, rival in (
            ("ratio_public", "ours", "public"),
            ("ratio_public_same_arithmetic", "ours_float32", "public"),
            ("ratio_trainer", "ours", "trainer"),
            ("ratio_trainer_same_arithmetic", "ours_float32", "trainer"),
        ):
            ratio = statistics.median(a / b for a, b in zip(speeds[ours], speeds[rival], strict=True))
            figures[f"{size}_{key}_stage{stage}"] = ratio
            if size == "films":
                figures[f"{key}_stage{stage}"] = ratio
    figures[f"{size}_forward_overhead"] = bench.forward_overhead(pairs)
    if size == "films":
        figures["forward_overhead"] = figures["films_forward_overhead"]
    return figures, table


def main() -> None:
    """Measure and write the result."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    logging.set_verbosity_error()
    given = parser(__doc__)
    given.add_argument("--size", choices=sorted(SIZES), nargs="+")
    given.add_argument("--pairs", type=int, default=3)
    given.add_argument("--worker", nargs=3, metavar=("SIZE", "LOOP", "STAGE"), help="make turns when told to")
    chosen = given.parse_args()
    if chosen.worker:
        size, name, stage = chosen.worker
        return work(size, name, int(stage))
    sizes = chosen.size or ["demo", "films", *(["giant"] if torch.cuda.is_available() else [])]
    figures, table = {}, []
    for size in sizes:
        found, rows = measure(size, chosen.pairs)
        figures.update(found)
        table += rows
    columns = ["LLM", "stage", "loop", "tokens/s", "peak MB", "share of matmul peak"]
    print_table(table, columns)
    left_out = "" if torch.cuda.is_available() else "no GPU at hand: the LLM of 1 B with 150k tokens was not measured"
    path = write_result(
        "training",
        "python benchmarks/training.py" + (f" --size {' '.join(chosen.size)}" if chosen.size else ""),
        figures,
        sizes={size: SIZES[size] for size in sizes},
        pairs=chosen.pairs,
        left_out=left_out,
        columns=columns,
        rows=table,
        listed=[key for key in figures if "ratio" in key or "overhead" in key],
    )
    print(f"written to {path}")


if __name__ == "__main__":
    main()
