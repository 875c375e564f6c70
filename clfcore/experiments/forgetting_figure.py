"""What was learned against what was forgotten: a line for each remedy, a mark for each seed."""

from collections.abc import Sequence
from itertools import cycle

from clfcore.errors import missing_extra_explained
from clfcore.evaluation.records import Record
from clfcore.forgetting.compare import SCORES, lost

with missing_extra_explained("drawing"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

# Of Okabe & Ito, distinct for colour-blind people too; after them, with another mark.
_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKS = "os^D"
_TEXT, _TITLE = 13, 16  # points


def forgetting_figure(records: Sequence[Record]) -> Figure:
    """A panel for each score: the best place is its upper left corner.

    Args:
        records: finished cells of one base.
    """
    first = records[0]["test"]["curve"][0]
    scores = [score for score in SCORES if score in first]
    figure = Figure(figsize=(6.5 * len(scores), 6), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for panel, score in zip(panels, scores, strict=True):
        _panel(panel, records, score)
        panel.set_title(SCORES[score], fontsize=_TITLE)
    panels[0].set_ylabel("accuracy of the new task", fontsize=_TEXT)
    panels[-1].legend(fontsize=_TEXT, loc="lower right")
    return figure


def _panel(panel: Axes, records: Sequence[Record], score: str) -> None:
    looks = cycle([(color, mark) for mark in _MARKS for color in _COLORS])
    for remedy in dict.fromkeys(record["config"]["remedy"] for record in records):
        color, mark = next(looks)
        curves = [r["test"]["curve"] for r in records if r["config"]["remedy"] == remedy]
        for number, curve in enumerate(curves):
            x = [lost(score, curve[0][score], point[score]) for point in curve]
            y = [point["accuracy"] for point in curve]
            panel.plot(x, y, "-", color=color, alpha=0.35, linewidth=1.2)
            panel.plot(
                x[-1], y[-1], mark, color=color, markersize=9, label=remedy if not number else None
            )
    panel.axvline(0, color="#888", linewidth=1, zorder=0)
    rises = score.startswith("perplexity")
    panel.set_xlabel("rise" if rises else "fall, in points", fontsize=_TEXT)
    panel.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %" if rises else ""))
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.tick_params(labelsize=_TEXT)
    panel.grid(alpha=0.3)
