"""Training curves: loss and accuracy during training, as in the book (figures 6.16 and 6.17).

Figures are made without pyplot, which keeps a list of windows behind the scenes.
"""

import logging
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.paths import atomic_write, check_can_write
from clfcore.training.loop import StepMetrics

# In a home that is read-only it has no cache of its own, which costs a second and no two lines.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
with missing_extra_explained("drawing curves"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

FORMATS = (".png", ".svg", ".pdf")
_DPI = 150
_TEXT, _TITLE = 15, 18  # points; read from the last row
_MIN_NAME_DISTANCE = 0.08  # of the height of a panel


class Curve(NamedTuple):
    """How a part of the data is drawn: told apart by colour, by dashes and by marker."""

    name: str
    color: str  # of Okabe & Ito, distinct for colour-blind people too
    line: str
    marker: str


TRAINING = Curve("training", "#0072B2", "-", "o")
VALIDATION = Curve("validation", "#D55E00", "--", "s")


def history_of(about: Mapping[str, Any]) -> list[StepMetrics]:
    """The validations that a checkpoint records.

    Args:
        about: of its ``Meta``, or of its ``meta.json``.

    Raises:
        TuneshotError: it records none, or they are damaged.
    """
    rows = about.get("train", {}).get("history")
    if not rows:
        raise TuneshotError(
            "this checkpoint has no training curves: a chapter-6 file records none, and with "
            "--layers none scikit-learn fits the head at once; make one with other layers: "
            "clf train --layers last_block"
        )
    try:
        return [StepMetrics(**row) for row in rows]
    except TypeError as error:
        raise TuneshotError(
            f"the training curves of this checkpoint are damaged ({error}); train it again"
        ) from error


def training_curves(history: Sequence[StepMetrics], title: str) -> Figure:
    """Loss and accuracy side by side, over epochs and, on top, over the examples seen.

    A training figure is the mean over the messages since the previous validation, each as it was
    in its own step; so it lags behind, and validation may seem better at first.

    Args:
        history: at least one validation. Figures that it lacks are not drawn.
        title: of the whole figure.

    Raises:
        TuneshotError: no loss is a finite number.
    """
    # A validation at the end of an epoch has the most steps an epoch: all of them.
    steps_an_epoch = max(each.step / each.epoch for each in history)
    epochs = [each.step / steps_an_epoch for each in history]
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    figure.suptitle(title, fontsize=_TITLE, parse_math=False)  # a name may have $ signs
    loss, accuracy = figure.subplots(1, 2)
    figure.get_layout_engine().set(w_pad=0.15)  # type: ignore[union-attr, call-arg]

    curves = _curves([each.train_loss for each in history], [each.val_loss for each in history])
    loss.set_ylabel("loss (nats)", fontsize=_TEXT)
    loss.set_ylim(0, 1.05 * max(map(np.nanmax, curves.values())))
    examples_an_epoch = history[-1].examples_seen / epochs[-1]
    _draw(loss, epochs, curves, examples_an_epoch)

    curves = _curves(
        [each.train_accuracy for each in history], [each.val_accuracy for each in history]
    )
    lowest = min(map(np.nanmin, curves.values()))
    low = max(0, math.floor(10 * lowest - 0.2) / 10)  # a tenth, and not the lowest point itself
    accuracy.set_ylabel("accuracy", fontsize=_TEXT)
    accuracy.set_ylim(low, 1 + 0.02 * (1 - low))
    _draw(accuracy, epochs, curves, examples_an_epoch)
    return figure


def check_can_draw(path: Path) -> None:
    """Refuses a file that no figure can be written to, before the work that is drawn in it.

    Raises:
        TuneshotError: another suffix than those of ``FORMATS``, or a folder.
    """
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise TuneshotError(f"cannot draw {path}; give a file that ends in {', '.join(FORMATS)}")


def save_figure(figure: Figure, path: Path) -> None:
    """Writes ``figure`` as its suffix says; an older file is replaced in one step.

    Raises:
        TuneshotError: as ``check_can_draw``, or ``path`` cannot be written.
    """
    check_can_draw(path)
    with atomic_write(path) as new, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a character that the font lacks is a box
        figure.savefig(new, dpi=_DPI)


def _curves(train: Sequence[float | None], val: Sequence[float | None]) -> dict[Curve, np.ndarray]:
    """The curves that have a point. NaN is a gap: what was not measured, or is not finite."""
    curves = {}
    for curve, measured in ((TRAINING, train), (VALIDATION, val)):
        values = np.array(measured, dtype=float)  # None becomes NaN
        values[~np.isfinite(values)] = np.nan
        if not np.isnan(values).all():
            curves[curve] = values
    if not curves:
        raise TuneshotError(
            "there is no curve to draw: no loss of this training is a finite number; train again "
            "with a smaller learning rate"
        )
    return curves


def _draw(
    panel: Axes,
    epochs: Sequence[float],
    curves: Mapping[Curve, np.ndarray],
    examples_an_epoch: float,
) -> None:
    """The curves, each with its name at its end; epochs below, examples seen above."""
    for curve, values in curves.items():
        panel.plot(
            epochs, values, curve.line, color=curve.color, marker=curve.marker, linewidth=2.5,
            markersize=8 if len(epochs) <= 25 else 0, clip_on=False,
        )  # fmt: skip
    low, high = panel.get_ylim()
    last = {curve: values[~np.isnan(values)][-1] for curve, values in curves.items()}
    ends = {curve: (value - low) / (high - low) for curve, value in last.items()}
    for curve, height in _apart(ends).items():
        panel.text(
            1.03, height, curve.name, color=curve.color, fontsize=_TEXT, va="center",
            transform=panel.transAxes,
        )  # fmt: skip
    panel.set_xlim(0, epochs[-1])
    panel.set_xlabel("epochs", fontsize=_TEXT)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.yaxis.set_major_locator(MaxNLocator(6))
    scale = partial(mul, examples_an_epoch), partial(mul, 1 / examples_an_epoch)
    top = panel.secondary_xaxis("top", functions=scale)
    top.set_xlabel("examples seen", fontsize=_TEXT, labelpad=8)
    top.xaxis.set_major_locator(MaxNLocator(5))
    top.xaxis.set_major_formatter(EngFormatter(sep=""))  # 20k
    for axes in (panel, top):
        axes.tick_params(labelsize=_TEXT)
    panel.grid(alpha=0.3)
    panel.spines["right"].set_visible(False)


def _apart(heights: Mapping[Curve, float]) -> dict[Curve, float]:
    """Heights at which two names do not overlap, in their order."""
    order = sorted(heights, key=heights.__getitem__)
    if len(order) < 2:
        return dict(heights)
    below, above = order
    missing = max(0.0, _MIN_NAME_DISTANCE - (heights[above] - heights[below])) / 2
    return {below: heights[below] - missing, above: heights[above] + missing}


@contextmanager
def tensorboard_watch(folder: Path) -> Iterator[Callable[[StepMetrics], None]]:
    """Writes curves for TensorBoard: ``tensorboard --logdir FOLDER`` shows them.

    The x axis is the number of examples seen. Losses are in nats.

    Args:
        folder: created where it is missing; one for each run, or TensorBoard mixes them.

    Yields:
        A function that takes every step: ``fine_tune(..., on_step=…)``.

    Raises:
        TuneshotError: the package tensorboard is missing, or ``folder`` cannot be written.
    """
    with missing_extra_explained("--tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    check_can_write(folder)

    def on_step(step: StepMetrics) -> None:
        curves = {
            "loss/train": step.train_loss,
            "loss/validation": step.val_loss,
            "accuracy/train": step.train_accuracy,
            "accuracy/validation": step.val_accuracy,
        }
        for name, value in curves.items():
            if value is not None:
                writer.add_scalar(name, value, step.examples_seen)

    with _told_once(), SummaryWriter(str(folder)) as writer:
        yield on_step


@contextmanager
def _told_once() -> Iterator[None]:
    """A full disk fails the next step; TensorBoard's thread would print a trace of it, too."""
    usual = threading.excepthook
    threading.excepthook = lambda about: (
        None if isinstance(about.exc_value, OSError) else usual(about)
    )
    try:
        yield
    finally:
        threading.excepthook = usual
