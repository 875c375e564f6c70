"""What the rank of LoRA is worth: accuracy by rank, and the weights that learn for it."""

from collections.abc import Sequence

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.evaluation.intervals import over_seeds
from clfcore.evaluation.records import Record

with missing_extra_explained("drawing"):
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter, StrMethodFormatter

_LORA, _ALL = "#0072B2", "#D55E00"  # of Okabe & Ito, distinct for colour-blind people too
_TEXT, _TITLE = 13, 16  # points


def ranks_figure(records: Sequence[Record]) -> Figure:
    """Two panels, by rank: test accuracy with its interval, and how many weights learn.

    A line across both shows training all layers, where the records have that too.

    Args:
        records: of ``clf experiments lora_ranks``; runs that failed are left out.

    Raises:
        TuneshotError: LoRA of fewer than two ranks, or more than one base or data set.
    """
    runs = [r for r in records if "test" in r and r["config"]["layers"] in ("lora", "all")]
    by_rank: dict[int, list[Record]] = {}
    for run in runs:
        if run["config"]["layers"] == "lora":
            by_rank.setdefault(run["config"]["rank"], []).append(run)
    if len(by_rank) < 2:
        raise TuneshotError(
            f"the figure needs runs of LoRA with at least two ranks, and the records have "
            f"{len(by_rank)}; run clf experiments lora_ranks"
        )
    if len({(run["base"], run["data"]["sha256"]) for run in runs}) > 1:
        raise TuneshotError(
            "the records are of several bases or data sets, whose accuracies do not belong on one "
            "line; give each its own --out"
        )
    whole = [run for run in runs if run["config"]["layers"] == "all"]
    figure = Figure(figsize=(13, 5), layout="constrained")
    accuracy, learning = figure.subplots(1, 2)
    _accuracy(accuracy, by_rank, whole)
    _learning(learning, by_rank, whole)
    for panel in (accuracy, learning):
        panel.set_xscale("log", base=2)
        panel.set_xticks(sorted(by_rank), [str(rank) for rank in sorted(by_rank)])
        panel.set_xlabel("rank of LoRA", fontsize=_TEXT)
        panel.tick_params(labelsize=_TEXT)
        panel.grid(alpha=0.3)
    accuracy.legend(fontsize=_TEXT, loc="lower right")
    return figure


def _accuracy(panel: Axes, by_rank: dict[int, list[Record]], whole: Sequence[Record]) -> None:
    ranks = sorted(by_rank)
    shares = [
        over_seeds([run["test"]["accuracy"] for run in by_rank[rank]], spread=False)
        for rank in ranks
    ]
    values = [share.value for share in shares]
    below = [share.value - share.low for share in shares]
    above = [share.high - share.value for share in shares]
    panel.errorbar(
        ranks, values, yerr=[below, above], fmt="o-", color=_LORA, capsize=4, label="LoRA"
    )
    if whole:
        reached = over_seeds([run["test"]["accuracy"] for run in whole], spread=False).value
        panel.axhline(reached, color=_ALL, linestyle="--", label="all layers")
    panel.yaxis.set_major_formatter(PercentFormatter(1))
    panel.set_title("test accuracy", fontsize=_TITLE)


def _learning(panel: Axes, by_rank: dict[int, list[Record]], whole: Sequence[Record]) -> None:
    ranks = sorted(by_rank)
    counts = [by_rank[rank][0]["weights"]["learning"] for rank in ranks]
    panel.plot(ranks, counts, "o-", color=_LORA)
    if whole:
        panel.axhline(whole[0]["weights"]["learning"], color=_ALL, linestyle="--")
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.set_title("weights that learn, the head included", fontsize=_TITLE)
