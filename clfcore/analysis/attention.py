"""Which token looks at which: the attention of one head, or of all heads of a layer together.

Attention (Vaswani et al. 2017) mixes what the tokens say: each row holds the shares of one token's
mixture. It shows what a head reads, not why the model answers as it does (Jain & Wallace 2019).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.fine_tuned import FineTuned
from clfcore.weights.bases import spelled
from clfcore.wording import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUMBERS_UP_TO = 12  # tokens: in a larger figure they would cover each other


@dataclass(frozen=True, slots=True)
class Attention:
    """How much each token of a message looks at each.

    Attributes:
        layer: which, from 1, the lowest.
        head: which, from 1; ``None``: the mean over all heads.
        layers: how many the model has.
        heads: how many a layer has.
        tokens: what is looked at, in order: the vectors of a soft prompt or prefix, if the model
            has one, then the message.
        weights: (T, T) float32, each row sums to 1; fewer rows than columns if some tokens are
            looked at and look at nothing, which are then the first.
    """

    layer: int
    head: int | None
    layers: int
    heads: int
    tokens: tuple[str, ...]
    weights: np.ndarray

    @property
    def looking(self) -> tuple[str, ...]:
        """The tokens that look, one for each row."""
        return self.tokens[-len(self.weights) :]

    @property
    def title(self) -> str:
        """Which layer and head this is."""
        which = f"mean of {self.heads} heads" if self.head is None else f"head {self.head}"
        return f"layer {self.layer} of {self.layers}, {which}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "layer": self.layer,
            "head": self.head,
            "layers": self.layers,
            "heads": self.heads,
            "tokens": list(self.tokens),
            "weights": np.round(self.weights.astype(float), 6).tolist(),
        }


@torch.inference_mode()
def attention(
    model: FineTuned, text: str, layer: int | None = None, head: int | None = None
) -> Attention:
    """What the heads of ``model`` look at in ``text``.

    Args:
        model: any checkpoint; it reads the message as it would read any.
        text: any string.
        layer: from 1, the lowest; default: the last one.
        head: from 1; default: the mean over all.

    Raises:
        TuneshotError: there is no such layer or head, or the trunk does not tell.
    """
    trunk, ids = model.model.trunk, model.read(text)
    layers = len(trunk.trf_blocks)
    layer = layers if layer is None else layer
    _check("layer", layer, layers)
    seen = None
    if not model.meta.reading.causal:
        seen = torch.ones(1, trunk.virtual_tokens + len(ids), dtype=torch.bool)  # (1, T)
    weights = trunk.attention(torch.tensor([ids]), layer - 1, seen)[0].float()  # (H, T, T)
    if head is not None:
        _check("head", head, len(weights))
    shown = weights.mean(dim=0) if head is None else weights[head - 1]  # (T, T)
    virtual = [f"[{n}]" for n in range(1, shown.shape[1] - len(ids) + 1)]
    tokens = (*virtual, *spelled(model.encode, ids))
    return Attention(layer, head, layers, len(weights), tokens, shown.numpy())


@missing_extra_explained("drawing attention")
def attention_map(attention: Attention) -> "Figure":
    """A heat map: a row for each token that looks, a column for each that is looked at."""
    from matplotlib.figure import Figure

    looking, at = map(visible, attention.looking), map(visible, attention.tokens)
    weights = attention.weights
    rows, columns = weights.shape
    side = min(4 + 0.3 * columns, 16)  # inches
    size = min(13, 600 / columns)  # points
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(weights, cmap="cividis", vmin=0, vmax=1)  # safe for colour-blind people
    axes.set_xticks(range(columns), list(at), fontsize=size, rotation=90, parse_math=False)
    axes.set_yticks(range(rows), list(looking), fontsize=size, parse_math=False)
    axes.set_xlabel("is looked at", fontsize=15)
    axes.set_ylabel("looks", fontsize=15)
    axes.set_title(attention.title, fontsize=15)
    figure.colorbar(image, shrink=0.7, label="share of the row")
    if columns <= _NUMBERS_UP_TO:
        for (row, column), weight in np.ndenumerate(weights):
            if weight > 0:
                axes.text(
                    column, row, f"{weight:.2f}", ha="center", va="center", fontsize=size,
                    color="black" if weight > 0.5 else "white",
                )  # fmt: skip
    return figure


def visible(token: str) -> str:
    """A token without the spaces around it, or as many "␣"; what steers a terminal is spelled."""
    return printable(token.strip(" ") or "␣" * len(token))


def _check(what: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise TuneshotError(f"{what} must be from 1 to {most}, not {number}")
