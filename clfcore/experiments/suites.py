"""The questions: settings to be compared, as ready-made suites or as a grid of the user's own.

A row changes the lecture's settings, the defaults of ``TrainConfig``, whatever the base.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from clfcore.config import read_value
from clfcore.data.balance import BALANCERS
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.model.adapters import ADAPTERS
from clfcore.training.settings import NOTHING, TrainConfig
from clfcore.wording import assignments


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """A question, and the runs that answer it.

    Attributes:
        key: its short name, unique among all suites.
        question: in one sentence.
        changes: fields of ``TrainConfig`` that differ from the lecture's settings.
        size: the GPT-2 it is about, where that is not the base.
        published: accuracy in the book's training, validation and test part.
    """

    key: str
    question: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    size: str | None = None
    published: tuple[float, float, float] | None = None


# --- the suites ---------------------------------------------------------------------------------

_PADDED = {"position": "last_column", "padding": "longest"}  # the book's row 1

# The rows and the published figures of "book" are those of github.com/rasbt/LLMs-from-scratch,
# ch06/02_bonus_additional-experiments, at commit 28c65cd.
SUITES: dict[str, tuple[SuiteRow, ...]] = {
    "book": (
        SuiteRow("book-01", "What does the lecture's recipe reach?", _PADDED,
            published=(0.9663, 0.9933, 0.9500)),
        SuiteRow("book-02", "Read the last token or the first?",
            {"position": "first", "padding": "longest"},
            published=(0.7846, 0.8054, 0.7500)),
        SuiteRow("book-03", "Is it enough to train the last layer?",
            {**_PADDED, "layers": "last_layer"}, published=(0.7865, 0.7987, 0.7200)),
        SuiteRow("book-04", "Do two blocks learn more than one?",
            {**_PADDED, "layers": "last_two_blocks"}, published=(0.9885, 0.9866, 0.9833)),
        SuiteRow("book-05", "Does it help to train all layers?",
            {**_PADDED, "layers": "all"}, published=(0.9962, 0.9664, 0.9667)),
        SuiteRow("book-06", "Is GPT-2 medium better than small?", _PADDED,
            size="gpt2-medium", published=(0.8750, 0.9128, 0.8467)),
        SuiteRow("book-07", "Is GPT-2 large better than small?", _PADDED,
            size="gpt2-large", published=(0.9952, 0.9866, 0.9667)),
        SuiteRow("book-08", "Is GPT-2 XL better than small?", _PADDED,
            size="gpt2-xl", published=(0.9981, 0.9981, 0.9833)),
        SuiteRow("book-09", "Does it help to train all layers of GPT-2 XL?",
            {**_PADDED, "layers": "all"}, size="gpt2-xl", published=(1.0000, 0.9866, 0.9867)),
        SuiteRow("book-10", "What are the pretrained weights worth?",
            {**_PADDED, "weights": "random", "layers": "all"},
            published=(1.0000, 0.9664, 0.9367)),
        SuiteRow("book-11", "Does LoRA do as well as training all layers?",
            {**_PADDED, "layers": "lora", "rank": 16}, published=(1.0000, 0.9732, 0.9667)),
        SuiteRow("book-12", "Does LoRA do as well on GPT-2 XL?",
            {**_PADDED, "layers": "lora", "rank": 16},
            size="gpt2-xl", published=(1.0000, 0.9866, 0.9833)),
        SuiteRow("book-13", "Does padding to the whole context do harm?",
            {"position": "last_column", "padding": "full_context"},
            published=(0.8308, 0.8792, 0.7833)),
        SuiteRow("book-14", "Is it better without padding, one message at a time?",
            {"position": "last_token", "padding": "none", "batch_size": 1},
            published=(1.0000, 0.9866, 0.9800)),
        SuiteRow("book-15", "Is it better without padding, eight messages a step?",
            {"position": "last_token", "padding": "none", "batch_size": 1, "accumulate": 8},
            published=(0.9933, 0.9866, 0.9833)),
        SuiteRow("book-16", "Is it better to read the last token that is not padding?",
            {"position": "last_token", "padding": "longest"},
            published=(0.9942, 0.9866, 0.9833)),
        SuiteRow("book-17", "Does it help to take the causal mask off?",
            {**_PADDED, "causal": False}, published=(0.9923, 0.9866, 0.9533)),
        SuiteRow("book-18", "Does it help to leave padding out of the loss? "
            "It changes nothing: a label is never padding.", _PADDED,
            published=(0.9663, 0.9933, 0.9500)),
        SuiteRow("book-19", "Is the mean over all tokens better than the last one?",
            {"position": "mean", "padding": "longest"}, published=(0.9779, 0.9933, 0.9633)),
    ),
    "layers": (
        SuiteRow("layers-last-layer", "Is a linear head enough?", {"layers": "last_layer"}),
        SuiteRow("layers-last-block", "What does the lecture's choice, the last block, reach?"),
        SuiteRow("layers-last-two-blocks",
            "Do two blocks learn more?", {"layers": "last_two_blocks"}),
        SuiteRow("layers-last-four-blocks", "And four?", {"layers": "last_four_blocks"}),
        SuiteRow("layers-all", "And all layers?", {"layers": "all"}),
        SuiteRow("layers-none-logistic",
            "How good are the frozen vectors with logistic regression?",
            {"layers": NOTHING, "head": "logistic"}),
        SuiteRow("layers-none-mlp", "And with a small neural network on them?",
            {"layers": NOTHING, "head": "mlp"}),
        SuiteRow("layers-lora", "Does LoRA do as well as training all layers?", {"layers": "lora"}),
    ),
    "imbalance": (
        *(SuiteRow(f"imbalance-{name}", f"What does balance {name} do to fine-tuning?",
              {"balance": name})
          for name, balancer in BALANCERS.items() if balancer.kind != "points"),
        *(SuiteRow(f"imbalance-{name}-frozen",
              f"What does balance {name} do to a logistic head on frozen vectors?",
              {"balance": name, "layers": NOTHING})
          for name in BALANCERS),
    ),
    "adapters": (
        SuiteRow("adapters-last-block", "What is to be reached: the lecture's last block?"),
        *(SuiteRow(f"adapters-{name}", f"Does {name} do as well as training the last block?",
              {"layers": name})
          for name in ADAPTERS),
    ),
    "lora_ranks": (
        *(SuiteRow(f"lora-rank-{rank}", f"What does LoRA reach with rank {rank}?",
              {"layers": "lora", "rank": rank})
          for rank in (1, 2, 4, 8, 16, 32, 64, 128)),
        SuiteRow("lora-rank-all", "And all weights, without LoRA?", {"layers": "all"}),
    ),
    "positions": (
        SuiteRow("positions-last-token",
            "What does the last token know?", {"position": "last_token"}),
        SuiteRow("positions-last-column", "And the last column of the padded batch?", _PADDED),
        SuiteRow("positions-first", "And the first token?", {"position": "first"}),
        SuiteRow("positions-mean", "And the mean over all tokens?", {"position": "mean"}),
        SuiteRow("positions-last-token-unmasked", "And the last token without the causal mask?",
            {"position": "last_token", "causal": False}),
        SuiteRow("positions-last-column-unmasked", "And the last column without it?",
            {**_PADDED, "causal": False}),
        SuiteRow("positions-first-unmasked", "And the first token without it?",
            {"position": "first", "causal": False}),
        SuiteRow("positions-mean-unmasked", "And the mean without it?",
            {"position": "mean", "causal": False}),
    ),
}  # fmt: skip


def choose_rows(suite: str | None, keys: Sequence[str] = ()) -> tuple[SuiteRow, ...]:
    """The rows of a suite, or those of them that are named; without a suite, of all suites.

    Raises:
        TuneshotError: an unknown suite or row, or neither is named.
    """
    if suite is not None and suite not in SUITES:
        raise unknown_choice("suite", suite, SUITES)
    if suite is None and not keys:
        raise TuneshotError(f"name a suite ({', '.join(SUITES)}), --rows, or --vary name=value,…")
    names = SUITES if suite is None else (suite,)
    rows = {row.key: row for name in names for row in SUITES[name]}
    for key in keys:
        if key not in rows:
            raise unknown_choice("row", key, rows)
    return tuple(rows[key] for key in dict.fromkeys(keys or rows))


# --- settings, as a user writes them ------------------------------------------------------------


def settings_from(assignments: Iterable[str]) -> dict[str, Any]:
    """Fields of ``TrainConfig`` from ``name=value``.

    Raises:
        TuneshotError: an unknown name, or a value of another type than the field.
    """
    return {name: _value(name, text) for name, text in map(_assignment, assignments)}


def free_grid(varied: Iterable[str], overrides: Mapping[str, Any]) -> tuple[SuiteRow, ...]:
    """One row for every combination of the values in ``name=value,value``.

    Args:
        varied: one or more fields; the same field twice counts as one with all values.
        overrides: what else is set, see ``run_experiments``.

    Raises:
        TuneshotError: as ``settings_from``, or a value that no combination allows.
    """
    values: dict[str, list[Any]] = {}
    for assignment in varied:
        name, texts = _assignment(assignment)
        values.setdefault(name, []).extend(_value(name, text) for text in texts.split(","))
    choices = [[(name, value) for value in dict.fromkeys(each)] for name, each in values.items()]
    question = f"Which {', '.join(values)}?"
    rows = tuple(
        SuiteRow(assignments(dict(changes), ","), question, dict(changes))
        for changes in product(*choices)
    )
    for name, value in (pair for pairs in choices for pair in pairs):
        _require_one([row for row in rows if row.changes[name] == value], overrides)
    return rows


def _assignment(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not value:
        raise TuneshotError(f"expected name=value, not {text!r}; for example epochs=2")
    return name.strip().replace("-", "_"), value.strip()


def _value(name: str, text: str) -> Any:  # noqa: ANN401
    """``text`` as the type of the field ``name``."""
    defaults = TrainConfig().to_dict()
    if name == "seed":
        raise TuneshotError("seed is varied in every grid; say how many with --seeds")
    if name not in defaults:
        raise unknown_choice("setting", name, [each for each in defaults if each != "seed"])
    return read_value(name, text, type(defaults[name]))


def config_of(row: SuiteRow, overrides: Mapping[str, Any], seed: int) -> TrainConfig:
    """The lecture's settings, changed by ``overrides``, then by what the row is about.

    Raises:
        TuneshotError: they do not go together.
    """
    return TrainConfig(**{**overrides, **row.changes, "seed": seed})


def complaint(row: SuiteRow, overrides: Mapping[str, Any]) -> str | None:
    """Why a row does not go together with these overrides; ``None`` if it does."""
    try:
        config_of(row, overrides, 0)
    except TuneshotError as error:
        return str(error).removeprefix(f"bad {TrainConfig.__name__}: ")
    return None


def _require_one(rows: Sequence[SuiteRow], overrides: Mapping[str, Any]) -> None:
    """Raises the first complaint unless some row can be run."""
    complaints = [complaint(row, overrides) for row in rows]
    if all(complaints):
        raise TuneshotError(str(complaints[0]))


def check_overrides(rows: Sequence[SuiteRow], overrides: Mapping[str, Any]) -> None:
    """Refuses overrides that would do nothing, or that no row can be run with.

    Raises:
        TuneshotError: the first such override.
    """
    for name in overrides:
        affected = [row for row in rows if name not in row.changes]
        if not affected:
            raise TuneshotError(
                f"every one of these rows sets its own {name}, so setting it would do nothing; "
                "leave it out, or choose other rows"
            )
        _require_one(affected, overrides)
