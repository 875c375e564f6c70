"""Who else hears of every step of a training run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from clfcore.errors import TuneshotError
from clfcore.train import Step


@contextmanager
def tensorboard_watch(folder: Path) -> Iterator[Callable[[Step], None]]:
    """Writes curves for TensorBoard: ``tensorboard --logdir FOLDER`` shows them.

    The x axis is the number of examples seen. Losses are in nats.

    Args:
        folder: created where it is missing; one for each run, or TensorBoard mixes them.

    Yields:
        A function that takes every step: ``learn(..., watch=…)``.

    Raises:
        TuneshotError: the package tensorboard is missing, or ``folder`` cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise TuneshotError(
            "the package tensorboard is missing; run: pip install tensorboard"
        ) from error
    try:
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise TuneshotError(
            f"cannot write {folder}: {error.strerror}; choose another folder"
        ) from error

    def watch(step: Step) -> None:
        curves = {
            "loss/train": step.train_loss,
            "loss/validation": step.val_loss,
            "accuracy/train": step.train_accuracy,
            "accuracy/validation": step.val_accuracy,
        }
        for name, value in curves.items():
            if value is not None:
                writer.add_scalar(name, value, step.examples_seen)

    with writer:
        yield watch
