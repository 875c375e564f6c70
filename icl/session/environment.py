"""The models of this process, as the environment names them; page and service share them.

All variables are optional: ``TUNESHOT_CHECKPOINT`` a fine-tuned model, ``TUNESHOT_POOL`` a file of
labelled messages, ``TUNESHOT_LM`` the language model that reads the prompt, ``TUNESHOT_FOLDER``
data of other tasks, ``TUNESHOT_CHAT`` and ``TUNESHOT_PROMPT_TOKENS`` the form and the length of a
prompt, ``TUNESHOT_RECIPE`` the settings where a visitor has chosen nothing, a recipe of ``icl
tune``, ``TUNESHOT_TRUST_SOURCE`` whether a checkpoint may have its trunk loaded from elsewhere.
Several models are separated by commas; the page offers them.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

from clfcore.config import DEFAULT_LM, read_value
from icl.session.open import open_session
from icl.session.workers import Workers


@cache
def workers() -> Workers:
    """The models and their queues; loads nothing yet."""
    return Workers(
        open_session(
            checkpoints=[Path(name) for name in _names("TUNESHOT_CHECKPOINT")],
            pool=_path("TUNESHOT_POOL"),
            lms=_names("TUNESHOT_LM") or [DEFAULT_LM],
            folder=_path("TUNESHOT_FOLDER"),
            chat=_value("TUNESHOT_CHAT", bool, None),
            prompt_tokens=_value("TUNESHOT_PROMPT_TOKENS", int, 0),
            recipe=_path("TUNESHOT_RECIPE"),
            trust_source=_value("TUNESHOT_TRUST_SOURCE", bool, False),
        )
    )


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _value(variable: str, kind: type, default: Any) -> Any:  # noqa: ANN401
    return read_value(variable, text, kind) if (text := os.environ.get(variable)) else default


def _path(variable: str) -> Path | None:
    return Path(value) if (value := os.environ.get(variable)) else None
