"""MDL: the list of demonstrations under which the language model finds the label shortest to code.

Self-adaptive in-context learning (Wu et al. 2023): organisations (which examples, in which order)
are drawn from the nearest messages, the language model reads the query after each, and the one
under which its answer is most certain is shown. The label is not known yet, so its code length is
the expected one: the entropy of the label.

Certain is not right. A list of one label makes almost any model certain of that label, and the
eight nearest of a text message have one label 88 times in 100. So lists are balanced here by
default; the paper's are ``space="subset"``.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, inf, isnan
from typing import ClassVar, Self

import numpy as np

from clfcore.config import at_least, setting
from clfcore.data.draw import generator
from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.prompt.calibration import CONTENT_FREE, Prior
from icl.prompt.scoring import log_softmax
from icl.prompt.template import Demonstration
from icl.selectors.arrange import equal
from icl.selectors.base import ListScore, Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters
from icl.selectors.similar import TopK

# --- the code length of a label under one list --------------------------------------------------

Lists = Sequence[Sequence[int]]


def entropy(scores: np.ndarray) -> float:
    """Of the labels' probabilities, in nats; (C,) scores, also in nats."""
    log_p = log_softmax(scores)
    p = np.exp(log_p)
    return float(-p @ np.where(p > 0, log_p, 0.0))  # what never happens adds nothing


def label_entropy(reader: Reader, query: str, lists: Lists) -> list[float]:
    """The paper's: the entropy of the label alone."""
    return [entropy(seen.labels) for seen in reader.read(query, lists)]


def tempered(reader: Reader, query: str, lists: Lists) -> list[float]:
    """OpenICL's: the entropy of p ∝ exp(mean log-probability of query and label)."""
    return [entropy(openicl_scores(seen)) for seen in reader.read(query, lists, whole=True)]


def openicl_scores(seen: ListScore) -> np.ndarray:
    """(C,) minus OpenICL's cross-entropy of each label's prompt, demonstrations masked.

    The mask is one token too long: the query's first token is left out of the sum, and counted
    in the divisor all the same. The query's own terms are the same for every label; that leaves
    p ∝ P(label)^(1/T), a temperature of the query's length. So with two labels of one length the
    chosen list is the one that ``label_entropy`` chooses; with more labels it may not be.
    """
    tokens = len(seen.query) + seen.label_tokens  # (C,)
    return (seen.query[1:].sum() + seen.labels) / tokens


def calibrated(reader: Reader, query: str, lists: Lists) -> list[float]:
    """The entropy of the label after contextual calibration: certain because of the message."""
    lengths = []
    for shown in lists:  # one at a time: the model still has it in memory for the next message
        (seen,) = reader.read(query, [shown])
        blind = [reader.read(probe, [shown])[0].labels for probe in CONTENT_FREE]
        lengths.append(entropy(Prior.of(blind).calibrate(seen.labels)))
    return lengths


def perplexity(reader: Reader, query: str, lists: Lists) -> list[float]:
    """The code length of the query in place of the label's: the list that makes it expected.

    Gonen et al. 2023 rank prompts so. Selector ``cone`` asks the same of single examples.
    """
    return reader.code_lengths(query, lists)


SCORES: dict[str, Callable[[Reader, str, Lists], list[float]]] = {
    "label_entropy": label_entropy,
    "tempered": tempered,
    "calibrated": calibrated,
    "perplexity": perplexity,
}

# --- the lists that are tried -------------------------------------------------------------------

SPACES = {
    "balanced": "lists with as many of each label as the nearest balanced list has",
    "subset": "lists of any labels, as in the paper and OpenICL",
    "permute": "orders of the nearest balanced list",
}

# Drawn lists that begin alike: their first half is read once for all, 26 of 40 messages for ten
# lists of four. The half next to the query, which weighs most, is drawn anew for each.
LISTS_PER_HEAD = 3


@dataclass(frozen=True, slots=True)
class Organisation:
    """A list that was tried.

    Attributes:
        rows: rows of the pool that the prompt has room for, in prompt order.
        code_length: under these, in nats; smaller is better. Infinite if the model gave no number.
        drawn: all rows of the list; those that did not fit are the least similar.
    """

    rows: tuple[int, ...]
    code_length: float
    drawn: tuple[int, ...]


@dataclass
class MDL(
    Selector,
    title="MDL",
    description="The list that makes the language model most certain",
    source="Wu et al. 2023",
):
    """The organisation with the smallest code length; a tie goes to the earlier trial.

    The first trial is plain top-k (in a balanced space: of each label), the most similar last.
    The others depend on the seed and the query's text only. ``Selection.scores`` has, for each
    row, minus the code length of the list in nats; ``organisations`` shows all that were tried.
    """

    needs_vectors: ClassVar[bool] = True
    arranges: ClassVar[bool] = True
    candidates: int = setting(
        30,
        "How many of the nearest messages lists are drawn from; shared equally by the labels in a "
        "balanced list. At least k are used.",
        bound=at_least(1),
    )
    trials: int = setting(
        10,
        "How many different lists are tried; fewer where there are not so many.",
        bound=at_least(1),
    )
    score: str = setting("label_entropy", "The code length of a list.", choices=SCORES)
    space: str = setting("balanced", "Which lists are tried.", choices=SPACES)

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        if reader is None:
            raise TuneshotError(
                "mdl asks a language model that gives log-probabilities which examples make it "
                "certain; give one, or choose topk"
            )
        self.reader = reader
        self._topk = TopK().fit(pool, filters=filters)
        return super().fit(pool, reader, filters)

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return [self._select(text, vector, k) for text, vector in zip(texts, vectors, strict=True)]

    def organisations(self, text: str, vector: np.ndarray, k: int) -> list[Organisation]:
        """All lists that are tried for a query, (d,) its vector, in the order of the trials.

        Raises:
            TuneshotError: as ``select``.
        """
        return self._organisations(text, vector, self._nearest(text, vector, k).rows, k)

    def _organisations(
        self, text: str, vector: np.ndarray, nearest: Sequence[int], k: int
    ) -> list[Organisation]:
        drawn_of: dict[tuple[int, ...], tuple[int, ...]] = {}  # what fits of it -> a list
        for drawn in self._lists(text, nearest, k):
            ranked, _ = self._ranked(drawn, vector)
            drawn_of.setdefault(self.reader.fitting(text, ranked, drawn), drawn)
        lists = list(drawn_of)
        lengths = SCORES[self.score](self.reader, text, lists)
        return [
            Organisation(rows, inf if isnan(length) else length, drawn_of[rows])
            for rows, length in zip(lists, lengths, strict=True)
        ]

    def _select(self, text: str, vector: np.ndarray, k: int) -> Selection:
        if k == 0:
            return Selection([])
        nearest = self._nearest(text, vector, k)
        tried = self._organisations(text, vector, nearest.rows, k)
        best = min(tried, key=lambda each: each.code_length)
        rows, cosines = self._ranked(best.drawn, vector)
        scores: list[float | None] = [-best.code_length] * len(rows)
        return Selection(rows, cosines, scores, nearest.passed_over, order=best.drawn)

    def _nearest(self, text: str, vector: np.ndarray, k: int) -> Selection:
        """What lists are drawn from: as many candidates of each label."""
        usable = len(self.pool.representatives) - (self.pool.group_of(text) is not None)
        reach = max(k, min(self.candidates, usable)) if k > 0 else k
        (nearest,) = self._topk.select([text], vector[None], reach)
        return nearest

    def _ranked(self, rows: Sequence[int], vector: np.ndarray) -> tuple[list[int], list[float]]:
        """``rows`` and their cosines to the query, (d,) its vector; the most similar first."""
        among = np.sort(np.asarray(rows, np.int64))
        cosines = (self.pool.vectors[among] @ vector).round(6)  # (k, d) (d,) -> (k,)
        order = np.argsort(-cosines, kind="stable")  # a tie: the lower row
        return among[order].tolist(), cosines[order].tolist()

    def _lists(self, text: str, ranked: Sequence[int], k: int) -> list[tuple[int, ...]]:
        kinds = {row: "any" if self.space == "subset" else self.pool.labels[row] for row in ranked}
        nearest = equal([Demonstration("", kinds[row], None, row) for row in ranked], k, {})
        first = tuple(shown.row for shown in reversed(nearest))
        counts = Counter(kinds[row] for row in first)
        share = 0 if self.space == "permute" else ceil(self.candidates / max(1, len(counts)))
        near = {
            kind: [row for row in ranked if kinds[row] == kind][: max(count, share)]
            for kind, count in counts.items()
        }
        rng = generator(self.seed, text)
        lists = {first: None}  # each once, in order
        head = first[: k // 2]
        for _ in range(self.trials):  # at most: where lists are few, draws are of known ones
            for _ in range(LISTS_PER_HEAD):
                lists.setdefault(_completed(head, near, counts, rng))
            head = _completed((), near, counts, rng)[: k // 2]
        return list(lists)[: self.trials]


def _completed(
    head: tuple[int, ...],
    near: dict[str, list[int]],
    counts: Counter[str],
    rng: np.random.Generator,
) -> tuple[int, ...]:
    """A random list that begins with ``head`` and has ``counts`` rows of each kind."""
    tail: list[int] = []
    for kind, count in counts.items():
        others = [row for row in near[kind] if row not in head]
        missing = count - (len(near[kind]) - len(others))
        tail += rng.choice(others, missing, replace=False).tolist()
    return (*head, *rng.permutation(tail).tolist())
