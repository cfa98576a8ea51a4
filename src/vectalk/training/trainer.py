"""The training loop: two stages, best checkpoint kept, resumed exactly where it was (paper, section 3.1)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from vectalk.errors import TrainingError
from vectalk.llm.loading import load_llm
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.run import Run
from vectalk.model.sharing import can_share
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training import checkpoint, finish, words
from vectalk.training.adapters import make_adapters
from vectalk.training.allocator import keep_freed_memory
from vectalk.training.answers import Consistency
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.folder import RunFolder
from vectalk.training.loop import DivergedError, Loop, autocast, half_pays
from vectalk.training.processes import make_accelerator
from vectalk.training.reporter import Reporter, Silent, interruptible
from vectalk.training.sharding import is_sharded, shard
from vectalk.training.stage import Progress, learning_rate, prepare
from vectalk.training.start import commit_of, identity_of, load_adapters
from vectalk.training.tokens import Tokens
from vectalk.training.validation import Validation, by_heart

LOG_EVERY = 10
ANSWER_TOKENS = 96  # longest answer that is judged in training
EXPLODED = 3.0  # times the loss of guessing, or that at the stage's start where it is more


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
        trust_encoder: for `eval_answers`, load the encoder that the spaces name also where vectalk does not know it.
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
        trust_encoder: bool = False,
        reporter: Reporter,
    ) -> None:
        self.corpus, self.config, self.out, self.report, self.start = corpus, config, Path(out), reporter, start
        self.folder = RunFolder(self.out, corpus, config, llm, revision, identity_of(start))
        self.stages: list[StageConfig] = [config.stage1, config.stage2]
        self.folder.check(resume)
        torch.manual_seed(config.seed)
        self.accelerator, place = make_accelerator(device)
        self.main, self.sharded = self.accelerator.is_main_process, is_sharded(self.accelerator, config.shard)
        self.report = reporter if self.main else Silent()
        self.accelerator.wait_for_everyone()  # nobody claims the folder before all have looked at it
        self.loading: dict[str, Any] = {
            "name": llm,
            "revision": (self.folder.commit() if resume else None) or revision or commit_of(start, llm),
            "device": str(place),
            "dtype": self._dtype(place),
        }
        self.language = load_llm(**self.loading)
        wide = self.language.hidden_size
        self.half = half_pays(place, wide) if config.autocast == "auto" else config.autocast == "bfloat16"
        self.model = ElmModel(self.language, make_adapters(corpus.spaces, config, self.language))
        self.fresh = list(corpus.spaces) if start is None else load_adapters(self.model, start)
        self._choose_path()
        soft_tokens = dict.fromkeys(corpus.spaces, config.adapter.soft_tokens)
        frame = self.folder.frame() if resume else None
        self.prompts = PromptFormat(self.language.tokenizer, soft_tokens, frame=frame)
        with self.accelerator.main_process_first():
            self.train_set, self.validation_set = self._examples(TRAIN), self._examples(VALIDATION)
        if not len(self.train_set) or len(self.validation_set) < 2:
            raise TrainingError(
                f"corpus {corpus.path} has {len(self.train_set)} training and {len(self.validation_set)} validation "
                "examples; training needs some of the first and at least two of the second (for early stopping)"
            )
        for number, stage in enumerate(self.stages, start=1):
            self._check_tasks(number, stage)
        self.train_set.check_longest("training")
        self.validation_set.check_longest("validation")
        self.validation = Validation(self.model, self.validation_set, config, self.accelerator, self.half, self.sharded)
        self.consistency = (
            Consistency(self.model, self.validation_set, config.eval_answers, ANSWER_TOKENS, self.half, trust_encoder)
            if config.eval_answers
            else None
        )
        self.guessing = math.log(self.language.model.config.get_text_config().vocab_size)
        self.peft_model: Any = None
        self.trained = "frozen"
        if not resume and self.main:
            self.folder.claim(self.prompts.frame, self.language.revision)
        self.accelerator.wait_for_everyone()

    def _dtype(self, place: torch.device) -> str:
        """Return the type of the LLM's weights."""
        if self.sharded and self.config.dtype not in ("auto", "float32"):
            raise TrainingError(
                f"dtype is {self.config.dtype!r}, and weights that are spread over processes are kept in float32; "
                "leave dtype out (products are made in bfloat16 all the same, where autocast says so)"
            )
        # Weights that an optimiser moves are kept in float32: in bfloat16 small steps are rounded away. FSDP takes
        # weights of one type only, and the adapters are in float32. An old GPU would make gradients in float16.
        full = any(stage.llm == "full" and stage.steps for stage in self.stages)
        old = place.type == "cuda" and not half_pays(place, 0)
        return "float32" if self.config.dtype == "auto" and (full or self.sharded or old) else self.config.dtype

    def _check_tasks(self, number: int, stage: StageConfig) -> None:
        """Refuse a stage whose tasks the corpus lacks."""
        for name in stage.tasks or ():
            self.corpus.suite.task(name)
        if stage.tasks is None:
            return
        learned, judged = (len(examples.of_tasks(stage.tasks)) for examples in (self.train_set, self.validation_set))
        if stage.steps and (not learned or judged < 2):
            raise TrainingError(
                f"stage{number}.tasks {', '.join(stage.tasks or ())}: corpus {self.corpus.path} has {learned} training "
                f"and {judged} validation examples of these; training needs some of the first and two of the second"
            )

    def _examples(self, split_name: str) -> Examples:
        tokens = Tokens.of_corpus(self.corpus, split_name, self.prompts)
        return Examples(tokens, self.corpus.spaces, self.prompts, self.language.context, self.config.vector_noise)

    def _choose_path(self) -> None:
        """Settle which short cuts this LLM allows."""
        config, llm = self.config, self.language.model
        if config.gradient_checkpointing:
            if not llm.supports_gradient_checkpointing:
                raise TrainingError(f"LLM {self.language.name!r} does not support gradient_checkpointing; turn it off")
            enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
            enable({"use_reentrant": False})
        if config.gradient_checkpointing or self.sharded or not can_share(llm):
            self.model.share_from = None
        if self.sharded and config.eval_answers:
            raise TrainingError(
                "eval_answers: a model that is spread over processes cannot answer while it is trained; "
                "leave it out, and measure consistency with `vectalk evaluate`"
            )

    # ---- running

    def run(self) -> Run:
        """Train all stages and return the finished run."""
        if self.config.keep_freed_memory and self.model.device.type == "cpu":
            keep_freed_memory()
        with _flushed():
            return self._run()

    def _run(self) -> Run:
        progress, saved = Progress(), checkpoint.list_checkpoints(self.folder.checkpoints)
        if saved:
            progress = Progress.read(checkpoint.read_state(saved[-1]))
            self.report.message(f"going on from stage {progress.stage}, step {progress.step}")
        else:
            prompt, _ = self.train_set.prompt(0)
            self.report.message(f"one example, what is learned between »«:\n{self.prompts.show(prompt)}")
            if self.config.adapter.start == "words":
                words.start(self.model, self.train_set, self.config, self.report, self.fresh)
        self._tell_of_processes()
        if self.sharded:
            self._shard()
        self.accelerator.wait_for_everyone()
        if self.main:
            self.folder.truncate_log(progress if saved else None)
            checkpoint.remove_unfinished(self.folder.checkpoints)
        for number, stage in enumerate(self.stages, start=1):
            if number < progress.stage or stage.steps == 0:
                self._restore_best(number, stage)
                continue
            if number > progress.stage:
                progress = progress.next_stage(number)
            try:
                self._run_stage(stage, progress, saved[-1] if saved and progress.step else None)
            except DivergedError as error:
                self._rescue(error, progress)
            saved = []
        return self._finish(progress)

    def _tell_of_processes(self) -> None:
        count = self.accelerator.num_processes
        if count > 1:
            how = "the weights are spread over them" if self.sharded else "each holds a copy of the weights"
            self.report.message(f"{count} processes take part; {how}")
        elif self.config.shard:
            self.report.message(
                "WARNING: shard is on, but one process takes part, so nothing is spread; start several with `torchrun "
                "--nproc_per_node N -m vectalk.cli.main train ...`"
            )

    def _finish(self, progress: Progress, note: str = "") -> Run:
        if self.sharded and self.main:  # the finished weights are put together in a model of its own
            language = load_llm(**{**self.loading, "device": "cpu"})  # where there is room for the whole
            self.model = ElmModel(language, make_adapters(self.corpus.spaces, self.config, language))
            if self.start is not None:
                load_adapters(self.model, self.start)  # their normalisers are not among what was trained
            self.peft_model = None
            for number, stage in enumerate(self.stages[: progress.stage], start=1):
                self._restore_best(number, stage)
        return finish.finish(self, progress, note)

    def _rescue(self, error: DivergedError, progress: Progress) -> NoReturn:
        """Make a run of the best weights before training went astray, if they had learned anything, and say so."""
        where = f"training diverged in stage {progress.stage} at step {progress.step}: {error}"
        advice = "Lower the learning rates (stage1.lr_adapter, stage2.lr_llm), and train in another folder"
        if not progress.learned:
            raise TrainingError(f"{where}. Nothing had been learned before. {advice}") from None
        checkpoint.load_weights(self.model, self.folder.best(progress.stage))
        best = f"the best weights before that, of stage {progress.stage}, step {progress.best_step}"
        self._finish(progress, f"Stopped early: {where}. These are {best}.")
        raise TrainingError(f"{where}; {best}, are kept as the run {self.out}. {advice}") from None

    def _restore_best(self, number: int, stage: StageConfig) -> None:
        """Put the model where a stage that is over left it."""
        if stage.steps:
            self._enter(stage)
            checkpoint.load_weights(self.model, self.folder.best(number))

    def _shard(self) -> None:
        """Spread the model over the processes; a low-rank update is made before, to be spread like the rest."""
        learning = [stage for stage in self.stages if stage.steps and stage.llm != "frozen"]
        if learning:
            self._prepare(learning[0])
        shard(self.model, self.half)
        # FSDP settles at the first pass in which type gradients are kept, of what is to be trained then.
        with torch.no_grad(), autocast(self.model.device, self.half):
            self.model(self.validation_set.batch(np.arange(2)).to(self.model.device))

    def _prepare(self, stage: StageConfig) -> None:
        if stage.llm == "lora" and self.peft_model is None:
            torch.manual_seed(self.config.seed)  # a new update is the same in all processes
        self.peft_model = prepare(self.model, stage, self.config.lora, self.peft_model)

    def _enter(self, stage: StageConfig) -> None:
        self._prepare(stage)
        self.trained = stage.llm if stage.llm != "frozen" else self.trained

    def _run_stage(self, stage: StageConfig, progress: Progress, resumed: Path | None) -> None:
        self._enter(stage)
        if stage.rare_tokens:
            learned = self.train_set.of_tasks(stage.tasks)
            self.model.token_weights = words.token_weights(self.train_set, learned, stage.rare_tokens, self.model)
        else:
            self.model.token_weights = None
        loop = Loop(
            self.model, self.train_set, stage, progress.stage, self.config, self.accelerator, self.half, self.sharded
        )
        if resumed is not None:
            checkpoint.load_checkpoint(resumed, self.model, loop.optimizer)
        else:
            self._evaluate(stage, progress)
        batches, value, shown = loop.batches(progress.step), float("nan"), "..."
        # A number that is looked at waits for the device; a CPU has no queue to keep filled.
        look_every = 1 if self.model.device.type == "cpu" else LOG_EVERY
        with interruptible() as interrupted:
            while progress.step < stage.steps and progress.waited < stage.patience:
                started = time.perf_counter()
                tokens, pieces = next(batches)
                loss = loop.step(tokens, pieces, learning_rate(stage, progress.step), progress.step)
                progress.step, progress.total = progress.step + 1, progress.total + 1
                last = progress.step == stage.steps
                logs = last or progress.step % LOG_EVERY == 0
                evaluates = last or progress.step % self.config.eval_every == 0
                saves = progress.step % self.config.save_every == 0
                if logs or evaluates or saves or progress.step % look_every == 0:
                    value = loop.value(loss)
                    shown = f"{value:.3f}"
                progress.seconds += time.perf_counter() - started
                if logs and self.main:
                    rate = loop.optimizer.param_groups[0]["lr"]
                    self.folder.log(progress, loss=value, tokens=tokens, lr=rate)
                if evaluates:
                    self._evaluate(stage, progress)
                note = f"loss {shown}  best {progress.best:.3f}  gain {progress.gain:.3f}"
                self.report.step(progress.stage, progress.step, stage.steps, note)
                # Looked at last, so that what comes during a long evaluation, or the last step, is not lost.
                stops = self._agreed(interrupted()) if self.accelerator.num_processes == 1 or logs else False
                if (saves or stops) and (self.main or self.sharded):
                    place = self.folder.checkpoints if self.main else None
                    checkpoint.save_checkpoint(
                        place, progress.total, self.model, loop.optimizer, progress.state(), self.config.keep
                    )
                if stops:
                    self.report.message(f"stopped at stage {progress.stage}, step {progress.step}; go on with --resume")
                    raise KeyboardInterrupt
        checkpoint.load_weights(self.model, self.folder.best(progress.stage))
        if progress.stage == 1 and progress.gain <= 0.01:
            self.report.message(
                f"WARNING: the vector gain is {progress.gain:.4f} at the end of stage 1: the LLM does not use the "
                "vectors yet. More steps, a higher stage1.lr_adapter, more soft tokens or shorter tasks may help."
            )
        heart = by_heart(self.folder.evaluations(progress.stage), progress.best_step) if self.main else []
        if heart:
            self.report.message(
                f"WARNING: stage {progress.stage} learned training examples by heart while the loss of all tasks "
                f"together fell; of validation losses {'; '.join(heart[:5])}. Noise on vectors (vector_noise), "
                "adapter.dropout or fewer steps may help."
            )

    def _agreed(self, asked: bool) -> bool:
        """Return whether any process was asked to stop."""
        if self.accelerator.num_processes == 1:
            return asked
        return bool(self.accelerator.reduce(torch.tensor(float(asked), device=self.model.device), "sum") > 0)

    def _evaluate(self, stage: StageConfig, progress: Progress) -> None:
        """Measure the validation loss with right and with shuffled vectors; keep the weights if they are to be kept."""
        right, shuffled, by_task = self.validation.measure(stage)
        progress.gain = shuffled - right
        first = progress.first = right if progress.first is None else progress.first
        if not right <= EXPLODED * max(first, self.guessing):
            raise DivergedError(f"the validation loss became {right:.4g}, at the stage's start it was {first:.4g}")
        better = right < progress.best
        progress.best, progress.waited = (right, 0) if better else (progress.best, progress.waited + 1)
        keeps = better or stage.keep == "last"
        if keeps:
            progress.best_step, progress.learned = progress.step, progress.learned or progress.step > 0
        more = self.consistency.measure(self.validation.numbers(stage)) if self.consistency is not None else {}
        if self.main:
            losses = {"validation_loss": right, "shuffled_loss": shuffled, "vector_gain": progress.gain}
            self.folder.log(progress, **losses, **more, task_losses=by_task)
        if keeps:
            best = self.folder.best(progress.stage)
            temporary = best.with_name("." + best.name)
            checkpoint.save_weights(self.model, temporary if self.main else None)
            if self.main:
                temporary.replace(best)
        self.accelerator.wait_for_everyone()


@contextmanager
def _flushed() -> Iterator[None]:
    """Let numbers too small for their type be zero, since a CPU is slow at them; moments of Adam come there."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def train(corpus: Corpus, llm: str, out: str | Path, config: TrainConfig | None = None, **settings: Any) -> Run:
    """Train and return the finished run; see `Trainer` for the settings."""
    return Trainer(corpus, llm, out, config or TrainConfig(), **{"reporter": Silent(), **settings}).run()
