"""Small networks from vectors to attributes: an ensemble trained as one batched computation."""

from __future__ import annotations

import copy
import itertools
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Target = Literal["list", "category", "number"]
BATCH, EPOCHS, PATIENCE = 256, 200, 10
DROPOUT = 0.3


class Ensemble(nn.Module):
    """M networks of the same shape: linear (`hidden` 0), or with one hidden layer.

    Args:
        dim: vector dimension D.
        outputs: number of outputs C.
        hidden: hidden width H.
        members: number of networks M.
        target: meaning of the outputs: `list` (a logit for each value), `category` (softmax logits), or `number`.
    """

    def __init__(self, dim: int, outputs: int, hidden: int, members: int, target: Target) -> None:
        super().__init__()
        sizes = [dim, hidden, outputs] if hidden else [dim, outputs]
        self.target, self.hidden = target, hidden
        self.weights = nn.ParameterList(
            torch.randn(members, a, b) * (2.0 / a) ** 0.5 * (1.0 if hidden else 0.1)
            for a, b in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(members, 1, size) for size in sizes[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [M, B, D] (or [1, B, D], the same batch for each member) to outputs [M, B, C]."""
        x = x.expand(len(self.weights[0]), -1, -1)
        for depth, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if depth:
                x = F.gelu(x)
                if self.training:  # one mask for all members: a mask for each would cost as much as the products
                    x = x * (torch.rand(x.shape[1:]) >= DROPOUT) / (1 - DROPOUT)
            x = torch.baddbmm(bias, x, weight)
        return x

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the mean loss [M] of each member on [M or 1, B, D] and targets [M or 1, B, C]."""
        out = self(x)
        y = y.expand_as(out)
        if self.target == "list":
            return F.binary_cross_entropy_with_logits(out, y, reduction="none").mean((1, 2))
        if self.target == "category":
            return -(y * out.log_softmax(-1)).sum(-1).mean(1)
        return (out - y).square().mean((1, 2))

    @torch.no_grad()
    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return scores [B, C] of vectors [B, D]: the mean probability or number over the members."""
        self.eval()
        out = self(torch.from_numpy(np.ascontiguousarray(x, np.float32))[None])
        if self.target == "list":
            out = out.sigmoid()
        elif self.target == "category":
            out = out.softmax(-1)
        return out.mean(0).numpy()


def fit_ensemble(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    target: Target,
    *,
    hidden: int,
    members: int,
    seed: int,
) -> Ensemble:
    """Fit on (x [N, D], y [N, C]); each member gets the weights of its best epoch on validation."""
    x, y, x_val, y_val = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (*train, *validation))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = Ensemble(x.shape[1], y.shape[1], hidden, members, target)
        optimizer = torch.optim.AdamW(nets.parameters(), lr=2e-3 if hidden else 1e-2, weight_decay=0.05)
        best, stale = torch.full((members,), float("inf")), 0
        best_weights = copy.deepcopy(nets.state_dict())
        for _ in range(EPOCHS):
            nets.train()
            order = torch.stack([torch.randperm(len(x)) for _ in range(members)])
            for rows in order.split(BATCH, dim=1):
                optimizer.zero_grad(set_to_none=True)
                nets.losses(x[rows], y[rows]).sum().backward()
                optimizer.step()
            nets.eval()
            with torch.no_grad():
                loss = nets.losses(x_val[None], y_val[None])
            better = loss < best - 1e-5
            best = torch.where(better, loss, best)
            for name, value in nets.state_dict().items():
                best_weights[name][better] = value[better]  # the first axis of every tensor is the member
            stale = 0 if bool(better.any()) else stale + 1
            if stale == PATIENCE:
                break
        nets.load_state_dict(best_weights)
    return nets.eval()
