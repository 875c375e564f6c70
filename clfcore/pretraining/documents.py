"""Texts to learn from: read, split so that no copy is held out, packed into blocks of tokens."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clfcore.data.forms.text import read_text
from clfcore.data.messages import LabelledMessages, load_messages
from clfcore.data.split import content_hash, duplicate_groups
from clfcore.data.tables import read_table
from clfcore.errors import TuneshotError
from clfcore.types import Example

_TEXT_FILES = ("*.txt", "*.md")


@dataclass(frozen=True, slots=True)
class Documents:
    """Texts in two parts, of which one is not learned from.

    Attributes:
        name: the file or the corpus.
        train, held_out: at least one text each; no copy of one is in the other part.
        unread: texts of neither part: the test part of labelled messages.
    """

    name: str
    train: list[str]
    held_out: list[str]
    unread: int = 0

    @property
    def sha256(self) -> str:
        """The identity of both parts."""
        parts = {"train": self.train, "held_out": self.held_out}
        return content_hash(Example(text, part) for part in parts for text in parts[part])


def read_documents(
    source: str | None,
    document: str = "row",
    text_column: str | None = None,
    label_column: str | None = None,
    held_out: float = 0.1,
    seed: int = 0,
) -> Documents:
    """The documents that the user names, else the downloaded corpus, else the bundled sample.

    Args:
        source: a table, a text file, or a folder of text files.
        document: a key of ``DOCUMENTS``.
        text_column: of a table, see ``read_labelled``.
        label_column: of a table, see ``read_labelled``.
        held_out: share of the documents; of labelled messages, the validation part.
        seed: of the split.

    Raises:
        TuneshotError: unreadable, or not two different documents with text in them.
    """
    if source is None:
        if document != "row":
            raise TuneshotError(f"--document {document} is for texts of your own; add --data")
        messages = load_messages(None, text_column, label_column)
        return documents_of(messages, seed)
    if not os.path.exists(source):
        raise TuneshotError(f"there is no {source}; give a text file, a table or a folder")
    if document == "row":
        table = read_table(
            Path(source), text_column=text_column, label_column=label_column,
            labels_needed=False, skip_empty=True,
        )  # fmt: skip
        if table.labels is not None and len(set(table.labels)) > 1:
            try:
                return documents_of(LabelledMessages(table.examples, source), seed)
            except TuneshotError:
                pass  # too few of a label: no classifier is trained on these
        return split_documents(table.texts, source, held_out, seed)
    texts = list(_texts(Path(source)))
    if document == "paragraph":
        texts = [part for text in texts for part in re.split(r"\n[^\S\n]*\n", text)]
    return split_documents([text.strip("\n") for text in texts], source, held_out, seed)


def _texts(path: Path) -> Iterator[str]:
    files = [path]
    if path.is_dir():
        files = sorted({file for form in _TEXT_FILES for file in path.rglob(form)})
        if not files:
            raise TuneshotError(f"{path} holds no .txt or .md file; add some")
    return map(read_text, files)


def documents_of(messages: LabelledMessages, seed: int = 0) -> Documents:
    """The training and the validation part; a classifier's test part stays unseen.

    Raises:
        TuneshotError: too few messages of a label for a split.
    """
    split = messages.split(seed)
    train, val = (
        [messages.examples[row].text for row in rows] for rows in (split.train, split.val)
    )
    return Documents(messages.name, train, val, unread=len(split.test))


def split_documents(texts: Sequence[str], name: str, share: float, seed: int) -> Documents:
    """Holds out ``share`` of the different documents, at least one; copies stay together.

    Raises:
        TuneshotError: not two different documents with text in them.
    """
    texts = [text for text in texts if text.strip()]
    groups = duplicate_groups(texts)
    count = int(groups.max(initial=-1)) + 1
    if count < 2:
        found = "one document" if count else "no text"
        raise TuneshotError(
            f"{name} holds {found}, and one part has to be held out; give at least two different "
            "documents, or divide it with --document row or paragraph"
        )
    order = np.random.default_rng(seed).permutation(count)
    chosen = set(order[: min(count - 1, max(1, round(share * count)))].tolist())
    held = [int(group) in chosen for group in groups]
    return Documents(
        name,
        [text for text, out in zip(texts, held, strict=True) if not out],
        [text for text, out in zip(texts, held, strict=True) if out],
    )


@dataclass(frozen=True, slots=True)
class Blocks:
    """One stream of tokens, cut: what is read in each block, and what comes next there.

    Attributes:
        read: (t,) int64 token ids of each block; all but the last have the full length.
        following: (t,) int64, each token's successor in the stream.
    """

    read: list[np.ndarray]
    following: list[np.ndarray]

    @property
    def tokens(self) -> int:
        """How many tokens are predicted."""
        return sum(map(len, self.following))


def pack(texts: Sequence[str], encode: Callable[[str], list[int]], end: int, size: int) -> Blocks:
    """Documents one after the other in blocks of ``size`` tokens, the last perhaps shorter.

    An end-of-text token stands before the first document and after each (Radford et al. 2019;
    Brown et al. 2020): so every token of a document is predicted exactly once, and so is its end.
    A block may begin in the middle of a document and hold several; what comes earlier in the block
    is seen, whosever it is.

    Args:
        texts: not empty.
        encode: text -> token ids.
        end: the end-of-text token.
        size: tokens.
    """
    stream = np.array([end, *(i for text in texts for i in (*encode(text), end))], dtype=np.int64)
    starts = range(0, len(stream) - 1, size)
    return Blocks(
        [stream[:-1][start : start + size] for start in starts],
        [stream[1:][start : start + size] for start in starts],
    )
