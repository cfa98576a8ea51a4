"""Which modules of an LLM a low-rank update changes: all linear modules that it fits, or those in the settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from vectalk.errors import TrainingError
from vectalk.training.config import LoraConfig

# Fast kernels of state-space layers read the weights of these modules and do not call the modules.
IN_KERNELS = ("x_proj", "dt_proj", "out_proj")


@dataclass(frozen=True)
class Targets:
    """The modules that a low-rank update changes.

    Attributes:
        names: full names of the modules.
        left_out: reason -> last parts of the names of linear modules that are left out for this reason.
    """

    names: list[str]
    left_out: dict[str, list[str]]

    def message(self) -> str | None:
        """Say which linear modules are left out, and why; None if there are none."""
        if not self.left_out:
            return None
        reasons = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in self.left_out.items())
        return (
            f"the low-rank update changes the linear modules {', '.join(_last_parts(self.names))}, but not {reasons}; "
            "lora.targets names others"
        )


def targets_of(llm: PreTrainedModel, lora: LoraConfig, name: str = "the LLM") -> Targets:
    """Return the modules that a low-rank update changes.

    By default these are all linear modules without the head and without those that a low-rank update does not fit. A
    trial on a few tokens finds the latter: modules whose weights are used without a call (in Mamba), that return more
    than a tensor (the router of Llama 4), or that are not used for text (the image encoder of a multimodal LLM).

    Args:
        llm: the LLM, before an update is added.
        lora: settings.
        name: name of the LLM, for errors.

    Raises:
        TrainingError: the settings name no linear module, or one that a low-rank update does not fit.
    """
    problems = _problems(llm)
    if lora.targets is not None:
        return Targets(_named_modules(problems, lora.targets, name), {})
    names = [module for module, problem in problems.items() if problem is None]
    if not names:
        raise TrainingError(
            f"LLM {name!r} has no linear module that a low-rank update fits; use full fine-tuning (stage2.llm=full), "
            "or train the adapters alone (stage2.llm=frozen)"
        )
    left_out: dict[str, list[str]] = defaultdict(list)
    for module, problem in problems.items():
        last = module.rpartition(".")[2]
        if problem is not None and last not in left_out[problem]:
            left_out[problem].append(last)
    return Targets(names, dict(left_out))


def add_lora(llm: PreTrainedModel, lora: LoraConfig, name: str = "the LLM") -> Any:
    """Add a new low-rank update to an LLM, and return the PEFT model around it.

    Args:
        llm: the LLM; it is changed in place.
        lora: settings.
        name: name of the LLM, for errors.

    Raises:
        TrainingError: the update does not fit the LLM.
    """
    import peft

    shape = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets_of(llm, lora, name).names,
    )
    try:
        return peft.get_peft_model(llm, shape)
    except (ValueError, NotImplementedError) as error:
        raise TrainingError(
            f"LLM {name!r} does not accept a low-rank update: {str(error).splitlines()[0]}; name other modules with "
            "lora.targets"
        ) from None


def _named_modules(problems: dict[str, str | None], targets: Iterable[str], name: str) -> list[str]:
    """Return the modules whose names end with one of the targets in the settings."""
    modules: dict[str, None] = {}
    for target in targets:
        matches = [module for module in problems if module == target or module.endswith(f".{target}")]
        if not matches:
            known = _last_parts(problems)
            near = get_close_matches(target.rpartition(".")[2], known, 3, 0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise TrainingError(
                f"lora.targets: {target!r} is no linear module of LLM {name!r}; {hint}its linear modules are "
                f"{', '.join(known)}"
            )
        fitting = [module for module in matches if problems[module] is None]
        if not fitting:
            raise TrainingError(
                f"lora.targets: a low-rank update does not fit {target!r} of LLM {name!r} ({problems[matches[0]]}); "
                "leave it out"
            )
        modules.update(dict.fromkeys(fitting))
    return list(modules)


def _problems(llm: PreTrainedModel) -> dict[str, str | None]:
    """Return each linear module but the head -> why a low-rank update does not fit it, or None if it fits."""
    modules = dict(llm.named_modules())
    head = llm.get_output_embeddings()
    linear: dict[str, nn.Module] = {
        n: m for n, m in modules.items() if isinstance(m, nn.Linear | Conv1D) and m is not head
    }
    called = _try(llm, linear)
    # A few tokens reach only some experts of a mixture. The other experts are like those.
    kinds = {n: (type(modules[n.rpartition(".")[0]]), n.rpartition(".")[2]) for n in linear}
    reached = {kinds[n]: problem for n, problem in called.items()}
    problems: dict[str, str | None] = {}
    for name in linear:
        parent, last = modules[name.rpartition(".")[0]], name.rpartition(".")[2]
        if last in IN_KERNELS and hasattr(parent, "A_log") and hasattr(parent, "D"):
            problems[name] = "kernels read their weights directly"
        else:
            problems[name] = called.get(name, reached.get(kinds[name], "not used for text, or used without a call"))
    return problems


@torch.no_grad()
def _try(llm: PreTrainedModel, linear: dict[str, nn.Module]) -> dict[str, str | None]:
    """Run an LLM on six tokens; return each linear module that was called -> the problem with its output, or None."""
    called: dict[str, str | None] = {}

    def hook_of(name: str) -> Any:
        def hook(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            rows = inputs[0].shape[:-1] if inputs and isinstance(inputs[0], torch.Tensor) else None
            width = module.nf if isinstance(module, Conv1D) else module.out_features
            fits = isinstance(output, torch.Tensor) and rows is not None and output.shape == (*rows, width)
            called[name] = None if fits else "its output is not the product of its input and its weights"

        return hook

    handles = [module.register_forward_hook(hook_of(name)) for name, module in linear.items()]
    training = llm.training
    try:
        embeddings = llm.get_input_embeddings()(torch.arange(6, device=llm.device)[None])
        with torch.compiler.set_stance("force_eager"):
            llm.eval()(inputs_embeds=embeddings)
    finally:
        llm.train(training)
        for handle in handles:
            handle.remove()
    return called


def _last_parts(names: Iterable[str]) -> list[str]:
    """Return the last part of each dotted name, without repetitions."""
    return list(dict.fromkeys(name.rpartition(".")[2] for name in names))
