"""A tuned language model on disk: a folder of transformers, and what it has learned.

    config.json, model.safetensors, tokenizer.json, …   as every program reads them
    tuning.json                                         from what, on what, how, when

All weights are stored, an adapter merged into them, in float32: a step of learning is often
smaller than one of bfloat16.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from clfcore import __version__
from clfcore.json_text import to_json
from clfcore.paths import atomic_write
from clfcore.training.instruction.recipe import TunedLM
from clfcore.training.instruction.settings import ABOUT, TUNED
from clfcore.training.settings import LoopConfig
from clfcore.weights.meta import check_free

_FORMAT = 1
_KIND = "tuneshot-language-model"


def save_tuned(folder: Path, tuned: TunedLM, config: LoopConfig, about: Mapping[str, Any]) -> None:
    """Writes ``folder`` in one step.

    Args:
        folder: created, or replaced if it is a tuned language model already.
        tuned: the model.
        config: how it was tuned.
        about: what else ``tuning.json`` says: language model, prompt, data. JSON values.

    Raises:
        TuneshotError: the disk is full, or ``folder`` is something else.
    """
    check_free(folder, ABOUT, TUNED)
    record = {
        "format": _FORMAT,
        "kind": _KIND,
        "clfcore": __version__,
        **about,
        "train": {**config.to_dict(), "history": [asdict(step) for step in tuned.history]},
        "weights": {"learning": tuned.trained_weights, "all": tuned.all_weights},
        "seconds": round(tuned.seconds, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with atomic_write(folder) as new:
        tuned.network.save_pretrained(new)
        tuned.tokenizer.save_pretrained(new)
        for weights in new.glob("*.safetensors"):  # written for their owner's eyes only
            weights.chmod((new / "config.json").stat().st_mode)
        (new / ABOUT).write_text(to_json(record, indent=2) + "\n", encoding="utf-8")


def add_figures(folder: Path, figures: Mapping[str, Any]) -> None:
    """Adds what was measured after the folder was written to its ``tuning.json``.

    Raises:
        TuneshotError: the disk is full.
    """
    record = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    with atomic_write(folder / ABOUT) as new:
        new.write_text(to_json({**record, **figures}, indent=2) + "\n", encoding="utf-8")
