"""Curves of a training run, on paper and for TensorBoard."""

import math
import sys
from dataclasses import asdict, replace

import pytest

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.training.loop import StepMetrics
from tests.support.lazy import lazy

colors = lazy("matplotlib.colors")
curves = lazy("clfcore.training.curves")
accumulators = lazy("tensorboard.backend.event_processing.event_accumulator")

EPOCHS, STEPS_AN_EPOCH, BATCH = 3, 20, 8


def looks(every: int = STEPS_AN_EPOCH) -> list[StepMetrics]:
    """A run that is looked at every so many steps, and after each epoch."""
    total = EPOCHS * STEPS_AN_EPOCH
    when = sorted({*range(every, total + 1, every), *range(STEPS_AN_EPOCH, total + 1, 20)})
    return [
        StepMetrics(
            step, total, math.ceil(step / STEPS_AN_EPOCH), BATCH * step, loss=1 / step,
            train_loss=1 / step, train_accuracy=1 - 0.2 / step,
            val_loss=2 / step, val_accuracy=1 - 0.4 / step,
        )
        for step in when
    ]  # fmt: skip


def lines(panel) -> dict[str, list[tuple[float, float]]]:
    """The points of each curve, by the name that has its colour."""
    names = {colors.to_hex(text.get_color()): text.get_text() for text in panel.texts}
    return {
        names[colors.to_hex(line.get_color())]: list(zip(*line.get_data(), strict=True))
        for line in panel.lines
    }


# --- the figure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [20, 7])
def test_loss_and_accuracy_are_drawn_over_fractional_epochs(every):
    history = looks(every)
    loss, accuracy = curves.training_curves(history, "title").axes
    x = [look.step / STEPS_AN_EPOCH for look in history]
    assert lines(loss) == {
        "training": [*zip(x, [look.train_loss for look in history], strict=True)],
        "validation": [*zip(x, [look.val_loss for look in history], strict=True)],
    }
    assert lines(accuracy) == {
        "training": [*zip(x, [look.train_accuracy for look in history], strict=True)],
        "validation": [*zip(x, [look.val_accuracy for look in history], strict=True)],
    }
    assert loss.get_xlim() == (0, EPOCHS)


def test_the_axes_say_what_they_measure_and_the_upper_one_counts_examples():
    figure = curves.training_curves(looks(), "50 $ a day")
    assert figure.get_suptitle() == "50 $ a day"
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss (nats)", "accuracy")
    for panel in (loss, accuracy):
        (top,) = panel.child_axes
        assert (panel.get_xlabel(), top.get_xlabel()) == ("epochs", "examples seen")
        figure.draw_without_rendering()
        assert top.get_xlim() == pytest.approx((0, EPOCHS * STEPS_AN_EPOCH * BATCH))
    assert loss.get_ylim()[0] == 0
    assert accuracy.get_ylim()[0] == 0.9
    assert 1 <= accuracy.get_ylim()[1] < 1.02


def test_names_at_the_ends_of_two_close_curves_do_not_overlap():
    history = [replace(look, val_accuracy=look.train_accuracy) for look in looks()]
    figure = curves.training_curves(history, "title")
    figure.draw_without_rendering()
    for panel in figure.axes:
        one, other = (text.get_window_extent() for text in panel.texts)
        assert not one.overlaps(other)


def test_one_look_is_enough():
    loss, _ = curves.training_curves(looks()[:1], "title").axes
    assert lines(loss)["validation"] == [(1, looks()[0].val_loss)]


def test_what_was_not_measured_or_is_not_finite_is_left_out():
    old = [replace(look, train_loss=None, train_accuracy=None) for look in looks()]
    assert [lines(panel).keys() for panel in curves.training_curves(old, "old").axes] == [
        {"validation"}
    ] * 2
    first, *rest = looks()
    diverged = [first, *(replace(look, train_loss=math.nan, val_loss=math.inf) for look in rest)]
    loss, _ = curves.training_curves(diverged, "diverged").axes
    assert loss.get_ylim()[1] == pytest.approx(1.05 * first.val_loss)
    nowhere = [replace(look, train_loss=math.nan, val_loss=math.nan) for look in looks()]
    with pytest.raises(TuneshotError, match="a smaller learning rate"):
        curves.training_curves(nowhere, "nowhere")


# --- from a checkpoint, to a file ---------------------------------------------------------------


def test_a_checkpoint_remembers_its_curves():
    assert curves.history_of({"train": {"history": [asdict(look) for look in looks()]}}) == looks()
    curves.training_curves(curves.history_of(FineTuned.load().meta.about), "the bundled model")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "has no training curves.* clf train --layers last_block"),
        ({"train": {"layers": "none", "history": []}}, "has no training curves"),
        ({"train": {"history": [{"step": 1}]}}, "are damaged"),
        ({"train": {"history": [{**asdict(looks()[0]), "more": 1}]}}, "are damaged"),
    ],
)
def test_a_checkpoint_without_curves_says_why(about, message):
    with pytest.raises(TuneshotError, match=message):
        curves.history_of(about)


STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf", ".PNG"])
def test_the_suffix_says_the_format(tmp_path, suffix):
    path = tmp_path / "figures" / f"curves{suffix}"
    curves.save_figure(curves.training_curves(looks(), "title"), path)
    assert path.read_bytes().startswith(STARTS[suffix.lower()])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["curves.gif", "curves", "folder.png"])
def test_another_suffix_or_a_folder_is_refused(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "thesis.txt").write_text("precious")
    with pytest.raises(TuneshotError, match=r"a file that ends in \.png, \.svg, \.pdf"):
        curves.save_figure(curves.training_curves(looks(), "title"), tmp_path / name)
    assert (tmp_path / "folder.png" / "thesis.txt").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TuneshotError, match=r"cannot write .*curves\.png"):
        curves.save_figure(
            curves.training_curves(looks(), "title"), tmp_path / "file" / "curves.png"
        )


# --- TensorBoard --------------------------------------------------------------------------------


def test_tensorboard_reads_the_looks_back_by_examples_seen(tmp_path):
    history = looks(7)
    between = StepMetrics(1, 60, 1, 8, loss=0.5)  # no look: nothing to write
    with curves.tensorboard_watch(tmp_path / "runs" / "one") as watch:
        for step in (between, *history):
            watch(step)
    events = accumulators.EventAccumulator(str(tmp_path / "runs" / "one")).Reload()
    fields = {
        "loss/train": "train_loss",
        "loss/validation": "val_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/validation": "val_accuracy",
    }
    assert set(events.Tags()["scalars"]) == fields.keys()
    for tag, field in fields.items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [look.examples_seen for look in history]
        expected = [getattr(look, field) for look in history]
        assert [scalar.value for scalar in scalars] == pytest.approx(expected, rel=1e-6)


def test_the_curves_are_on_disk_even_if_the_training_fails(tmp_path):
    def training() -> None:
        with curves.tensorboard_watch(tmp_path) as watch:
            watch(looks()[0])
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        training()
    assert len(accumulators.EventAccumulator(str(tmp_path)).Reload().Scalars("loss/train")) == 1


def test_without_tensorboard_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with (
        pytest.raises(TuneshotError, match=r"run: pip install 'tuneshot\[tensorboard\]'"),
        curves.tensorboard_watch(tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(TuneshotError, match=r"cannot write .*file"),
        curves.tensorboard_watch(tmp_path / "file" / "run"),
    ):
        pass
