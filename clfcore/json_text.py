"""The one way to write JSON, and to read it from strangers: what every program reads alike.

JSON knows neither NaN nor Infinity, which Python writes unless told otherwise; null stands in their
place.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

MOST_NESTED = 64  # objects and lists inside each other
_MOST_DIGITS = 20  # of 64 bits, with a sign


def to_json(value: Any, **layout: Any) -> str:  # noqa: ANN401
    """``value`` as JSON, with null for numbers that are not finite.

    Args:
        value: of dictionaries, lists, tuples, texts, numbers, truth values and ``None``.
        layout: ``indent``, ``separators``, ``sort_keys`` and ``ensure_ascii`` of ``json.dumps``.

    Raises:
        TypeError: something in it has no form in JSON.
    """
    return json.dumps(finite(value), allow_nan=False, **layout)


def finite(value: Any) -> Any:  # noqa: ANN401
    """``value`` with ``None`` for each number in it that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return value


def from_json(raw: bytes) -> Any:  # noqa: ANN401
    """What JSON in UTF-8 says; what two programs might read differently is refused.

    Args:
        raw: perhaps after a byte order mark.

    Raises:
        ValueError: it is not UTF-8 or not JSON; a key stands there twice; a number is not finite,
            or has more than 64 bits; it is nested deeper than ``MOST_NESTED``.
    """
    try:
        value = json.loads(
            raw.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=_finite_number,
            parse_int=_whole_number,
            parse_constant=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start})") from error
    except RecursionError:
        raise _too_deep() from None
    level, depth = [value], 0
    while level := [inner for outer in level for inner in _inside(outer)]:
        depth += 1
        if depth > MOST_NESTED:
            raise _too_deep()
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shortened_repr(twice)} stands there twice")
    return made


def _finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{shortened_repr(text)} is not a finite number")
    return number


def _whole_number(text: str) -> int:
    if len(text) > _MOST_DIGITS or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"the number {shortened_repr(text)} has more than 64 bits")
    return int(text)


def _inside(value: Any) -> Iterable[Any]:  # noqa: ANN401
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_NESTED} deep")


def shortened_repr(value: object) -> str:
    """``value`` as Python writes it, at most 60 characters: for one line about a strange file."""
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
