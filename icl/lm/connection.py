"""How a model behind an API is reached; options of the commands, and variables of the environment.

``TUNESHOT_TIMEOUT``, ``TUNESHOT_REQUESTS_A_MINUTE`` and ``TUNESHOT_LOGPROBS`` are for programs
without options, such as the page; so is ``TUNESHOT_BASE_URL``, see ``icl/lm/provider.py``.
"""

import os
from dataclasses import dataclass, fields
from typing import Any

from clfcore.config import POSITIVE, Checked, read_value, setting

BEHIND_AN_API = "A model behind an API"  # a heading of --help


@dataclass(frozen=True)
class Connection(Checked):
    """What ``ApiLM`` is told about its server; ``None``: as the environment says, else its default.

    Raises:
        TuneshotError: a time or a number of requests that is not positive.
    """

    base_url: str | None = setting(
        None,
        "Of a server with OpenAI's protocol, such as vLLM's or llama.cpp's; default: "
        "TUNESHOT_BASE_URL.",
        BEHIND_AN_API,
    )
    timeout: float | None = setting(
        None,
        "Seconds without a byte from the server; default: TUNESHOT_TIMEOUT, or 60.",
        BEHIND_AN_API,
        bound=POSITIVE,
    )
    requests_a_minute: float | None = setting(
        None,
        "At most; default: TUNESHOT_REQUESTS_A_MINUTE, or no limit.",
        BEHIND_AN_API,
        bound=POSITIVE,
    )
    logprobs: bool | None = setting(
        None,
        "Ask for log-probabilities, which a few servers refuse; default: TUNESHOT_LOGPROBS, or "
        "true.",
        BEHIND_AN_API,
        option="--logprobs/--no-logprobs",
    )

    @property
    def given(self) -> dict[str, Any]:
        """What was said, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(Connection)}
        return {name: value for name, value in values.items() if value is not None}


DEFAULT_CONNECTION = Connection()


def from_environment() -> dict[str, Any]:
    """What the environment says, by the names of ``Connection``; the address is the provider's.

    Raises:
        TuneshotError: a variable that is no such value.
    """
    kinds = {"timeout": float, "requests_a_minute": float, "logprobs": bool}
    variables = {name: f"TUNESHOT_{name.upper()}" for name in kinds}
    return Connection(
        **{
            name: read_value(variable, os.environ[variable], kinds[name])
            for name, variable in variables.items()
            if os.environ.get(variable)
        }
    ).given
