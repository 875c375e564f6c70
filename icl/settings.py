"""Every choice of a few-shot answer, in one frozen dataclass."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from clfcore.config import SHARE, SHARE_ABOVE_0, Checked, at_least, read_value, setting
from clfcore.errors import TuneshotError
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.orders import ENTROPIES, ORDER_MESSAGES, ORDERS_TRIED
from icl.prompt.scoring import SCORINGS
from icl.prompt.tasks import Task
from icl.selectors.arrange import ARRANGEMENTS, BALANCES
from icl.selectors.table import SELECTORS

Option = int | float | bool | str

# How the examples stand in the prompt: by a rule, or as it promises the best answers.
ORDERS: Mapping[str, Any] = ChainMap(ENTROPIES, ARRANGEMENTS)

# Which label shares a calibrated answer expects.
SHARES = ("equal", "pool")


# On seven tasks neither worse than no examples nor than 4 of as many labels as possible, but for
# one task; ``docs/few-shot.md`` has the figures.
USUAL_K, USUAL_BALANCE = 8, "none"

# The headings of ``icl classify --help``.
EXAMPLES, ANSWER = "The examples", "The answer"


@dataclass(frozen=True, slots=True)
class FewShotConfig(Checked):
    """How a message becomes a prompt, and what is read becomes an answer."""

    selector: str = setting(
        "topk", "How the messages that are shown are chosen.", EXAMPLES, choices=SELECTORS
    )
    options: Mapping[str, Option] = setting(
        dict, "An option of the selector; see icl selectors.", EXAMPLES, option="--set"
    )
    k: int = setting(
        USUAL_K, "How many examples are shown.", EXAMPLES, bound=at_least(0), option="-k"
    )
    balance: str = setting(
        USUAL_BALANCE,
        "How many of each label are shown; some selectors have their own rule.",
        EXAMPLES,
        choices=BALANCES,
        page=True,
    )
    order: str = setting(
        "similar_last",
        f"Their order in the prompt. Before the first answer, the entropies read {ORDERS_TRIED} "
        f"orders with {ORDER_MESSAGES} messages of the pool.",
        EXAMPLES,
        choices=ORDERS,
        page=True,
    )
    orders: int = setting(
        1,
        "Over how many orders the answer is averaged, the chosen one first; each is a prompt that "
        "is read.",
        EXAMPLES,
        bound=at_least(1),
    )
    near: float = setting(
        1.0,
        "Leave out messages as similar as this (cosine) to a better one; 1: exact copies, which "
        "are always left out.",
        EXAMPLES,
        bound=SHARE_ABOVE_0,
    )
    longest: int = setting(
        0, "Leave out messages of more tokens; 0: none.", EXAMPLES, bound=at_least(0)
    )
    chat: bool | None = setting(
        None,
        "Show examples as turns of a chat, through the model's chat template, for models made for "
        "chats; default: behind an API, yes; on this machine, no.",
        EXAMPLES,
        option="--chat/--no-chat",
    )
    prompt_tokens: int = setting(
        0,
        "How long a prompt may be, up to the model's window; 0: 1024 for a local model, 8192 "
        "behind an API.",
        EXAMPLES,
        bound=at_least(0),
    )
    scoring: str = setting("sum", "What counts as the score of a label.", ANSWER, choices=SCORINGS)
    calibration: str = setting(
        "none",
        "How the prompt's own bias, what it says without a message, is taken out.",
        ANSWER,
        choices=CALIBRATIONS,
    )
    shares: str = setting(
        "equal",
        "With a calibration: how frequent labels are expected to be, equally or as in the pool.",
        ANSWER,
        choices=SHARES,
    )
    vote: float = setting(
        0.0,
        "Which share of an answer's probabilities is a vote of the most similar messages.",
        ANSWER,
        bound=SHARE,
    )
    voters: int = setting(8, "How many messages vote in it.", ANSWER, bound=at_least(1))
    most_labels: int = setting(
        32,
        "Of more labels than this, only those of the examples and of the most similar messages are "
        "considered; 0: always all.",
        ANSWER,
        bound=at_least(0),
    )
    seed: int = setting(0, "The seed of everything random.", bound=at_least(0))

    @property
    def shown_balance(self) -> str:
        """The balance of what is shown: the selector's own, if it has one."""
        return SELECTORS[self.selector].balance or self.balance

    @property
    def chooses_order(self) -> bool:
        """Whether some messages are read in many orders before the first answer."""
        selector = SELECTORS[self.selector]
        has_order = self.k > 1 and self.selector != "zero" and not selector.votes
        return self.order in ENTROPIES and has_order and not selector.arranges

    def contradictions(self) -> list[str]:
        selector = SELECTORS[self.selector]
        if selector.votes and self.k == 0:
            return [f"selector {self.selector!r} needs at least one neighbour; choose k ≥ 1"]
        for name in self.options:
            if name not in options_of(self.selector):
                return [str(unknown_option(self.selector, name))]
        try:
            made = selector(seed=self.seed, **self.options)
        except TuneshotError as error:
            return [str(error)]
        part = selector.part_option
        if self.k > (most := getattr(made, part, self.k)):
            return [
                f"selector {self.selector!r} chooses from {part}={most} messages, so it cannot "
                f"show k={self.k}; choose k up to {most}, or a larger {part}"
            ]
        return []

    def check_task(self, task: Task) -> None:
        """Refuses a vote of messages whose labels say nothing about another message's.

        Raises:
            TuneshotError: every message of the task has choices of its own.
        """
        if not task.has_choices or not (self.vote or SELECTORS[self.selector].votes):
            return
        what = f"vote {self.vote}" if self.vote else f"selector {self.selector!r}"
        raise TuneshotError(
            f"{what} lets similar messages vote, and each message of {task.name} has choices of "
            "its own, so another one's right letter says nothing about it; "
            + ("leave it out" if self.vote else "choose a selector that shows examples")
        )

    @property
    def without_effect(self) -> tuple[str, ...]:
        """The settings that are not the usual ones and change nothing beside the others.

        That is no mistake: whoever tries several selectors keeps the rest as it is.
        """
        selector, usual = SELECTORS[self.selector], FewShotConfig()
        votes, asks_lm = selector.votes, selector.asks_lm
        shows = self.k > 0 and self.selector != "zero"
        ordered = shows and self.k > 1 and not votes
        mixes = asks_lm and self.vote > 0
        has_effect = {
            "k": self.selector != "zero",
            "balance": shows and selector.balance is None and not selector.arranges,
            "order": ordered and not selector.arranges,
            "orders": ordered,
            "near": shows or mixes,
            "longest": asks_lm and (shows or mixes),
            "chat": asks_lm,
            "prompt_tokens": asks_lm,
            "scoring": not votes,
            "calibration": not votes,
            "shares": not votes and self.calibration != "none",
            "vote": asks_lm,
            "voters": mixes,
            "most_labels": not votes,
        }
        return tuple(
            name
            for name, effect in has_effect.items()
            if not effect and getattr(self, name) != getattr(usual, name)
        )


def options_of(selector: str) -> dict[str, Any]:
    """The options of a selector and their defaults."""
    options = fields(SELECTORS[selector])
    return {option.name: option.default for option in options if option.name != "seed"}


def unknown_option(selector: str, name: str) -> TuneshotError:
    """The error for an option that a selector does not have; lists those that it has."""
    options = ", ".join(options_of(selector)) or "none"
    return TuneshotError(f"{selector} has no option {name!r}; its options: {options}")


def read_option(selector: str, assignment: str) -> tuple[str, Option]:
    """An option of a selector from ``name=value``.

    Raises:
        TuneshotError: not of this form, no such option, or a value of another type.
    """
    name, sign, text = (part.strip() for part in assignment.partition("="))
    options = options_of(selector)
    if not sign or not text:
        raise TuneshotError(f"expected name=value, not {assignment!r}; for example k=4")
    if name not in options:
        raise unknown_option(selector, name)
    return name, read_value(name, text, type(options[name]))
