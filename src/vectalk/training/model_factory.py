"""`ModelFactory`: loads the base LLM of a run and gives it adapters, as often as it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vectalk.errors import TrainingError
from vectalk.llm.loading import is_quantised, load_llm
from vectalk.model import ElmModel
from vectalk.model.run import Run
from vectalk.model.sharing import can_share
from vectalk.space import VectorSpace
from vectalk.training.adapters import make_adapters
from vectalk.training.config import TrainConfig
from vectalk.training.loop import half_pays
from vectalk.training.start import load_adapters


@dataclass(frozen=True)
class ModelFactory:
    """Makes the model that training starts from: the same at every call.

    Attributes:
        llm: hub name or folder of the base LLM.
        revision: of a hub model.
        device: where training takes place.
        spaces: spaces by name.
        config: settings.
        sharded: whether weights are spread over processes.
        start: a finished run whose adapters are started with.
    """

    llm: str
    revision: str | None
    device: torch.device
    spaces: Mapping[str, VectorSpace]
    config: TrainConfig
    sharded: bool
    start: Run | None

    def make(self, device: str | None = None) -> ElmModel:
        """Load the LLM and make the adapters.

        Args:
            device: another place than that of training.

        Raises:
            TrainingError: the settings do not allow it.
            LanguageModelError: the LLM cannot be loaded, or cannot take vectors as words.
        """
        language = load_llm(self.llm, revision=self.revision, device=device or str(self.device), dtype=self.dtype)
        model = ElmModel(language, make_adapters(self.spaces, self.config, language))
        if self.start is not None:
            load_adapters(model, self.start)
        return model

    @property
    def fresh(self) -> list[str]:
        """The spaces whose adapters have learned nothing yet."""
        return [name for name in self.spaces if self.start is None or name not in self.start.card.spaces]

    @property
    def dtype(self) -> str:
        """The type of the LLM's weights.

        Raises:
            TrainingError: the settings ask for one in which weights cannot be spread.
        """
        wanted, stages = self.config.dtype, (self.config.stage1, self.config.stage2)
        if self.sharded and wanted not in ("auto", "float32"):
            raise TrainingError(
                f"dtype is {wanted!r}, and weights that are spread over processes are kept in float32; "
                "leave dtype out (products are made in bfloat16 all the same, where autocast says so)"
            )
        # Weights that an optimiser moves are kept in float32: in bfloat16 small steps are rounded away. FSDP takes
        # weights of one type only, and the adapters are in float32. An old GPU would make gradients in float16.
        full = any(stage.llm == "full" and stage.steps for stage in stages)
        old = self.device.type == "cuda" and not half_pays(self.device, 0)
        return "float32" if wanted == "auto" and (full or self.sharded or old) else wanted


def choose_path(model: ElmModel, config: TrainConfig, sharded: bool) -> None:
    """Settle which short cuts a model's LLM allows.

    Raises:
        TrainingError: the settings ask for one that it does not.
    """
    llm = model.language.model
    if is_quantised(llm) and any(stage.steps and stage.llm == "full" for stage in (config.stage1, config.stage2)):
        raise TrainingError(
            f"LLM {model.language.name!r} is quantised, and its packed weights cannot be trained: train a low-rank "
            "update (--lora) or the adapters alone (stage2.llm=frozen), or take the same model without quantisation"
        )
    if config.gradient_checkpointing:
        if not llm.supports_gradient_checkpointing:
            raise TrainingError(f"LLM {model.language.name!r} does not support gradient_checkpointing; turn it off")
        enable = getattr(llm, "activation_checkpointing_enable", None) or llm.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if config.gradient_checkpointing or sharded or not can_share(llm):
        model.share_from = None
