"""Which labels the demonstrations keep, and the order they stand in."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from icl.prompt.template import Demonstration, Template
from icl.selectors.base import PassedOver

MANY_EXAMPLES = 8  # "fewer than 8 examples by default"
NEAR_COPY_COSINE = 0.98  # cosine of two messages that are nearly the same


# --- before the balance: what is better left out ------------------------------------------------


def without_near_copies(
    ranked: Sequence[Demonstration], vectors: np.ndarray, threshold: float = NEAR_COPY_COSINE
) -> tuple[list[Demonstration], tuple[PassedOver, ...]]:
    """Leaves out what is nearly the same as a better one; the rest stays best first.

    A mailing with another code word in it is no exact copy, but adds nothing new.

    Args:
        ranked: candidates, best first.
        vectors: (n, d) float32, their embeddings, rows of length 1.
        threshold: the cosine from which on two messages are nearly the same.
    """
    cosines = (vectors @ vectors.T).round(6)  # (n, d) (d, n) -> (n, n)
    kept: list[int] = []
    passed_over = []
    for rank, shown in enumerate(ranked):
        nearest = max(kept, key=lambda better: cosines[rank, better], default=None)
        if nearest is None or cosines[rank, nearest] < threshold:
            kept.append(rank)
            continue
        reason = f"nearly row {ranked[nearest].row}: cosine {cosines[rank, nearest]:.3f}"
        passed_over.append(PassedOver(shown.row, reason))
    return [ranked[rank] for rank in kept], tuple(passed_over)


def without_long(
    ranked: Sequence[Demonstration], count_tokens: Callable[[str], int], max_tokens: int
) -> tuple[list[Demonstration], tuple[PassedOver, ...]]:
    """Leaves out messages of more than ``max_tokens`` tokens; the rest stays best first.

    One long message would cost the room of many short ones.
    """
    lengths = {shown.row: count_tokens(shown.text) for shown in ranked}
    passed_over = tuple(
        PassedOver(row, f"{tokens} tokens, and {max_tokens} are allowed")
        for row, tokens in lengths.items()
        if tokens > max_tokens
    )
    return [shown for shown in ranked if lengths[shown.row] <= max_tokens], passed_over


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


# --- the lecture's rules ------------------------------------------------------------------------


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
    for copy in without_near_copies(demonstrations, vectors)[1]:
        yield f"near-duplicates: the example of row {copy.row} is {copy.reason}"
    if len(demonstrations) > MANY_EXAMPLES:
        yield f"{len(demonstrations)} examples: the usual advice is fewer than {MANY_EXAMPLES}"
    mark = template.before_label.strip()
    for shown in demonstrations:
        if not shown.text.strip():
            yield f"format: the example of row {shown.row} is empty"
        elif mark in shown.text:
            yield (
                f"format: the example of row {shown.row} contains {mark!r}, which introduces a "
                "label here"
            )
