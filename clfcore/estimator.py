"""Fine-tuning for scikit-learn: a classifier to ``fit``, to ``clone``, to put into a pipeline.

from clfcore.estimator import TuneshotClassifier

TuneshotClassifier().fit(texts, labels).predict_proba(["You won!", "See you at 8"])
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Tags, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from clfcore.config import DEFAULT_LM
from clfcore.data.split import UnusableInput, data_record, validation_split
from clfcore.fine_tuned import FineTuned
from clfcore.training.recipe import fine_tune_on
from clfcore.training.settings import NOTHING, TrainConfig, settings_for
from clfcore.types import Example
from clfcore.weights.bases import load_base
from clfcore.weights.checkpoint import save_checkpoint

# Settings that are parameters of the estimator; its random_state makes the seeds.
SETTINGS = tuple(f.name for f in fields(TrainConfig) if f.name not in ("seed", "split_seed"))


class TuneshotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A language model with a classification head, for scikit-learn; trained on the CPU.

    ``fit`` sets a validation part aside, by duplicate group and stratified. It is not trained on:
    it calibrates the probabilities and, with ``keep="best"``, picks the epoch. There is no test
    part, because ``cross_val_score`` and ``train_test_split`` make one.

    By default only a head is trained, on vectors of the frozen SmolLM2 (the feature-based
    approach): no fold needs its own trunk. A message of 36 tokens takes a tenth of a second
    on one core, to train on or to answer. ``layers="last_block"``, an adapter, … fine-tune.

    ``TuneshotClassifier("gpt2-mini", layers=None)`` fine-tunes all of a small model: 1,000
    messages take 25 seconds. ``clf train`` distils its trunk from the training messages. Those
    differ from fold to fold, so here it is the bundled trunk, which knows the sample messages of
    this project, without their labels. (Only with those very messages as ``X`` has it seen texts
    that are held out.) Nor does it start from the bundled checkpoint: that knows labels of the SMS
    Spam Collection, and cross-validation on this corpus would be flattered.

    Args:
        base: a model of ``load_base``: a name, a Hugging Face repository, or a folder of one.
        weights: this and the parameters down to ``precision`` are those of ``TrainConfig``, which
            says what each means, but for ``layers`` only a head learns by default; ``None`` is
            what suits the base, see ``settings_for``.
        validation_share: of the messages, at most 0.5; rounded to one half, third, quarter, …
        random_state: an int for the same result every time; or as scikit-learn has it.

    Attributes:
        classes_: the labels, sorted, in their own dtype; the columns of ``predict_proba``.
        fine_tuned_: the classifier itself; ``fine_tuned_.meta.about`` says how it came about.
    """

    base: str
    validation_share: float
    random_state: int | np.random.RandomState | None

    def __init__(
        self,
        base: str = DEFAULT_LM,
        *,
        weights: str | None = None,
        layers: str | None = NOTHING,
        head: str | None = None,
        rank: int | None = None,
        position: str | None = None,
        causal: bool | None = None,
        padding: str | None = None,
        balance: str | None = None,
        balance_ratio: float | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        weight_decay: float | None = None,
        label_smoothing: float | None = None,
        grad_clip: float | None = None,
        validate_every: int | None = None,
        keep: str | None = None,
        patience: int | None = None,
        mix: float | None = None,
        threshold: float | None = None,
        flag_at_most: float | None = None,
        precision: str | None = None,
        validation_share: float = 0.1,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})

    def fit(self, X: object, y: object) -> Self:
        """Learns from all but the validation part, and calibrates on that.

        Args:
            X: (N,) strings: a list, an array, a pandas Series; or one column of them, (N, 1).
            y: (N,) labels of any one type that can be sorted.

        Raises:
            UnusableInput: not messages, not at least two labels, too few messages of one for a
                validation part, or a bad ``validation_share``.
            TuneshotError: settings that do not suit the messages, or a base that cannot be loaded.
            ValueError: labels that are numbers on a scale, or not as many as messages.
        """
        texts = _texts(X)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        config = settings_for(self.base, seed=seed, split_seed=seed, **self._chosen())

        classes, numbers = _classes(y)
        check_consistent_length(texts, numbers)
        labels = tuple(str(label) for label in classes.tolist())
        examples = [Example(text, labels[i]) for text, i in zip(texts, numbers, strict=True)]
        train, val = validation_split(examples, self.validation_share, seed)
        start = load_base(self.base, len(labels), config.weights, seed=seed)
        self.fine_tuned_ = fine_tune_on(
            start, train, val, labels, config,
            about={
                "base": self.base,
                "data": {
                    "source": f"{type(self).__name__}.fit",
                    "split_seed": seed,
                    "train": data_record(train),
                    "val": data_record(val),
                },
                "classes": classes.tolist(),
            },
        ).classifier  # fmt: skip
        self.classes_ = classes
        return self

    def predict_proba(self, X: object) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            X: (N,) strings, as for ``fit``.

        Returns:
            (N, K) float64 in the order of ``classes_``; each row sums to 1.

        Raises:
            UnusableInput: not messages.
            NotFittedError: it has not been fitted.
        """
        check_is_fitted(self)
        answers = self.fine_tuned_.predict(_texts(X))
        rows = [list(answer.probabilities.values()) for answer in answers]
        p = np.array(rows, dtype=np.float64).reshape(len(rows), len(self.classes_))
        return p / p.sum(axis=1, keepdims=True)  # they come as float32

    def predict(self, X: object) -> np.ndarray:
        """Labels: (N,) in the dtype of ``classes_``.

        Of two labels the second is answered from ``threshold`` on, as it was when ``fit`` was
        called; of more, the most probable one.

        Args:
            X: (N,) strings, as for ``fit``.

        Raises:
            UnusableInput: not messages.
            NotFittedError: it has not been fitted.
        """
        check_is_fitted(self)
        number = {label: i for i, label in enumerate(self.fine_tuned_.labels)}
        numbers = [number[answer.label] for answer in self.fine_tuned_.predict(_texts(X))]
        return self.classes_[np.array(numbers, np.int64)]

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint, which ``clf`` and the chat read, too.

        Args:
            path: a folder; an older checkpoint is replaced.

        Raises:
            TuneshotError: ``path`` is something else than a checkpoint, or cannot be written.
            NotFittedError: it has not been fitted.
        """
        check_is_fitted(self)
        save_checkpoint(Path(path), self.fine_tuned_.model, self.fine_tuned_.meta)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A fitted classifier out of any checkpoint, also one of ``clf train``.

        Base and settings are those it was made with, so that ``clone`` makes another
        like it; ``validation_share`` and ``random_state`` are not stored.

        Raises:
            TuneshotError: it does not exist or cannot be used.
        """
        fine_tuned = FineTuned.load(Path(path))
        about = fine_tuned.meta.about
        settings = {name: value for name, value in about.get("train", {}).items()
                    if name in SETTINGS}  # fmt: skip
        loaded = cls(about.get("base", fine_tuned.name), **settings)
        loaded.classes_ = np.array(about.get("classes", fine_tuned.labels))
        loaded.fine_tuned_ = fine_tuned
        return loaded

    def _chosen(self) -> dict[str, Any]:
        """The settings that are not left to the base, as JSON has them."""
        values = {name: getattr(self, name) for name in SETTINGS}
        # A randomised search draws numpy's numbers.
        return {name: value.item() if isinstance(value, np.generic) else value
                for name, value in values.items() if value is not None}  # fmt: skip

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(X: object) -> list[str]:
    """The messages of a sequence, an array, a Series, or one column of a table."""
    messages = np.asarray(X, dtype=object)
    if messages.ndim == 2 and messages.shape[1] == 1:
        messages = messages.ravel()
    if messages.ndim != 1:
        raise UnusableInput(
            f"expected a list of messages, got {type(X).__name__} of shape {messages.shape}; "
            "give a list, a Series or one column of strings"
        )
    for number, message in enumerate(messages):
        if not isinstance(message, str):
            raise UnusableInput(
                f"message {number} (counted from 0) is not a string but {type(message).__name__}; "
                "remove it or turn it into text"
            )
    return [str(message) for message in messages]


def _classes(y: object) -> tuple[np.ndarray, np.ndarray]:
    """The different labels, sorted, (K,); and the number of each message's label, (N,) int64."""
    try:
        if any(label is None or label != label for label in np.ravel(np.asarray(y, dtype=object))):
            raise TypeError("missing")  # NaN is not equal to itself
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        encoder = LabelEncoder()
        numbers = encoder.fit_transform(labels)
    except TypeError as error:
        raise UnusableInput(
            "labels must all be strings, or all numbers, and none may be missing; correct them, or "
            "remove their messages"
        ) from error
    return encoder.classes_, numbers
