"""The training loop: two stages, best checkpoint kept, resumed exactly where it was (paper, section 3.1)."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from vectalk.errors import TrainingError
from vectalk.files import read_json, write_json, write_text
from vectalk.model import ElmModel, PromptFormat, load_llm
from vectalk.model.batch import Batch
from vectalk.model.llm import pick_device
from vectalk.model.prompt import Frame
from vectalk.model.run import Run
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus import Corpus
from vectalk.training import checkpoint, finish, words
from vectalk.training.adapters import make_adapters
from vectalk.training.answers import Consistency
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples, length_grouped
from vectalk.training.stage import Progress, learning_rate, make_optimizer, prepare
from vectalk.training.start import identity_of, load_adapters

LOG_EVERY = 10
ANSWER_TOKENS = 96  # longest answer that is judged in training


class Reporter(Protocol):
    """Is told what happens."""

    def message(self, text: str) -> None:
        """Something worth a line."""
        ...

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """A step was made."""
        ...


class Trainer:
    """Trains adapters, and then the LLM with them, on a corpus.

    Args:
        corpus: opened corpus.
        llm: hub name or folder of the base LLM.
        out: folder of the run.
        config: settings.
        revision: of a hub model.
        device: `auto`, `cpu`, `cuda`, ...
        resume: go on with the run in `out`.
        start: a finished run whose adapters are started with; its LLM is given as `llm` (see `start.llm_of`).
        reporter: is told what happens.

    Raises:
        TrainingError: the settings, the corpus or the folder do not allow training.
    """

    def __init__(
        self,
        corpus: Corpus,
        llm: str,
        out: str | Path,
        config: TrainConfig,
        *,
        revision: str | None = None,
        device: str = "auto",
        resume: bool = False,
        start: Run | None = None,
        reporter: Reporter,
    ) -> None:
        self.corpus, self.config, self.out, self.report = corpus, config, Path(out), reporter
        self.checkpoints = self.out / "checkpoints"
        self.log_path = self.out / "training.jsonl"
        self.stages: list[StageConfig] = [config.stage1, config.stage2]
        identity = {
            "corpus": hashlib.sha256((corpus.path / "corpus.json").read_bytes()).hexdigest(),
            "llm": llm,
            "revision": revision,
            "config": config.model_dump(),
            "start": identity_of(start),
        }
        self._check_folder(identity, resume)
        torch.manual_seed(config.seed)
        place = pick_device(device)
        full = any(stage.llm == "full" and stage.steps for stage in self.stages)
        half = config.autocast == "bfloat16" or (
            config.autocast == "auto" and place.type == "cuda" and torch.cuda.is_bf16_supported()
        )
        AcceleratorState._reset_state()  # else a second run in one process could not have another precision
        self.accelerator = Accelerator(cpu=place.type == "cpu", mixed_precision="bf16" if half else "no")
        if self.accelerator.num_processes > 1:
            place = self.accelerator.device
        # Weights that an optimiser moves are kept in float32: in bfloat16 small steps are rounded away.
        dtype = "float32" if full and config.dtype == "auto" else config.dtype
        self.language = load_llm(llm, revision=revision, device=str(place), dtype=dtype)
        adapters = make_adapters(corpus.spaces, config, self.language)
        self.model = ElmModel(self.language, adapters)
        self.fresh = list(adapters) if start is None else load_adapters(self.model, start)
        frame = Frame(**read_json(self.checkpoints / "frame.json")) if resume else None
        soft_tokens = dict.fromkeys(corpus.spaces, config.adapter.soft_tokens)
        self.prompts = PromptFormat(self.language.tokenizer, soft_tokens, frame=frame)
        made = (self.prompts, self.language.context, config.vector_noise)
        self.train_set = Examples(corpus.table(TRAIN), corpus.spaces, *made)
        self.validation_set = Examples(corpus.table(VALIDATION), corpus.spaces, *made)
        if not len(self.train_set) or len(self.validation_set) < 2:
            raise TrainingError(
                f"corpus {corpus.path} has {len(self.train_set)} training and {len(self.validation_set)} validation "
                "examples; training needs some of the first and at least two of the second (for early stopping)"
            )
        for number, stage in enumerate(self.stages, start=1):
            self._check_tasks(number, stage)
        self.train_set.check_longest()
        self.validation_set.check_longest()
        self.consistency = (
            Consistency(self.model, self.validation_set, config.eval_answers, ANSWER_TOKENS)
            if config.eval_answers
            else None
        )
        self.peft_model: Any = None
        self.trained = "frozen"
        if not resume and self.accelerator.is_main_process:
            self._claim_folder(identity)
        self.accelerator.wait_for_everyone()

    def _check_tasks(self, number: int, stage: StageConfig) -> None:
        """Refuse a stage whose tasks the corpus lacks."""
        for name in stage.tasks or ():
            self.corpus.suite.task(name)
        learned, judged = (len(examples.of_tasks(stage.tasks)) for examples in (self.train_set, self.validation_set))
        if stage.steps and (not learned or judged < 2):
            raise TrainingError(
                f"stage{number}.tasks {', '.join(stage.tasks or ())}: corpus {self.corpus.path} has {learned} training "
                f"and {judged} validation examples of these; training needs some of the first and two of the second"
            )

    # ---- the folder

    def _check_folder(self, identity: dict[str, Any], resume: bool) -> None:
        """Refuse a folder that is not ours to write into."""
        known = self.checkpoints / "identity.json"
        if (self.out / "elm.json").is_file():
            raise TrainingError(f"{self.out} is a finished run; name another folder with --out, or remove it")
        if resume:
            if not known.is_file():
                raise TrainingError(f"{self.out} holds no run to resume; leave --resume out to start one")
            before = read_json(known)
            for key, value in json.loads(json.dumps(identity)).items():
                if before.get(key) != value:
                    raise TrainingError(
                        f"{self.out} was started with another {key} and cannot be resumed with this one: "
                        f"{_difference(before.get(key), value)}; give the same, or start anew in another folder"
                    )
            return
        if self.out.exists() and (self.out.is_file() or any(self.out.iterdir())):
            raise TrainingError(f"{self.out} is not empty; go on with --resume, or name another folder with --out")

    def _claim_folder(self, identity: dict[str, Any]) -> None:
        """Write what makes the folder ours; last of all checks, so that a run that cannot start leaves nothing."""
        write_json(self.checkpoints / "frame.json", asdict(self.prompts.frame))
        write_json(self.checkpoints / "identity.json", identity)
        write_text(self.out / "config.yaml", self.config.dump())
        write_text(self.out / "tasks.yaml", self.corpus.suite.dump())

    # ---- running

    def run(self) -> Run:
        """Train all stages and return the finished run."""
        progress, saved = Progress(), checkpoint.list_checkpoints(self.checkpoints)
        if saved:
            progress = Progress.read(checkpoint.read_state(saved[-1]))
            self.report.message(f"going on from stage {progress.stage}, step {progress.step}")
        else:
            prompt, _ = self.train_set.prompt(0)
            self.report.message(f"one example, what is learned between »«:\n{self.prompts.show(prompt)}")
            if self.config.adapter.start == "words":
                words.start(self.model, self.train_set, self.config, self.report, self.fresh)
        self._truncate_log(progress if saved else None)
        checkpoint.remove_unfinished(self.checkpoints)
        for number, stage in enumerate(self.stages, start=1):
            if number < progress.stage or stage.steps == 0:
                self._restore_best(number, stage)
                continue
            if number > progress.stage:
                progress = Progress(stage=number, total=progress.total, seconds=progress.seconds)
            self._run_stage(stage, progress, saved[-1] if saved and progress.step else None)
            saved = []
        return finish.finish(self, progress)

    def _restore_best(self, number: int, stage: StageConfig) -> None:
        """Put the model where a stage that is over left it."""
        if stage.steps:
            self._enter(stage)
            checkpoint.load_weights(self.model, self._best(number))

    def _enter(self, stage: StageConfig) -> None:
        self.peft_model = prepare(self.model, stage, self.config.lora, self.peft_model)
        self.trained = stage.llm if stage.llm != "frozen" else self.trained

    def _best(self, number: int) -> Path:
        return self.checkpoints / f"best-stage{number}.safetensors"

    def _run_stage(self, stage: StageConfig, progress: Progress, resumed: Path | None) -> None:
        self._enter(stage)
        raw = make_optimizer(self.model, stage, self.config.weight_decay)
        model, optimizer = self.accelerator.prepare(self.model, raw, device_placement=[False, False])
        if resumed is not None:
            checkpoint.load_checkpoint(resumed, self.model, raw)
        else:
            self._evaluate(stage, progress)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        examples = self.train_set.of_tasks(stage.tasks)
        self.model.token_weights = (
            words.token_weights(self.train_set, examples, stage.rare_tokens, self.model) if stage.rare_tokens else None
        )
        order = length_grouped(
            self.train_set.lengths[examples], self.config.batch_size, [self.config.seed, progress.stage], progress.step
        )
        with _interruptible() as interrupted:
            while progress.step < stage.steps and progress.waited < stage.patience:
                started = time.perf_counter()
                seed = [self.config.seed, progress.stage, progress.step]
                numbers = examples[next(order)]
                if len(numbers) < world:  # the end of an epoch; no process may be left without an example
                    numbers = np.resize(numbers, world)
                batch = self.train_set.batch(numbers[rank::world], noise_seed=seed).to(self.model.device)
                loss, tokens = self._step(model, optimizer, raw, batch, learning_rate(stage, progress.step))
                progress.step, progress.total = progress.step + 1, progress.total + 1
                progress.seconds += time.perf_counter() - started
                if progress.step % LOG_EVERY == 0 or progress.step == stage.steps:
                    self._log(progress, loss=loss, tokens=tokens, lr=raw.param_groups[0]["lr"])
                if progress.step % self.config.eval_every == 0 or progress.step == stage.steps:
                    self._evaluate(stage, progress)
                note = f"loss {loss:.3f}  best {progress.best:.3f}  gain {progress.gain:.3f}"
                self.report.step(progress.stage, progress.step, stage.steps, note)
                if progress.step % self.config.save_every == 0 or interrupted():
                    self._save(raw, progress)
                if interrupted():
                    self.report.message(f"stopped at stage {progress.stage}, step {progress.step}; go on with --resume")
                    raise KeyboardInterrupt
        checkpoint.load_weights(self.model, self._best(progress.stage))
        if progress.stage == 1 and progress.gain <= 0.01:
            self.report.message(
                f"WARNING: the vector gain is {progress.gain:.4f} at the end of stage 1: the LLM does not use the "
                "vectors yet. More steps, a higher stage1.lr_adapter, more soft tokens or shorter tasks may help."
            )

    def _step(
        self, model: Any, optimizer: Any, raw: torch.optim.Optimizer, batch: Batch, factor: float
    ) -> tuple[float, int]:
        """Make one optimiser step; returns the mean loss a token, and the tokens, over all processes."""
        for group in raw.param_groups:
            group["lr"] = group["peak"] * factor
        model.train()
        loss_sum, tokens = model(batch)
        total = self.accelerator.reduce(tokens.float(), "sum")
        # Gradients are averaged over processes; this makes them those of the mean over all tokens.
        self.accelerator.backward(loss_sum * self.accelerator.num_processes / total)
        loss = (self.accelerator.reduce(loss_sum.detach(), "sum") / total).item()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss}: training diverged; the best weights so far are kept in {self.checkpoints}. "
                "Lower the learning rates (stage1.lr_adapter, stage2.lr_llm) and start anew"
            )
        self.accelerator.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], self.config.clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss, int(total.item())

    @torch.no_grad()
    def _evaluate(self, stage: StageConfig, progress: Progress) -> None:
        """Measure the validation loss with right and with shuffled vectors; keep the weights if they are to be kept."""
        self.model.eval()
        right, shuffled = (self._validation_loss(stage, shuffle) for shuffle in (None, 1))
        progress.gain = shuffled - right
        better = right < progress.best
        progress.best, progress.waited = (right, 0) if better else (progress.best, progress.waited + 1)
        more = self.consistency.measure(self._judged(stage)) if self.consistency is not None else {}
        self._log(progress, validation_loss=right, shuffled_loss=shuffled, vector_gain=progress.gain, **more)
        if (better or stage.keep == "last") and self.accelerator.is_main_process:
            best = self._best(progress.stage)
            temporary = best.with_name("." + best.name)
            checkpoint.save_weights(self.model, temporary)
            temporary.replace(best)

    def _judged(self, stage: StageConfig) -> np.ndarray:
        """Return the validation examples of a stage's tasks, in the order in which they are taken."""
        return np.random.default_rng(0).permutation(self.validation_set.of_tasks(stage.tasks))

    def _validation_loss(self, stage: StageConfig, shuffle: int | None) -> float:
        numbers = self._judged(stage)[: self.config.eval_examples]
        size = min(self.config.batch_size * 2, max(2, len(numbers)))
        total = torch.zeros(2, dtype=torch.float64)
        for start in range(0, len(numbers), size):
            chosen = numbers[start : start + size]
            with self.accelerator.autocast():
                loss, tokens = self.model(self.validation_set.batch(chosen, shuffle=shuffle).to(self.model.device))
            total += torch.stack([loss.cpu().double(), tokens.cpu().double()])
        return float(total[0] / total[1])

    # ---- writing

    def _save(self, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        if self.accelerator.is_main_process:
            checkpoint.save_checkpoint(
                self.checkpoints, progress.total, self.model, optimizer, progress.state(), self.config.keep
            )

    def _log(self, progress: Progress, **figures: float) -> None:
        if self.accelerator.is_main_process:
            row = {"stage": progress.stage, "step": progress.step, "total": progress.total, **figures}
            with self.log_path.open("a", encoding="utf-8") as log:
                log.write(json.dumps({**row, "seconds": round(progress.seconds, 2)}) + "\n")

    def _truncate_log(self, reached: Progress | None) -> None:
        """Drop what was logged after the checkpoint that is gone on from; it will be logged again."""
        last = (reached.stage, reached.step) if reached is not None else (0, 0)
        if self.log_path.exists():
            rows = self.log_path.read_text(encoding="utf-8").splitlines()
            whole = [(json.loads(row), row) for row in rows if row.endswith("}")]
            kept = [row for values, row in whole if (values["stage"], values["step"]) <= last]
            write_text(self.log_path, "".join(f"{row}\n" for row in kept))

    def clean(self) -> None:
        """Remove what only serves to resume, and copies of the LLM; the adapters of a frozen stage are kept."""
        for old in checkpoint.list_checkpoints(self.checkpoints):
            shutil.rmtree(old)
        for number, stage in enumerate(self.stages, start=1):
            if stage.llm != "frozen":
                self._best(number).unlink(missing_ok=True)


def _difference(before: Any, now: Any) -> str:
    """Say in a few words where two identities differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                inner = _difference(before.get(key), now.get(key))
                return f"{key}.{inner}" if isinstance(now.get(key), dict) else f"{key} {inner}"
    return f"was {before!r}, is {now!r}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let the step in progress end after Ctrl-C; a second Ctrl-C stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = signal.getsignal(signal.SIGINT)

    def handler(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, handler)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def train(corpus: Corpus, llm: str, out: str | Path, config: TrainConfig | None = None, **settings: Any) -> Run:
    """Train and return the finished run; see `Trainer` for the settings."""
    return Trainer(corpus, llm, out, config or TrainConfig(), **{"reporter": Silent(), **settings}).run()


class Silent:
    """A reporter that says nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Show nothing."""
