"""Writes ``clfcore/assets/splits.json``: which message of sample and corpus is in which part.

    make splits

Only a letter for each row is written, no message. The corpus must have been downloaded.
"""

from clfcore.data.messages import load_messages, sample_messages
from clfcore.data.split import CARRIED_SPLITS, PARTS, compute_split, content_hash
from clfcore.json_text import to_json
from clfcore.paths import atomic_write


def main() -> None:
    """Makes all of them again, and replaces the file."""
    splits = {}
    for messages in (sample_messages(), load_messages()):
        split = compute_split(messages.examples, seed=0)
        letters = [""] * len(messages.examples)
        for part, rows in zip(PARTS, (split.train, split.val, split.test), strict=True):
            for row in rows:
                letters[row] = part
        splits[content_hash(messages.examples)] = "".join(letters)
    with atomic_write(CARRIED_SPLITS) as new:
        new.write_text(to_json(splits, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
