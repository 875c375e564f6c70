"""Which part of labelled messages a model is asked about."""

from collections.abc import Mapping
from typing import Any

from clfcore.data.messages import LabelledMessages
from clfcore.errors import unknown_choice
from clfcore.types import Example

PARTS = ("train", "val", "test", "all")


def check_part(part: str | None) -> None:
    """Refuses a part that there is not; ``None`` is the usual one.

    Raises:
        TuneshotError: it is no part.
    """
    if part not in (None, *PARTS):
        raise unknown_choice("part", part, PARTS)


def part_of(
    messages: LabelledMessages, trained_on: Mapping[str, Any], part: str | None = None
) -> tuple[str, list[Example]]:
    """A part of ``messages`` and its name.

    Args:
        messages: all of them.
        trained_on: what a checkpoint says of its data, ``about["data"]``.
        part: of ``PARTS``; ``None``: the test part where it was trained on these messages, for a
            figure on its own training messages would say nothing; else all.

    Raises:
        TuneshotError: too few messages of a label.
    """
    from clfcore.data.split import content_hash

    if part is None:
        part = "test" if trained_on.get("sha256") == content_hash(messages.examples) else "all"
    if part == "all":
        return part, messages.examples
    split = messages.split(trained_on.get("split_seed", 0))
    return part, [messages.examples[row] for row in getattr(split, part)]
