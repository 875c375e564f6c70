"""What every method of a comparison is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from clfcore.types import Example
from icl.lm.connection import DEFAULT_CONNECTION, Connection
from icl.pool.embed import DEFAULT_EMBEDDER
from icl.prompt.tasks import Task
from icl.settings import USUAL_K


@dataclass(frozen=True)
class MethodInput:
    """What a method may learn from, and with what.

    Attributes:
        labelled: the messages whose labels it may see, all it may see of the task.
        task: labels and prompt format.
        base: what fine-tuning starts from, see ``load_base``.
        lm: the language model that is shown examples, see ``open_lm``.
        k: how many of them; also the neighbours that vote.
        chat: whether the prompt is a chat; ``None``: as the model prefers.
        prompt_tokens: how long a prompt may be; 0: as the model likes it.
        connection: how the server of a model behind an API is reached.
        order: how they stand in the prompt, a key of ``ARRANGEMENTS``.
        embedder: what finds similar messages, see ``embedder``.
        seed: of everything random.
        rows: of the pool, where the labelled messages stand; for records.
        chosen: what the method has chosen from these very messages before, see ``Method.learn``; it
            does not choose again. Only some other thing, such as ``order``, is different now.
    """

    labelled: tuple[Example, ...]
    task: Task
    base: str
    lm: str
    k: int = USUAL_K
    chat: bool | None = None
    prompt_tokens: int = 0
    connection: Connection = DEFAULT_CONNECTION
    order: str = "similar_last"
    embedder: str = DEFAULT_EMBEDDER
    seed: int = 0
    rows: tuple[int, ...] = ()
    chosen: Mapping[str, Any] | None = None

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """Those of them that the labelled messages show, in the task's order."""
        shown = {example.label for example in self.labelled}
        return tuple(label for label in self.task.labels if label in shown)
