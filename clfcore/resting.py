"""Weights that do not learn rest in a file, and are in memory only while their block works.

After the frozen pass (see streams.py) nobody needs them until training is over. The file has no
name, so nothing of it is left behind, not even by ``kill -9``.
"""

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from clfcore.classifier import Trunk
from clfcore.paths import cache_dir

_ALIGNMENT = 64  # bytes; matrix kernels like it


@contextmanager
def resting_below(trunk: Trunk, depth: int) -> Iterator[None]:
    """Moves the embeddings and the first ``depth`` blocks into a file.

    Inside the context each of them leaves the memory as soon as it has done its work. Afterwards
    they are ordinary tensors with the same values, which come into memory as they are touched.

    Args:
        trunk: on a GPU nothing is moved: its memory is not the machine's.
        depth: blocks of which no weight learns.
    """
    embeddings = [module for module in trunk.modules() if isinstance(module, nn.Embedding)]
    hooks = []
    if next(trunk.parameters()).device.type == "cpu":
        for part in (*embeddings, *list(trunk.trf_blocks)[:depth]):
            memory = _into_a_file(list(part.parameters()))
            hooks.append(part.register_forward_hook(lambda *_, memory=memory: _release(memory)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _into_a_file(weights: list[nn.Parameter]) -> mmap.mmap:
    cache_dir().mkdir(parents=True, exist_ok=True)
    starts = []
    with tempfile.TemporaryFile(dir=cache_dir()) as file:  # /tmp may itself be memory
        for weight in weights:
            file.seek(-file.tell() % _ALIGNMENT, 1)
            starts.append(file.tell())
            as_bytes = weight.detach().contiguous().flatten().view(torch.uint8)
            as_bytes.numpy().tofile(file)
        file.flush()
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    for weight, start in zip(weights, starts, strict=True):
        weight.data = torch.frombuffer(
            memory, dtype=weight.dtype, count=weight.numel(), offset=start
        ).view(weight.shape)
    return memory


def _release(memory: mmap.mmap) -> None:
    if hasattr(memory, "madvise"):  # not on Windows, which pages as it sees fit
        memory.madvise(mmap.MADV_DONTNEED)
