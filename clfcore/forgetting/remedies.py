"""The remedies against forgetting. Each is one pair of hooks, before and during the learning.

Before the first step: which weights learn, and how fast. During it: an objective around that of
the new task, which mixes in rows, adds a term to the loss, or measures with other weights.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from clfcore.errors import unknown_choice

if TYPE_CHECKING:  # a wrong name is refused without torch
    from clfcore.forgetting.objectives import Measured
    from clfcore.model.classifier import TrunkModel
    from clfcore.training.loop import Objective


@dataclass(frozen=True, slots=True)
class Learning:
    """What is learned, and what may be forgotten.

    Attributes:
        model: at the start; which of its weights learn is decided already.
        new: the new task, and what is measured on the way.
        old: the old task: rows that a remedy may use.
        old_model: what ``old`` is about; shares its weights with ``model``.
    """

    model: "TrunkModel"
    new: "Measured"
    old: "Objective"
    old_model: "TrunkModel"


def _nothing(learning: Learning) -> "Objective":
    return learning.new


def _replay(share: float, learning: Learning) -> "Objective":
    from clfcore.forgetting.replay import Replay

    return Replay(learning.new, learning.old, learning.old_model, share)


def _ewc(strength: float, learning: Learning) -> "Objective":
    from clfcore.forgetting.penalty import Penalized, fisher, scaled

    importance = scaled(fisher(learning.model, learning.old, learning.old_model))
    return Penalized(learning.new, learning.model, importance, strength)


def _l2(strength: float, learning: Learning) -> "Objective":
    from clfcore.forgetting.penalty import Penalized

    one = {
        name: weight.detach().new_ones(())
        for name, weight in learning.model.named_parameters()
        if weight.requires_grad and not name.startswith("trunk.out_head")  # a new head is free
    }
    return Penalized(learning.new, learning.model, one, strength)


def _wise_ft(share: float, learning: Learning) -> "Objective":
    from clfcore.forgetting.objectives import Mixed

    return Mixed(learning.new, learning.model, share)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What is done about forgetting.

    Attributes:
        help: in a sentence.
        layers: before: which weights learn, a key of ``TRAINABLE`` or an adapter.
        rate: before: times the learning rate.
        around: during: the objective that the loop gets.
        column: whether a new column learns beside the old one; of GPTs written out here only.
    """

    help: str
    layers: str = "all"
    rate: float = 1.0
    around: Callable[[Learning], "Objective"] = _nothing
    column: bool = False


REMEDIES: dict[str, Remedy] = {
    "none": Remedy("All layers learn the new task, and nothing is done."),
    # A share of the rows that a step shows are old ones.
    "replay_1": Remedy("1 % of the rows are of the old task.", around=partial(_replay, 0.01)),
    "replay_5": Remedy("5 % of the rows are of the old task.", around=partial(_replay, 0.05)),
    "replay_25": Remedy("25 % of the rows are of the old task.", around=partial(_replay, 0.25)),
    "replay_50": Remedy("Half of the rows are of the old task.", around=partial(_replay, 0.5)),
    # Kirkpatrick et al. 2017. The strength is for a Fisher information of mean 1.
    "ewc": Remedy(
        "Weights that the old task needs are held where they were.", around=partial(_ewc, 1.0)
    ),
    # Li et al. 2018 (L2-SP).
    "l2": Remedy("All weights are held where they were, alike.", around=partial(_l2, 1.0)),
    # Biderman et al. 2024: LoRA learns less and forgets less.
    "lora": Remedy("An adapter learns; off, it leaves what was there.", layers="lora", rate=5.0),
    "upper_layers": Remedy("Only the last two blocks learn.", layers="last_two_blocks"),
    "low_rate": Remedy("A tenth of the learning rate.", rate=0.1),
    # Wortsman et al. 2022.
    "wise_ft": Remedy(
        "Used is the mean of the weights, old and new.", around=partial(_wise_ft, 0.5)
    ),
    # Rusu et al. 2016.
    "progressive": Remedy("A new column learns beside the old one, which stays.", column=True),
}
NONE = "none"  # what the others are compared with
USUAL = (NONE, "replay_5", "ewc", "lora", "wise_ft")


def check_remedies(names: Sequence[str], columns: bool) -> list[str]:
    """``names`` with ``none`` before them, each once.

    Args:
        names: keys of ``REMEDIES``.
        columns: whether the base can have a new column.

    Raises:
        TuneshotError: an unknown name, or a column for a base that can have none.
    """
    allowed = [name for name, remedy in REMEDIES.items() if columns or not remedy.column]
    for name in names:
        if name not in allowed:
            raise unknown_choice("remedy", name, allowed)
    return list(dict.fromkeys([NONE, *names]))
