"""The one way to write JSON: what every other program can read.

JSON knows neither NaN nor Infinity, which Python writes unless told otherwise; null stands in their
place.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


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
