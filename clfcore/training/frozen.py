"""The output of the frozen layers for every message, computed once instead of in every epoch."""

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from clfcore.cache.place import can_keep, say_not_kept
from clfcore.model.batching import by_length
from clfcore.model.classifier import TextClassifier, Trunk, TrunkModel
from clfcore.model.precision import autocast
from clfcore.paths import cache_dir

_BATCH_SIZE = 64  # messages
_WIDTH_MULTIPLE = 16  # tokens
_MAX_CACHE_BYTES = 4 << 30  # a larger cache costs more memory than the time is worth


class ActivationCache:
    """The residual stream of each message at the cut between frozen and trained blocks.

    Frozen layers have no dropout and give the same output every epoch, so one pass over length
    buckets replaces all of them. If no block is trained, only the position that a classifier reads
    is kept.

    Args:
        model: no weight below ``depth`` is trained.
        tokens: (N,) token lists.
        depth: blocks below the cut, at least 1.
        precision: ``float32`` or ``bfloat16``: of the pass and of the cache.
    """

    def __init__(
        self, model: TrunkModel, tokens: Sequence[Sequence[int]], depth: int, precision: str
    ) -> None:
        device = next(model.parameters()).device
        self.depth = depth
        reads_one = isinstance(model, TextClassifier) and model.reading.position != "mean"
        one_position = reads_one and depth == len(model.trunk.trf_blocks)
        lengths = [1 if one_position else len(ids) for ids in tokens]
        self._lengths = torch.tensor(lengths, device=device)  # (N,)
        self._starts = self._lengths.cumsum(0) - self._lengths  # (N,)
        self._cache = torch.empty(
            sum(lengths), model.trunk.emb_dim, dtype=getattr(torch, precision), device=device
        )  # (sum of lengths, C)
        model.eval()
        with torch.inference_mode(), autocast(precision, device):
            for cpu_batch in by_length(tokens, _BATCH_SIZE):
                batch = cpu_batch.to(device)
                x = model.below(batch.ids, batch.lengths, depth)  # (B, T, C)
                if one_position and isinstance(model, TextClassifier):
                    x = x[torch.arange(len(x), device=device), model.where(batch.lengths)][:, None]
                for row, stream in zip(batch.rows, x, strict=True):
                    start, length = int(self._starts[row]), lengths[row]
                    self._cache[start : start + length] = stream[:length]

    @staticmethod
    def fits_in_memory(model: TrunkModel, tokens: Sequence[Sequence[int]]) -> bool:
        """Whether the cache for ``tokens`` is small enough to be worth it."""
        return 4 * model.trunk.emb_dim * sum(map(len, tokens)) <= _MAX_CACHE_BYTES

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, T, C) float32 stream and (B,) lengths; what follows a message is not zero.

        Widths are rounded up, because oneDNN makes and keeps a kernel for each new shape.
        """
        index = torch.as_tensor(np.asarray(rows), device=self._lengths.device)
        lengths = self._lengths[index]
        widest = int(lengths.max())
        width = widest if widest == 1 else -(-widest // _WIDTH_MULTIPLE) * _WIDTH_MULTIPLE
        columns = torch.arange(width, device=lengths.device)
        where = self._starts[index, None] + columns.minimum(lengths[:, None] - 1)  # (B, T)
        return self._cache[where].float(), lengths


_ALIGNMENT_BYTES = 64  # faster for matrix kernels


@contextmanager
def offloaded_below(trunk: Trunk, depth: int) -> Iterator[None]:
    """Moves the embeddings and the first ``depth`` blocks into a file.

    Inside the context each of them leaves the memory as soon as it has been used. Afterwards they
    are ordinary tensors with the same values, paged in as they are read. Where no file can be
    written they stay in memory.

    Args:
        trunk: on a GPU nothing is moved: its memory is not the machine's.
        depth: blocks without trained weights.
    """
    embeddings = [module for module in trunk.modules() if isinstance(module, nn.Embedding)]
    with ExitStack() as hooks:
        if next(trunk.parameters()).device.type == "cpu":
            for part in (*embeddings, *list(trunk.trf_blocks)[:depth]):
                try:
                    memory = _to_memory_map(list(part.parameters()))
                except OSError as error:
                    say_not_kept(error)
                    break
                hook = part.register_forward_hook(lambda *_, memory=memory: _release(memory))
                hooks.callback(hook.remove)
        yield


def _to_memory_map(weights: list[nn.Parameter]) -> mmap.mmap:
    """The file lies in the cache, if that can be written: /tmp may itself be memory."""
    starts = []
    with tempfile.TemporaryFile(dir=cache_dir() if can_keep() else None) as file:
        for weight in weights:
            file.seek(-file.tell() % _ALIGNMENT_BYTES, 1)
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
    if hasattr(memory, "madvise"):  # not on Windows, which pages by itself
        memory.madvise(mmap.MADV_DONTNEED)
