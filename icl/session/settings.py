"""What a visitor can set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example
from icl.prompt.tasks import TASKS
from icl.selectors.arrange import ARRANGEMENTS, BALANCES
from icl.selectors.table import SELECTORS

MAX_K = 32

CHAT_SELECTORS = tuple(name for name, selector in SELECTORS.items() if selector.in_chat)

# What a visitor chooses -> the methods that answer.
PROFILES: dict[str, tuple[str, ...]] = {
    "Compare": ("fine_tuned", "few_shot"),
    "Fine-tuned": ("fine_tuned",),
    "Few-shot": ("few_shot",),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How a message is answered.

    Attributes:
        selector: one of ``CHAT_SELECTORS``.
        k: how many examples are shown, 0 to ``MAX_K``.
        order: a key of ``ARRANGEMENTS``.
        balance: a key of ``BALANCES``.
        task: a key of ``TASKS``.
        lm: one of the session's language models; "": its first.
        checkpoint: one of its fine-tuned models; "": the first that knows the task's labels.
        added: labelled messages that were added to the pool in this chat.
        trained: a fine-tuned model that was made in this chat, and is asked instead.

    Raises:
        TuneshotError: a name or a number that is not among them.
    """

    selector: str = "topk"
    k: int = 4
    order: str = "similar_last"
    balance: str = "equal"
    task: str = "sms_spam"
    lm: str = ""
    checkpoint: str = ""
    added: tuple[Example, ...] = ()
    trained: Path | None = None

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_choice(name, getattr(self, name), known)
        if not 0 <= self.k <= MAX_K:
            raise TuneshotError(f"k is {self.k}; choose a number from 0 to {MAX_K}")

    @classmethod
    def read(cls, choices: Mapping[str, str] | None) -> "Settings":
        """Settings from a page's choices; what is not chosen is the default.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        chosen = {name: str(value) for name, value in (choices or {}).items()}
        known = [field.name for field in fields(cls) if field.type in (str, int)]
        for name in chosen:
            if name not in known:
                raise unknown_choice("setting", name, known)
        k = chosen.pop("k", str(cls().k))
        if not (k.isascii() and k.isdecimal() and len(k) < 10):
            raise TuneshotError(f"k is {k[:20]!r}; choose a number from 0 to {MAX_K}")
        return cls(k=int(k), **chosen)  # type: ignore[arg-type]  # all others are str

    def relevant_to(self, method: str) -> "Settings":
        """These settings without those that make no difference to a method's answers."""
        if method == "fine_tuned":
            return Settings(task=self.task, checkpoint=self.checkpoint, trained=self.trained)
        return replace(self, checkpoint="", trained=None)


# The settings whose values are known beforehand; pages offer these.
CHOICES: dict[str, Sequence[str]] = {
    "selector": CHAT_SELECTORS,
    "order": tuple(ARRANGEMENTS),
    "balance": tuple(BALANCES),
    "task": tuple(TASKS),
}
