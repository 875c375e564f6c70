"""The finished prompt: as many of the chosen demonstrations as the language model has room for."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from icl.lm.base import PromptText
from icl.prompt.template import Demonstration, Template


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the language model reads, for all labels alike.

    Attributes:
        text: ends with the empty label slot; of a chat, the last message does.
        tokens: what the language model reads, in its tokens, without the label's word.
        demonstrations: the ones in ``text``, in its order.
        dropped: how many more were chosen but did not fit.
        query: the query as it is shown: without its middle, where it is too long.
        query_cut: whether that is so.
    """

    text: PromptText
    tokens: int
    demonstrations: tuple[Demonstration, ...]
    dropped: int
    query: str
    query_cut: bool = False


Arrange = Callable[[Sequence[Demonstration]], list[Demonstration]]  # best first -> prompt order


def as_text(prompt: PromptText) -> str:
    """A prompt as people read it; in a chat, each message after its role."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"[{message.role}] {message.content}" for message in prompt)


def build_prompt(
    template: Template,
    ranked: Sequence[Demonstration],
    query: str,
    arrange: Arrange,
    *,
    count_tokens: Callable[[PromptText], int],
    max_tokens: int,
    chat: bool = False,
    as_read: Callable[[Template, Sequence[Demonstration], str], PromptText] | None = None,
) -> Prompt:
    """The longest prompt of at most ``max_tokens`` tokens.

    A query of more than half as many, or of more than an empty prompt leaves room for, loses its
    middle. Then, while the prompt is too long, the lowest-ranked demonstration of the label that
    has most is dropped (of labels with equally many: the lowest-ranked of all), so that the labels
    stay balanced.

    Args:
        template: the format.
        ranked: the chosen demonstrations, best first.
        query: the message to classify.
        arrange: puts demonstrations into the order in which they are shown.
        count_tokens: length of a prompt for the language model.
        max_tokens: tokens that instruction, demonstrations, query and label slots may take.
        chat: whether the language model reads a chat, not one text.
        as_read: makes the text whose length counts of template, demonstrations and query, where
            that is not the prompt.
    """
    render: Callable[[Sequence[Demonstration], str], PromptText] = (
        template.render_chat if chat else template.render
    )
    room = max_tokens - count_tokens(render([], ""))
    shown_query = _fit(query, count_tokens, min(max_tokens // 2, room))
    kept = list(ranked)
    while True:
        arranged = arrange(kept)
        text = render(arranged, shown_query)
        tokens = count_tokens(as_read(template, arranged, shown_query) if as_read else text)
        if tokens <= max_tokens or not kept:
            break
        counts = Counter(demonstration.label for demonstration in kept)
        most = max(counts.values())
        kept.pop(max(i for i, shown in enumerate(kept) if counts[shown.label] == most))
    return Prompt(
        text,
        tokens,
        tuple(arranged),
        dropped=len(ranked) - len(kept),
        query=shown_query,
        query_cut=shown_query != query,
    )


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

    longest = min(len(text) - 1, most)
    too_long = bisect_left(
        range(longest, 0, -1), True, key=lambda characters: count_tokens(ends(characters)) <= limit
    )
    return ends(longest - too_long)
