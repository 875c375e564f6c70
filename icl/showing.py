"""What is shown for a message: examples of the pool, in one order or in several, as prompts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from clfcore.data.draw import generator
from icl.answering import Reading
from icl.lm.base import LM
from icl.pool.pool import Pool
from icl.prompt.orders import different_orders
from icl.prompt.prompt import Arrange, Prompt, build_prompt
from icl.prompt.scoring import SCORINGS
from icl.prompt.tasks import Task
from icl.prompt.template import Demonstration
from icl.selectors.arrange import (
    ARRANGEMENTS,
    BALANCES,
    demonstration_hints,
    in_order,
    similar_last,
    too_few,
)
from icl.selectors.base import Selection, Selector
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig


def demonstrations_of(pool: Pool, selection: Selection) -> list[Demonstration]:
    """The candidates of a selection, best first."""
    rows = selection.rows
    similarities: Sequence[float | None] = selection.similarities or [None] * len(rows)
    scores: Sequence[float | None] = selection.scores or [None] * len(rows)
    return [
        Demonstration(pool.texts[row], pool.labels[row], similarity, row, score)
        for row, similarity, score in zip(rows, similarities, scores, strict=True)
    ]


@dataclass(frozen=True)
class Showing:
    """How candidates become prompts.

    Attributes:
        task: labels and prompt format.
        config: its settings under the heading "The examples" decide.
        pool: where the examples are.
        counts: how many messages of each label it has.
        selector: what chose the candidates, fitted.
        lm: what reads the prompts; ``None``: nothing does.
        limit: tokens that a prompt may have.
        chat: whether it is a chat.
        probes: what is read in the message's place, too; there is room for each.
        orders: of k examples, as places in ``similar_last``, most promising first; of an order
            that is chosen by entropy.
    """

    task: Task
    config: FewShotConfig
    pool: Pool
    counts: Mapping[str, int]
    selector: Selector
    lm: LM | None
    limit: int
    chat: bool
    probes: Sequence[str]
    orders: Sequence[tuple[int, ...]]

    def shown(self, selection: Selection) -> list[Demonstration]:
        """Those of the candidates that are to be shown, best first."""
        ranked = demonstrations_of(self.pool, selection)
        if selection.order is not None:
            return ranked
        return BALANCES[self.config.shown_balance](ranked, self.config.k, self.counts)

    def prompts(
        self, text: str, selection: Selection, limit: int | None = None
    ) -> tuple[Prompt, ...]:
        """The same examples in each of the orders, the configured one first."""
        given, seed = selection.order, self.config.seed

        def arrange(ranked: Sequence[Demonstration]) -> list[Demonstration]:
            # A new generator at every call: the order depends on the message, not on the calls.
            by_rule = ARRANGEMENTS.get(self.config.order, similar_last)
            return by_rule(ranked, generator(seed, text))

        ranked = self.shown(selection)
        first = self.fit_prompt(ranked, text, arrange if given is None else in_order(given), limit)
        shown = first.demonstrations
        if given is None and self.orders:
            orders = self._by_entropy(len(shown))
        else:
            orders = different_orders(len(shown), self.config.orders, generator(seed, text))
        fitting = [each for each in ranked if each in shown]

        def reordered(order: tuple[int, ...]) -> Prompt:
            if order == tuple(range(len(shown))):
                return first
            rows = [shown[place].row for place in order]
            prompt = self.fit_prompt(fitting, text, in_order(rows), limit)
            return replace(prompt, dropped=prompt.dropped + first.dropped)

        return tuple(map(reordered, orders))

    def _by_entropy(self, count: int) -> list[tuple[int, ...]]:
        """Orders of the ``count`` examples that have room: of those of k, the nearest places."""
        nearest = [tuple(p - len(order) + count for p in order) for order in self.orders]
        shorter = dict.fromkeys(tuple(p for p in order if p >= 0) for order in nearest)
        return list(shorter)[: self.config.orders]

    def fit_prompt(
        self,
        ranked: Sequence[Demonstration],
        text: str,
        arrange: Arrange,
        limit: int | None = None,
    ) -> Prompt:
        """As much of ``ranked``, best first, as the language model has room for.

        There is room for the message and for each probe that is read in its place.
        """
        assert self.lm is not None
        build = partial(
            build_prompt,
            self.task.template,
            arrange=arrange,
            count_tokens=self.lm.count_tokens,
            max_tokens=self.limit if limit is None else limit,
            chat=self.chat,
            as_read=SCORINGS[self.config.scoring].as_read,
        )
        fitting = list(ranked)
        for asked in (*self.probes, text):
            prompt = build(fitting, asked)
            fitting = [shown for shown in fitting if shown in prompt.demonstrations]
        return replace(prompt, dropped=len(ranked) - len(fitting))

    def notes(self, reading: Reading, limit: int) -> Iterator[str]:
        """What is unusual about the prompts of a reading, which may have had ``limit`` tokens."""
        text, ranked, prompt = reading.text, reading.ranked, reading.prompts[0]
        labels, selector = self.task.labels, self.selector
        if len(reading.prompts) > 1:
            yield f"the mean of {len(reading.prompts)} orders of the examples, each read by itself"
        if reading.considered:
            zero = self.config.selector == "zero"
            which = "whose words are most like it" if zero else "of the most similar messages"
            yield (
                f"{len(reading.considered)} of {len(labels)} labels were considered for this "
                f"message, those {which}; the others count as impossible"
            )
        ranked_labels = [shown.label for shown in ranked]
        counts = {label: ranked_labels.count(label) for label in labels}
        if self.config.shown_balance == "equal" and max(counts.values()) - min(counts.values()) > 1:
            short = min(counts, key=counts.__getitem__)
            if where := too_few(selector, text, short, counts[short]):
                shares = ", ".join(f"{count} {label}" for label, count in counts.items())
                yield f"{where} {short} messages for an equal share: {shares}"
        filters = str(selector.filters)
        if filters and len(ranked) < self.config.k and self.config.selector != "zero":
            yield f"{len(ranked)} examples: no more messages qualify ({filters})"
        if not SELECTORS[self.config.selector].votes:
            vectors = self.pool.vectors[[shown.row for shown in prompt.demonstrations]]
            yield from demonstration_hints(
                prompt.demonstrations, labels, self.task.template, vectors
            )
        if prompt.dropped:
            yield (
                f"{prompt.dropped} of {len(ranked)} examples were left out: "
                f"the prompt may have {limit} tokens"
            )
        if prompt.query_cut:
            yield "the message is long: the language model read its two ends only"
