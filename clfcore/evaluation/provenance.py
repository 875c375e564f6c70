"""What ran, where and when: versions, commit and machine beside every record."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clfcore import __version__
from clfcore.evaluation.records import Record
from clfcore.model.spec import MINI
from clfcore.paths import TRUNK, files_sha256

if TYPE_CHECKING:
    from accelerate import Accelerator


def machine(accelerator: "Accelerator | None") -> dict[str, Any]:
    """The processor, its cores, the threads of torch, and the device, by name."""
    import torch  # here, as it takes seconds

    device = accelerator.device if accelerator else torch.device("cpu")
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine_name() -> str:
    """The processor and its cores, for figures of speed."""
    return f"{cpu_name()}, {os.cpu_count()} cores"


def model_files(model: str) -> str | None:
    """A hash of a model's files, 16 hex digits: a path may come to hold another model.

    ``None`` of what is known by its name alone.
    """
    path = TRUNK if model == MINI else Path(model)  # the bundled one is another in other versions
    return files_sha256(path)[:16] if model and path.exists() else None


def about_this_run() -> Record:
    """What every record says of where it comes from."""
    return {
        "versions": {
            "python": platform.python_version(),
            "tuneshot": __version__,
            **{name: version(name) for name in ("torch", "transformers")},
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
