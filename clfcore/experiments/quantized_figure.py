"""What quantizing looks like: numbers on a line, one matrix, and error against bits."""

from collections.abc import Mapping

import torch
from torch import Tensor

from clfcore.errors import missing_extra_explained
from clfcore.quantization.schemes import SCHEMES, quantize, requantized
from clfcore.quantization.uniform import from_symmetric, symmetric

with missing_extra_explained("drawing"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

HANDFUL = (-1.0, -0.55, -0.15, 0.12, 0.4, 0.86)
SHOWN_BITS = 3  # of the number line
BITS = range(2, 9)
# Of Okabe & Ito, distinct for colour-blind people too.
_BEFORE, _AFTER, _OTHER = "#0072B2", "#D55E00", "#009E73"
_TEXT, _TITLE = 13, 16  # points


def quantization_figure(matrix: Tensor, scheme: str, name: str) -> Figure:
    """Three panels side by side.

    Args:
        matrix: (rows, columns) float32, the weights that are shown.
        scheme: key of ``SCHEMES``.
        name: of the matrix.
    """
    figure = Figure(figsize=(17, 5), layout="constrained")
    line, histogram, errors = figure.subplots(1, 3)
    _number_line(line)
    _histogram(histogram, matrix, scheme)
    histogram.set_title(f"{name}, {scheme}", fontsize=_TITLE, parse_math=False)
    _errors(errors, matrix)
    for panel in (line, histogram, errors):
        panel.tick_params(labelsize=_TEXT)
    return figure


def _number_line(panel: Axes) -> None:
    numbers = torch.tensor([HANDFUL])
    quantized = symmetric(numbers, SHOWN_BITS)
    step = float(quantized.scales["scale"][0])
    largest = 2 ** (SHOWN_BITS - 1) - 1
    for code in range(-largest, largest + 1):
        panel.plot(code * step, 0, "|", color=_AFTER, markersize=28, markeredgewidth=2.5)
        panel.annotate(
            f"{code}", (code * step, -0.28), color=_AFTER, fontsize=_TEXT, ha="center", va="top"
        )
    for number, rounded in zip(HANDFUL, from_symmetric(quantized)[0].tolist(), strict=True):
        panel.annotate(
            "", (rounded, 0.06), (number, 0.75),
            arrowprops={"arrowstyle": "->", "color": _BEFORE, "linewidth": 1.5},
        )  # fmt: skip
        panel.annotate(
            f"{number:g}", (number, 0.8), color=_BEFORE, fontsize=_TEXT, ha="center", va="bottom"
        )
    panel.axhline(0, color="#888", linewidth=1, zorder=0)
    panel.set_title(
        f"six numbers in {SHOWN_BITS} bits: codes −{largest} to {largest}", fontsize=_TITLE
    )
    panel.set_ylim(-0.7, 1.2)
    panel.set_yticks([])
    panel.spines[["left", "right", "top"]].set_visible(False)


def _histogram(panel: Axes, matrix: Tensor, scheme: str) -> None:
    """Weights before as a histogram; after, a stem for each code where its weights lie on average.

    Levels are those of a row or a block, and differ from one to the next.
    """
    weights = matrix.flatten()
    codes, after = quantize(matrix, SCHEMES[scheme]).codes.flatten(), _after(matrix, scheme)
    share = torch.full_like(weights, 1 / len(weights))
    panel.hist(weights.numpy(), bins=120, weights=share.numpy(), color=_BEFORE, alpha=0.45)
    panel.set_ylabel("before: share of weights in a bin", color=_BEFORE, fontsize=_TEXT)
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    levels = panel.twinx()
    of_code: Mapping[int, Tensor] = {int(c): after[codes == c] for c in codes.unique()}
    levels.vlines(
        [float(values.mean()) for values in of_code.values()],
        0, [len(values) / len(after) for values in of_code.values()],
        color=_AFTER, linewidth=3 if len(of_code) <= 16 else 1,
    )  # fmt: skip
    levels.set_ylim(bottom=0)
    levels.set_ylabel("after: share of weights at a level", color=_AFTER, fontsize=_TEXT)
    levels.yaxis.set_major_formatter(PercentFormatter(1))
    levels.tick_params(labelsize=_TEXT)
    limit = float(weights.abs().quantile(0.999)) if len(weights) < 10**7 else 1.0
    panel.set_xlim(-1.2 * limit, 1.2 * limit)


def _after(matrix: Tensor, scheme: str) -> Tensor:
    return requantized(matrix, SCHEMES[scheme]).flatten()


def _errors(panel: Axes, matrix: Tensor) -> None:
    """‖W' − W‖ / ‖W‖ of symmetric quantization by bits, and of every scheme."""

    def error(after: Tensor) -> float:
        return float((after - matrix).norm() / matrix.norm())

    for rows, color, label in (
        (True, _BEFORE, "a scale a row"), (False, _OTHER, "one scale for all"),
    ):  # fmt: skip
        found = [error(from_symmetric(symmetric(matrix, bits, rows))) for bits in BITS]
        # Weights that were stored as int8 rows lose nothing in them, which no logarithm shows.
        kept = [(bits, wrong) for bits, wrong in zip(BITS, found, strict=True) if wrong > 1e-4]
        panel.plot(
            *zip(*kept, strict=True), "o-", color=color, label=f"symmetric, {label}", linewidth=2
        )
    for name, scheme in SCHEMES.items():
        if name in ("int8", "int4"):  # they stand on the first line
            continue
        bits = float(torch.tensor(scheme.levels).log2())
        wrong = error(requantized(matrix, scheme))
        panel.plot(bits, wrong, "s", color=_AFTER, markersize=8)
        panel.annotate(
            name, (bits, wrong), (8, -14 if name == "nf4" else 2), textcoords="offset points",
            color=_AFTER, fontsize=_TEXT,
        )  # fmt: skip
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    panel.set_xlabel("bits a weight, without scales", fontsize=_TEXT)
    panel.set_title("error: ‖W′ − W‖ / ‖W‖", fontsize=_TITLE)
    panel.legend(fontsize=_TEXT)
    panel.grid(alpha=0.3)
