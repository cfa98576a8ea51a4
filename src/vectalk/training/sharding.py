"""Weights spread over processes (FSDP2): each keeps a part of every parameter, of its gradient and of its moments."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vectalk.errors import TrainingError
from vectalk.model.elm_model import ElmModel


def is_sharded(accelerator: Accelerator, asked: bool) -> bool:
    """Return whether weights are to be spread: the settings ask for it, or `accelerate launch` does.

    Raises:
        TrainingError: accelerate is set to the first version of FSDP, which flattens parameters together.
    """
    by_launcher = accelerator.distributed_type == DistributedType.FSDP
    if by_launcher and not accelerator.is_fsdp2:
        raise TrainingError(
            "accelerate is set to version 1 of FSDP, which cannot train adapters beside a frozen LLM; "
            "take `--fsdp_version 2` in `accelerate launch`"
        )
    return (asked or by_launcher) and accelerator.num_processes > 1


def shard(model: ElmModel, half: bool) -> None:
    """Spread a model over all processes, layer by layer, so that no more than one layer is whole at a time.

    What a frozen LLM and the adapters hold is spread alike. Optimisers are made afterwards.

    Args:
        model: in float32.
        half: let layers be put together in bfloat16. Autocast would keep a copy of each until its gradient is made.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    kind = torch.bfloat16 if half else None
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers_of(model.llm):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # Parameters are parts again after every forward pass, also one without a backward pass, as in an evaluation.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def layers_of(llm: nn.Module) -> list[nn.Module]:
    """Return the layers of an LLM: its list of modules that holds most parameters, whatever the family calls it."""
    lists = [module for module in llm.modules() if isinstance(module, nn.ModuleList)]
    largest = max(lists, key=lambda found: sum(p.numel() for p in found.parameters()), default=None)
    return list(largest) if largest is not None else []


def gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return whole copies of tensors on the CPU. Where they are spread all processes have to ask, and one may keep."""
    gathered = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            tensor = tensor.full_tensor()
        if keep:
            gathered[name] = tensor.detach().cpu().contiguous()
    return gathered


def part_of(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a whole tensor as `parameter` holds it: this process's part of it, or all."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
