"""Sharded training (FSDP2): each process has a part of every parameter, of its gradient and of its moments."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from vectalk.errors import TrainingError
from vectalk.model.elm_model import ElmModel


def is_sharded(accelerator: Accelerator, requested: bool) -> bool:
    """Return whether the weights are split among processes.

    Args:
        accelerator: the training processes; `accelerate launch` can also turn sharding on.
        requested: whether the settings turn sharding on.

    Raises:
        TrainingError: accelerate uses version 1 of FSDP, which merges parameters into flat tensors.
    """
    by_launcher = accelerator.distributed_type == DistributedType.FSDP
    if by_launcher and not accelerator.is_fsdp2:
        raise TrainingError(
            "accelerate uses version 1 of FSDP, which cannot train adapters with a frozen LLM; "
            "set `--fsdp_version 2` in `accelerate launch`"
        )
    return (requested or by_launcher) and accelerator.num_processes > 1


def shard(model: ElmModel, half: bool) -> None:
    """Split a model among all processes, layer by layer, so that at most one layer is complete at a time.

    Frozen weights are split too. Create optimisers after this call.

    Args:
        model: a model in float32.
        half: gather layers in bfloat16. With autocast alone, a copy of each layer would stay until its backward pass.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    kind = torch.bfloat16 if half else None
    policy = MixedPrecisionPolicy(param_dtype=kind, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for layer in layers_of(model.llm):
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    # Split parameters again after every forward pass, also if no backward pass follows, as in an evaluation.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def layers_of(llm: nn.Module) -> list[nn.Module]:
    """Return the layers of an LLM: the `ModuleList` with most parameters, whatever its name in the model family."""
    lists = [module for module in llm.modules() if isinstance(module, nn.ModuleList)]
    largest = max(lists, key=lambda modules: sum(p.numel() for p in modules.parameters()), default=None)
    return list(largest) if largest is not None else []


def gather(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Return complete copies of tensors on the CPU.

    Args:
        tensors: name -> tensor; if tensors are sharded, all processes must call this function.
        keep: whether this process needs the copies; without them the result is empty.
    """
    gathered = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            tensor = tensor.full_tensor()
        if keep:
            gathered[name] = tensor.detach().cpu().contiguous()
    return gathered


def part_of(value: Tensor, parameter: Tensor) -> Tensor:
    """Return the part of a complete tensor that belongs to this process; all of it if `parameter` is not sharded."""
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
