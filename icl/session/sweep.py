"""How much of a few-shot answer is the number and the order of its examples.

Lu et al. 2022 ("Fantastically Ordered Prompts and Where to Find Them") reordered one set of
examples and got anything from chance to the best answers. This asks again, about one message.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from clfcore.data.draw import generator
from clfcore.errors import TuneshotError
from clfcore.types import NO_ANSWER, OnProgress, ignore
from icl.answering import FewShotPrediction
from icl.few_shot import FewShot
from icl.pool.pool import Pool
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.orders import different_orders
from icl.selectors.base import Selection
from icl.selectors.filters import NO_FILTERS, Filters

SWEPT_KS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class AnswerAtK:
    """The answer with another number of examples.

    Attributes:
        k: how many were asked for.
        shown: how many were in the prompt; less than ``k`` where they did not fit.
        label: the answer; ``None``: a reply that was none.
        probabilities: label -> probability; all alike without an answer.
    """

    k: int
    shown: int
    label: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AnswerInOrder:
    """The answer with the same examples in another order.

    Attributes:
        order: their places in the prompt of the present answer, counted from 0: (0, 1, 2) is the
            present order, (2, 1, 0) its reverse.
        label: the answer; ``None``: a reply that was none.
        probabilities: label -> probability; all alike without an answer.
    """

    order: tuple[int, ...]
    label: str | None
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sweep:
    """How one answer changes.

    Attributes:
        k: the present number of examples.
        label: the present answer.
        by_k: in order of k, the present one among them.
        skipped: k -> why there is no answer.
        by_order: the present order first, then its reverse; empty if the answer has no prompt.
        stopped: whether it was stopped before the end.
    """

    k: int
    label: str
    by_k: tuple[AnswerAtK, ...]
    skipped: Mapping[int, str]
    by_order: tuple[AnswerInOrder, ...]
    stopped: bool

    @property
    def spread(self) -> float:
        """Between the orders, the largest less the smallest probability of the present answer."""
        shares = [a.probabilities[self.label] for a in self.by_order if a.label is not None]
        return max(shares, default=0.0) - min(shares, default=0.0)

    @property
    def flipped(self) -> bool:
        """Whether some order changes the answer."""
        return any(answer.label != self.label for answer in self.by_order)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "skipped": {str(k): reason for k, reason in self.skipped.items()},
            "spread": self.spread,
            "flipped": self.flipped,
        }


def sweep(
    few_shot: FewShot,
    text: str,
    ks: Sequence[int] = SWEPT_KS,
    orders: int = 4,
    on_progress: OnProgress = ignore,
    stop: Callable[[], bool] = lambda: False,
) -> Sweep:
    """Asks about ``text`` with each k, and in several orders of the present examples.

    One question to the language model for each k but the present one, and for each order but the
    present one, after the present answer itself.

    Args:
        few_shot: fitted; left as it is.
        text: the message.
        ks: numbers of examples; what the pool cannot give is skipped.
        orders: how many, the present one and its reverse among them; fewer examples have fewer.
        on_progress: called after each question, with (stage, done, total, figures).
        stop: asked before each question after the first; what is known by then is the result.

    Raises:
        TuneshotError: the message cannot be asked about as things are, or gets no answer.
    """
    config = few_shot.config
    (present,) = few_shot.predict([text])
    if present.label is None:
        raise TuneshotError(
            f"there is no answer that could change: {'; '.join(present.notes)}; try another "
            "language model, or more examples"
        )
    by_k = [AnswerAtK(config.k, len(present.demonstrations), present.label, present.probabilities)]
    skipped: dict[int, str] = {}
    places = tuple(range(len(present.demonstrations)))
    by_order = (
        [] if few_shot.votes else [AnswerInOrder(places, present.label, present.probabilities)]
    )
    other_ks = sorted({*ks} - {config.k})
    other_orders = (
        []
        if few_shot.votes
        else different_orders(len(places), orders, generator(config.seed, text))[1:]
    )
    questions = 1 + len(other_ks) + len(other_orders)
    on_progress("sweep", 1, questions, f"k = {config.k}: {_figures(present)}")
    stopped = False

    for done, k in enumerate(other_ks, start=2):
        if stopped := stop():
            break
        try:
            (answer,) = _with_k(few_shot, k).predict([text])
        except TuneshotError as error:
            skipped[k] = str(error)
            on_progress("sweep", done, questions, f"k = {k}: skipped")
            continue
        by_k.append(AnswerAtK(k, len(answer.demonstrations), answer.label, answer.probabilities))
        on_progress("sweep", done, questions, f"k = {k}: {_figures(answer)}")

    for done, order in enumerate(other_orders, start=2 + len(other_ks)):
        if stopped := stopped or stop():
            break
        shown = [present.demonstrations[place].row for place in order]
        (answer,) = _with_rows(few_shot, shown).predict([text])
        by_order.append(AnswerInOrder(order, answer.label, answer.probabilities))
        on_progress("sweep", done, questions, f"another order: {_figures(answer)}")

    by_k.sort(key=lambda answer: answer.k)
    return Sweep(config.k, present.label, tuple(by_k), skipped, tuple(by_order), stopped)


def _with_k(few_shot: FewShot, k: int) -> FewShot:
    """The same method with another k.

    A fitted selector is asked for k at every query, so it can be shared: some take a second or
    hundreds of questions to fit. Only the prior of batch calibration and an order chosen by entropy
    belong to one k.
    """
    other = copy.copy(few_shot)
    other.config = config = replace(few_shot.config, k=k)
    of_one_k = CALIBRATIONS[config.calibration].batch or config.chooses_order
    return other.fit(few_shot.pool) if of_one_k else other


def _with_rows(few_shot: FewShot, rows: Sequence[int]) -> FewShot:
    """The same method, which always shows these rows of the pool, in this order."""
    other = copy.copy(few_shot)
    other.config = replace(few_shot.config, orders=1)
    other.selector = _FixedSelector(rows, few_shot.pool)
    return other


@dataclass(frozen=True, slots=True)
class _FixedSelector:
    """A fitted selector that always selects the same rows, in this order."""

    needs_vectors: ClassVar[bool] = False
    rows: Sequence[int]
    pool: Pool
    filters: Filters = NO_FILTERS

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [Selection(list(self.rows), order=tuple(self.rows)) for _ in texts]


def _figures(answer: FewShotPrediction) -> str:
    return NO_ANSWER if answer.p is None else f"{answer.label} {answer.p:.0%}"
