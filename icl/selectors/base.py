"""What all selectors share: the interface, the result, the walk down a ranking.

A selector ranks, and walks down its ranking past what is better not shown (``filters.py``). How
many of each label are kept (``BALANCES``) and in which order they are shown (``ARRANGEMENTS``) are
separate stages, in ``arrange.py``. Every selector keeps two promises:
no two candidates are copies of each other, and none is a copy of the query. (Without them, 13 %
of the messages in the SMS corpus would be shown their own text, with its label.)
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from clfcore.config import Checked, setting
from clfcore.data.quality import Conflict
from clfcore.errors import TuneshotError
from clfcore.types import OnProgress
from icl.pool.pool import Pool
from icl.selectors.filters import NO_FILTERS, Filters


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A row that ranked high enough and is not a candidate.

    Attributes:
        row: row of the pool.
        reason: in words, e.g. "a copy of row 17".
    """

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Candidates for one query, best first.

    At most k of each label, which is enough for every balance of k demonstrations. A selector that
    arranges them itself gives those that are shown, and ``order``: no balance and no order applies.

    Attributes:
        rows: rows of the pool.
        similarities: cosine to the query, one per row; ``None`` where the draw ignored it.
        scores: what ``rows`` were ranked by, larger is better, where that is not the similarity;
            ``None`` of a row that has no such score.
        passed_over: what ranked before the last candidate of its label, and was passed over.
        order: ``rows`` as they stand in the prompt, of a selector that arranges them.
    """

    rows: list[int]
    similarities: list[float] | None = None
    scores: list[float | None] | None = None
    passed_over: tuple[PassedOver, ...] = ()
    order: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListScore:
    """The language model's scores of one query after one list of demonstrations.

    Attributes:
        labels: (C,) float64, log P(label | list, query) in nats, summed over the label's tokens.
        label_tokens: (C,) int64, how many those are.
        query: (t,) float64, the log-probabilities in nats of the query's own tokens, from the end
            of the demonstrations to the label slot; empty unless asked for.
    """

    labels: np.ndarray
    label_tokens: np.ndarray
    query: np.ndarray


class Reader(Protocol):
    """A language model behind a prompt format, handed to selectors that ask it.

    Attributes:
        on_progress: called by selectors whose ``fit`` asks it often.
    """

    on_progress: OnProgress

    def fitting(self, query: str, ranked: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
        """The rows of ``order`` that the prompt for ``query`` has room for.

        Args:
            query: the message.
            ranked: rows of the pool, best first: of too many, the last are left out.
            order: the same rows as they would stand in the prompt.
        """

    def read(
        self, query: str, lists: Sequence[Sequence[int]], whole: bool = False
    ) -> list[ListScore]:
        """Scores of the labels of ``query`` after each list of demonstrations.

        Args:
            query: the message; a long one is cut as it is in the prompt.
            lists: rows of the pool, in prompt order, that are ``fitting``.
            whole: score the query's own tokens as well, which costs a quarter more.
        """

    def next_tokens(self, query: str, rows: Sequence[int]) -> np.ndarray:
        """What the language model expects after a list of demonstrations and the query.

        Args:
            query: as for ``read``.
            rows: of the pool, in prompt order, that are ``fitting``.

        Returns:
            (V,) float32 log-probabilities of the next token, in nats.

        Raises:
            TuneshotError: the model does not say.
        """

    def code_lengths(self, query: str, lists: Sequence[Sequence[int]]) -> list[float]:
        """How surprising the query itself is after each list: minus its log-probability, in nats.

        Its slot belongs to it, from the end of the demonstrations to the label. Arguments as for
        ``read``.
        """


@dataclass
class Selector(Checked, ABC):
    """Chooses candidates from a pool. The fields of a selector are its options.

    The arguments of the class statement say what it is: ``class TopK(Selector, title="Top-k", …)``.

    Attributes:
        title, description: its name and what it shows, as pages and ``icl selectors`` say it.
        source: the paper it comes from; empty without one.
        needs_vectors: whether ``select`` reads the queries' vectors.
        votes: whether the candidates' labels are the answer, without a prompt.
        asks_lm: whether a language model is needed, for a prompt or to choose.
        balance: the only ``BALANCES`` entry that makes sense with it; ``None`` = the user's choice.
        arranges: whether it says in which order its candidates stand, whatever the order setting.
        in_chat: whether ``fit`` is quick enough to wait for in a chat.
        part_option: the option that says how large a part of the pool is chosen from.
        pool, filters: what it was fitted to.

    Raises:
        TuneshotError: options that are not allowed.
    """

    title: ClassVar[str]
    description: ClassVar[str]
    source: ClassVar[str]
    needs_vectors: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    asks_lm: ClassVar[bool] = True
    balance: ClassVar[str | None] = None
    arranges: ClassVar[bool] = False
    in_chat: ClassVar[bool] = True
    part_option: ClassVar[str] = "annotate"
    seed: int = setting(0, "The seed of everything random.")

    def __init_subclass__(cls, title: str = "", description: str = "", source: str = "") -> None:
        cls.title, cls.description, cls.source = title, description, source

    def fit(self, pool: Pool, reader: Reader | None = None, filters: Filters = NO_FILTERS) -> Self:
        """Prepares for ``pool``; returns itself.

        Args:
            pool: the messages.
            reader: a language model to ask, for selectors that need one.
            filters: what is never a candidate.

        Raises:
            TuneshotError: an option that this pool does not allow, or no ``reader`` where one is
                needed.
        """
        self.pool, self.filters = pool, filters
        return self

    @abstractmethod
    def select(self, texts: Sequence[str], vectors: np.ndarray, k: int) -> list[Selection]:
        """Candidates for each query; the answer for one never depends on the others.

        Args:
            texts: Q queries.
            vectors: (Q, d) float32, rows of length 1; where ``needs_vectors`` is false, they may
                be (Q, 0).
            k: demonstrations wanted, at least 0.

        Raises:
            TuneshotError: ``k`` is negative, or larger than what the pool can offer a query.
        """

    def walk(
        self,
        query: str,
        order: Iterable[int],
        k: int,
        *,
        similarity: Mapping[int, float] | np.ndarray | None = None,
        score: Mapping[int, float] | np.ndarray | None = None,
        groups: Collection[int] | None = None,
    ) -> Selection:
        """Rows in an order of preference that may be shown: one of each group, k of each label.

        Args:
            query: the message to classify; no row of its group is taken.
            order: rows, best first; it is read only as far as needed.
            k: demonstrations wanted.
            similarity: of each row in ``order``, by row; or (N,) floats.
            score: what ``order`` comes from, in the same form; NaN if a row has none.
            groups: the groups of the rows in ``order``, if these are a part of the pool.

        Raises:
            TuneshotError: ``k`` is negative, or more than there are.
        """
        pool = self.pool
        own = pool.group_of(query)
        self._check_k(k, own, groups)
        wanted = dict.fromkeys(pool.label_names, k)
        taken: dict[int, int] = {}  # group -> row
        rows: list[int] = []
        passed_over: list[PassedOver] = []
        for row in map(int, order):
            if not any(wanted.values()):
                break
            label, group = pool.labels[row], int(pool.groups[row])
            if group == own:
                passed_over.append(PassedOver(row, "a copy of the message itself"))
            elif group in taken:
                passed_over.append(PassedOver(row, _copy(pool, row, taken[group])))
            elif wanted[label]:
                if reason := self.filters.reason(pool, row, rows):
                    passed_over.append(PassedOver(row, reason))
                    continue
                taken[group] = row
                wanted[label] -= 1
                rows.append(row)
        similarities = None if similarity is None else [float(similarity[row]) for row in rows]
        scores: list[float | None] | None = None
        if score is not None:
            scores = [None if np.isnan(score[row]) else float(score[row]) for row in rows]
        return Selection(rows, similarities, scores, tuple(passed_over))

    def qualifying(self, rows: np.ndarray) -> np.ndarray:
        """Those of some rows of the pool that may be shown at all: (n,) int64 -> (m,).

        Raises:
            TuneshotError: there are none.
        """
        if not self.filters.longest:
            return rows
        texts = self.pool.texts
        kept = [row for row in rows.tolist() if not self.filters.too_long(texts[row])]
        if not kept:
            raise TuneshotError(
                f"every message of the pool has more than {self.filters.longest} tokens; choose a "
                "larger longest, or 0 for none"
            )
        return np.array(kept, np.int64)

    def _check_k(self, k: int, own: int | None, groups: Collection[int] | None) -> None:
        """Refuses a ``k`` that is negative, or more than there are besides the group ``own``."""
        total = len(self.pool.representatives)
        usable = total - (own is not None) if groups is None else len(groups) - (own in groups)
        if not 0 <= k <= usable:
            is_part = k > 0 and groups is not None and len(groups) < total
            advice = f"larger {self.part_option}" + " or longest" * bool(self.filters.longest)
            raise TuneshotError(
                f"cannot show k={k} examples: the {'chosen part of the ' if is_part else ''}pool "
                f"has {usable} different messages besides this one; choose k from 0 to {usable}"
                f"{f', or a {advice}' if is_part else ''}"
            )

    def top_k_among(
        self, rows: Sequence[int], texts: Sequence[str], vectors: np.ndarray, k: int
    ) -> list[Selection]:
        """Top-k among some rows of the pool, by cosine; ties go to the lower row.

        Args:
            rows: M rows that may be shown, in any order.
            texts: Q queries.
            vectors: (Q, d) float32, rows of length 1.
            k: demonstrations wanted.

        Raises:
            TuneshotError: ``k`` is negative, or more than these rows can offer a query.
        """
        pool = self.pool
        among = np.unique(np.asarray(rows, np.int64))
        groups = set(pool.groups[among].tolist())
        # (Q, d) (d, M) -> (Q, M); ties stay ties
        cosines = (vectors @ pool.vectors[among].T).round(6)
        return [
            self.walk(
                text,
                among[np.argsort(-cosine, kind="stable")],
                k,
                similarity=dict(zip(among.tolist(), cosine.tolist(), strict=True)),
                groups=groups,
            )
            for text, cosine in zip(texts, cosines, strict=True)
        ]


def _copy(pool: Pool, row: int, shown: int) -> str:
    """Why a row with the text of one that is shown is not shown."""
    labels = pool.labels[shown], pool.labels[row]
    if labels[0] == labels[1]:
        return f"a copy of row {shown}"
    return f"a conflict: {Conflict(pool.texts[shown], (shown, row), labels)}"
