"""Run by tests/clfcore/cli/labs/test_pretrain.py in two processes: every weight in two shards."""

import os
import sys
from pathlib import Path

import torch.distributed as dist

from clfcore.pretraining.documents import Documents
from clfcore.pretraining.recipe import pretrain, save_pretrained
from clfcore.pretraining.settings import PretrainingConfig
from tests.support.two_shards import Sharding

TEXTS = Documents("toy", [f"see you at {n}" for n in range(20)], ["see you at nine", "win a prize"])
CONFIG = PretrainingConfig(
    epochs=2, batch_size=3, block=8, learning_rate=3e-3, embedding_learning_rate=3e-3,
    precision="float32", keep="best",
)  # fmt: skip

if __name__ == "__main__":
    dist.init_process_group("gloo")
    result = pretrain(sys.argv[1], TEXTS, CONFIG, accelerator=Sharding())
    if dist.get_rank() == 0:
        save_pretrained(Path(sys.argv[2]), result)
    dist.barrier()
    os._exit(0)  # as in two_shards.py
