"""A checkpoint before it is opened: where it is, and whether it holds what ``meta.json`` says.

Of its weights only the header is read, and neither torch nor peft is imported: what is damaged is
refused at once. What only a library knows of a model, ``checkpoint.py`` compares when it is made.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from clfcore.errors import TuneshotError
from clfcore.model.adapters import ADAPTERS
from clfcore.model.heads import head_sizes
from clfcore.model.spec import GPT_PRESETS, GPTConfig
from clfcore.paths import expanded
from clfcore.weights.meta import BUNDLED, FLOAT32, Meta, read_meta
from clfcore.weights.source import check_trusted
from clfcore.weights.storage import check_stored, memory_per_byte
from clfcore.weights.untrusted.files import check_file_of, check_memory
from clfcore.weights.untrusted.gpt2 import check_size, gpt2_shapes
from clfcore.weights.untrusted.pickled import check_pickled
from clfcore.weights.untrusted.tensors import Shape, check_floats, check_shapes, read_header

T = TypeVar("T")
_HEAD = "out_head."


def checkpoint_path(path: Path | None, trust_source: bool = False) -> Path:
    """Where a checkpoint is, by default the bundled one; nothing of it is loaded.

    Args:
        path: a folder, or a chapter-6 ``.pth`` file.
        trust_source: see ``check_trusted``.

    Raises:
        TuneshotError: nothing is there, or it is no checkpoint that can be read.
    """
    path = BUNDLED if path is None else expanded(path)
    if not os.path.exists(path):
        raise TuneshotError(f"no checkpoint at {path}; make one: clf train --out {path}")
    if path.suffix == ".pth":
        check_pickled(path)
    else:
        check_checkpoint(path, trust_source)
    return path


def check_checkpoint(folder: Path, trust_source: bool = False) -> dict[str, Any]:
    """Refuses a checkpoint of which one file contradicts the other.

    Args:
        folder: of the checkpoint.
        trust_source: see ``check_trusted``.

    Returns:
        Its ``meta.json``.

    Raises:
        TuneshotError: as ``load_checkpoint``, as far as no weight has to be read for it.
    """
    record = read_meta(folder)
    meta = Meta.from_record(record)
    if meta.source is not None and not trust_source:
        check_trusted(meta.source, folder)
    path = check_file_of(folder, "model.safetensors")
    header, scheme = read_header(path), record["weights"]["storage"]
    if scheme == FLOAT32:
        check_floats(path, header)
        shapes = {name: stored.shape for name, stored in header.items()}
    else:
        shapes = check_stored(path, header, scheme)
    _check_fits(folder, meta, shapes)
    # The file's memory, and the model's.
    check_memory(path, (1 + memory_per_byte(scheme)) * path.stat().st_size)
    return record


def _check_fits(folder: Path, meta: Meta, shapes: Mapping[str, Shape]) -> None:
    cfg = _gpt2_of(meta)
    if cfg is not None and meta.source is None:
        check_size(folder, shapes, cfg)
    check_head(folder, meta, shapes, None if cfg is None else cfg.emb_dim)
    if cfg is None or (needed := known_shapes(meta)) is None:
        return
    if meta.source is not None:  # its own tensors need not be stored again
        own = gpt2_shapes(cfg).keys() | {name for name in needed if ".base_layer." in name}
        needed = {n: shape for n, shape in needed.items() if n in shapes or n not in own}
    body = {name: shape for name, shape in shapes.items() if not name.startswith(_HEAD)}
    check_shapes(folder, body, needed)


def known_shapes(meta: Meta) -> dict[str, Shape] | None:
    """The tensors of a checkpoint's trunk, its adapter's among them, the head's not.

    Returns:
        Their names and shapes; ``None`` where only a library knows them.
    """
    if (cfg := _gpt2_of(meta)) is None:
        return None
    trunk = {name: shape for name, shape in gpt2_shapes(cfg).items() if not name.startswith(_HEAD)}
    if meta.adapter is None:
        return trunk
    with_adapter = ADAPTERS[meta.adapter["name"]].shapes
    if with_adapter is None:
        return None
    return with_adapter(trunk, cfg.emb_dim, meta.adapter["rank"])


def _gpt2_of(meta: Meta) -> GPTConfig | None:
    return meta.model if meta.source is None else GPT_PRESETS.get(meta.source)


def check_head(place: object, meta: Meta, shapes: Mapping[str, Shape], width: int | None) -> None:
    """Compares a stored head with the labels, and with the width of the trunk where it is known.

    Raises:
        TuneshotError: it is missing, or has other sizes.
    """
    head = of_head(shapes)
    if not head:
        raise TuneshotError(f"{place}: the classification head is missing; copy the folder again")
    inputs, outputs = head_sizes(head)
    if outputs != len(meta.labels):
        raise TuneshotError(
            f"{place}: the head has {outputs} outputs, this model needs {len(meta.labels)}"
        )
    if width is not None and inputs != width:
        raise TuneshotError(f"{place}: the head reads {inputs} features, this model has {width}")


def of_head(state: Mapping[str, T]) -> dict[str, T]:
    """What belongs to the head, by its names there."""
    return {name.removeprefix(_HEAD): each for name, each in state.items()
            if name.startswith(_HEAD)}  # fmt: skip
