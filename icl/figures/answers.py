"""Figures about answers: what changes one, how a model learns, how often it is right."""

import math
from collections.abc import Sequence

import numpy as np

from clfcore.types import NO_ANSWER
from icl.figures.look import (
    ACCENT,
    COLORS,
    SOLID,
    TEXT,
    Drawing,
    described,
    escaped,
    name_cells,
    new_figure,
    shorten,
)

MAX_WORDS = 12  # in a figure of their effects


# --- what changes the answer --------------------------------------------------------------------


def sweep_lines(
    label: str, by_k: Sequence[tuple[int, float]], by_order: Sequence[float], k: int
) -> Drawing:
    """The probability of a label by the number of examples, and by their order alone.

    Args:
        label: as the page says it.
        by_k: (k, probability), k ascending.
        by_order: the probability in each order of the same k examples.
        k: of ``by_order``.
    """
    figure = new_figure(
        340, columns=2, shared_yaxes=True, column_widths=[0.7, 0.3], horizontal_spacing=0.05
    )
    numbers, by_number = [number for number, _ in by_k], [p for _, p in by_k]
    figure.add_scatter(
        x=numbers,
        y=by_number,
        mode="lines+markers",
        line={"color": ACCENT, "width": 3},
        marker={"size": [16 if n == k else 9 for n in numbers], **SOLID},
        hovertemplate="k = %{x}: %{y:.1%}<extra></extra>",
        row=1,
        col=1,
    )
    figure.add_scatter(
        x=list(range(1, len(by_order) + 1)),
        y=list(by_order),
        mode="markers",
        marker={"color": ACCENT, "size": 10, "symbol": "circle-open", "line": {"width": 2}},
        hovertemplate="order %{x}: %{y:.1%}<extra></extra>",
        row=1,
        col=2,
    )
    figure.update_layout(showlegend=False)
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(title_text=f"probability of {escaped(label)}", col=1)
    figure.update_xaxes(title_text="k, examples shown", type="category", col=1)
    figure.update_xaxes(
        title_text=f"{len(by_order)} orders<br>k = {k}", showticklabels=False, showgrid=False, col=2
    )
    description = f"The probability of {label} by the number of examples: " + ", ".join(
        f"{p:.0%} with {number}" for number, p in by_k
    )
    if by_order:
        description += (
            f"; from {min(by_order):.0%} to {max(by_order):.0%} over {len(by_order)} orders of the "
            f"same {k}"
        )
    return described(figure, description + ".")


def word_effects(words: Sequence[tuple[str, float]], label: str, unit: str) -> Drawing:
    """The words that moved the answer most, as bars; to the right: towards the label.

    Args:
        words: each word of the message and its effect, in any order.
        label: as the page says it.
        unit: what an effect is measured in.
    """
    strongest = sorted(words, key=lambda word: -abs(word[1]))[:MAX_WORDS]
    effects = [effect for _, effect in strongest]
    figure = new_figure(height=110 + 27 * len(strongest))
    figure.add_bar(
        x=effects,
        y=list(range(len(strongest))),  # not the words: one may be there twice
        orientation="h",
        marker={"color": [ACCENT if effect > 0 else TEXT for effect in effects]},
        text=[f"{effect:+.2f}" for effect in effects],
        textposition="outside",
        hoverinfo="skip",
    )
    low, high = min([0, *effects]), max([0, *effects])
    room = 0.35 * (high - low)  # for the numbers at the ends
    figure.update_xaxes(
        range=[low - room, high + room],
        title_text=f"← away · towards {escaped(label)} →<br>{escaped(unit)}",
        zeroline=True,
        zerolinecolor=TEXT,
    )
    figure.update_yaxes(
        tickvals=list(range(len(strongest))),
        ticktext=[escaped(shorten(word, 24)) for word, _ in strongest],
        autorange="reversed",
        showgrid=False,
    )
    listed = [f"{shorten(word, 24)} {effect:+.2f}" for word, effect in strongest]
    which = "The word" if len(listed) == 1 else f"The {len(listed)} words"
    return described(
        figure,
        f"{which} that moved the answer most, in {unit}, above zero towards "
        f"{label}: {', '.join(listed)}.",
    )


# --- training and batches -----------------------------------------------------------------------


def loss_curve(
    steps: Sequence[int],
    train_losses: Sequence[float | None],
    validation_losses: Sequence[float | None],
    total: int,
) -> Drawing:
    """The loss of both parts while a model learns.

    Args:
        steps: the steps that were taken.
        train_losses: in nats, one a step; ``None``: not measured; not finite: a gap.
        validation_losses: the same.
        total: how many steps there will be.
    """
    figure = new_figure(height=320)
    sentences = []
    for name, losses, color, symbol, dash in (
        ("training", train_losses, COLORS[0], "circle", "solid"),
        ("validation", validation_losses, COLORS[1], "square", "dash"),
    ):
        points = {
            step: loss if math.isfinite(loss) else None
            for step, loss in zip(steps, losses, strict=True)
            if loss is not None
        }
        figure.add_scatter(
            x=list(points),
            y=list(points.values()),
            mode="lines+markers",
            line={"color": color, "width": 3, "dash": dash},
            marker={"symbol": symbol, "size": 9},
            name=name,
            hovertemplate="step %{x}: %{y:.3f} nats",
        )
        if measured := [loss for loss in points.values() if loss is not None]:
            sentences.append(f"the {name} loss went from {measured[0]:.3f} to {measured[-1]:.3f}")
    figure.update_xaxes(title_text="steps", range=[-total / 50, total * 1.02])
    figure.update_yaxes(title_text="loss (nats)", rangemode="tozero")
    return described(
        figure,
        f"In {max(steps)} steps {' and '.join(sentences)} nats."
        if sentences
        else "A loss curve without a point yet.",
    )


def confusion(
    matrix: Sequence[Sequence[int]],
    labels: Sequence[str],
    title: str,
    no_answer: str = NO_ANSWER,
) -> Drawing:
    """How often messages of each label (rows) got each answer (columns).

    Args:
        matrix: (C, C) counts; or (C, C + 1), with those that got no answer in the last column.
        labels: C words, as the page says them.
        title: whose answers these are.
        no_answer: the word above that last column.
    """
    counts = np.asarray(matrix)
    answers = [*labels, no_answer][: counts.shape[1]]
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)  # (C, A) (C, 1) -> (C, A); a row of zeros stays so
    figure = new_figure(height=160 + 70 * len(labels))
    figure.add_heatmap(
        z=shares.tolist(),
        text=[
            [f"{count}<br>{share:.1%}" for count, share in zip(*row, strict=True)]
            for row in zip(counts.tolist(), shares.tolist(), strict=True)
        ],
        texttemplate="%{text}",
        textfont={"size": 18},
        colorscale=[[0, "#E6F4F6"], [1, "#00606E"]],  # opaque: the text's colour is chosen for it
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        showscale=False,
        hoverinfo="skip",
    )
    name_cells(figure, title, ("answer", answers), ("label", list(labels)))
    rows = [
        f"of {total} {label}, "
        + ", ".join(f"{n} as {word}" for n, word in zip(row, answers, strict=True))
        for (total,), label, row in zip(totals.tolist(), labels, counts.tolist(), strict=True)
    ]
    return described(figure, f"{title}: {'; '.join(rows)}.")
