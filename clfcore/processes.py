"""More than one processor: an accelerator, or several processes under ``accelerate launch``."""

import os
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator


def find_accelerator() -> "Accelerator | None":
    """Hugging Face's Accelerator where it has something to add; ``None`` on a lone CPU."""
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "WORLD_SIZE" in os.environ
    if not launched and not torch.accelerator.is_available():
        return None
    from accelerate import Accelerator, DistributedDataParallelKwargs

    # Reading one position leaves some weights of the last block without a gradient.
    some_unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(kwargs_handlers=[some_unused])
