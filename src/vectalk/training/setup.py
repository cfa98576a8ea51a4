"""`Setup`: all that training needs, made and checked before the first step."""

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
from vectalk.model.run import Run
from vectalk.space.split import TRAIN, VALIDATION
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training.answers import Consistency
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.data import Examples
from vectalk.training.folder import RunFolder
from vectalk.training.loop import half_pays
from vectalk.training.lora import targets_of
from vectalk.training.model_factory import ModelFactory, choose_path
from vectalk.training.processes import make_accelerator
from vectalk.training.sharding import is_sharded
from vectalk.training.start import commit_of, identity_of
from vectalk.training.tokens import Tokens
from vectalk.training.validation import Validation

log = logging.getLogger("vectalk")
ANSWER_TOKENS = 96  # longest answer that is judged in training


@dataclass(frozen=True)
class Setup:
    """What training starts from.

    Attributes:
        folder: of the run, with its corpus and its settings.
        accelerator: the processes that take part.
        sharded: whether the model's weights are spread over them.
        half: whether products are made in bfloat16.
        factory: makes the model.
        model: adapters and LLM.
        prompts: makes prompts of questions.
        train_set: training examples.
        validation_set: validation examples.
        validation: measures validation losses.
        consistency: measures what the model answers, where the settings ask for it.
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
        chat_template: str | Path | None = None,
        progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Setup:
        """Load and check everything, and claim the folder of the run last of all.

        Args:
            corpus: opened corpus.
            llm: hub name or folder of the base LLM.
            out: folder of the run.
            config: settings.
            revision: of a hub model.
            device: `auto`, `cpu`, `cuda`, ...
            resume: go on with the run in `out`.
            start: a finished run whose adapters are started with; its LLM is given as `llm` (see `start.llm_of`).
            chat_template: Jinja file of the chat template, or `none` for the plain question-and-answer format. When
                omitted, that of the run in `out`, of `start`, or of the LLM.
            trust_encoder: for `eval_answers`, load the encoder that a space names even if vectalk does not know it.
            progress: called with what is going on, how much is done, how much there is.

        Raises:
            TrainingError: the settings, the corpus or the folder do not allow training.
        """
        template = None if chat_template is None else read_template(chat_template)
        folder = RunFolder(Path(out), corpus, config, llm, revision, identity_of(start), template)
        folder.check(resume)
        torch.manual_seed(config.seed)
        accelerator, place = make_accelerator(device)
        sharded = is_sharded(accelerator, config.shard)
        accelerator.wait_for_everyone()  # nobody claims the folder before all have looked at it
        commit = (folder.commit() if resume else None) or revision or commit_of(start, llm)
        factory = ModelFactory(llm, commit, place, corpus.spaces, config, sharded, start)
        progress(f"loading {llm}", 0, 1)
        prompts = PromptFormat(
            load_tokenizer(llm, revision=commit),  # a template that cannot be used is refused before the LLM is loaded
            dict.fromkeys(corpus.spaces, config.adapter.soft_tokens),
            folder.template or (None if start is None else start.card.template),
            folder.frame() if resume else None,
            None if chat_template is None else f"the chat template {chat_template}",
        )
        model = factory.make()
        progress(f"loading {llm}", 1, 1)
        if any(stage.steps and stage.llm == "lora" for stage in (config.stage1, config.stage2)):
            message = targets_of(model.language.model, config.lora, model.language.name).message()
            if message is not None and accelerator.is_main_process:
                log.info(message)
        choose_path(model, config, sharded)
        if sharded and config.eval_answers:
            raise TrainingError(
                "eval_answers: a model that is spread over processes cannot answer while it is trained; "
                "leave it out, and measure consistency with `vectalk evaluate`"
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
        if not resume and accelerator.is_main_process:
            folder.claim(prompts.frame, model.language.revision)
        accelerator.wait_for_everyone()
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
        """Log a message, once for all processes."""
        if self.main:
            log.log(level, message)

    @property
    def config(self) -> TrainConfig:
        """The settings of the run."""
        return self.folder.config

    @property
    def stages(self) -> list[StageConfig]:
        """Both stages, also one without steps."""
        return [self.config.stage1, self.config.stage2]

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files."""
        return bool(self.accelerator.is_main_process)


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
    """Refuse examples that training cannot do with."""
    if not len(train_set) or len(validation_set) < 2:
        raise TrainingError(
            f"corpus {corpus.path} has {len(train_set)} training and {len(validation_set)} validation "
            "examples; training needs some of the first and at least two of the second (for early stopping)"
        )
    for number, stage in enumerate((config.stage1, config.stage2), start=1):
        for name in stage.tasks or ():
            corpus.suite.task(name)
        learned, judged = (len(examples.of_tasks(stage.tasks)) for examples in (train_set, validation_set))
        if stage.tasks is not None and stage.steps and (not learned or judged < 2):
            raise TrainingError(
                f"stage{number}.tasks {', '.join(stage.tasks)}: corpus {corpus.path} has {learned} training "
                f"and {judged} validation examples of these; training needs some of the first and two of the second"
            )
    train_set.check_longest("training")
    validation_set.check_longest("validation")
