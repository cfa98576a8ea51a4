"""The loops that `training.py` measures, each over random words and vectors: ours, and two rivals."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from vectalk.llm.loading import LanguageModel
from vectalk.model import ElmModel
from vectalk.model.half import half_pays
from vectalk.model.prompt import IGNORED
from vectalk.space import VectorSpace
from vectalk.training.adapters import make_adapters
from vectalk.training.config import TrainConfig
from vectalk.training.data import Examples
from vectalk.training.loop import Loop
from vectalk.training.mixture import Mixture
from vectalk.training.stage import prepare
from vectalk.training.tokens import KINDS, Tokens

SOFT, QUESTION, PLACE, D = 4, 14, 8, 64  # soft tokens; tokens of a question, and where its slot is; dimensions
WARM = 3  # steps before the clock runs: memory is mapped in the first ones
LOOPS = ("public", "trainer", "ours", "ours_float32")
FILMS = {"median": 62, "spread": 0.53}  # tokens of a paragraph, log-normal
DEMO = {"hidden": 128, "layers": 3, "vocabulary": 1024, "batch": 32, "median": 22, "spread": 0.35}
LARGE = {"hidden": 2048, "layers": 16, "vocabulary": 151_936, "steps": 4, **FILMS}
SIZES: dict[str, dict[str, Any]] = {
    "demo": {**DEMO, "steps": 8, "turns": 4},
    "films": {"hidden": 576, "layers": 4, "vocabulary": 49_152, "batch": 16, "steps": 1, "turns": 2, **FILMS},
    "giant": {**LARGE, "batch": 32},
    "wide": {**LARGE, "batch": 128, "loops": ("ours",)},
}


class Bench:
    """One size of LLM with its examples, and the loops over them.

    Args:
        size: of `SIZES`.
        seed: of weights and words.
        place: where the vector stands in each question.
        shared: tokens that all questions begin with.
    """

    def __init__(self, size: str, seed: int = 0, *, place: int = PLACE, shared: int = 0) -> None:
        self.settings, self.slot, self.shared = SIZES[size], place, shared
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
        with self.place:
            self.llm: PreTrainedModel = LlamaForCausalLM(config)
        rng = np.random.default_rng(seed)
        vectors = rng.standard_normal((1000, D)).astype(np.float32)
        self.space = VectorSpace.create("item", vectors, {"id": [str(n) for n in range(1000)]})
        self.examples = self._examples(rng)

    def _examples(self, rng: np.random.Generator) -> Examples:
        count = 50 * self.settings["batch"]
        answers = np.clip(rng.lognormal(np.log(self.settings["median"]), self.settings["spread"], count), 4, 400)
        start = QUESTION - PLACE + self.slot + SOFT
        lengths = start + answers.astype(np.int64)
        ids = rng.integers(2, self.settings["vocabulary"], lengths.sum())
        ids[(np.cumsum(lengths) - lengths)[:, None] + np.arange(self.shared)] = np.arange(2, 2 + self.shared)
        arrays: dict[str, Any] = {
            "ids": ids,
            "lengths": lengths,
            "answers": np.full(count, start),
            "tasks": np.zeros(count),
            "slots": np.ones(count),
            "slot_names": np.zeros(count),
            "slot_spaces": np.zeros(count),
            "slot_rows": rng.integers(0, 1000, count),
            "slot_places": np.full(count, self.slot),
        }
        tokens = Tokens({k: np.asarray(arrays[k], kind) for k, kind in KINDS.items()}, ["item"], ["item"], ["text"])
        return Examples(tokens, {"item": self.space}, SimpleNamespace(pad_id=0, soft_tokens={"item": SOFT}))  # type: ignore[arg-type]

    def model(self, config: TrainConfig) -> ElmModel:
        language = LanguageModel(self.llm, None, "random", None, plain_head=True, embedding_rms=0.02)  # type: ignore[arg-type]
        return ElmModel(language, make_adapters({"item": self.space}, config, language))

    def loop(self, name: str, stage: int) -> Callable[[], tuple[float, int]]:
        """Return what makes some steps of a loop and gives its seconds and real tokens."""
        if name == "trainer":
            return lambda: self.of_trainer(stage)
        made = self.public if name == "public" else None
        steps = self.ours(stage, name == "ours_float32") if made is None else made(stage)

        def turn() -> tuple[float, int]:
            start, tokens = self.clock(), torch.zeros((), dtype=torch.long, device=self.place)
            for _ in range(self.settings["steps"] * (3 if made is None else 1)):  # ours are short
                tokens += next(steps)  # a number on the device, which nobody waits for
            return self.clock() - start, int(tokens)

        for _ in range(WARM):
            next(steps)
        return turn

    def clock(self) -> float:
        return clock(self.place)

    def loop_of(self, number: int, exact: bool, **changes: Any) -> Loop:
        """Return the loop of `vectalk train` in a stage, with changes to its default settings."""
        settings = {"batch_size": self.settings["batch"], "autocast": "none" if exact else "auto", "adapter.width": 512}
        config = TrainConfig.load(None, {**settings, **changes})
        stage = (config.stage1, config.stage2)[number - 1]
        model = self.model(config)
        prepare(model, stage, config.lora)
        accelerator = Accelerator(cpu=self.place.type == "cpu")
        half = not exact and half_pays(self.place, self.settings["hidden"])
        return Loop(model, Mixture(self.examples), stage, number, config, accelerator, half)

    def ours(self, number: int, exact: bool) -> Iterator[Tensor]:
        return self.steps_of(self.loop_of(number, exact), number)

    def steps_of(self, loop: Loop, number: int) -> Iterator[Tensor]:
        """Make steps of a loop; yields their real tokens, a number on the device."""
        for step, (tokens, pieces) in enumerate(loop.batches(0)):
            loop.model.llm.requires_grad_(number == 2)
            loss = loop.step(tokens, pieces, 0.01, step)
            if self.place.type == "cpu":
                loss.item()
            yield sum((batch.attention_mask.sum() for batch in pieces), torch.zeros((), device=self.place).long())

    def public(self, number: int) -> Iterator[Tensor]:
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
            marked[:, PLACE : PLACE + SOFT] = True
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
            yield mask.sum()

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
    """Return seconds: of the processor where one thread computes, else of the wall, on a GPU once it is done."""
    if place.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
