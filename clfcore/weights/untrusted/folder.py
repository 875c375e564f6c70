"""A model's folder as transformers reads it: every file of it, and how large it says it is."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr
from clfcore.model.spec import MOST_LAYERS
from clfcore.weights.untrusted.config import check_config, check_small_files
from clfcore.weights.untrusted.files import check_file_of, check_memory, read_object
from clfcore.weights.untrusted.pickled import check_pickled
from clfcore.weights.untrusted.tensors import Shape, check_finite_file, read_header
from clfcore.weights.untrusted.tokenizer import check_tokenizer_file

if TYPE_CHECKING:
    from torch import nn

CONFIG = "config.json"
_MOST_TEXT = 50_000_000  # bytes of a tokenizer; the largest published ones have 35 million
_TEXTS = (".json", ".jinja", ".model", ".tiktoken", ".txt")
_TEMPLATES = ("chat_templates", "additional_chat_templates")  # folders
_ADAPTER = "adapter_config.json"
_TOKENIZER = "tokenizer.json"
# How weights are stored, the first that is there: a file, or an index of files.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
            "pytorch_model.bin.index.json")  # fmt: skip
# A number under such a name is one of modules, which are made one by one. A layer has a tensor, or
# more; the experts of a layer may share theirs.
_LAYERS = re.compile("(layers?|blocks|depth)$")
_EXPERTS = re.compile("experts$")
_PARTS_PER_BYTE = 2  # weights of four bits
_MOST_BUFFERS = 500_000_000  # bytes that are computed and not stored: masks, positions


def check_folder(folder: Path) -> int:
    """Refuses a folder that is not what it says; nothing of it is loaded.

    Returns:
        How many bytes of weights it holds; 0 where there are none.

    Raises:
        TuneshotError: what is wrong with which file.
    """
    if not os.path.lexists(folder / CONFIG):
        raise TuneshotError(f"{folder} holds no {CONFIG}; expected a Hugging Face folder")
    config = read_object(check_file_of(folder, CONFIG))
    if os.path.lexists(folder / _ADAPTER):
        raise TuneshotError(
            f"{folder} holds an adapter ({_ADAPTER}) beside a model; merge it into the model's "
            "weights first"
        )
    if config.get("transformers_weights") is not None:
        raise TuneshotError(f"{folder / CONFIG} names weights of its own; leave that out")
    if (code := next(_repositories(config), None)) is not None:
        raise TuneshotError(
            f"{folder / CONFIG} names code of others, {shortened_repr(code)}, which is not run; "
            "leave that out"
        )
    for name in _text_files(folder):
        if (size := check_file_of(folder, name).stat().st_size) > _MOST_TEXT:
            raise TuneshotError(
                f"{folder / name} has {size:,} bytes; such a file has {_MOST_TEXT:,} at most"
            )
    sizes, all_known = 0, True
    shapes: dict[str, Shape] = {}
    for name in weight_files(folder):
        path = check_file_of(folder, name)
        sizes += path.stat().st_size
        if name.endswith(".safetensors"):
            shapes |= {name: stored.shape for name, stored in read_header(path).items()}
        else:
            check_pickled(path)
            all_known = False  # it does not say before it is opened
    if not all_known:
        shapes = {}
    _check_counts(folder, config, len(shapes) or MOST_LAYERS)
    check_config(folder / CONFIG, config, shapes)
    check_small_files(folder)
    if os.path.lexists(folder / _TOKENIZER):
        check_tokenizer_file(check_file_of(folder, _TOKENIZER))
    return sizes


def check_folder_finite(folder: Path) -> None:
    """Refuses weights in safetensors files that are not all finite numbers: a second a gigabyte.

    Raises:
        TuneshotError: naming the first tensor that has others.
    """
    for name in weight_files(folder):
        if name.endswith(".safetensors"):
            check_finite_file(folder / name)


def check_made(place: object, model: "nn.Module", stored: int) -> None:
    """Refuses a model that is larger than its weights.

    Args:
        place: the model's folder or name.
        model: made without memory.
        stored: bytes of its weights.

    Raises:
        TuneshotError: it is.
    """
    weights = sum(weight.numel() for weight in model.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if weights > _PARTS_PER_BYTE * stored or buffers > _MOST_BUFFERS + stored:
        raise TuneshotError(
            f"{place} says that it has {weights:,} weights, and {stored:,} bytes of them are "
            "stored; copy the folder again"
        )
    check_memory(place, 4 * weights + buffers)


def weight_files(folder: Path) -> list[str]:
    """The names of the files that hold a folder's weights; they may not be there.

    Raises:
        TuneshotError: their index names other things than files of this folder.
    """
    found = next((name for name in _WEIGHTS if os.path.lexists(folder / name)), None)
    if found is None or not found.endswith(".json"):
        return [] if found is None else [found]
    names = read_object(check_file_of(folder, found)).get("weight_map")
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and name == os.path.basename(name) for name in names.values()
    ):
        raise TuneshotError(
            f"{folder / found} does not name the files of this folder; copy it again"
        )
    return sorted(set(names.values()))


def _check_counts(folder: Path, config: dict[str, Any], tensors: int) -> None:
    for name, value in _numbers(config):
        most = min(MOST_LAYERS, tensors) if _LAYERS.search(name) else MOST_LAYERS
        if (_LAYERS.search(name) or _EXPERTS.search(name)) and not 0 <= value <= most:
            raise TuneshotError(
                f"{folder / CONFIG}: {shortened_repr(name)} is {value:,}, and with the weights "
                f"that are stored it is at most {most:,}; copy the folder again"
            )


def _numbers(record: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Names and whole numbers, of objects inside too."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif type(value) is int:
            yield name, value


def _repositories(record: dict[str, Any]) -> Iterator[str]:
    """What transformers would fetch kernels from: ``attn_implementation`` and the like."""
    for name, value in record.items():
        texts = list(value.values()) if isinstance(value, dict) else [value]
        if name.endswith("_implementation"):
            yield from (text for text in texts if isinstance(text, str) and "/" in text)
        elif isinstance(value, dict):
            yield from _repositories(value)


def _text_files(folder: Path) -> Iterator[str]:
    for part in ("", *_TEMPLATES):
        if os.path.isdir(folder / part):
            for entry in os.scandir(folder / part):
                if entry.name.endswith(_TEXTS):
                    yield os.path.join(part, entry.name)
