"""Weights that ``torch.save`` wrote: a pickle, which may ask for any code to be run. None is."""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.weights.untrusted.files import check_file

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PICKLE = 1_000_000  # bytes, beside the tensors; GPT-2 has 50,000, and 1 MB takes seconds


def read_pickled(path: Path) -> "dict[str, Tensor]":
    """The tensors of a state dict.

    The file is mapped, not read: what is not used takes no memory.

    Raises:
        TuneshotError: it is none, or holds anything but tensors.
    """
    size = check_pickled(path)
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused below
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # what the file says makes it; torch's text would tell to run that
        raise _refused(path, "it is damaged, or holds more than tensors") from error
    if not isinstance(loaded, dict):
        raise _refused(path, f"it holds a {type(loaded).__name__}")
    _check_tensors(path, loaded, size)
    return loaded


def check_pickled(path: Path) -> int:
    """Refuses an archive that would grow when it is opened, or that needs older code than this.

    Returns:
        Its size in bytes.

    Raises:
        TuneshotError: it is one.
    """
    size = check_file(path)
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\3\4":
                raise _refused(path, "it is no archive of PyTorch 1.6 or newer")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _refused(path, "it is truncated") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or size < sum(
        entry.file_size for entry in entries
    ):
        raise _refused(path, "it is compressed, which PyTorch never does")
    if any(e.file_size > _MOST_PICKLE for e in entries if e.filename.endswith("data.pkl")):
        raise _refused(path, "it holds more than tensors")
    return size


def _refused(path: Path, why: str) -> TuneshotError:
    return TuneshotError(
        f"{path} is not a readable state dict: {why}; save it again with "
        "torch.save(model.state_dict(), …)"
    )


def _check_tensors(path: Path, loaded: Mapping[object, object], size: int) -> None:
    import torch

    held = 0
    for name, tensor in loaded.items():
        if not isinstance(name, str) or type(tensor) is not torch.Tensor:
            raise _refused(path, f"{shortened_repr(name)} is a {type(tensor).__name__}")
        plain = tensor.layout == torch.strided and not (tensor.is_quantized or tensor.is_nested)
        if not plain or tensor.device.type != "cpu":
            raise _refused(path, f"{shortened_repr(name)} is not stored as plain numbers")
        held += tensor.numel() * tensor.element_size()
    if held > size:
        raise _refused(path, f"it has {size:,} bytes, and its tensors would have {held:,}")
