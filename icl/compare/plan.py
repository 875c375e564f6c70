"""Which cells a comparison runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

from clfcore.config import DEFAULT_LM, Checked, at_least, setting
from clfcore.data.split import data_record
from clfcore.errors import TuneshotError, unknown_choice
from clfcore.evaluation.metrics import METRICS
from clfcore.evaluation.perturb import PERTURBATIONS
from clfcore.evaluation.provenance import model_files
from clfcore.evaluation.records import Record
from clfcore.model.spec import MINI
from icl.compare.learn.embedding import embedder
from icl.compare.methods import METHODS, Method
from icl.compare.task_split import TaskSplit
from icl.lm.connection import DEFAULT_CONNECTION, Connection
from icl.lm.open import lm_record, with_dtype
from icl.pool.embed import DEFAULT_EMBEDDER
from icl.settings import USUAL_BALANCE, USUAL_K
from icl.tuning.candidates import tried
from icl.tuning.race import USUAL_READS

DEMONSTRATION_ORDERS = 4  # random ones, of the same demonstrations
HELD_OUT = "held out"
HELD_OUT_SHARE = 0.25  # of the labelled messages, to choose a threshold on
LEAST_HELD_OUT, MOST_HELD_OUT = 20, 128  # of fewer, no threshold can be sure of 95 %


@dataclass(frozen=True, kw_only=True)
class ComparisonCell(Checked):
    """One method at one budget and seed.

    Attributes:
        method: a key of ``METHODS``.
        budget: labelled messages; 0 for a method that needs none.
        seed: of which they are, and of all else that is random in learning.
        task: name of the task.
        split_seed: of the split into pool and test part.
        test_size: messages asked about.
        balanced: as many of each label.
        base: what fine-tuning starts from; "" where nothing is fine-tuned.
        lm: which language model is shown examples; "" where none is asked.
        k: how many.
        chat: whether the prompt is a chat; ``None``: as the model prefers.
        prompt_tokens: how long a prompt may be; 0: as the model likes it.
        embedder: what finds similar messages.
        more: what else is measured: ``memory``; ``held out``, labelled messages that were put
            aside, answered by the same method after learning from the others; ``second``, the
            other corpus; ``hard``, some test messages as they are; a key of ``PERTURBATIONS``, the
            same in other words; ``order 1``, ``order 2``, …: the same with the demonstrations in
            other orders.
        inputs: what all this is applied to: hashes of the messages, of the prompt's format and of
            the models' files.
        connection: how the server of a model behind an API is reached; the records name its
            address only.

    Raises:
        TuneshotError: an unknown name, or values that cannot be meant.
    """

    method: str = setting("", "Which method.", choices=METHODS)
    budget: int = setting(0, "Labelled messages.", bound=at_least(0))
    seed: int = setting(0, "Which of them.", bound=at_least(0))
    task: str
    split_seed: int = 0
    test_size: int = setting(200, "Messages asked about.", bound=at_least(1))
    balanced: bool = False
    base: str = MINI
    lm: str = DEFAULT_LM
    k: int = setting(USUAL_K, "Examples shown.", bound=at_least(1))
    chat: bool | None = None
    prompt_tokens: int = setting(0, "How long a prompt may be.", bound=at_least(0))
    embedder: str = DEFAULT_EMBEDDER
    more: tuple[str, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    connection: Connection = DEFAULT_CONNECTION

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "more": list(self.more)}  # as JSON gives it back

    @property
    def record(self) -> Record:
        """What its record begins with."""
        config = self.to_dict()
        del config["connection"]
        return {"inputs": config.pop("inputs"), "config": config}

    @property
    def name(self) -> str:
        """For people, and for the name of a file."""
        return f"{self.method} {self.budget} seed{self.seed}"

    wants_gpu: ClassVar = False  # all models run on the CPU here


MODELS, MEASURED = "Models", "What is measured"  # headings of ``tuneshot compare --help``


@dataclass(frozen=True, kw_only=True)
class Plan(Checked):
    """Which cells are run, and what their figures are to say.

    Attributes:
        methods: keys of ``METHODS``.
        budgets: ascending; the last is the whole pool, if ``all`` was asked for.
        seeds: at least one.
        connection: how the server of a model behind an API is reached.

    Raises:
        TuneshotError: nothing to run, or an unknown name.
    """

    methods: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    connection: Connection = DEFAULT_CONNECTION
    base: str = setting(MINI, "What is fine-tuned, as clf train.", MODELS)
    lm: str = setting(DEFAULT_LM, "What is shown examples, as icl --lm.", MODELS)
    embedder: str = setting(
        DEFAULT_EMBEDDER, "What finds similar messages, as icl --embedder.", MODELS
    )
    k: int = setting(
        USUAL_K, "How many examples are shown.", MODELS, bound=at_least(1), option="-k"
    )
    chat: bool | None = setting(
        None,
        "Show examples as turns of a chat; default: behind an API, yes; on this machine, no.",
        MODELS,
        option="--chat/--no-chat",
    )
    prompt_tokens: int = setting(
        0,
        "How long a prompt may be, in tokens, up to the model's window; 0: as icl evaluate.",
        MODELS,
        bound=at_least(0),
    )
    balanced: bool = setting(
        False, "Ask about as many of each label, or the data's own shares.", MEASURED
    )
    metric: str = setting(
        "balanced_accuracy", "What decides who is better.", MEASURED, choices=METRICS
    )
    robust: bool = setting(
        True,
        "Also ask in other words and orders, and weigh each method: at the largest budget, with "
        "the first seed.",
        MEASURED,
    )

    def problems(self) -> list[str]:
        missing = [
            f"a comparison needs {what}; name at least one"
            for what in ("methods", "budgets", "seeds")
            if not getattr(self, what)
        ]
        unknown = [
            str(unknown_choice("method", name, METHODS))
            for name in self.methods
            if name not in METHODS
        ]
        return missing + unknown + super().problems()

    def cells(self, split: TaskSplit) -> tuple[ComparisonCell, ...]:
        """All budgets and methods with the first seed, then with the next.

        The longest first within a seed, so that several at a time end together.
        """
        shared: dict[str, Any] = {
            "task": split.task.name, "k": self.k,
            "split_seed": split.split_seed, "test_size": len(split.test),
            "balanced": self.balanced,
        }  # fmt: skip
        methods = [METHODS[name] for name in self.methods]
        prompts = any(method.asks_lm for method in methods)
        of_lm = lm_record(self.lm, self.connection) if prompts else None
        template = split.task.template.digest if prompts else None
        of_base = {"files": model_files(self.base)}
        messages = {"pool": data_record(split.pool), "questions": data_record(split.test)}
        second = data_record(split.second)
        tuning = {"tuning": {"candidates": tried(), "reads": USUAL_READS}}
        largest = self.budgets[-1]
        cells = []
        for seed, budget, name in product(self.seeds, reversed(self.budgets), self.methods):
            method = METHODS[name]
            if budget > method.most:
                continue
            if not method.chooses:  # nothing depends on budget or seed
                seed, budget = self.seeds[0], 0
            has_more = self.robust and seed == self.seeds[0] and budget in (0, largest)
            more = _more(method, split, budget) if has_more else ()
            # A model that a method does not use makes no other cell of it.
            base = self.base if method.tunes_base else ""
            lm = with_dtype(self.lm) if method.asks_lm else ""
            model = self.embedder if method.uses_vectors else DEFAULT_EMBEDDER
            chat = self.chat if method.asks_lm else None
            prompt_tokens = self.prompt_tokens if method.asks_lm else 0
            cells.append(
                ComparisonCell(
                    method=name, budget=budget, seed=seed, base=base, lm=lm,
                    chat=chat, prompt_tokens=prompt_tokens, embedder=model, more=more,
                    connection=self.connection,
                    inputs={
                        **messages,
                        "second": second if "second" in more else None,
                        "template": template if lm else None,
                        "embedder": embedder(self.embedder).name if method.uses_vectors else None,
                        "lm": of_lm if lm else None,
                        "base": of_base if base else None,
                        **({"balance": USUAL_BALANCE} if method.ordered else {}),
                        **(tuning if method.tunes_settings else {}),
                    },
                    **shared,
                )
            )  # fmt: skip
        return tuple(dict.fromkeys(cells))


def _more(method: Method, split: TaskSplit, budget: int) -> tuple[str, ...]:
    """What is measured beside the test part, see ``ComparisonCell``."""
    learns = method.family != "baseline"
    held_out = [HELD_OUT] if learns and held_out_of(budget) >= LEAST_HELD_OUT else []
    orders = range(1, DEMONSTRATION_ORDERS + 1) if method.ordered else ()
    second = ["second"] if split.second else []
    return ("memory", *held_out, "hard", *PERTURBATIONS, *(f"order {n}" for n in orders), *second)


def held_out_of(labelled: int) -> int:
    """How many of the labelled messages are put aside where a threshold is chosen."""
    return min(round(HELD_OUT_SHARE * labelled), MOST_HELD_OUT)


def budgets_of(text: str, pool: int) -> tuple[int, ...]:
    """The budgets of ``8,16,all``, ascending; those beyond the pool are the whole pool.

    Raises:
        TuneshotError: anything but positive numbers and ``all``.
    """
    budgets = set()
    for word in text.replace(" ", "").split(","):
        if word != "all" and not (word.isascii() and word.isdecimal() and int(word) > 0):
            raise TuneshotError(
                f"--budgets wants numbers of labelled messages and all, such as 8,64,all; "
                f"not {word!r}"
            )
        budgets.add(pool if word == "all" else min(int(word), pool))
    return tuple(sorted(budgets))
