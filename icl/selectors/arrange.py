"""Which labels the demonstrations keep, and the order they stand in."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice

import numpy as np

from icl.prompt.template import Demonstration, Template
from icl.selectors.base import Selector
from icl.selectors.filters import near_copy

MANY_EXAMPLES = 8  # that most papers show, and the default here
NEAR_COPY_COSINE = 0.98  # cosine of two messages that are nearly the same


# --- balance: candidates (best first) -> the k that are shown, still best first -----------------


def no_balance(
    ranked: Sequence[Demonstration], k: int, pool: Mapping[str, int]
) -> list[Demonstration]:
    """The k best, whatever their labels."""
    return list(ranked[:k])


def equal(ranked: Sequence[Demonstration], k: int, pool: Mapping[str, int]) -> list[Demonstration]:
    """As many of each label as possible; what one label lacks, or k does not divide, goes by rank.

    Every label's best come before any label's second best, and so on.
    """
    return _keep(ranked, k, lambda label, better: better)


def proportional(
    ranked: Sequence[Demonstration], k: int, pool: Mapping[str, int]
) -> list[Demonstration]:
    """Labels in the pool's shares, by largest remainder; what a label lacks goes by rank."""
    total = sum(pool.values())
    quotas = {label: k * size // total for label, size in pool.items()}
    by_remainder = sorted(pool, key=lambda label: -(k * pool[label] % total))
    for label in by_remainder[: k - sum(quotas.values())]:
        quotas[label] += 1
    return _keep(ranked, k, lambda label, better: better >= quotas.get(label, 0))


def at_least_one(
    ranked: Sequence[Demonstration], k: int, pool: Mapping[str, int]
) -> list[Demonstration]:
    """The best of each label, and then the best of all."""
    return _keep(ranked, k, lambda label, better: better > 0)


def _keep(
    ranked: Sequence[Demonstration], k: int, turn: Callable[[str, int], int]
) -> list[Demonstration]:
    """The k whose turn comes first.

    Args:
        ranked: candidates, best first.
        k: how many.
        turn: from a label, and how many better ones have it; within a turn rank decides.
    """
    turns = [turn(*item) for item in _labels_with_better(ranked)]
    kept = sorted(range(len(ranked)), key=turns.__getitem__)[:k]
    return [ranked[rank] for rank in sorted(kept)]


def _labels_with_better(ranked: Sequence[Demonstration]) -> list[tuple[str, int]]:
    """The label of each, and how many better ones have it."""
    numbers: defaultdict[str, Iterator[int]] = defaultdict(count)
    return [(shown.label, next(numbers[shown.label])) for shown in ranked]


# Arguments: candidates, best first; k; how many messages of each label the pool has.
BALANCES: dict[
    str, Callable[[Sequence[Demonstration], int, Mapping[str, int]], list[Demonstration]]
] = {
    "none": no_balance,
    "equal": equal,
    "proportional": proportional,
    "at_least_one": at_least_one,
}


# --- arrangement: the shown ones (best first) -> the order in the prompt ------------------------


def similar_first(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """The most similar at the top, as OpenICL does; by rank where similarity is unknown."""
    return sorted(ranked, key=lambda shown: -(shown.similarity or 0.0))


def similar_last(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """The most similar next to the query: language models weigh the end of a prompt most."""
    return similar_first(ranked, rng)[::-1]


def interleave(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """Labels take turns as long as they last; the most similar next to the query."""
    nearest = similar_first(ranked, rng)
    labels = list(dict.fromkeys(shown.label for shown in nearest))
    turns = [(better, labels.index(label)) for label, better in _labels_with_better(nearest)]
    return [nearest[rank] for rank in sorted(range(len(turns)), key=turns.__getitem__)][::-1]


def easy_to_hard(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """Simple before complex: short messages first; among equals, the more similar one later."""
    return sorted(similar_last(ranked, rng), key=lambda shown: len(shown.text))


def shuffled(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """Any order: shows how much the order alone matters (Lu et al. 2022)."""
    return [ranked[i] for i in rng.permutation(len(ranked))]


def in_order(rows: Sequence[int]) -> Callable[[Sequence[Demonstration]], list[Demonstration]]:
    """An arrangement: as the rows of the pool stand in ``rows``."""
    place = {row: place for place, row in enumerate(rows)}
    return lambda ranked: sorted(ranked, key=lambda shown: place[shown.row])


def as_given(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """The selector's own order."""
    return list(ranked)


ARRANGEMENTS: dict[
    str, Callable[[Sequence[Demonstration], np.random.Generator], list[Demonstration]]
] = {
    "similar_last": similar_last,
    "similar_first": similar_first,
    "interleave": interleave,
    "easy_to_hard": easy_to_hard,
    "random": shuffled,
    "as_given": as_given,
}


# --- where an equal share is not possible ---------------------------------------------------------


def too_few(selector: Selector, query: str, label: str, shown: int) -> str | None:
    """Who has no more messages of a label than were ``shown``, in words that end in "too few".

    ``None`` if nobody is to blame: the selector's lists have shares of their own.
    """
    pool, filters = selector.pool, selector.filters
    unfit = f"of the messages that qualify ({filters}) there are too few"
    own = pool.group_of(query)
    picks = getattr(selector, "picks", None)

    def exhausted(rows: Iterable[int]) -> bool:
        those = (row for row in rows if pool.labels[row] == label and pool.groups[row] != own)
        return len(list(islice(those, shown + 1))) <= shown

    if exhausted(pool.representatives):
        return "the pool has too few"
    if exhausted(row for row in pool.representatives if not filters.too_long(pool.texts[row])):
        return unfit
    if picks is not None and exhausted(picks):
        return f"the {len(picks)} chosen messages of the pool have too few"
    return unfit if str(filters) else None


# --- the lecture's rules ------------------------------------------------------------------------


def _near_copies(
    demonstrations: Sequence[Demonstration], vectors: np.ndarray
) -> Iterator[tuple[int, str]]:
    """The row of each that is nearly the same as one before it, and of which."""
    kept: list[int] = []
    for place, shown in enumerate(demonstrations):
        others = [demonstrations[other].row for other in kept]
        copy = near_copy(vectors[place], vectors[kept], others, NEAR_COPY_COSINE) if kept else None
        if copy is None:
            kept.append(place)
        else:
            yield shown.row, copy


def demonstration_hints(
    demonstrations: Sequence[Demonstration],
    labels: Sequence[str],
    template: Template,
    vectors: np.ndarray,
) -> Iterator[str]:
    """Doubts about these examples by the usual advice, a sentence each; nothing if all is well.

    Args:
        demonstrations: the ones that are shown.
        labels: the task's.
        template: the format they are shown in.
        vectors: (n, d) float32, their embeddings, rows of length 1.
    """
    shown_labels = {shown.label for shown in demonstrations}
    if len(demonstrations) > 1 and len(shown_labels) == 1 and len(labels) > 1:
        yield (
            f"all {len(demonstrations)} examples have one label, {demonstrations[0].label}: "
            "a language model tends to repeat it"
        )
    for row, reason in _near_copies(demonstrations, vectors):
        yield f"near-duplicates: the example of row {row} is {reason}"
    if len(demonstrations) > MANY_EXAMPLES:
        yield f"{len(demonstrations)} examples: the usual advice is at most {MANY_EXAMPLES}"
    mark = template.before_label.strip()
    for shown in demonstrations:
        if not shown.text.strip():
            yield f"format: the example of row {shown.row} is empty"
        elif mark in shown.text:
            yield (
                f"format: the example of row {shown.row} contains {mark!r}, which introduces a "
                "label here"
            )
