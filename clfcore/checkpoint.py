"""A trained classifier on disk: a folder that explains itself.

    meta.json           format, shape, labels, threshold, data, training, metrics, versions
    model.safetensors   the weights (never pickle)

Written to a scratch name and renamed when complete, so a crash or a full disk leaves the old
folder as it was.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from clfcore import __version__
from clfcore.config import GPTConfig
from clfcore.errors import TuneshotError
from clfcore.gpt import GPTModel
from clfcore.paths import atomic_write
from clfcore.pretrained import State, assemble

FORMAT = 1
KIND = "tuneshot-classifier"


@dataclass(frozen=True, slots=True)
class Meta:
    """What a checkpoint knows about itself.

    Attributes:
        name: what to call the model, e.g. ``"gpt2-mini"``.
        model: its shape.
        labels: in the order of the head's outputs.
        threshold: probability of the second of two labels from which it is answered.
        pad_to: messages are padded to this many tokens before they are read, as the book's
            chapter 6 does; ``None`` reads them as they are.
        about: data, training settings, metrics, versions: for people and for records.
    """

    name: str
    model: GPTConfig
    labels: tuple[str, ...]
    threshold: float = 0.5
    pad_to: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, model: GPTModel, meta: Meta, compact: bool = False) -> None:
    """Writes ``folder`` in one step.

    Args:
        folder: created, or replaced if it is a checkpoint already.
        model: a classifier.
        meta: must describe ``model``.
        compact: store matrices as one int8 row and one scale each, about a quarter of the size.

    Raises:
        TuneshotError: the disk is full, or ``folder`` is something else than a checkpoint.
    """
    check_free(folder)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    weights = save(_to_int8(state) if compact else state)
    record = {
        "format": FORMAT,
        "kind": KIND,
        "clfcore": __version__,
        "name": meta.name,
        "model": meta.model.to_dict(),
        "labels": list(meta.labels),
        "threshold": meta.threshold,
        "pad_to": meta.pad_to,
        "weights": {
            "sha256": hashlib.sha256(weights).hexdigest(),
            "storage": "int8" if compact else "float32",
        },
        "about": dict(meta.about),
    }
    with atomic_write(folder) as new:
        new.mkdir()
        (new / "model.safetensors").write_bytes(weights)
        (new / "meta.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check_free(folder: Path) -> None:
    """Raises ``TuneshotError`` if ``folder`` holds something else than a checkpoint."""
    if folder.exists() and not (folder / "meta.json").exists():
        raise TuneshotError(f"{folder} exists and is not a checkpoint; choose another --out")


def load_checkpoint(folder: Path) -> tuple[GPTModel, Meta]:
    """The classifier in ``folder``, in evaluation mode, float32.

    Raises:
        TuneshotError: missing, truncated, altered, of a newer format or another kind, or without
            its head. Nothing is ever filled in with random weights.
    """
    record = read_meta(folder)
    try:
        meta = Meta(
            name=record["name"],
            model=GPTConfig.from_dict(record["model"]),
            labels=tuple(record["labels"]),
            threshold=float(record["threshold"]),
            pad_to=record["pad_to"],
            about=record["about"],
        )
        storage, expected = record["weights"]["storage"], record["weights"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise TuneshotError(f"{folder}/meta.json is damaged: {error!r}") from error
    path = folder / "model.safetensors"
    try:
        raw = path.read_bytes()
        state = load(raw)
    except (OSError, SafetensorError) as error:
        raise TuneshotError(f"{path} is missing or truncated ({error})") from error
    model = assemble(
        meta.model,
        _from_int8(state) if storage == "int8" else state,
        num_classes=len(meta.labels),
        name=str(path),
    )
    if hashlib.sha256(raw).hexdigest() != expected:
        raise TuneshotError(f"{path} is not the file meta.json describes; copy the folder again")
    return model.eval(), meta


def read_meta(folder: Path) -> dict[str, Any]:
    """``meta.json`` as it is, after checking that this version can read the checkpoint.

    Raises:
        TuneshotError: as ``load_checkpoint``.
    """
    path = folder / "meta.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TuneshotError(
            f"{folder} is not a checkpoint ({path.name} cannot be read); make one: clf train"
        ) from error
    except ValueError as error:
        raise TuneshotError(f"{path} is damaged: {error}") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind != KIND:
        raise TuneshotError(f"{folder} holds another kind of model ({kind!r}, not {KIND!r})")
    if record.get("format") != FORMAT:
        raise TuneshotError(
            f"{folder} has checkpoint format {record.get('format')!r}, this version "
            f"({__version__}) reads {FORMAT}; upgrade to clfcore {record.get('clfcore')}"
        )
    return record


_SCALE = ":scale"


def _to_int8(state: State) -> State:
    """Each matrix row as int8 and one float16 scale; everything else as float16."""
    small: State = {}
    for name, tensor in state.items():
        if tensor.dim() != 2:
            small[name] = tensor.half()
            continue
        # Rounded to its stored value before dividing, so that no row overflows int8.
        scale = (tensor.abs().amax(dim=1).clamp(min=1e-6) / 127).half().float()  # (rows,)
        scale = scale.clamp(min=6e-8)
        rows = torch.round(tensor / scale[:, None]).clamp(-127, 127)
        small[name] = rows.to(torch.int8)
        small[name + _SCALE] = scale.half()
    return small


def _from_int8(small: State) -> State:
    return {name: _wide(tensor, small.get(name + _SCALE))
            for name, tensor in small.items() if not name.endswith(_SCALE)}  # fmt: skip


def _wide(tensor: Tensor, scale: Tensor | None) -> Tensor:
    return tensor.float() if scale is None else tensor.float() * scale.float()[:, None]
