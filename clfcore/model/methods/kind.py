"""What a kind of adapter is: a row of the table in ``clfcore/model/adapters.py``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clfcore.model.spec import AdapterSpec

if TYPE_CHECKING:  # settings choose from the table, and a wrong choice is refused without torch
    from clfcore.model.classifier import Trunk

Shapes = dict[str, tuple[int, ...]]  # of tensors, by name


@dataclass(frozen=True, slots=True)
class Adapter:
    """A kind of adapter.

    Attributes:
        apply: puts it into a trunk; returns peft's object that did it, if there is one.
        merges: whether it can become part of the trunk's weights.
        resumable: whether the trained weights are all that a stopped run needs to continue.
        shapes: of a trunk's tensors before, the width of its stream, a rank -> of all its tensors
            with the adapter; ``None``: only peft, which takes seconds to import, knows them.
        virtual_tokens: how many it puts in front of a message, which take some of the context.
    """

    apply: Callable[["Trunk", AdapterSpec], Any]
    merges: bool = True
    resumable: bool = True
    shapes: Callable[[Shapes, int, int], Shapes] | None = None
    virtual_tokens: int = 0
