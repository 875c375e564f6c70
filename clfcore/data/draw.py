"""Draws that depend on nothing but a seed."""

import hashlib
from collections.abc import Sequence

import numpy as np

from clfcore.data.split import duplicate_groups
from clfcore.errors import TuneshotError
from clfcore.types import Example


def draw(examples: Sequence[Example], limit: int, balanced: bool, seed: int) -> list[Example]:
    """At most ``limit`` different messages, in the order of ``examples``.

    Args:
        examples: a task's test part.
        limit: at least 1.
        balanced: the same number of each label, as far as the rarest goes; else the labels' own
            shares (largest remainders).
        seed: nothing else decides.

    Raises:
        TuneshotError: ``limit`` is too small for one message of each label.
    """
    if not examples:
        return []
    first = np.unique(duplicate_groups(e.text for e in examples), return_index=True)[1]
    rows = np.random.default_rng(seed).permutation(first).tolist()
    of: dict[str, list[int]] = {label: [] for label in sorted({examples[r].label for r in rows})}
    for row in rows:
        of[examples[row].label].append(row)
    if balanced:
        each = min(limit // len(of), *map(len, of.values()))
        if not each:
            raise TuneshotError(
                f"{limit} messages are fewer than the {len(of)} labels; choose a larger limit, or "
                "--no-balanced"
            )
        wanted = dict.fromkeys(of, each)
    else:
        exact = {label: min(1, limit / len(rows)) * len(some) for label, some in of.items()}
        wanted = {label: int(share) for label, share in exact.items()}
        by_remainder = sorted(of, key=lambda label: wanted[label] - exact[label])
        for label in by_remainder[: min(limit, len(rows)) - sum(wanted.values())]:
            wanted[label] += 1
    return [examples[row] for row in sorted(r for name, n in wanted.items() for r in of[name][:n])]


def fewer_asked(asked: Sequence[Example], limit: int, balanced: bool) -> str:
    """One sentence if ``draw`` gave fewer messages than ``limit``; else nothing."""
    if len(asked) >= limit:
        return ""
    if not balanced:
        return f"{len(asked):,} messages are asked about, not {limit:,}: there are no more"
    each = len(asked) // len({example.label for example in asked})
    return (
        f"{len(asked):,} messages are asked about, not {limit:,}: {each:,} of each label, as far "
        "as the rarest goes; --no-balanced asks about labels as they come"
    )


def generator(seed: int, text: str) -> np.random.Generator:
    """Random numbers that belong to one message."""
    digest = hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
