"""A folder as sentence-transformers reads it: modules, each with a folder or files of its own."""

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.json_text import shortened_repr
from clfcore.weights.untrusted.files import check_file_of, read_json, read_object
from clfcore.weights.untrusted.folder import (
    CONFIG,
    check_folder,
    check_folder_finite,
    check_made,
    weight_files,
)
from clfcore.weights.untrusted.pickled import read_pickled
from clfcore.weights.untrusted.tensors import Shape, check_shapes, read_header

if TYPE_CHECKING:
    from torch import nn

_MODULES = "modules.json"
_TRANSFORMER = "Transformer"
_KINDS = (_TRANSFORMER, "Pooling", "Normalize", "Dense", "StaticEmbedding")
_SETTINGS = re.compile(r"(sentence_.*_config|config_sentence_transformers)\.json")
_OPTIONS = re.compile(r"(model|tokenizer|processor|config)_(args|kwargs)")


def check_sentence_folder(folder: Path) -> list[Path]:
    """Refuses a folder that is not what it says; nothing of it is loaded.

    A folder without ``modules.json`` is one of transformers.

    Returns:
        The folder of each transformer in it.

    Raises:
        TuneshotError: what is wrong with which file.
    """
    _check_settings(folder)
    if not os.path.lexists(folder / _MODULES):
        check_folder(folder)
        check_folder_finite(folder)
        return [folder]
    path = check_file_of(folder, _MODULES)
    modules = read_json(path)
    if not isinstance(modules, list) or not modules or not all(map(_is_module, modules)):
        raise TuneshotError(f"{path} does not list the modules of this folder; copy it again")
    transformers = []
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        if not module["type"].startswith("sentence_transformers.") or kind not in _KINDS:
            raise unknown_choice(f"module in {path}:", module["type"], _KINDS)
        place = folder / module["path"]
        if not place.resolve().is_relative_to(folder.resolve()):
            raise TuneshotError(f"{place} is a link out of its folder; copy that folder into it")
        _check_settings(place)
        if kind == _TRANSFORMER:
            check_folder(place)
            check_folder_finite(place)
            transformers.append(place)
        elif kind == "Dense":
            _check_dense(place)
            check_folder_finite(place)
        elif kind == "StaticEmbedding":
            check_file_of(place, "tokenizer.json")
            _shapes(place)
            check_folder_finite(place)
        elif os.path.lexists(place / CONFIG):
            read_object(check_file_of(place, CONFIG))
    return transformers


def check_stored(folder: Path, network: "nn.Module") -> None:
    """Refuses a transformer of which weights were drawn at random, for they are not stored.

    A pooler is neither stored by all nor used.

    Args:
        folder: its own.
        network: of transformers.

    Raises:
        TuneshotError: it is one.
    """
    stored = sum(math.prod(s) for name, s in _shapes(folder).items() if "pooler" not in name)
    needed = sum(w.numel() for name, w in network.named_parameters() if "pooler" not in name)
    if needed > stored:
        raise TuneshotError(
            f"{folder}: the model has {needed:,} weights, and {stored:,} are stored; copy the "
            "folder again"
        )


def _is_module(record: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(name), str) for name in ("name", "path", "type"))
        and record["path"] == os.path.basename(record["path"])
        and record["path"] != ".."
    )


def _check_settings(place: Path) -> None:
    """What says how a text is read may be numbers and words, but nothing that loads other files."""
    for entry in os.scandir(place) if os.path.isdir(place) else ():
        if not _SETTINGS.fullmatch(entry.name):
            continue
        path = check_file_of(place, entry.name)
        for name, value in read_object(path).items():
            if _OPTIONS.fullmatch(name) and value:
                raise TuneshotError(
                    f"{path}: {name} is {shortened_repr(value)}; options of libraries are not "
                    "taken from a folder, leave that out"
                )
            if name == "modality_config" and "message" in str(value):
                raise TuneshotError(
                    f"{path}: texts would be written into a chat, which is a program of the "
                    "folder's; choose another model"
                )


def check_transformer(folder: Path) -> None:
    """Refuses a transformer that is larger than its weights.

    Args:
        folder: its own, after ``check_sentence_folder``.

    Raises:
        TuneshotError: it is; of transformers, errors of any kind.
    """
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.initialization import no_init_weights

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    stored = sum((folder / name).stat().st_size for name in weight_files(folder))
    with torch.device("meta"), no_init_weights():
        check_made(folder, AutoModel.from_config(config, trust_remote_code=False), stored)


def _check_dense(place: Path) -> None:
    path = check_file_of(place, CONFIG)
    config = read_object(path)
    rows, columns = config.get("out_features"), config.get("in_features")
    if type(rows) is not int or type(columns) is not int:
        raise TuneshotError(f"{path} does not say how large its matrix is; copy the folder again")
    activation = config.get("activation_function", "torch.nn.modules.linear.Identity")
    if not str(activation).startswith("torch.nn.modules."):
        raise TuneshotError(f"{path}: activation_function is no module of torch; leave that out")
    needed: dict[str, Shape] = {"linear.weight": (rows, columns)}
    if config.get("bias", True):
        needed["linear.bias"] = (rows,)
    if config.get("use_residual") and rows != columns:
        needed["residual.weight"] = (rows, columns)
    check_shapes(place, _shapes(place), needed)


def _shapes(place: Path) -> dict[str, Shape]:
    """The shapes of the weights that are stored in a folder; none is read."""
    shapes: dict[str, Shape] = {}
    for name in weight_files(place):
        path = check_file_of(place, name)
        tensors = read_header(path) if path.suffix == ".safetensors" else read_pickled(path)
        shapes |= {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return shapes
