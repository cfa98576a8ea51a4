"""`Setup`: everything that training needs, loaded and checked before the first step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from vectalk.errors import TrainingError
from vectalk.llm.chat_template import read_template
from vectalk.llm.tokenizer import load_tokenizer
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.half import half_pays
from vectalk.model.run import Run
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training.answers import Consistency
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.folder import RunFolder
from vectalk.training.lora import targets_of
from vectalk.training.model_factory import ModelFactory, choose_path
from vectalk.training.processes import make_accelerator
from vectalk.training.sharding import is_sharded
from vectalk.training.stage import Progress
from vectalk.training.start import commit_of, identity_of
from vectalk.training.tokens import Tokens
from vectalk.training.trackers import check_trackers, figures_of, start_trackers
from vectalk.training.validation import Validation

log = logging.getLogger("vectalk")
ANSWER_TOKENS = 96  # longest answer in training, for semantic consistency


@dataclass(frozen=True)
class Setup:
    """Everything that training needs.

    Attributes:
        folder: folder of the run, with corpus and settings.
        accelerator: the training processes.
        sharded: whether the model's weights are split among the processes.
        half: whether matrix products are computed in bfloat16.
        factory: creates the model.
        model: adapters and LLM.
        prompts: turns questions into prompts.
        train_set: training examples.
        validation_set: validation examples.
        validation: measures validation losses.
        consistency: measures semantic consistency of answers; None if `eval_answers` is 0.
    """

    folder: RunFolder
    accelerator: Accelerator
    sharded: bool
    half: bool
    factory: ModelFactory
    model: ElmModel
    prompts: PromptFormat
    train_set: Examples
    validation_set: Examples
    validation: Validation
    consistency: Consistency | None

    @classmethod
    def make(
        cls,
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
        claim: bool = True,
        chat_template: str | Path | None = None,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Setup:
        """Load and check everything; the last step writes the first files into the folder of the run.

        Args:
            corpus: opened corpus.
            llm: hub name or folder of the base LLM.
            out: folder of the run.
            config: settings.
            revision: branch, tag or commit of an LLM on the hub.
            device: `auto`, `cpu`, `cuda`, ...
            resume: resume the run in `out`.
            start: a finished run with the initial adapters; `llm` must be its LLM (see `start.llm_of`).
            chat_template: Jinja file of the chat template, or `none` for the plain question-and-answer format. When
                omitted, the template of the run in `out`, of `start`, or of the LLM.
            trust_encoder: for `eval_answers`, load the encoder that a space names even if vectalk does not know it.
            claim: write the first files into the folder; without them nothing can be trained, but only measured.
            progress: called with the name of the current work, the units done, and all units.

        Raises:
            TrainingError: the settings, the corpus or the folder do not allow training.
        """
        template = None if chat_template is None else read_template(chat_template)
        folder = RunFolder(Path(out), corpus, config, llm, revision, identity_of(start), template)
        folder.check(resume)
        check_trackers(config.report_to)
        torch.manual_seed(config.seed)
        accelerator, place = make_accelerator(device)
        sharded = is_sharded(accelerator, config.shard)
        accelerator.wait_for_everyone()  # all processes check the folder before one writes to it
        commit = (folder.commit() if resume else None) or revision or commit_of(start, llm)
        factory = ModelFactory(llm, commit, place, corpus.spaces, config, sharded, start)
        progress(f"loading {llm}", 0, 1)
        prompts = PromptFormat(
            load_tokenizer(llm, revision=commit),  # a template that cannot be used is refused before the LLM is loaded
            dict.fromkeys(corpus.spaces, config.adapter.soft_tokens),
            folder.template or (None if start is None else start.card.template),
            folder.frame() if resume else None,
            None if chat_template is None else f"the chat template {chat_template}",
            _system_prompt(config, start),
        )
        if prompts.system is not None and not prompts.form.system and accelerator.is_main_process:
            log.info("the chat template has no system role; the system prompt is put before each question")
        model = factory.make()
        progress(f"loading {llm}", 1, 1)
        if any(stage.steps and stage.llm == "lora" for stage in (config.stage1, config.stage2)):
            message = targets_of(model.language.model, config.lora, model.language.name).message()
            if message is not None and accelerator.is_main_process:
                log.info(message)
        choose_path(model, config, sharded)
        if sharded and config.eval_answers:
            raise TrainingError(
                "eval_answers: a model whose weights are split among processes cannot answer during training; "
                "leave out eval_answers, and measure consistency with `vectalk evaluate`"
            )
        half = half_pays(place, model.language.hidden_size) if config.autocast == "auto" else config.autocast != "none"
        with accelerator.main_process_first():
            examples = partial(_examples, corpus, prompts, model.language.context, config.vector_noise, progress)
            train_set, validation_set = examples(TRAIN), examples(VALIDATION)
        _check(corpus, config, train_set, validation_set)
        validation = Validation(model, validation_set, config, accelerator, half, sharded)
        consistency = None
        if config.eval_answers:
            count = config.eval_answers
            consistency = Consistency(model, validation_set, count, ANSWER_TOKENS, half, trust_encoder)
        if claim and not resume and accelerator.is_main_process:
            folder.claim(prompts.frame, model.language.revision)
        accelerator.wait_for_everyone()
        if claim:
            start_trackers(accelerator, config.report_to, folder.path, config.model_dump())
        return cls(
            folder,
            accelerator,
            sharded,
            half,
            factory,
            model,
            prompts,
            train_set,
            validation_set,
            validation,
            consistency,
        )

    def tell(self, message: str, level: int = logging.INFO) -> None:
        """Log a message in the main process only."""
        if self.main:
            log.log(level, message)

    def log(self, progress: Progress, **figures: float | dict[str, float]) -> None:
        """Write figures to training.jsonl and to the trackers; call it in the main process only."""
        self.folder.log(progress, **figures)
        if self.config.report_to:
            self.accelerator.log(figures_of(figures), step=progress.total)

    @property
    def config(self) -> TrainConfig:
        """The settings of the run."""
        return self.folder.config

    @property
    def stages(self) -> list[StageConfig]:
        """The settings of both stages, also of one without steps."""
        return [self.config.stage1, self.config.stage2]

    @property
    def main(self) -> bool:
        """Whether this is the main process, which writes all files."""
        return bool(self.accelerator.is_main_process)


def _system_prompt(config: TrainConfig, start: Run | None) -> str | None:
    """Return the text of the system message: that of the settings, else that of the run that training starts from."""
    if config.system_prompt is None:
        return None if start is None else start.card.system
    return None if config.system_prompt == "none" else config.system_prompt


def _examples(
    corpus: Corpus,
    prompts: PromptFormat,
    context: int | None,
    noise: float,
    progress: Callable[[str, int, int], None],
    split_name: str,
) -> Examples:
    tokens = Tokens.of_corpus(corpus, split_name, prompts, partial(progress, f"tokenising {split_name}"))
    return Examples(tokens, corpus.spaces, prompts, context, noise)


def _check(corpus: Corpus, config: TrainConfig, train_set: Examples, validation_set: Examples) -> None:
    """Check that each stage has enough examples, and that the examples fit the LLM's context."""
    if not len(train_set) or len(validation_set) < 2:
        raise TrainingError(
            f"corpus {corpus.path} has {len(train_set)} training and {len(validation_set)} validation "
            "examples; training needs at least one training example and two validation examples (for early stopping); "
            "write a larger corpus"
        )
    for number, stage in enumerate((config.stage1, config.stage2), start=1):
        for name in stage.tasks or ():
            corpus.suite.task(name)
        counts = [len(examples.of_tasks(stage.tasks)) for examples in (train_set, validation_set)]
        if stage.tasks is not None and stage.steps and (counts[0] < 1 or counts[1] < 2):
            raise TrainingError(
                f"stage{number}.tasks {', '.join(stage.tasks)}: corpus {corpus.path} has {counts[0]} training "
                f"and {counts[1]} validation examples of these tasks; training needs at least one training example and "
                "two validation examples"
            )
    train_set.check_longest("training")
    validation_set.check_longest("validation")
