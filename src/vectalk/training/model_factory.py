"""`ModelFactory`: loads the base LLM of a run and adds adapters; each call creates the same model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vectalk.decoding.decoder import can_decode
from vectalk.errors import TrainingError
from vectalk.llm.loading import load_llm
from vectalk.llm.quantisation import is_quantised
from vectalk.model import ElmModel
from vectalk.model.half import half_pays
from vectalk.model.run import Run
from vectalk.model.sharing import can_share
from vectalk.space import VectorSpace
from vectalk.training.adapters import make_adapters
from vectalk.training.config import TrainConfig
from vectalk.training.start import load_adapters


@dataclass(frozen=True)
class ModelFactory:
    """Creates the model that training starts from; each call creates the same model.

    Attributes:
        llm: hub name or folder of the base LLM.
        revision: branch, tag or commit of an LLM on the hub.
        device: device of training.
        spaces: name -> space.
        config: settings.
        sharded: whether the weights are split among processes.
        start: a finished run with the initial adapters; None: the adapters are untrained.
    """

    llm: str
    revision: str | None
    device: torch.device
    spaces: Mapping[str, VectorSpace]
    config: TrainConfig
    sharded: bool
    start: Run | None

    def make(self, device: str | None = None) -> ElmModel:
        """Load the LLM and create the adapters.

        Args:
            device: device of the model; None: the device of training.

        Raises:
            TrainingError: the settings do not fit each other, the spaces or the run in `start`.
            LanguageModelError: the LLM cannot be loaded, or does not accept input embeddings.
        """
        language = load_llm(
            self.llm,
            revision=self.revision,
            device=device or str(self.device),
            dtype=self.dtype,
            load_in=self.config.load_in,
        )
        model = ElmModel(language, make_adapters(self.spaces, self.config, language))
        if self.start is not None:
            load_adapters(model, self.start)
        return model

    @property
    def fresh(self) -> list[str]:
        """The names of the spaces whose adapters are untrained."""
        return [name for name in self.spaces if self.start is None or name not in self.start.card.spaces]

    @property
    def dtype(self) -> str:
        """The dtype of the LLM's weights.

        Raises:
            TrainingError: the weights are sharded, and `config.dtype` is not float32 or auto.
        """
        dtype, stages = self.config.dtype, (self.config.stage1, self.config.stage2)
        if self.sharded and dtype not in ("auto", "float32"):
            raise TrainingError(
                f"dtype is {dtype!r}, but weights that are split among processes must be float32; leave out dtype "
                "(autocast can still compute products in bfloat16)"
            )
        # Trained weights are in float32, because in bfloat16 small steps round to zero. FSDP accepts weights of one
        # dtype only, and the adapters are in float32. An old GPU would compute gradients in float16.
        full = any(stage.llm == "full" and stage.steps for stage in stages)
        old = self.device.type == "cuda" and not half_pays(self.device, 0)
        return "float32" if dtype == "auto" and (full or self.sharded or old) else dtype


def choose_path(model: ElmModel, config: TrainConfig, sharded: bool) -> None:
    """Turn on gradient checkpointing, and turn off shared prefixes, as settings and LLM require.

    Raises:
        TrainingError: the LLM does not support gradient checkpointing.
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
    if config.choose_decoding and not can_decode(model):
        raise TrainingError(
            f"choose_decoding: the decoding loop does not support LLM {model.language.name!r}, which keeps more state "
            "than keys and values; set choose_decoding to false"
        )
    if config.gradient_checkpointing or sharded or not can_share(llm):
        model.share_from = None
