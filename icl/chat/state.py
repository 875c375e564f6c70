"""What one chat remembers between its turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from clfcore.data.split import normal_form
from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.session.session import Reply
from icl.session.settings import Settings

MAX_TAUGHT = 100  # messages; each travels with every question of its chat
MAX_TURNS = 200  # that can be looked back at


@dataclass(frozen=True, slots=True)
class Turn:
    """One message and its answers.

    Attributes:
        id: known to this chat only.
        text: the message.
        settings: how it was answered.
        reply: the answers.
    """

    id: str
    text: str
    settings: Settings
    reply: Reply


@dataclass
class Chat:
    """One chat's own state; never shared.

    Attributes:
        taught: task -> what was taught here, in order.
        trained: task -> the fine-tuned model that was made here.
        panel: what is chosen in the settings panel.
        turns: the last of them, by id, the newest last.
    """

    taught: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    trained: dict[str, Path] = field(default_factory=dict)
    panel: dict[str, str] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)

    def settings(self, choices: Mapping[str, str] | None) -> Settings:
        """How a message is answered here and now.

        Args:
            choices: of the pickers that travelled with it; ``None`` if it came before they did.

        Raises:
            TuneshotError: an unknown choice, or one that is not allowed.
        """
        chosen = Settings.read({**self.panel, **(choices or {})})
        trained = self.trained.get(chosen.task)
        return replace(
            chosen,
            taught=self.taught.get(chosen.task, ()),
            trained=trained if trained and trained.exists() else None,  # old ones are removed
        )

    def remember(self, id: str, text: str, settings: Settings, reply: Reply) -> Turn:
        """Keeps a turn, so that one can ask why."""
        turn = Turn(id, text, settings, reply)
        self.turns[turn.id] = turn
        while len(self.turns) > MAX_TURNS:
            del self.turns[next(iter(self.turns))]
        return turn

    def to_dict(self) -> dict[str, Any]:
        """What outlives the process, as plain JSON: not the turns, and not what was trained."""
        taught = {task: [[e.text, e.label] for e in known] for task, known in self.taught.items()}
        return {"taught": taught, "panel": self.panel}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """A chat as ``to_dict`` had it; nothing of it is fine, too."""
        lessons = kept.get("taught", {}).items()
        taught = {task: tuple(Example(*each) for each in known) for task, known in lessons}
        return cls(taught=taught, panel=dict(kept.get("panel", {})))

    def recall(self, id: str | None = None) -> Turn:
        """A turn by its id; the last one by default.

        Raises:
            TuneshotError: there is none.
        """
        if id is None and self.turns:
            return next(reversed(self.turns.values()))
        if id not in self.turns:
            raise TuneshotError(
                "this answer is not remembered any more; send a message first, or this one again"
            )
        return self.turns[id]

    def teach(self, task: str, example: Example) -> None:
        """Adds a message to this chat's pool; of the same text, the last label counts.

        Args:
            task: whose label the example has.
            example: the message.

        Raises:
            TuneshotError: too many.
        """
        same = normal_form(example.text)
        known = self.taught.get(task, ())
        others = tuple(each for each in known if normal_form(each.text) != same)
        if len(others) >= MAX_TAUGHT:
            raise TuneshotError(
                f"this chat has learned {MAX_TAUGHT} messages, which is all it can hold; open a "
                "new chat, or train on a file: clf train --data FILE"
            )
        self.taught[task] = (*others, example)
