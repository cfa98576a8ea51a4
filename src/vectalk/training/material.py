"""`Material`: what one stage learns from and is evaluated on, by its objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vectalk.training.config import StageConfig
from vectalk.training.distillation.distillation import Distillation
from vectalk.training.mixture import Mixture
from vectalk.training.setup import Setup
from vectalk.training.validation import Validation


@dataclass(frozen=True)
class Material:
    """Examples of one stage.

    Attributes:
        mixture: training examples.
        validation: measures the validation loss.
        stage: the stage; its tasks are those of the validation examples.
    """

    mixture: Mixture
    validation: Validation
    stage: StageConfig

    @classmethod
    def of(cls, setup: Setup, stage: StageConfig, progress: Callable[[str, int, int], None]) -> Material:
        """Return the examples of a stage; for distillation the LLM first writes the teacher's answers.

        Args:
            setup: everything that training needs.
            stage: settings of the stage.
            progress: called with the name of the work, the units done and all units.
        """
        if stage.objective == "targets":
            return cls(Mixture.of(stage, setup.train_set), setup.validation, stage)
        with setup.accelerator.main_process_first():  # the others read the answers that the first process wrote
            pairs = Distillation.make(setup.folder.corpus, setup.model, setup.prompts, setup.config, progress)
        validation = Validation(
            setup.model, pairs.validation_set, setup.config, setup.accelerator, setup.half, setup.sharded
        )
        mixture = Mixture.of(stage, setup.train_set, pairs.train_set)
        return cls(mixture, validation, stage.model_copy(update={"tasks": None}))
