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
    """Raise a PromptError where no adapter takes the vectors of a space (those bound to a slot, where it is named)."""
    known = list(adapters)
    if space not in known:
        where = "" if slot is None else f"slot {{{slot}}}: "
        raise PromptError(f"{where}no adapter for space {space!r}; there are {', '.join(known)}")


class _Shape(BaseModel):
    """What the `config.json` of an adapter must hold; see `ElmAdapterConfig`."""

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
        RunError: the folder holds none, or not a whole one.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():  # the library would look for it on the hub
        raise RunError(f"{folder} holds no adapter (it has no config.json)")
    checked(read_json(folder / "config.json", RunError), _Shape, folder / "config.json", RunError)
    opened: Any
    try:
        opened = ElmAdapter.from_pretrained(folder, output_loading_info=True)
    except Exception as error:  # the library raises what its readers raise
        raise RunError(f"{folder} is not a whole adapter: {' '.join(str(error).split())}") from None
    adapter: ElmAdapter = opened[0]
    odd = sorted(str(name) for kind in ("missing", "unexpected", "mismatched") for name in opened[1][f"{kind}_keys"])
    if odd:  # what is missing would be random numbers
        raise RunError(f"{folder} is not a whole adapter: config.json and weights differ in {', '.join(odd[:3])}")
    if not all(values.isfinite().all() for values in adapter.state_dict().values()):
        raise RunError(f"{folder} is not a whole adapter: its weights hold NaN or infinity")
    return adapter


class ElmAdapterConfig(PreTrainedConfig):
    """Shape of an adapter.

    Attributes:
        space: name of the space whose vectors it takes.
        sharers: other spaces of the same dimension whose vectors it takes too, each with a normaliser of its own.
        vector_dim: D.
        llm_hidden_size: H of the LLM.
        soft_tokens: S, positions that one vector becomes.
        kind: `linear`, `mlp` (two layers, the paper's) or `residual` (a linear map plus a two-layer MLP).
        width: hidden width of the MLP.
        dropout: on the hidden layer, in training only.
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
        """All spaces whose vectors it takes."""
        return [self.space, *self.sharers]


class ElmAdapter(PreTrainedModel):
    """Maps vectors [N, D] to soft tokens [N, S, H]; kept in float32 whatever the LLM's type is."""

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
        # Item and user vectors of one factorisation mean the same by a direction, but differ in mean and scale:
        # what is learned is shared, the normaliser is not.
        shape = (d,) if not config.sharers else (len(config.spaces), d)
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))
        self.skip = nn.Linear(d, out) if config.kind in ("linear", "residual") else None
        self.first = nn.Linear(d, config.width) if config.kind in ("mlp", "residual") else None
        self.second = nn.Linear(config.width, out) if config.kind in ("mlp", "residual") else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, which `create` then scales: the library's default is far too small."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> ElmAdapter:  # type: ignore[override]
        """Open a saved adapter; only a folder of this machine will do, and only safetensors in it.

        Raises:
            RunError: there is no such folder, or its weights are a pickle.
        """
        if not Path(folder).is_dir():
            raise RunError(f"there is no adapter at {folder}; the run or the export that it belongs to is not whole")
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
        """Make a fresh adapter whose outputs have the RMS of the LLM's token embeddings.

        Args:
            config: its shape.
            normalizers: mean and scale of the space, stored with the adapter; several where spaces share it, in the
                order of `config.spaces`.
            target_rms: root mean square of the LLM's token embeddings.
            seed: of the weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = cls(config)
        given = [normalizers] if isinstance(normalizers, Normalizer) else list(normalizers)
        for buffer, values in ((adapter.mean, [n.mean for n in given]), (adapter.scale, [n.scale for n in given])):
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
        """Return mean [D] and scale [D] of one of its spaces; the first when omitted."""
        if self.mean.ndim == 1:
            return self.mean, self.scale
        number = 0 if space is None else self.config.spaces.index(space)
        return self.mean[number], self.scale[number]

    def forward(self, vectors: Tensor, space: str | None = None) -> Tensor:
        """Map vectors [N, D] of one of its spaces to soft tokens [N, S, H], float32."""
        mean, scale = self.normalizer(space)
        x = (vectors.to(mean.dtype) - mean) / scale
        out = torch.zeros((), device=x.device)
        if self.skip is not None:
            out = out + self.skip(x)
        if self.first is not None and self.second is not None:
            hidden = nn.functional.gelu(self.first(x))
            out = out + self.second(nn.functional.dropout(hidden, self.config.dropout, self.training))
        return out.view(len(x), self.config.soft_tokens, self.config.llm_hidden_size)
