"""`ElmAdapter`: the small module that turns a domain vector into soft tokens of an LLM (paper, section 3: E_A)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from vectalk.errors import PromptError, RunError
from vectalk.files import read_json
from vectalk.llm.weights import check_weights
from vectalk.reading.cards import checked
from vectalk.space.normalizer import Normalizer

Kind = Literal["linear", "mlp", "residual"]
KINDS: tuple[Kind, ...] = ("linear", "mlp", "residual")
_Length = Annotated[int, Field(ge=1, le=2**20)]


def check_adapter(space: str, adapters: Iterable[str], slot: str | None = None) -> None:
    """Raise a PromptError when no adapter accepts the vectors of a space; the error names `slot` if it is known."""
    known = list(adapters)
    if space not in known:
        where = "" if slot is None else f"slot {{{slot}}}: "
        raise PromptError(f"{where}no adapter for space {space!r}; there are adapters for {', '.join(known)}")


class _Shape(BaseModel):
    """The fields that the `config.json` of an adapter must have; see `ElmAdapterConfig`."""

    model_config = ConfigDict(strict=True)

    space: str
    sharers: list[str] = Field(default_factory=list)
    vector_dim: _Length
    llm_hidden_size: _Length
    soft_tokens: _Length
    kind: Kind
    width: _Length
    dropout: float = Field(ge=0.0, lt=1.0)


def open_adapter(folder: str | Path) -> ElmAdapter:
    """Open a saved adapter.

    Raises:
        RunError: the folder has no adapter, or a damaged one.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():  # transformers would look for the folder's name on the hub
        raise RunError(f"{folder} holds no adapter (it has no config.json); train the run again, or fetch it again")
    checked(read_json(folder / "config.json", RunError), _Shape, folder / "config.json", RunError)
    opened: Any
    try:
        opened = ElmAdapter.from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # transformers passes on every error of its file readers
        raise RunError(f"{folder} is not a complete adapter: {' '.join(str(error).split())}") from None
    adapter: ElmAdapter = opened[0]
    differing = sorted(
        str(name) for kind in ("missing", "unexpected", "mismatched") for name in opened[1][f"{kind}_keys"]
    )
    if differing:  # transformers would fill missing weights with random numbers
        raise RunError(
            f"{folder} is not a complete adapter: config.json and weights differ in {', '.join(differing[:3])}"
        )
    if not all(values.isfinite().all() for values in adapter.state_dict().values()):
        raise RunError(f"{folder} is not a usable adapter: its weights contain NaN or infinity")
    return adapter


class ElmAdapterConfig(PreTrainedConfig):
    """Shape of an adapter.

    Attributes:
        space: name of the space whose vectors the adapter accepts.
        sharers: names of other spaces of the same dimension that share this adapter, each with its own normaliser.
        vector_dim: dimension D of the vectors.
        llm_hidden_size: hidden size H of the LLM.
        soft_tokens: number S of soft tokens per vector.
        kind: `linear`, `mlp` (two layers, the paper's) or `residual` (a linear map plus a two-layer MLP).
        width: hidden width of the MLP.
        dropout: dropout probability on the hidden layer, used in training only.
    """

    model_type = "elm_adapter"
    space: str = "item"
    sharers: Sequence[str] = ()
    vector_dim: int = 64
    llm_hidden_size: int = 256
    soft_tokens: int = 1
    kind: str = "mlp"
    width: int = 256
    dropout: float = 0.0

    @property
    def spaces(self) -> list[str]:
        """The names of all spaces whose vectors the adapter accepts."""
        return [self.space, *self.sharers]


class ElmAdapter(PreTrainedModel):
    """Maps vectors [N, D] to soft tokens [N, S, H]; its weights are float32 whatever the LLM's dtype is."""

    config_class = ElmAdapterConfig
    config: ElmAdapterConfig
    base_model_prefix = "adapter"
    main_input_name = "vectors"
    _keep_in_fp32_modules_strict = ["first", "second", "skip"]  # noqa: RUF012
    mean: Tensor
    scale: Tensor

    def __init__(self, config: ElmAdapterConfig) -> None:
        super().__init__(config)
        d, out = config.vector_dim, config.soft_tokens * config.llm_hidden_size
        # In one factorisation, a direction has the same meaning for item and user vectors, but their means and scales
        # differ. So the spaces share the learned weights, and each space has its own normaliser.
        shape = (d,) if not config.sharers else (len(config.spaces), d)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.skip = nn.Linear(d, out) if config.kind in ("linear", "residual") else None
        self.first = nn.Linear(d, config.width) if config.kind in ("mlp", "residual") else None
        self.second = nn.Linear(config.width, out) if config.kind in ("mlp", "residual") else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, which `create` then scales: the default of transformers is far too small."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> ElmAdapter:  # type: ignore[override]
        """Open a saved adapter from a local folder with safetensors weights; the hub and pickles are refused.

        Raises:
            RunError: the folder does not exist, or its weights are a pickle.
        """
        if not Path(folder).is_dir():
            raise RunError(
                f"there is no adapter at {folder}: the run or export is incomplete; fetch it or write it again"
            )
        check_weights(Path(folder), "the adapter", RunError)
        return super().from_pretrained(str(folder), use_safetensors=True, local_files_only=True, **options)

    @classmethod
    def create(
        cls,
        config: ElmAdapterConfig,
        normalizers: Normalizer | Sequence[Normalizer],
        target_rms: float,
        seed: int = 0,
    ) -> ElmAdapter:
        """Create an untrained adapter whose outputs have the RMS of the LLM's token embeddings.

        Args:
            config: shape of the adapter.
            normalizers: mean and scale of the space, stored with the adapter; one per space when several spaces share
                the adapter, in the order of `config.spaces`.
            target_rms: root mean square of the LLM's token embeddings.
            seed: random seed of the weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = cls(config)
        each = [normalizers] if isinstance(normalizers, Normalizer) else list(normalizers)
        for buffer, values in ((adapter.mean, [n.mean for n in each]), (adapter.scale, [n.scale for n in each])):
            buffer.copy_(torch.from_numpy(np.stack(values).astype(np.float32)).view(buffer.shape))
        generator = torch.Generator().manual_seed(seed)
        mean, scale = adapter.normalizer(config.space)
        sample = torch.randn(1024, config.vector_dim, generator=generator) * scale + mean
        with torch.no_grad():
            factor = target_rms / adapter(sample).square().mean().sqrt().clamp_min(1e-12)
            for layer in (adapter.skip, adapter.second):
                if layer is not None:
                    layer.weight.mul_(factor)
                    layer.bias.mul_(factor)
        return adapter

    def normalizer(self, space: str | None = None) -> tuple[Tensor, Tensor]:
        """Return mean [D] and scale [D] of one of the adapter's spaces; of the first space when `space` is None."""
        if self.mean.ndim == 1:
            return self.mean, self.scale
        number = 0 if space is None else self.config.spaces.index(space)
        return self.mean[number], self.scale[number]

    def forward(self, vectors: Tensor, space: str | None = None) -> Tensor:
        """Map vectors [N, D] of one of the adapter's spaces to soft tokens [N, S, H], float32."""
        mean, scale = self.normalizer(space)
        x = (vectors.to(mean.dtype) - mean) / scale
        out = torch.zeros((), device=x.device)
        if self.skip is not None:
            out = out + self.skip(x)
        if self.first is not None and self.second is not None:
            hidden = nn.functional.gelu(self.first(x))
            out = out + self.second(nn.functional.dropout(hidden, self.config.dropout, self.training))
        return out.view(len(x), self.config.soft_tokens, self.config.llm_hidden_size)
