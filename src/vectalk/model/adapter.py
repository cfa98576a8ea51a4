"""`ElmAdapter`: the small module that turns a domain vector into soft tokens of an LLM (paper, section 3: E_A)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from vectalk.space.normalizer import Normalizer

Kind = Literal["linear", "mlp", "residual"]
KINDS: tuple[Kind, ...] = ("linear", "mlp", "residual")


class ElmAdapterConfig(PreTrainedConfig):
    """Shape of an adapter.

    Attributes:
        space: name of the space whose vectors it takes.
        vector_dim: D.
        llm_hidden_size: H of the LLM.
        soft_tokens: S, positions that one vector becomes.
        kind: `linear`, `mlp` (two layers, the paper's) or `residual` (a linear map plus a two-layer MLP).
        width: hidden width of the MLP.
        dropout: on the hidden layer, in training only.
    """

    model_type = "elm_adapter"
    space: str = "item"
    vector_dim: int = 64
    llm_hidden_size: int = 256
    soft_tokens: int = 1
    kind: str = "mlp"
    width: int = 256
    dropout: float = 0.0


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
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.skip = nn.Linear(d, out) if config.kind in ("linear", "residual") else None
        self.first = nn.Linear(d, config.width) if config.kind in ("mlp", "residual") else None
        self.second = nn.Linear(config.width, out) if config.kind in ("mlp", "residual") else None
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keep torch's own initialisation, which `create` then scales: the library's default is far too small."""

    @classmethod
    def create(cls, config: ElmAdapterConfig, normalizer: Normalizer, target_rms: float, seed: int = 0) -> ElmAdapter:
        """Make a fresh adapter whose outputs have the RMS of the LLM's token embeddings.

        Args:
            config: its shape.
            normalizer: mean and scale of the space, stored with the adapter.
            target_rms: root mean square of the LLM's token embeddings.
            seed: of the weights.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            adapter = cls(config)
        adapter.mean.copy_(torch.from_numpy(np.asarray(normalizer.mean, np.float32)))
        adapter.scale.copy_(torch.from_numpy(np.asarray(normalizer.scale, np.float32)))
        generator = torch.Generator().manual_seed(seed)
        sample = torch.randn(1024, config.vector_dim, generator=generator) * adapter.scale + adapter.mean
        with torch.no_grad():
            factor = target_rms / adapter(sample).square().mean().sqrt().clamp_min(1e-12)
            for layer in (adapter.skip, adapter.second):
                if layer is not None:
                    layer.weight.mul_(factor)
                    layer.bias.mul_(factor)
        return adapter

    def forward(self, vectors: Tensor) -> Tensor:
        """Map vectors [N, D] to soft tokens [N, S, H], float32."""
        x = (vectors.to(self.mean.dtype) - self.mean) / self.scale
        out = torch.zeros((), device=x.device)
        if self.skip is not None:
            out = out + self.skip(x)
        if self.first is not None and self.second is not None:
            hidden = nn.functional.gelu(self.first(x))
            out = out + self.second(nn.functional.dropout(hidden, self.config.dropout, self.training))
        return out.view(len(x), self.config.soft_tokens, self.config.llm_hidden_size)
