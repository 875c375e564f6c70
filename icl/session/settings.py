"""What a visitor can set."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from clfcore.config import Bound, Setting, setting
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.types import Example
from icl.prompt.tasks import TASKS
from icl.recipe import Recipe
from icl.selectors.arrange import ARRANGEMENTS
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig, Option

MAX_K = 32

CHAT_SELECTORS = tuple(name for name, selector in SELECTORS.items() if selector.in_chat)

# What a visitor chooses -> the methods that answer.
PROFILES: dict[str, tuple[str, ...]] = {
    "Compare": ("fine_tuned", "few_shot"),
    "Fine-tuned": ("fine_tuned",),
    "Few-shot": ("few_shot",),
}


@dataclass(frozen=True, slots=True)
class Settings(FewShotConfig):
    """How a message is answered: the prompt, and what is answered by which model.

    Attributes:
        lm: one of the session's language models; "": its first.
        checkpoint: one of its fine-tuned models; "": the first that knows the task's labels.
        added: labelled messages that were added to the pool in this chat.
        trained: a fine-tuned model that was made in this chat, and is asked instead.

    Raises:
        TuneshotError: a name or a number that is not allowed.
    """

    selector: str = setting("topk", "How examples are chosen.", choices=CHAT_SELECTORS, page=True)
    options: Mapping[str, Option] = field(default_factory=dict, hash=False)  # not on the page
    # Half the wait of the usual number, and level with it on text messages: ``docs/few-shot.md``.
    k: int = setting(
        4,
        "How many examples are shown.",
        bound=Bound(f"a number from 0 to {MAX_K}", lambda k: 0 <= k <= MAX_K),
        page=True,
    )
    # A visitor does not wait for an order to be chosen.
    order: str = setting("similar_last", "Their order.", choices=ARRANGEMENTS, page=True)
    task: str = setting("sms_spam", "What the labels are.", choices=TASKS, page=True)
    lm: str = setting("", "What reads the prompt; empty: the first.", page=True)
    checkpoint: str = setting("", "Empty: the first that knows the task's labels.", page=True)
    added: tuple[Example, ...] = ()
    trained: Path | None = None

    def contradictions(self) -> list[str]:
        """None: where only the prompt is impossible, the fine-tuned model can still answer."""
        return []

    @classmethod
    def of_recipe(cls, recipe: Recipe) -> "Settings":
        """The settings of a recipe, for the task that it names.

        Raises:
            TuneshotError: no task of the page, other labels than the task's, or settings that a
                page does not offer.
        """
        if recipe.task not in TASKS:
            raise unknown_choice("task of a recipe", recipe.task, TASKS)
        recipe.check_labels(TASKS[recipe.task].labels)
        return cls(task=recipe.task, **recipe.settings_with({}))

    @classmethod
    def read(cls, choices: Mapping[str, str] | None, usual: "Settings | None" = None) -> "Settings":
        """Settings from a page's choices; what is not chosen is as in the ``usual`` ones.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        values: dict[str, Any] = {}
        for name, value in (choices or {}).items():
            if name not in PAGE_SETTINGS:
                raise unknown_choice("setting", name, PAGE_SETTINGS)
            values[name] = text = str(value)
            if isinstance(getattr(cls(), name), int):
                if not (text.isascii() and text.isdecimal() and len(text) < 10):
                    raise TuneshotError(f"{name} is {text[:20]!r}; choose a number")
                values[name] = int(text)
        return (usual or cls()).with_choices(values)

    def with_choices(self, chosen: Mapping[str, Any]) -> "Settings":
        """These settings where nothing else is chosen; another task has nothing of them."""
        usual = self if chosen.get("task", self.task) == self.task else type(self)()
        options = usual.options if chosen.get("selector", usual.selector) == usual.selector else {}
        return replace(usual, options=options, **chosen)

    def choices(self) -> dict[str, str | int]:
        """The settings of the page, by name."""
        return {name: getattr(self, name) for name in PAGE_SETTINGS}

    def relevant_to(self, method: str) -> "Settings":
        """These settings without those that make no difference to a method's answers."""
        if method == "fine_tuned":
            return Settings(task=self.task, checkpoint=self.checkpoint, trained=self.trained)
        return replace(self, checkpoint="", trained=None)


NOTHING_CHOSEN = Settings()

# The settings that a visitor or a program may set.
PAGE_SETTINGS: dict[str, Setting] = {
    each.name: about
    for each in fields(Settings)
    if (about := each.metadata.get("setting")) and about.page
}

# Those of them whose values are known beforehand.
CHOICES = {name: tuple(about.choices) for name, about in PAGE_SETTINGS.items() if about.choices}
