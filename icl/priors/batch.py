"""What a language model says on average before calibration, and where it is remembered.

Batch calibration divides by the mean answer to some messages of the pool. To read these takes ten
seconds, so what came of it is kept: under everything that decides it (``about_prior``), in the
user's cache. For the bundled messages with the usual settings it comes with the program
(``icl/cli/bundle_priors.py`` makes it).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from clfcore.cache.database import PRIORS, DiskCache, Json
from clfcore.data.split import content_hash
from clfcore.json_text import to_json
from clfcore.paths import cache_dir, files_stamp
from clfcore.types import Example, OnProgress, ignore
from icl.lm.base import LM
from icl.lm.local import LocalLM
from icl.pool.pool import Pool
from icl.prompt.calibration import Prior
from icl.settings import EXAMPLES, FewShotConfig, Option

PRIOR_MESSAGES = 32  # of the pool, read without their labels
BUNDLED = Path(__file__).with_name("bundled.json")
_MOST_KEPT = 2000  # priors; that of two labels takes a kilobyte
_FORMAT = 2  # another number, and every prior is read again: for changes in how it comes about


def about_prior(
    lm: LM, pool: Pool, template: str, embedder: str, config: FewShotConfig, **resolved: Option
) -> Json | None:
    """Everything that decides a prior; ``None`` of a model that has no lasting name.

    Args:
        lm: the language model.
        pool: what is shown, and where the messages are from.
        template: the ``digest`` of the prompt's format.
        embedder: the name of what finds similar messages.
        config: its settings of the examples decide, and its scoring.
        resolved: settings that a model's preference completes: ``chat``, ``prompt_tokens``.
    """
    if not isinstance(lm, LocalLM):  # what a server says is kept, as it is said
        return None
    source = lm.settings["model"]
    is_path = source is not None and Path(source).exists()
    examples = [Example(text, label) for text, label in zip(pool.texts, pool.labels, strict=True)]
    decides = {each.name for each in fields(config) if _group(each) == EXAMPLES}
    usual = FewShotConfig().to_dict()
    same = {name: usual[name] for name in config.without_effect}  # whatever they are
    settings = {
        name: value
        for name, value in (config.to_dict() | same | resolved).items()
        if name in decides | {"scoring", "seed"}
    }
    return {
        "format": _FORMAT,
        "model": {"name": lm.name, "files": files_stamp(Path(source)) if is_path else None},
        "pool": {"messages": len(pool), "sha256": content_hash(examples)},
        "template": template,
        "embedder": embedder,
        "settings": settings,
    }


def _group(field: Any) -> str:  # noqa: ANN401
    return field.metadata["setting"].group if "setting" in field.metadata else ""


def key_of(about: Json) -> str:
    """The same for equal priors only, 64 hex digits."""
    return hashlib.sha256(to_json(about, sort_keys=True).encode()).hexdigest()


class BatchPrior:
    """The prior of one pool and some settings: remembered, or read message by message.

    Args:
        about: what decides it, see ``about_prior``; ``None``: it is not remembered.
        labels: C, in the order of the scores.
        texts: messages of the pool, at least one.
        read: a message -> label scores in nats, (C,) float64.

    Attributes:
        value: the prior; ``None`` until all of ``texts`` have been read.
    """

    def __init__(
        self,
        about: Json | None,
        labels: Sequence[str],
        texts: Sequence[str],
        read: Callable[[str], np.ndarray],
    ) -> None:
        self._about, self._labels, self._texts, self._read = about, labels, texts, read
        self._scores: list[np.ndarray] = []
        self.value = None if about is None else _remembered(about, labels)

    @property
    def left(self) -> int:
        """How many messages are still to be read."""
        return 0 if self.value is not None else len(self._texts) - len(self._scores)

    def read_next(self) -> None:
        """Reads one more message; after the last, the prior is there and is kept."""
        if not self.left:
            return
        self._scores.append(self._read(self._texts[len(self._scores)]))
        if not self.left:
            self.value = Prior.of(np.stack(self._scores))  # (n, C)
            if self._about is not None:
                _kept().put(key_of(self._about), self.to_json())

    def read_all(self, on_progress: OnProgress = ignore) -> None:
        """Reads whatever is left; ``on_progress`` is called with ("calibrate", read, all, "")."""
        while self.left:
            self.read_next()
            on_progress("calibrate", len(self._scores), len(self._texts), "")

    def read_again(self) -> None:
        """Reads all of it, whatever is remembered, and keeps what is read now."""
        self._scores, self.value = [], None
        self.read_all()

    def to_json(self) -> Json:
        """The prior as it is remembered, once it is there, with what decides it."""
        assert self.value is not None
        nats = [each if np.isfinite(each) else None for each in self.value.log_mean.tolist()]
        return {"about": self._about, "log_prior": dict(zip(self._labels, nats, strict=True))}


# --- where priors are remembered ------------------------------------------------------------------


def _remembered(about: Json, labels: Sequence[str]) -> Prior | None:
    """The prior that was kept or is carried, if it is one of these labels."""
    key = key_of(about)
    kept = _bundled().get(key) or _kept().get(key) or {}
    nats = kept.get("log_prior")
    if not isinstance(nats, dict) or list(nats) != list(labels):
        return None
    try:
        return Prior(np.array([-np.inf if each is None else each for each in nats.values()], float))
    except (TypeError, ValueError):
        return None


def _kept() -> DiskCache:
    return DiskCache(cache_dir() / PRIORS, _MOST_KEPT)


@cache
def _bundled() -> Mapping[str, Json]:
    carried = json.loads(BUNDLED.read_text(encoding="utf-8"))
    return {key_of(each["about"]): each for each in carried}
