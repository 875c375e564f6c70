"""What one chat remembers between its turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.session.session import RecentTurns
from icl.session.settings import NOTHING_CHOSEN, Settings

MAX_ADDED_EXAMPLES = 100  # each of them is part of every question of its chat
MAX_TURNS = 200  # that can be looked back at


@dataclass
class Chat:
    """One chat's own state; never shared.

    Attributes:
        added: task -> the labelled messages that were added here, in order.
        trained: task -> the folder of the fine-tuned model that was made here.
        panel: what is chosen in the settings panel.
        turns: the last of them.
        usual: the settings of a visitor who has chosen nothing.
    """

    added: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    trained: dict[str, Path] = field(default_factory=dict)
    panel: dict[str, str] = field(default_factory=dict)
    turns: RecentTurns = field(default_factory=lambda: RecentTurns(MAX_TURNS))
    usual: Settings = NOTHING_CHOSEN

    def settings(self, choices: Mapping[str, str] | None) -> Settings:
        """How a message is answered here and now.

        Args:
            choices: of the pickers that came with it; ``None`` if it came before they did.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        settings = Settings.read({**self.panel, **(choices or {})}, self.usual)
        trained = self.trained.get(settings.task)
        return replace(
            settings,
            added=self.added.get(settings.task, ()),
            trained=trained if trained and trained.exists() else None,  # old ones are removed
        )

    def to_dict(self) -> dict[str, Any]:
        """What outlives the process, as plain JSON: not the turns, and not what was trained."""
        return {
            "taught": {
                task: [[e.text, e.label] for e in examples] for task, examples in self.added.items()
            },
            "panel": self.panel,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], usual: Settings = NOTHING_CHOSEN) -> Self:
        """The chat of ``to_dict``; what is missing is empty."""
        return cls(
            added={
                task: tuple(Example(*each) for each in pairs)
                for task, pairs in values.get("taught", {}).items()
            },
            panel=dict(values.get("panel", {})),
            usual=usual,
        )

    def add_example(self, task: str, example: Example) -> None:
        """Adds a message to this chat's pool; of the same text, the last label counts.

        Args:
            task: whose label the example has.
            example: the message.

        Raises:
            TuneshotError: too many.
        """
        same = normal_form(example.text)
        others = [e for e in self.added.get(task, ()) if normal_form(e.text) != same]
        if len(others) >= MAX_ADDED_EXAMPLES:
            raise TuneshotError(
                f"this chat has learned {MAX_ADDED_EXAMPLES} messages, which is all it can hold; "
                "open a new chat, or train on a file: clf train --data FILE"
            )
        self.added[task] = (*others, example)
