"""Labelled messages: read, download, group duplicates, split without leaks.

The corpus is the SMS Spam Collection (Almeida, Gómez Hidalgo, Yamakami 2011; UCI 228, CC BY 4.0):
5,574 messages, of which 403 repeat another one. Many public copies are altered, so a file is
recognised by its hash and by nothing else.
"""

import csv
import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from clfcore.errors import TuneshotError
from clfcore.paths import atomic_write, cache_dir
from clfcore.types import Example

CORPUS_SHA256 = "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"
CORPUS_SOURCES = (
    "https://archive.ics.uci.edu/static/public/228/sms+spam+collection.zip",
    "https://archive.ics.uci.edu/ml/machine-learning-databases/00228/smsspamcollection.zip",
    "https://f001.backblazeb2.com/file/LLMs-from-scratch/sms%2Bspam%2Bcollection.zip",
)
SPAM_LABELS = ("ham", "spam")


# --- reading ------------------------------------------------------------------------------------


def read_labelled(path: Path) -> list[Example]:
    """Labelled messages from a file, one per line.

    Either a table whose header names ``label`` and ``text`` (tab separated, or a ``.csv``), or
    the corpus' own form: no header, label, first tab, text. Tab-separated files are never
    unquoted: a stray ``"`` in a message must not swallow the lines after it.

    Raises:
        TuneshotError: unreadable, not UTF-8, a line without a label, or no message at all.
    """
    lines = _lines(path)
    header = _header(path, lines)
    if {"label", "text"} <= set(header):
        rows = _table(path, lines, header)
        examples = [Example(text=row["text"], label=row["label"]) for row in rows]
    elif path.suffix == ".csv":
        raise TuneshotError(
            f"{path} has no columns 'label' and 'text'; its header is: {', '.join(header)}"
        )
    else:
        examples = []
        for number, line in enumerate(lines, start=1):
            label, tab, text = line.partition("\t")
            if not tab:
                raise TuneshotError(f"{path}, line {number}: expected label, a tab and the text")
            examples.append(Example(text=text, label=label))
    for number, example in enumerate(examples, start=1):
        if not example.label:
            raise TuneshotError(f"{path}, message {number}: the label is empty")
    if not examples:
        raise TuneshotError(f"{path} holds no messages")
    return examples


def read_texts(path: Path) -> list[str]:
    """Messages to classify: the ``text`` column of a ``.tsv``/``.csv``, or else every line.

    Raises:
        TuneshotError: unreadable, not UTF-8, or a table without a ``text`` column.
    """
    lines = _lines(path)
    if path.suffix not in {".tsv", ".csv"}:
        return lines
    header = _header(path, lines)
    if "text" not in header:
        raise TuneshotError(f"{path} has no column 'text'; its header is: {', '.join(header)}")
    return [row["text"] for row in _table(path, lines, header)]


def _lines(path: Path) -> list[str]:
    """Lines without their ends. Only LF and CR LF end a line; U+2028 and friends are text."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TuneshotError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise TuneshotError(
            f"{path} is not UTF-8 (line {line}); convert it: iconv -f latin1 -t utf-8 {path}"
        ) from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _header(path: Path, lines: list[str]) -> list[str]:
    first = lines[0] if lines else ""
    cells = next(csv.reader([first]), []) if path.suffix == ".csv" else first.split("\t")
    return [cell.strip().lower() for cell in cells]


def _table(path: Path, lines: list[str], header: list[str]) -> list[dict[str, str]]:
    if path.suffix != ".csv":
        rows = [line.split("\t", len(header) - 1) for line in lines[1:]]
    else:
        csv.field_size_limit(2**31 - 1)
        try:
            rows = list(csv.reader(io.StringIO("\n".join(lines[1:]), newline=""), strict=True))
        except csv.Error as error:
            raise TuneshotError(f"{path} is not a well-formed CSV: {error}") from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise TuneshotError(
                f"{path}, row {number}: {len(row)} fields where the header has {len(header)}"
            )
    return [dict(zip(header, row, strict=True)) for row in rows]


# --- the corpus and the sample ------------------------------------------------------------------


class Source(NamedTuple):
    """Messages and, in words, where they came from."""

    examples: list[Example]
    name: str


def corpus_path() -> Path:
    """Where ``fetch_corpus`` keeps the SMS Spam Collection."""
    return cache_dir() / "sms_spam" / "SMSSpamCollection"


def sample_messages() -> Source:
    """The messages written for this project: bundled, so that a class never depends on wifi."""
    path = Path(str(files("clfcore"))) / "assets" / "messages.tsv"
    return Source(read_labelled(path), "sample messages of this project")


def load_messages(path: Path | None = None) -> Source:
    """The file the user names, else the downloaded corpus, else the bundled sample.

    Raises:
        TuneshotError: the named file, or the downloaded corpus, cannot be used.
    """
    if path is not None:
        return Source(read_labelled(path), str(path))
    if corpus_path().exists():
        _check_corpus(corpus_path().read_bytes(), str(corpus_path()))
        return Source(read_labelled(corpus_path()), "SMS Spam Collection")
    return sample_messages()


def fetch_corpus(source: str | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
    """Puts the SMS Spam Collection into the user's cache.

    Args:
        source: a URL or a local path (the zip, or the text file); default: UCI, then mirrors.
        say: told what is being tried, one line each.

    Returns:
        The path of the text file.

    Raises:
        TuneshotError: no source could be reached, or none had the right hash. An old copy in
            the cache is left as it was.
    """
    reasons = []
    for place in [source] if source else CORPUS_SOURCES:
        say(f"trying {place}")
        try:
            raw = _corpus_file(_get(place))
            _check_corpus(raw, place)
        except (OSError, zipfile.BadZipFile, TuneshotError) as error:
            reasons.append(f"{place}: {getattr(error, 'reason', None) or error}")
            continue
        with atomic_write(corpus_path()) as new:
            new.write_bytes(raw)
        return corpus_path()
    raise TuneshotError(
        "could not get the SMS Spam Collection ("
        + "; ".join(reasons)
        + "); download it elsewhere and run: clf data fetch --from FILE"
    )


def _get(place: str) -> bytes:
    if not place.startswith(("http://", "https://")):
        return Path(place).read_bytes()
    try:
        with urlopen(place, timeout=20) as response:
            return response.read(50_000_000)
    except URLError as error:
        raise OSError(f"no answer ({error.reason})") from error


def _corpus_file(raw: bytes) -> bytes:
    """The text file itself, taken out of the UCI zip where that is what we were given."""
    if not zipfile.is_zipfile(io.BytesIO(raw)):
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        if "SMSSpamCollection" not in archive.namelist():
            raise TuneshotError("the zip holds no file SMSSpamCollection")
        return archive.read("SMSSpamCollection")


def _check_corpus(raw: bytes, place: str) -> None:
    found = hashlib.sha256(raw).hexdigest()
    if found != CORPUS_SHA256:
        raise TuneshotError(
            f"{place} is not the original SMS Spam Collection: its sha256 is {found[:12]}…, "
            f"expected {CORPUS_SHA256[:12]}…"
        )


# --- duplicates, split, identity ----------------------------------------------------------------


def normal_form(text: str) -> str:
    """What two copies of a message share: everything but case and spacing."""
    return " ".join(text.casefold().split())


def near_form(text: str) -> str:
    """What two mailings of one campaign share: the words, whatever the numbers and punctuation.

    Some test messages have such a near twin in the training part; figures without them are
    reported beside the others.
    """
    return _NOT_WORD.sub(" ", _NUMBER.sub("0", text.casefold())).strip() or normal_form(text)


_NUMBER = re.compile(r"\d+")
_NOT_WORD = re.compile(r"[\W_]+")


def duplicate_groups(texts: Iterable[str]) -> np.ndarray:
    """Group number of each text, (N,) int64; equal ``normal_form`` gives an equal number."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(normal_form(t), len(numbers)) for t in texts], np.int64)


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts, ascending; together every row once."""

    train: list[int]
    val: list[int]
    test: list[int]


def grouped_stratified_split(examples: Sequence[Example], seed: int = 0) -> Split:
    """70 / 10 / 20 percent for training, validation and test.

    No duplicate group is in two parts, and each part keeps the natural class ratio
    (scikit-learn's ``StratifiedGroupKFold``, ten folds).

    Raises:
        TuneshotError: a label has fewer than ten messages, so that a part would miss it.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second; `--help` should not wait

    counts = Counter(example.label for example in examples)
    for label, count in sorted(counts.items()):
        if count < 10:
            raise TuneshotError(
                f"label {label!r} has {count} messages; a split needs at least 10 of each label"
            )
    folds = StratifiedGroupKFold(n_splits=10, shuffle=True, random_state=seed)
    parts = folds.split(
        np.zeros(len(examples)),
        [example.label for example in examples],
        duplicate_groups(example.text for example in examples),
    )
    held_out = [rows.tolist() for _, rows in parts]
    return Split(
        train=sorted(row for fold in held_out[3:] for row in fold),
        val=sorted(held_out[2]),
        test=sorted(held_out[0] + held_out[1]),
    )


def load_pool(path: Path | None = None) -> Source:
    """What few-shot examples are chosen from: all of the named file, else the training part.

    The bundled model has learnt from the same part, and a message of the test part is new to
    both.

    Raises:
        TuneshotError: as ``load_messages``.
    """
    source = load_messages(path)
    if path is not None:
        return source
    rows = grouped_stratified_split(source.examples).train
    return Source([source.examples[row] for row in rows], f"{source.name}, training part")


def content_hash(examples: Iterable[Example]) -> str:
    """sha256 over labels and texts in order: the identity of a data set or of a part of it."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{example.label}\t{example.text}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
