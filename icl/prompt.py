"""From candidates to one prompt: how many of each label, in which order, in how many tokens.

The lecture's rules: one format throughout, labels balanced, fewer than eight examples, the most
relevant ones nearest to the query, and, as an option, the simple before the complex.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MANY = 8  # "fewer than 8 examples by default"


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One labelled message shown in the prompt.

    Attributes:
        text, label: as in the pool.
        similarity: cosine to the query; ``None`` where the selector did not look at it.
        row: its row in the pool.
    """

    text: str
    label: str
    similarity: float | None
    row: int


# --- balance: candidates (best first) -> the k that are shown, still best first -----------------


def no_balance(ranked: Sequence[Demonstration], k: int) -> list[Demonstration]:
    """The k best, whatever their labels."""
    return list(ranked[:k])


def equal(ranked: Sequence[Demonstration], k: int) -> list[Demonstration]:
    """As many of each label as possible; what one label lacks, or k does not divide, goes by rank.

    Every label's best come before any label's second best, and so on.
    """
    seen: Counter[str] = Counter()
    turns = []
    for rank, demonstration in enumerate(ranked):
        turns.append((seen[demonstration.label], rank))
        seen[demonstration.label] += 1
    return [ranked[rank] for rank in sorted(rank for _, rank in sorted(turns)[:k])]


BALANCES: dict[str, Callable[[Sequence[Demonstration], int], list[Demonstration]]] = {
    "none": no_balance,
    "equal": equal,
}


# --- arrangement: the shown ones (best first) -> the order in the prompt ------------------------


def similar_last(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """The best next to the query: language models weigh the end of a prompt most."""
    return list(ranked[::-1])


def similar_first(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """The best at the top, as OpenICL does."""
    return list(ranked)


def easy_to_hard(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """Simple before complex: short messages first; among equals, the better one later."""
    return sorted(similar_last(ranked, rng), key=lambda shown: len(shown.text))


def shuffled(ranked: Sequence[Demonstration], rng: np.random.Generator) -> list[Demonstration]:
    """Any order: shows how much the order alone matters (Lu et al. 2022)."""
    return [ranked[i] for i in rng.permutation(len(ranked))]


ARRANGEMENTS: dict[
    str, Callable[[Sequence[Demonstration], np.random.Generator], list[Demonstration]]
] = {
    "similar_last": similar_last,
    "similar_first": similar_first,
    "easy_to_hard": easy_to_hard,
    "random": shuffled,
}


# --- the text -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Template:
    """How a prompt reads. Rendered by concatenation: nothing in a message is ever interpreted.

    Attributes:
        instruction: the first paragraph; may be empty.
        before_text, before_label: what introduces a message and its label. The prompt ends with
            ``before_label``, without a space: the space belongs to the label's first token.
        after_label: what separates one example from the next.
        words: label -> how it is written, its space included.
    """

    instruction: str
    before_text: str
    before_label: str
    after_label: str
    words: dict[str, str]

    def render(self, demonstrations: Sequence[Demonstration], query: str) -> str:
        """The whole prompt, up to and including the empty label slot."""
        parts = [self.instruction]
        for shown in demonstrations:
            parts += [self._slot(shown.text), self.words[shown.label], self.after_label]
        return "".join([*parts, self._slot(query)])

    def _slot(self, text: str) -> str:
        return self.before_text + one_line(text) + self.before_label


def one_line(text: str) -> str:
    """The message with each line break as one space.

    The one change we make to a message: otherwise it could end with a line ``Type: ham`` and
    the language model would read its author's answer as ours.
    """
    return " ".join(text.splitlines())


# --- the budget ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the language model reads, for all labels alike.

    Attributes:
        text: ends with the empty label slot, always.
        tokens: length of ``text`` in the language model's tokens.
        demonstrations: the ones in ``text``, in its order.
        dropped: how many more were chosen but did not fit.
        query_cut: whether the middle of the query is missing.
    """

    text: str
    tokens: int
    demonstrations: tuple[Demonstration, ...]
    dropped: int
    query_cut: bool


def build_prompt(
    template: Template,
    ranked: Sequence[Demonstration],
    query: str,
    arrange: Callable[[Sequence[Demonstration]], list[Demonstration]],
    count_tokens: Callable[[str], int],
    budget: int,
) -> Prompt:
    """The longest prompt of at most ``budget`` tokens.

    A query longer than half the budget loses its middle. Then, while the prompt is too long, the
    lowest-ranked demonstration of the label that has most is dropped (of labels with equally
    many: the lowest-ranked of all), so that the labels stay balanced.

    Args:
        template: the format.
        ranked: the chosen demonstrations, best first.
        query: the message to classify.
        arrange: puts demonstrations into the order in which they are shown.
        count_tokens: length of a text for the language model.
        budget: tokens that instruction, demonstrations, query and label slots may take.
    """
    shown_query = _fit(query, count_tokens, budget // 2)
    kept = list(ranked)
    while True:
        arranged = arrange(kept)
        text = template.render(arranged, shown_query)
        tokens = count_tokens(text)
        if tokens <= budget or not kept:
            break
        counts = Counter(demonstration.label for demonstration in kept)
        most = max(counts.values())
        kept.pop(max(i for i, shown in enumerate(kept) if counts[shown.label] == most))
    return Prompt(text, tokens, tuple(arranged), len(ranked) - len(kept), shown_query != query)


def _fit(text: str, count_tokens: Callable[[str], int], limit: int) -> str:
    """``text``, or its two ends with ``…`` between them, in at most ``limit`` tokens.

    Greetings and the words that give a message away stand at its ends.
    """
    # A token of running text has about 4 characters: eight times the limit is beyond use, and a
    # text that long need not be tokenised to know that it does not fit.
    most = 8 * limit
    if len(text) <= most and count_tokens(text) <= limit:
        return text

    def ends(characters: int) -> str:
        head = (characters + 1) // 2
        return text[:head] + " … " + text[len(text) - (characters - head) :]

    low, high = 0, min(len(text) - 1, most)  # ends(low) fits, ends(high + 1) does not
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(ends(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return ends(low)
