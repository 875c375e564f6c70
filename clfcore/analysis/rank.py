"""Rank: of the lecture's matrix, and of what fine-tuning changed in a model.

LoRA (Hu et al. 2021) learns a change of rank r, the product of two narrow matrices. The best that
any change of rank r can do is to keep the r largest singular values of the full one (Eckart & Young
1936); so those of full fine-tuning tell what LoRA misses. That it may be little: Aghajanyan et al.
2020.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clfcore.errors import TuneshotError, missing_extra_explained
from clfcore.model.classifier import Trunk
from clfcore.weights.bases import fingerprint, load_base
from clfcore.weights.checkpoint import Loaded, load_checkpoint, merged
from clfcore.weights.source import check_trusted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The slide's matrix: columns A and B, and a third one that tells nothing new, C = 2 A + B.
SLIDE = np.array([[1, 4, 6], [2, 5, 9], [3, 7, 13]], dtype=float)


def factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices whose product is ``matrix``: its first independent columns, and how to mix them.

    Args:
        matrix: (m, n).

    Returns:
        (m, r) and (r, n), r the rank.
    """
    kept: list[int] = []
    for column in range(matrix.shape[1]):
        if np.linalg.matrix_rank(matrix[:, [*kept, column]]) > len(kept):
            kept.append(column)
    basis = matrix[:, kept]  # (m, r)
    return basis, np.linalg.lstsq(basis, matrix)[0]  # (r, n)


@dataclass(frozen=True, slots=True)
class Change:
    """What fine-tuning changed in one matrix.

    Attributes:
        name: of the matrix in the trunk.
        shape: outputs and inputs.
        size: Frobenius norm of the change, as a share of the matrix's before.
        singular_values: of the change, the largest first.
    """

    name: str
    shape: tuple[int, int]
    size: float
    singular_values: np.ndarray


def missed(changes: Sequence[Change], rank: int) -> float:
    """Share of the squared Frobenius norm of ``changes`` that no change of this rank can have."""
    lost = sum(float(np.square(each.singular_values[rank:]).sum()) for each in changes)
    return lost / sum(float(np.square(each.singular_values).sum()) for each in changes)


def rank_for(changes: Sequence[Change], share: float = 0.9) -> int:
    """The smallest rank that has this share of the squared Frobenius norm of ``changes``."""
    most = max(len(each.singular_values) for each in changes)
    return next(rank for rank in range(most + 1) if missed(changes, rank) <= 1 - share)


def at_random(changes: Sequence[Change]) -> list[Change]:
    """The control: matrices of the same shapes and sizes, of independent normal numbers."""
    return [replace(each, singular_values=_of_noise(each)) for each in changes]


def _of_noise(change: Change) -> np.ndarray:
    size = np.linalg.norm(change.singular_values)
    values = _noise(change.shape)
    return values * (size / np.linalg.norm(values))


@cache
def _noise(shape: tuple[int, int]) -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal(shape)
    return np.linalg.svd(drawn, compute_uv=False)


@dataclass(frozen=True, slots=True)
class Tuned:
    """A checkpoint, and the trunk that its training started from.

    Attributes:
        loaded: the checkpoint, with its adapter merged if it had one.
        before: the trunk before fine-tuning.
        base: its name.
    """

    loaded: Loaded
    before: Trunk
    base: str

    def changes(self) -> list[Change]:
        """Of every matrix in the blocks that changed.

        Raises:
            TuneshotError: none did.
        """
        found = [
            _change(name, new, old) for name, new, old in self._matrices() if (new != old).any()
        ]
        if not found:
            raise TuneshotError(
                "no matrix of its blocks was changed; train with --layers all, last_block or lora"
            )
        return found

    @torch.no_grad()
    def cut_to(self, rank: int) -> Loaded:
        """The checkpoint with each of these changes replaced by its best one of this rank."""
        for _, new, old in self._matrices():
            u, s, v = torch.linalg.svd(new - old, full_matrices=False)
            new.copy_(old + u[:, :rank] * s[:rank] @ v[:rank])
        meta = self.loaded.meta
        about = {name: each for name, each in meta.about.items() if name != "test_metrics"}
        cut = replace(meta, name=f"{meta.name}, rank {rank}", about={**about, "rank": rank})
        return replace(self.loaded, meta=cut)

    def _matrices(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, weights after and weights before, (outputs, inputs)."""
        before = dict(self.before.trf_blocks.named_parameters())
        for name, weight in self.loaded.model.trunk.trf_blocks.named_parameters():
            if weight.dim() == 2:
                yield name.removesuffix(".weight"), weight.detach(), before[name].detach()


def _change(name: str, new: Tensor, old: Tensor) -> Change:
    values = torch.linalg.svdvals((new - old).double()).numpy()
    size = float(np.linalg.norm(values) / old.double().norm())
    return Change(name, (new.shape[0], new.shape[1]), size, values)


def load_tuned(folder: Path, trust_source: bool = False) -> Tuned:
    """A checkpoint and what it started from.

    Args:
        folder: of the checkpoint.
        trust_source: see ``check_trusted``; here of the base, too.

    Raises:
        TuneshotError: as ``load_checkpoint``; or it does not know its base, the base is another
            one now, or its adapter is no change of weights.
    """
    loaded = load_checkpoint(folder, trust_source)
    meta, base = loaded.meta, loaded.meta.source or loaded.meta.about.get("base")
    if base is None or meta.fingerprint is None:
        raise TuneshotError(
            f"{folder} does not know which weights it started from; train it from a pretrained "
            f"base: clf train --base gpt2-mini --out {folder}"
        )
    if not trust_source:
        check_trusted(base, folder)
    before = load_base(base, len(meta.labels), network=trust_source).trunk
    if fingerprint(before) != meta.fingerprint:
        raise TuneshotError(
            f"{folder} was trained from other weights of {base!r} than those it has now; bring "
            "those back, or train again"
        )
    return Tuned(merged(folder, trust_source) if meta.adapter else loaded, before, base)


@missing_extra_explained("drawing ranks")
def rank_figure(changes: Sequence[Change], title: str) -> "Figure":
    """How much a change of rank r misses: a line for each matrix, one for all, and the control."""
    from matplotlib.figure import Figure

    most = max(len(each.singular_values) for each in changes)
    ranks = range(1, most + 1)
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    lines: list[tuple[Sequence[Change], dict[str, Any]]] = [
        *(([each], {"color": "#888", "linewidth": 0.7, "alpha": 0.6}) for each in changes),
        (changes, {"color": "#0072B2", "linewidth": 3, "label": "all matrices together"}),
        (
            at_random(changes),
            {"color": "#D55E00", "linewidth": 2, "linestyle": "--", "label": "random numbers"},
        ),
    ]
    for of, style in lines:
        axes.plot(ranks, [missed(of, rank) for rank in ranks], **style)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(0, 1)
    axes.set_xlabel("rank", fontsize=15)
    axes.set_ylabel("share of the change that is missed", fontsize=15)
    axes.set_title(title, fontsize=15, parse_math=False)
    axes.tick_params(labelsize=13)
    axes.legend(fontsize=13)
    axes.grid(alpha=0.3)
    return figure
