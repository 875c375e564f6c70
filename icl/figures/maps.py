"""Where the messages of a pool lie, in two dimensions, and who votes for whom around a query.

A map shows a small part of what the embeddings tell apart: two messages that look close may differ
in the other directions. So it says how much it shows.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clfcore.errors import TuneshotError
from icl.pool.pool import Pool
from icl.selectors.base import Selector
from icl.selectors.votek import VoteK

if TYPE_CHECKING:
    import networkx as nx


QUERY = "query"  # the node of the message to classify; all others are rows of the pool
MAX_PICKS = 8  # drawn around a query, at most


class PoolMap:
    """A pool seen along the two directions in which its different messages vary most.

    Principal components, not t-SNE or UMAP: the same pool always gives the same map, and a query
    finds its place in it at once, by one product, without moving anything else.

    Attributes:
        pool: the messages.
        points: (N, 2) float32, the place of each.
        share: (2,) float64, the part of the variance that each direction shows.

    Raises:
        TuneshotError: fewer than two different messages.
    """

    def __init__(self, pool: Pool) -> None:
        from sklearn.decomposition import PCA  # a second; only pages with a map wait for it

        different = pool.vectors[pool.representatives]
        if len(different) < 2:
            raise TuneshotError(
                "a map needs at least two different messages, and the pool has one; add some"
            )
        # The exact solver: the default one draws random numbers for large pools.
        components = PCA(2, svd_solver="covariance_eigh")
        with np.errstate(invalid="ignore"):  # messages without any difference vary by 0 / 0
            components.fit(different)
        self.pool = pool
        self.share: np.ndarray = np.nan_to_num(components.explained_variance_ratio_)
        self._center, self._directions = components.mean_, components.components_
        self.points = self.place(pool.vectors)

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, 2): where these vectors lie on the map."""
        return (vectors - self._center) @ self._directions.T  # (n, d) (d, 2) -> (n, 2)

    def rows(self, keep: Iterable[int] = (), limit: int = 1500, seed: int = 0) -> np.ndarray:
        """The rows to draw, ascending: those to keep, and a draw from the other messages.

        The draw has the labels in their proportion, one message of each label at least, and
        copies, which lie on top of each other, once.

        Args:
            keep: rows that must be there.
            limit: how many rows, unless more are to be kept.
            seed: of the draw.
        """
        labels = np.array(self.pool.labels)
        firsts = np.unique(labels, return_index=True)[1]
        kept = np.union1d(np.fromiter(keep, np.int64), firsts)
        others = np.setdiff1d(self.pool.representatives, kept)
        count = min(max(0, limit - len(kept)), len(others))
        others = np.random.default_rng(seed).permutation(others)
        others = others[np.argsort(labels[others], kind="stable")]
        # Every so many steps along the sorted labels: each has its share, to the nearest one.
        return np.union1d(kept, others[np.arange(count) * len(others) // max(count, 1)])


def neighbourhood(
    selector: Selector,
    text: str,
    vector: np.ndarray,
    demonstrations: Sequence[int] = (),
    size: int = 60,
    seed: int = 0,
) -> "nx.DiGraph":
    """The part of vote-k's graph around a query, laid out by springs.

    It has the query, the picks nearest to it (demonstrations first, ``MAX_PICKS`` at most), and the
    messages that voted for these: of each pick's voters the same number, nearest to the query.

    Args:
        selector: a fitted vote-k.
        text: the query.
        vector: (d,) float32, of length 1.
        demonstrations: the rows in its prompt, in their order.
        size: nodes, at most; more than ``MAX_PICKS``.
        seed: of the layout.

    Returns:
        Nodes are ``QUERY`` and rows of the pool, with ``role`` (query, pick or voter), ``text``,
        ``label``, ``x`` and ``y``; a pick also has ``shown`` (its place in the prompt, from 1; 0 if
        it is not there) and ``votes`` (how many it received, drawn or not). An edge goes from the
        query to each pick, with their ``similarity``, and from each node to the picks among those
        that it votes for.

    Raises:
        TuneshotError: the selector holds no vote.
    """
    import networkx as nx

    if not isinstance(selector, VoteK):
        raise TuneshotError(
            "there is no graph of votes, because this selector holds no vote; choose votek or "
            "votek_pool"
        )
    pool, nodes, edges = selector.pool, selector.nodes, selector.edges
    cosine = pool.vectors @ vector  # (N, d) (d,) -> (N,)
    place = {row: number for number, row in enumerate(demonstrations, start=1)}
    picks = sorted(selector.picks, key=lambda row: (row not in place, -cosine[row]))[:MAX_PICKS]
    supporters = {row: _voters(nodes, edges, row) for row in picks}
    most = (size - 1 - len(picks)) // len(picks)
    nearest = {
        row: v[np.argsort(-cosine[v], kind="stable")][:most] for row, v in supporters.items()
    }
    voters = np.setdiff1d(np.concatenate(list(nearest.values())), picks)

    graph = nx.DiGraph()
    graph.add_node(QUERY, role="query", text=text, label="")
    for row in picks:
        graph.add_node(row, role="pick", shown=place.get(row, 0), votes=len(supporters[row]))
        graph.add_edge(QUERY, row, similarity=float(cosine[row]))
    graph.add_nodes_from(voters.tolist(), role="voter")
    for row, its_voters in supporters.items():
        drawn = np.intersect1d(its_voters, [*picks, *voters])
        graph.add_edges_from((voter, row) for voter in drawn.tolist())
    # Springs pull both ends; along a directed edge networkx would move only one of them.
    places = nx.spring_layout(graph.to_undirected(), iterations=200, seed=seed)
    for node, (x, y) in places.items():
        graph.nodes[node].update(x=float(x), y=float(y))
        if node != QUERY:
            graph.nodes[node].update(text=pool.texts[node], label=pool.labels[node])
    return graph


def _voters(nodes: np.ndarray, edges: np.ndarray, row: int) -> np.ndarray:
    """The rows that vote for ``row``, ascending."""
    position = np.searchsorted(nodes, row)
    voters = nodes[(edges == position).any(axis=1)]
    return voters[voters != row]  # its own position stands for no vote
