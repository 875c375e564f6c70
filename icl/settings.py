"""Every choice of a few-shot answer, in one frozen dataclass."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from clfcore.config import Checked, read_value
from clfcore.errors import TuneshotError
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.scoring import SCORINGS
from icl.selectors.arrange import ARRANGEMENTS, BALANCES
from icl.selectors.table import SELECTORS

Option = int | float | bool | str

# Which label shares a calibrated answer expects.
SHARES = ("equal", "pool")


@dataclass(frozen=True, slots=True)
class FewShotConfig(Checked):
    """How a message becomes a prompt, and what is read becomes an answer.

    Attributes:
        selector: a key of ``SELECTORS``: which messages may be shown.
        options: the selector's own settings, by name.
        k: how many are shown.
        balance: a key of ``BALANCES``: how many of each label. Some selectors have their own.
        order: a key of ``ARRANGEMENTS``: how they stand in the prompt.
        near: cosine from which on a message is left out as nearly the same as a better one; 1:
            exact copies only, which are always left out.
        longest: most tokens of a shown message; 0: no limit.
        chat: show the examples as turns of a chat, through the model's chat template.
        scoring: a key of ``SCORINGS``: what counts as the score of a label.
        calibration: a key of ``CALIBRATIONS``: how the prompt's own bias is taken out.
        shares: with a calibration, how frequent labels are expected to be: ``equal``, or as in the
            ``pool``.
        seed: of all that is random.
    """

    selector: str = "topk"
    options: Mapping[str, Option] = field(default_factory=dict)
    k: int = 4
    balance: str = "equal"
    order: str = "similar_last"
    near: float = 1.0
    longest: int = 0
    chat: bool = False
    scoring: str = "sum"
    calibration: str = "none"
    shares: str = "equal"
    seed: int = 0

    def problems(self) -> list[str]:
        found = [
            f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(table)}"
            for name, table in CHOICES.items()
            if getattr(self, name) not in table
        ]
        found += [
            f"{name} must be 0 or more, not {getattr(self, name)}"
            for name in ("k", "longest", "seed")
            if getattr(self, name) < 0
        ]
        if not 0 < self.near <= 1:
            found.append(f"near must be in (0, 1], not {self.near:g}")
        return found or self._selector_problems()

    def _selector_problems(self) -> list[str]:
        selector = SELECTORS[self.selector]
        if selector.votes and self.k == 0:
            return [f"selector {self.selector!r} needs at least one neighbour; choose k ≥ 1"]
        known = options_of(self.selector)
        if unknown := [name for name in self.options if name not in known]:
            has = ", ".join(known) or "none"
            return [f"{self.selector} has no option {unknown[0]!r}; its options: {has}"]
        try:
            selector(seed=self.seed, **self.options)
        except TuneshotError as error:
            return [str(error)]
        return []


CHOICES: dict[str, Any] = {
    "selector": SELECTORS,
    "balance": BALANCES,
    "order": ARRANGEMENTS,
    "scoring": SCORINGS,
    "calibration": CALIBRATIONS,
    "shares": SHARES,
}


def options_of(selector: str) -> dict[str, Any]:
    """The options of a selector and their defaults."""
    found = fields(SELECTORS[selector])  # type: ignore[arg-type]
    return {option.name: option.default for option in found if option.name != "seed"}


def read_option(selector: str, assignment: str) -> tuple[str, Option]:
    """An option of a selector from ``name=value``.

    Raises:
        TuneshotError: not of this form, no such option, or a value of another type.
    """
    name, sign, text = (part.strip() for part in assignment.partition("="))
    known = options_of(selector)
    if not sign or not text:
        raise TuneshotError(f"expected name=value, not {assignment!r}; for example k=4")
    if name not in known:
        has = ", ".join(known) or "none"
        raise TuneshotError(f"{selector} has no option {name!r}; its options: {has}")
    return name, read_value(name, text, type(known[name]))
