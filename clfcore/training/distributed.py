"""Accelerators, and several processes under ``torchrun`` or ``accelerate launch``."""

import os
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clfcore.errors import missing_extra_explained

if TYPE_CHECKING:
    from accelerate import Accelerator


def find_accelerator() -> "Accelerator | None":
    """Hugging Face's Accelerator where it has something to add; ``None`` on a single CPU."""
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "WORLD_SIZE" in os.environ
    cpu = not torch.accelerator.is_available()
    if cpu and not launched:
        return None
    with missing_extra_explained("training on a GPU or by several processes"):
        from accelerate import Accelerator, DistributedDataParallelKwargs

    # Reading one position leaves some weights of the last block without a gradient.
    some_unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    # Left to itself, it takes processes on CPUs for strangers, who all do the whole work.
    return Accelerator(cpu=cpu, kwargs_handlers=[some_unused])


def device_of(accelerator: "Accelerator | None") -> torch.device:
    """Where to train; without an accelerator, on the CPU."""
    return accelerator.device if accelerator else torch.device("cpu")


def is_sharded(accelerator: "Accelerator | None") -> bool:
    """Whether every process holds only a part of each weight (FSDP)."""
    return accelerator is not None and accelerator.distributed_type == "FSDP"


def distribute(
    accelerator: "Accelerator", model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[nn.Module, Any]:
    """``model`` and its optimiser, for each process: a copy, or its shards."""
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    if is_sharded(accelerator):
        from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method

        for part in model.modules():
            if isinstance(part, FSDPModule) and hasattr(part, "at"):
                register_fsdp_forward_method(part, "at")  # gathers its shards, as forward does
    return wrapped, optimizer


def local_shard(weight: Tensor) -> Tensor:
    """This process's shard of ``weight``, or all of it."""
    return weight.to_local() if hasattr(weight, "to_local") else weight


def gather(model: nn.Module, twin: nn.Module) -> None:
    """Copies the shards of ``model`` into ``twin``, an unsharded copy on the CPU."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    if whole := get_model_state_dict(model, options=options):  # empty but in the first process
        twin.load_state_dict(whole)
