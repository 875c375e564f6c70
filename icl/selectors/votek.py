"""Vote-k: the messages worth labelling (Su et al. 2023, arXiv 2209.01975).

Every message votes for its nearest neighbours; the one with the best score is picked, again and
again. A voter of whose neighbours t are picked counts rho^-t, and a picked message votes no more,
so the picks spread over the pool. The paper has the picks labelled and then shows each query the
most similar of them (``VoteKPool``). Showing every query the first picks (``VoteK``) is how
OpenICL uses its own, older rule.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from clfcore.config import Bound, at_least, setting
from clfcore.errors import TuneshotError
from icl.pool.index import knn_graph
from icl.pool.pool import Pool
from icl.selectors.base import Reader, Selection, Selector
from icl.selectors.filters import NO_FILTERS, Filters

if TYPE_CHECKING:
    import networkx as nx


Ties = Literal["row", "first_vote"]


# --- the vote -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoteResult:
    """The outcome of a vote among N nodes.

    Attributes:
        picks: (M,) int64 nodes, in the order they were picked.
        scores: (M,) float64, the score of each when it was picked.
        received: (N,) int64, how many votes each node got, before any discount.
    """

    picks: np.ndarray
    scores: np.ndarray
    received: np.ndarray


def discounted_vote(
    neighbours: np.ndarray, count: int, rho: float = 10.0, ties: Ties = "row"
) -> VoteResult:
    """Picks ``count`` nodes, or all if there are fewer, by the paper's discounted vote.

    Costs O(N k) once, then k score updates for each voter of a pick.

    Args:
        neighbours: (N, k) integers, the nodes that each node votes for, in the order the votes are
            cast; its own number stands for no vote.
        count: nodes to pick; those without votes come last.
        rho: the discount, at least 1 (which is none).
        ties: of equal scores, the node that received more votes comes first. If these are equal
            too: the lower row, or, as in the reference, the one whose first vote came earlier.
    """
    tally = VoteCount(neighbours, rho, ties)
    picks, scores = [], []
    for _ in range(min(count, len(neighbours))):
        picks.append(tally.best())
        scores.append(tally.pick(picks[-1]))
    return VoteResult(np.array(picks, np.int64), np.array(scores), tally.received)


def overlap_vote(neighbours: np.ndarray, count: int, rho: float = 10.0) -> VoteResult:
    """OpenICL's rule, which has no discount: walk from the most votes to the fewest.

    A node is passed over if all its voters also vote for one before it, picked or not. Where too
    few are left, OpenICL draws from the rest; here those passed over follow in the same order.
    Arguments as for ``discounted_vote``; ``rho`` is not used.
    """
    ballots = VotingGraph(neighbours, "first_vote")
    picked: list[int] = []
    passed: list[int] = []
    for rank in range(len(neighbours)):
        if len(picked) >= count:
            break
        voters = ballots.voters(rank)
        # Voters in common with each before.
        shared = np.bincount(ballots.supported[voters].ravel(), minlength=rank)[:rank]
        (passed if (shared == len(voters)).any() else picked).append(rank)
    picks = ballots.order[(picked + passed)[:count]]
    return VoteResult(picks, ballots.received[picks].astype(np.float64), ballots.received)


class VotingGraph:
    """Who votes for whom, in both directions. Arguments as for ``discounted_vote``.

    Attributes:
        received: (N,) int64, how many votes each node got.
        order: (N,) int64, the nodes by preference among equal scores; below, a node is known by
            its rank in this order, so that the first maximum is the right one.
        rank: (N,) int64, the inverse.
        supported: (N, k) int64 ranks; N stands for no vote.
    """

    def __init__(self, neighbours: np.ndarray, ties: Ties) -> None:
        # Takes a moment: not for those who only want to know the options.
        from scipy.sparse import csr_array

        size, k = neighbours.shape
        cast = np.where(neighbours == np.arange(size)[:, None], size, neighbours)
        self.received = np.bincount(cast.ravel(), minlength=size + 1)[:size]
        tie = np.arange(size + 1)
        if ties == "first_vote":
            tie[:] = cast.size
            tie[cast.ravel()[::-1]] = np.arange(cast.size)[::-1]  # the last one written stays
        self.order = np.lexsort((tie[:size], -self.received))
        self.rank = np.argsort(self.order)
        self.supported = np.append(self.rank, size)[cast[self.order]]
        edges = (np.ones(cast.size, np.int8), self.supported.ravel(), np.arange(size + 1) * k)
        by_supported = csr_array(edges, shape=(size, size + 1)).tocsc()
        self._voters, self._starts = by_supported.indices, by_supported.indptr

    def voters(self, rank: int) -> np.ndarray:
        """Ranks of those who vote for the node at ``rank``, ascending."""
        return self._voters[self._starts[rank] : self._starts[rank + 1]]


class VoteCount:
    """The scores after the picks so far. Arguments as for ``discounted_vote``.

    Scores are whole numbers of a small unit. Such sums do not depend on their order, so equal
    scores stay equal however they came about. When the best score has sunk close to the unit,
    all votes are counted again in a smaller one.
    """

    def __init__(self, neighbours: np.ndarray, rho: float, ties: Ties = "row") -> None:
        self._ballots = VotingGraph(neighbours, ties)
        self.received = self._ballots.received
        size, k = neighbours.shape
        # Units in a full vote. A power of ten keeps tenths exact; no sum exceeds 10^18.
        self._vote = 10 ** (18 - len(str(self.received.max())))
        with np.errstate(over="ignore"):  # a vote divided by infinity is worth nothing: right
            self._worth = (self._vote / np.cumprod([1.0] + [rho] * k)).astype(np.int64)  # t = 0..k
        self._rho = rho
        self._support = np.zeros(size, np.int64)  # t: how many of a voter's nodes are picked
        self._open = np.ones(size + 1, bool)  # not picked
        self._open[size] = False  # no vote
        self._count()

    def best(self, among: np.ndarray | None = None) -> int:
        """The node to pick next: of all, or of some that are not picked yet."""
        if among is None:
            rank = self._scores[:-1].argmax()
        else:
            ranks = np.sort(self._ballots.rank[among])
            rank = ranks[self._scores[ranks].argmax()]
        return int(self._ballots.order[rank])

    def pick(self, node: int) -> float:
        """Picks ``node``, discounts its voters and returns the score it had."""
        rank = self._ballots.rank[node]
        score = float(self._scores[rank] / self._vote * self._rho**-self._base)
        voters = self._ballots.voters(rank)
        voters = voters[self._open[voters]]
        before = self._weights(voters)
        self._support[voters] += 1
        self._lower(voters, before - self._weights(voters))
        own = np.array([rank])
        self._lower(own, self._weights(own))
        self._open[rank] = False
        self._scores[rank] = -1
        if self._scores[:-1].max() < self._lowest:
            self._count()
        return score

    def _count(self) -> None:
        """Counts all votes; the strongest voter who can still change something has a full one."""
        supported = self._ballots.supported
        live = self._open[:-1] & self._open[supported].any(axis=1)
        self._base = int(self._support[live].min()) if live.any() else 0
        self._lowest = self._vote // 10**6 if live.any() else 0
        weights = np.where(live, self._weights(np.arange(len(live))), 0)
        self._scores = np.zeros(len(self._open), np.int64)
        np.add.at(self._scores, supported.ravel(), np.repeat(weights, supported.shape[1]))
        self._scores[~self._open] = -1

    def _weights(self, voters: np.ndarray) -> np.ndarray:
        return self._worth[np.maximum(self._support[voters] - self._base, 0)]

    def _lower(self, voters: np.ndarray, by: np.ndarray) -> None:
        supported = self._ballots.supported[voters]  # (v, k)
        np.subtract.at(self._scores, supported.ravel(), np.repeat(by, supported.shape[1]))


# --- the references -----------------------------------------------------------------------------


def reference_graph(vectors: np.ndarray, k: int) -> np.ndarray:
    """Neighbours as both references find them: the row itself may be among them.

    They drop the most similar row, taking it for the row itself; if that was a copy of it, the
    copy loses a vote. Which of several copies that is depends on the last bits and on numpy's
    unstable sort, so both are done exactly as they do, one row at a time.

    Args:
        vectors: (N, d) float32, rows of length 1.
        k: neighbours; N - 1 if that is fewer.

    Returns:
        (N, k) int32, the most similar last.
    """
    return np.array([np.argsort(vectors @ vector)[-k - 1 : -1] for vector in vectors], np.int32)


@dataclass(frozen=True, slots=True)
class Variant:
    """What the implementations of vote-k do differently.

    Attributes:
        copies: whether copies of one message are separate nodes.
        neighbours: how many each node votes for, unless the user says; 0: by the pool's size.
        centers: whether vectors may be centred.
        graph: finds the neighbours.
        choose: picks nodes, given the graph, how many, and rho.
    """

    copies: bool
    neighbours: int
    centers: bool
    graph: Callable[[np.ndarray, int], np.ndarray]
    choose: Callable[[np.ndarray, int, float], VoteResult]


COMPAT: dict[str, Variant] = {
    "none": Variant(
        copies=False, neighbours=0, centers=True, graph=knn_graph, choose=discounted_vote
    ),
    "paper_ref": Variant(
        copies=True,
        neighbours=150,
        centers=True,
        graph=reference_graph,
        choose=partial(discounted_vote, ties="first_vote"),
    ),
    "openicl": Variant(
        copies=True, neighbours=3, centers=False, graph=reference_graph, choose=overlap_vote
    ),
}


# --- the selectors ------------------------------------------------------------------------------


@dataclass
class VoteK(
    Selector,
    title="Vote-k list",
    description="The same examples for every message",
    source="Su et al. 2023",
):
    """One list for all queries: the first picks. A copy of the query is skipped.

    Attributes:
        picks: M rows of the pool, in the order they were picked.
        scores: the score of each when it was picked.
        nodes: (n,) int64, the rows that voted.
        edges: (n, k) int32, the positions in ``nodes`` that each of them voted for; its own
            position stands for no vote.
        received: (n,) int64, how many votes each got.
    """

    annotate: int = setting(
        100,
        "How many messages to pick (M); all, if the pool has fewer.",
        bound=at_least(1),
    )
    neighbours: int = setting(
        0,
        "How many each message votes for; 0: 0.4 N / M, from 10 to 150.",
        bound=Bound("1 or more, or 0 for a number that suits the pool", lambda n: n >= 0),
    )
    rho: float = setting(
        10.0,
        "The discount.",
        bound=Bound("a number from 1 (no discount) up", lambda rho: 1 <= rho < inf),
    )
    center: bool = setting(True, "Subtract the pool's mean vector before looking for neighbours.")
    compat: str = setting(
        "none",
        "Whose list to reproduce. Ours (none) votes among different messages; the references "
        "count copies as well, and may pick them.",
        choices=COMPAT,
    )

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        super().fit(pool, reader, filters)
        variant = COMPAT[self.compat]
        rows = np.arange(len(pool)) if variant.copies else pool.representatives
        self.nodes = self.qualifying(rows)
        count = min(self.annotate, len(self.nodes))
        by_size = int(np.clip(round(0.4 * len(self.nodes) / count), 10, 150))
        vectors = pool.vectors[self.nodes]
        if self.center and variant.centers:
            vectors = centered(vectors)
        self.edges = variant.graph(vectors, self.neighbours or variant.neighbours or by_size)
        result = self._choose(count, reader)
        self.picks: list[int] = self.nodes[result.picks].tolist()
        self.scores: list[float] = result.scores.tolist()
        self.received = result.received
        return self

    def _choose(self, count: int, reader: Reader | None) -> VoteResult:
        return COMPAT[self.compat].choose(self.edges, count, self.rho)

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        groups = set(self.pool.groups[self.picks].tolist())
        score_of = dict(zip(self.picks, self.scores, strict=True))
        return [self.walk(text, self.picks, k, score=score_of, groups=groups) for text in texts]

    def graph(self) -> "nx.DiGraph":
        """The graph of votes, to be drawn or exported: an edge goes from voter to supported.

        Nodes are rows of the pool, with ``text``, ``label``, ``votes`` (how many it received) and
        ``pick`` (its place in ``picks``, from 1; 0 if it is not there).
        """
        import networkx as nx

        graph = nx.DiGraph()
        places = {row: place for place, row in enumerate(self.picks, start=1)}
        for row, votes in zip(self.nodes.tolist(), self.received.tolist(), strict=True):
            graph.add_node(
                row,
                text=self.pool.texts[row],
                label=self.pool.labels[row],
                votes=votes,
                pick=places.get(row, 0),
            )
        for row, supported in zip(self.nodes.tolist(), self.nodes[self.edges], strict=True):
            graph.add_edges_from((row, other) for other in supported.tolist() if other != row)
        return graph


@dataclass
class VoteKPool(
    VoteK,
    title="Vote-k + top-k",
    description="From 100 that vote-k finds worth labelling",
    source="Su et al. 2023",
):
    """The picks are the messages worth labelling; each query sees the most similar of them.

    The paper's use.
    """

    needs_vectors: ClassVar[bool] = True

    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        return self.top_k_among(self.picks, texts, vectors, k)


@dataclass
class VoteKTwoStage(
    VoteKPool,
    title="Two-stage vote-k",
    description="From 100 that vote-k and the language model find worth labelling",
    source="Su et al. 2023",
):
    """The paper's full method: the language model's confidence spreads the picks as well.

    The first tenth of the picks is made by the vote. The model then answers other messages, with
    the most similar of these picks as demonstrations. Those messages are sorted by confidence (the
    probability of the likeliest label), the most confident tenth is left out, and the rest is cut
    into as many buckets as picks are missing; the vote picks one message of each, the least
    confident bucket first. Each pick discounts its voters for the buckets after it, as the paper
    says and its reference does not do.

    ``fit`` calls the model for each message it asks about: ``questions`` times, or
    n - max(1, M // 10) times if n different messages are fewer.
    """

    in_chat: ClassVar[bool] = False  # fit asks hundreds of questions
    questions: int = setting(
        500, "How many messages to ask about, drawn at random; at least annotate."
    )
    shown: int = setting(4, "Demonstrations in each of those prompts, at most.", bound=at_least(0))

    def contradictions(self) -> list[str]:
        too_few = self.questions < self.annotate
        problems = {
            "two-stage vote-k reproduces no reference's list; set compat to none, not "
            f"{self.compat}, or choose votek_pool": self.compat != "none",
            f"questions must be at least annotate={self.annotate}, not {self.questions}": too_few,
        }
        return [problem for problem, holds in problems.items() if holds]

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        if reader is None:
            raise TuneshotError(
                "two-stage vote-k asks a language model about the pool; give it one, or choose "
                "votek_pool, which needs none"
            )
        return super().fit(pool, reader, filters)

    def _choose(self, count: int, reader: Reader | None) -> VoteResult:
        assert reader is not None  # fit has checked
        tally = VoteCount(self.edges, self.rho)
        picks, scores = [], []

        def pick(node: int) -> None:
            picks.append(node)
            scores.append(tally.pick(node))

        for _ in range(max(1, count // 10)):
            pick(tally.best())
        if missing := count - len(picks):
            nodes = self._least_confident_first(reader, np.array(picks))
            unsure = nodes[: max(missing, int(0.9 * len(nodes)))]
            for bucket in np.array_split(unsure, missing):
                pick(tally.best(bucket))
        return VoteResult(np.array(picks, np.int64), np.array(scores), tally.received)

    def _least_confident_first(self, reader: Reader, picked: np.ndarray) -> np.ndarray:
        """Some nodes that are not picked, by how sure the language model is of their label."""
        others = np.setdiff1d(np.arange(len(self.nodes)), picked)
        asked_about = np.random.default_rng(self.seed).permutation(others)[: self.questions]
        rows = self.nodes[picked]
        confidence = []
        for row in self.nodes[asked_about]:
            similarity = self.pool.vectors[rows] @ self.pool.vectors[row]  # (P, d) (d,) -> (P,)
            nearest = rows[np.argsort(-similarity, kind="stable")[: self.shown]].tolist()
            text = self.pool.texts[row]
            (read,) = reader.read(text, [reader.fitting(text, nearest, nearest[::-1])])
            # The largest softmax probability: 1 / sum of exp(label - largest).
            confidence.append(1 / np.exp(read.labels - read.labels.max()).sum())
        return asked_about[np.argsort(confidence, kind="stable")]


def centered(vectors: np.ndarray) -> np.ndarray:
    """(N, d) rows of length 1, after subtracting their mean: what they all share tells nothing."""
    moved = vectors - vectors.mean(axis=0)
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
