"""Tensors that take minutes to make: made once, then read from the user's cache."""

from collections.abc import Callable

from safetensors.torch import load_file, save
from torch import Tensor

from clfcore.cache.kept import keep, kept
from clfcore.paths import cache_dir


def kept_tensors(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` returns; it is called where the cache does not hold that, or a damaged file.

    Args:
        name: of the file; says all that decides the tensors.
        make: takes minutes.
    """
    path = cache_dir() / "models" / f"{name}.safetensors"

    def make_and_keep() -> dict[str, Tensor]:
        tensors = make()
        keep(path, lambda new: new.write_bytes(save(tensors)))
        return tensors

    return kept(path, load_file, make_and_keep)
