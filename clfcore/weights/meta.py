"""What a checkpoint says of itself: ``meta.json``, read without loading a weight or torch."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clfcore import __version__
from clfcore.errors import TuneshotError
from clfcore.model.spec import GPTConfig, Reading
from clfcore.paths import ASSETS, check_can_write, expanded

BUNDLED = ASSETS / "gpt2-mini"
FORMAT = 2
READABLE = (1, 2)  # 1: a GPT-2, stored whole, read at the last token, or padded as in chapter 6
KIND = "tuneshot-classifier"


@dataclass(frozen=True, slots=True)
class Meta:
    """The description of a checkpoint.

    Attributes:
        name: the model's name, e.g. ``"gpt2-mini"``.
        labels: in the order of the head's outputs.
        model: the shape of a GPT-2; ``None`` for another trunk.
        source: the trunk's name, as for ``load_base``; ``None``: the file holds all of it.
        fingerprint: of that trunk's weights, see ``bases.fingerprint``.
        adapter: the arguments of ``adapt``; ``None``: there is no adapter.
        reading: how a message becomes one vector.
        threshold: probability of the second of two labels from which it is answered.
        about: data, training settings, metrics, versions: for people and for records.
    """

    name: str
    labels: tuple[str, ...]
    model: GPTConfig | None = None
    source: str | None = None
    fingerprint: str | None = None
    adapter: Mapping[str, Any] | None = None
    reading: Reading = Reading()  # noqa: RUF009 - frozen
    threshold: float = 0.5
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Meta":
        """What ``read_meta`` gave, as a ``Meta``.

        Raises:
            KeyError, TypeError, ValueError, TuneshotError: it is damaged.
        """
        if record["format"] == 1:
            pad_to = record["pad_to"]
            reading = Reading("last_column", pad_to) if pad_to else Reading()
            record = {
                **record, "source": None, "fingerprint": None, "adapter": None,
                "reading": reading.to_dict(),
            }  # fmt: skip
        return cls(
            name=record["name"],
            labels=tuple(record["labels"]),
            model=record["model"] and GPTConfig.from_dict(record["model"]),
            source=record["source"],
            fingerprint=record["fingerprint"],
            adapter=record["adapter"],
            reading=Reading.from_dict(record["reading"]),
            threshold=float(record["threshold"]),
            about=record["about"],
        )


def trained_columns(path: Path | None) -> dict[str, object]:
    """The columns that the training data's were named, see ``Columns.remembering``.

    Nothing where nothing was named, or where there is no checkpoint to ask: loading it says why.
    """
    try:
        record = read_meta(checkpoint_path(path))
        return dict(record["about"]["data"]["columns"])
    except (TuneshotError, KeyError, TypeError, ValueError):
        return {}


def check_free(folder: Path, mark: str = "meta.json", what: str = "a checkpoint") -> None:
    """Refuses a folder that cannot be written, or that something else would be lost with.

    Args:
        folder: where a model is to be written.
        mark: a file that such models have: one of them may be replaced.
        what: such a model, for the error message.

    Raises:
        TuneshotError: it cannot be.
    """
    if os.path.exists(folder) and not os.path.exists(folder / mark):
        raise TuneshotError(f"{folder} exists and is not {what}; choose another --out")
    check_can_write(folder.parent)


def checkpoint_path(path: Path | None) -> Path:
    """Where a checkpoint is, by default the bundled one; nothing of it is loaded.

    Args:
        path: a folder, or a chapter-6 ``.pth`` file.

    Raises:
        TuneshotError: nothing is there, or the folder is no checkpoint that can be read.
    """
    path = BUNDLED if path is None else expanded(path)
    if not os.path.exists(path):
        raise TuneshotError(f"no checkpoint at {path}; make one: clf train --out {path}")
    if path.suffix != ".pth":
        read_meta(path)
    return path


def read_meta(folder: Path) -> dict[str, Any]:
    """``meta.json`` as it is, after checking that this version can read the checkpoint.

    Raises:
        TuneshotError: as ``load_checkpoint``.
    """
    path = folder / "meta.json"
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise TuneshotError(
            f"{folder} is not a checkpoint ({path.name} cannot be read); make one: clf train"
        ) from error
    except ValueError as error:
        raise TuneshotError(f"{path} is damaged: {error}") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind != KIND:
        raise TuneshotError(f"{folder} holds another kind of model ({kind!r}, not {KIND!r})")
    if record.get("format") not in READABLE:
        raise TuneshotError(
            f"{folder} has checkpoint format {record.get('format')!r}, this version "
            f"({__version__}) reads {', '.join(map(str, READABLE))}; upgrade to clfcore "
            f"{record.get('clfcore')}"
        )
    return record
