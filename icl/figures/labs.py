"""Figures of the lecture's labs: which token looks at which, what fewer bits cost, forgetting."""

import math
from collections.abc import Mapping, Sequence

from icl.figures.look import (
    ACCENT,
    COLORS,
    SOLID,
    SYMBOLS,
    TEXT,
    Drawing,
    described,
    escaped,
    name_cells,
    new_figure,
)

MAX_NUMBERS = 12  # tokens: in a larger figure the numbers would cover each other


def attention_map(words: Sequence[str], weights: Sequence[Sequence[float]], title: str) -> Drawing:
    """A heat map: a row for each token that looks, a column for each that is looked at.

    Args:
        words: T tokens, as they are shown.
        weights: (R, T) shares, each row sums to 1; with R < T the first tokens do not look.
        title: which layer and head.
    """
    looking = words[len(words) - len(weights) :]
    figure = new_figure(height=170 + min(30 * len(looking), 900))
    figure.add_heatmap(
        z=[[weight or None for weight in row] for row in weights],  # nothing is drawn of a 0
        text=[[f"{escaped(row)} → {escaped(column)}: {weight:.2f}"
               for column, weight in zip(words, shares, strict=True)]
              for row, shares in zip(looking, weights, strict=True)],
        hovertemplate="%{text}<extra></extra>",
        colorscale="Cividis",  # safe for colour-blind people
        zmin=0,
        zmax=1,
        xgap=1,
        ygap=1,
        showscale=False,
    )  # fmt: skip
    if len(words) <= MAX_NUMBERS:
        figure.update_traces(texttemplate="%{z:.2f}", textfont={"size": 14})
    name_cells(figure, title, ("is looked at", list(words)), ("looks", list(looking)))
    figure.update_xaxes(tickangle=-90 if len(words) > MAX_NUMBERS else 0)
    share, most = max(zip(weights[-1], words, strict=True))
    return described(
        figure,
        f"Attention, {title}: the last token, {looking[-1]}, looks most at {most}, with a share "
        f"of {share:.0%}.",
    )


def sizes_and_errors(rows: Sequence[tuple[str, float, float]]) -> Drawing:
    """Models by their size on disk and the error of their weights.

    Args:
        rows: (how its weights are stored, megabytes, ‖W' − W‖ / ‖W‖) of each.
    """
    figure = new_figure(height=480)
    names, megabytes, errors = zip(*rows, strict=True)
    figure.add_scatter(
        x=list(megabytes),
        y=list(errors),
        mode="markers+text",
        marker={"color": [COLORS[0] if error else ACCENT for error in errors], "size": 13, **SOLID},
        text=[f" {escaped(name)}" for name in names],
        textposition="middle right",  # several are as large as each other
        textfont={"color": TEXT, "size": 13},
        hovertemplate="%{text}: %{x:.1f} MB, %{y:.1%}<extra></extra>",
        cliponaxis=False,
    )
    ticks = [2, 4, 8, 16, 32, 64, 128, 256, 512]
    largest = next(tick for tick in ticks if tick >= max(megabytes))
    figure.update_xaxes(
        title_text="megabytes on disk",
        type="log",
        tickvals=ticks,
        range=[math.log10(min(megabytes) * 0.8), math.log10(largest * 1.2)],
    )
    figure.update_yaxes(
        title_text="error of the weights", tickformat=".0%", range=[-0.03, max(errors) + 0.05]
    )
    listed = ", ".join(f"{n} {size:.1f} MB and {error:.0%}" for n, size, error in rows)
    return described(figure, f"Size on disk and error of the weights: {listed}.")


def old_task_by_step(remedies: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> Drawing:
    """How much of the old task is left while a model learns a new one.

    Args:
        remedies: name -> steps, and the old task's accuracy after each; at most seven.
    """
    figure = new_figure(height=420)
    for number, (name, (steps, accuracies)) in enumerate(remedies.items()):
        figure.add_scatter(
            x=list(steps),
            y=list(accuracies),
            mode="lines+markers",
            line={"color": COLORS[number], "width": 3},
            marker={"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 9},
            name=escaped(name),
            hovertemplate="step %{x}: %{y:.1%}",
        )
    figure.update_xaxes(title_text="steps of learning the new task")
    figure.update_yaxes(title_text="accuracy of the old task", tickformat=".0%")
    listed = ", ".join(f"{name} {found[-1]:.0%}" for name, (_, found) in remedies.items())
    return described(figure, f"Accuracy of the old task after learning the new one: {listed}.")
