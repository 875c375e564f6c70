"""Run by tests/clfcore/cli/test_train.py in two processes: every weight in two shards.

Accelerate shards on GPUs only, so its part is played here by the same call of PyTorch's, on CPUs.
"""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from clfcore.model.trainable import freeze_all_but
from clfcore.training.classification import fit
from clfcore.training.distributed import gather
from clfcore.training.settings import TrainConfig
from tests.support.tiny import tiny, toy_data


class Sharding:
    """What training uses of Accelerate."""

    distributed_type = "FSDP"
    device = torch.device("cpu")
    num_processes = property(lambda self: dist.get_world_size())
    process_index = property(lambda self: dist.get_rank())

    def prepare(self, model, optimizer):
        old = {weight: name for name, weight in model.named_parameters()}
        mesh = init_device_mesh("cpu", (2,))
        for block in model.trunk.trf_blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)
        new = dict(model.named_parameters())
        for group in optimizer.param_groups:
            group["params"] = [new[old[weight]] for weight in group["params"]]
        return model, optimizer

    def main_process_first(self):
        return nullcontext()

    def no_sync(self, model):
        return nullcontext()

    def reduce(self, tensor, how):
        dist.all_reduce(tensor)
        return tensor


def train(layers: str, out: Path) -> None:
    model, twin = tiny(), tiny()
    freeze_all_but(model.trunk, layers)
    config = TrainConfig(
        layers=layers, balance="none", epochs=2, batch_size=5, learning_rate=3e-3, keep="best",
        precision="float32",
    )  # fmt: skip
    fit(model, toy_data(), toy_data(), config, accelerator=Sharding())
    gather(model, twin)
    if dist.get_rank() == 0:
        save_file(twin.state_dict(), out / f"{layers}.safetensors")


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for layers in ("all", "last_block"):
        train(layers, Path(sys.argv[1]))
    dist.barrier()
    os._exit(0)  # one of six runs aborts where Gloo's threads are torn down, after all is done
