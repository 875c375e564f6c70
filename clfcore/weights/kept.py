"""Tensors that take minutes to make: made once, then read from the user's cache."""

from collections.abc import Callable

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from clfcore.paths import cache_dir, keep


def kept_tensors(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` returns; it is called where the cache does not hold that, or a damaged file.

    Args:
        name: of the file; says all that decides the tensors.
        make: takes minutes.
    """
    path = cache_dir() / "models" / f"{name}.safetensors"
    try:
        return load_file(path)
    except (OSError, SafetensorError):
        tensors = make()
        keep(path, lambda new: new.write_bytes(save(tensors)))
        return tensors
