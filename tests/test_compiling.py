"""Compiled layers train as plain ones do; what cannot be compiled is refused."""

import json
from functools import partial, partialmethod
from pathlib import Path

import pytest
import torch
from torch import nn

from vectalk.errors import TrainingError
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig, Trainer, trainer
from vectalk.training.compiling import compile_layers
from vectalk.training.reporter import Silent
from vectalk.training.trainer import train

SHORT = {"stage1.steps": 2, "stage2.steps": 2, "adapter.width": 16, "batch_size": 4, "eval_examples": 8}


def test_compiled_training_gives_the_same_losses(
    corpus: Corpus, random_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers are traced and differentiated as for a compiler, whose own work would take a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    losses = {}
    for compiled in (False, True):
        out = tmp_path / str(compiled)
        train(corpus, str(random_llm), out, TrainConfig.load(None, {**SHORT, "compile": compiled}), device="cpu")
        rows = [json.loads(line) for line in (out / "training.jsonl").read_text(encoding="utf-8").splitlines()]
        losses[compiled] = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(losses[True]) == 4
    assert losses[True] == pytest.approx(losses[False], rel=1e-4)


def test_compiled_layers_are_never_given_a_cache(corpus: Corpus, random_llm: Path, tmp_path: Path, monkeypatch) -> None:
    """A cache tells its layers apart by number, so code would be made for each of them, up to the compiler's limit."""
    monkeypatch.setattr(trainer, "compile_layers", lambda llm: 0)
    for compiled in (False, True):
        settings = TrainConfig.load(None, {**SHORT, "compile": compiled})
        made = Trainer(corpus, str(random_llm), tmp_path / str(compiled), settings, device="cpu", reporter=Silent())
        assert (made.model.share_from is None) == compiled


def test_only_the_outermost_list_is_of_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, dynamic: compiled.append(self))
    layers = nn.ModuleList(
        nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])}) for _ in range(3)
    )
    assert compile_layers(nn.Sequential(nn.Embedding(4, 2), layers)) == 3
    assert compiled == list(layers)


def test_what_cannot_be_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match="no repeated layers"):
        compile_layers(nn.Linear(2, 2))

    def broken(function):
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TrainingError, match="this machine cannot compile"):
        compile_layers(nn.Sequential(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])))
