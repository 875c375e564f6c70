"""What a tokenizer makes of a text before and after it looks for tokens: it may not grow much.

Replacing one letter by two, thirty times over, makes a billion of one (``tokenizer.json`` may name
any number of such steps).
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clfcore.errors import TuneshotError
from clfcore.json_text import shortened_repr

_MOST_GROWTH = 100  # characters for one, or in front of all
_MOST_ADDED = 1_000  # tokens around a text


def check_tokenizer_file(path: Path) -> None:
    """Refuses a ``tokenizer.json`` that cannot be read, or as ``check_tokenizer``.

    Raises:
        TuneshotError: why.
    """
    from tokenizers import Tokenizer  # without transformers

    try:
        backend = Tokenizer.from_file(str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise TuneshotError(
            f"{path} is no tokenizer ({shortened_repr(str(error))}); copy the folder again"
        ) from error
    check_tokenizer(path.parent, backend)


def check_tokenizer(place: object, backend: Any) -> None:  # noqa: ANN401
    """Refuses a tokenizer that makes a text much longer.

    Args:
        place: the model's folder or name.
        backend: a tokenizer of tokenizers; ``None``, as of some of transformers, cannot.

    Raises:
        TuneshotError: it does, or replaces nothing by something.
    """
    for name in ("normalizer", "decoder"):
        if _growth(_described(backend, name)) > _MOST_GROWTH:
            raise TuneshotError(
                f"{place}: the {name} of its tokenizer makes a text more than {_MOST_GROWTH} times "
                "as long; copy the folder again"
            )
    if _added(_described(backend, "post_processor")) > _MOST_ADDED:
        raise TuneshotError(
            f"{place}: its tokenizer puts more than {_MOST_ADDED:,} tokens around a text; copy the "
            "folder again"
        )


def _described(backend: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    """A part of a tokenizer as in ``tokenizer.json``; empty: it has none."""
    part = getattr(backend, name, None)
    return {} if part is None else json.loads(part.__getstate__())


def _growth(part: dict[str, Any]) -> float:
    """How many characters one becomes at most; one that is put in front counts, too."""
    growth = 1.0
    for step in _steps(part):
        if step.get("type") == "Replace":
            ((kind, pattern),) = step["pattern"].items()
            if kind == "String":
                growth *= max(1.0, len(step["content"]) / len(pattern)) if pattern else float("inf")
            else:  # which may fit between two characters, and take none away
                growth *= 1 + len(step["content"])
        elif step.get("type") == "Precompiled":
            growth *= max(1, _longest(base64.b64decode(step["precompiled_charsmap"] or "")))
        else:
            growth *= max(1, len(step.get("prepend") or ""))
    return growth


def _longest(charsmap: bytes) -> int:
    """Bytes of the longest text that a character becomes (sentencepiece: the size of a trie, the
    trie, the texts, each ended by a NUL).
    """
    return max(map(len, charsmap[4 + int.from_bytes(charsmap[:4], "little") :].split(b"\0")))


def _added(part: dict[str, Any]) -> int:
    tokens = 0
    for step in _steps(part):
        special = step.get("special_tokens")
        if isinstance(special, dict):  # of a template
            named = [
                each["SpecialToken"]["id"] for each in step["single"] if "SpecialToken" in each
            ]
            tokens += sum(len(special[name]["ids"]) for name in named)
    return tokens


def _steps(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a sequence, in sequences inside, too."""
    for name in ("normalizers", "decoders", "processors"):
        if isinstance(part.get(name), list):
            for each in part[name]:
                yield from _steps(each)
            return
    yield part
