"""Fine-tuning for scikit-learn: a classifier to ``fit``, to ``clone``, to put into a pipeline.

from clfcore.estimator import TuneshotClassifier

TuneshotClassifier().fit(texts, labels).predict_proba(["You won!", "See you at 8"])
"""

from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from clfcore.config import DEFAULT_LM
from clfcore.data.arrays import check_labelled, check_texts
from clfcore.data.split import data_record, validation_split
from clfcore.fine_tuned import FineTuned
from clfcore.training.recipe import fine_tune_on
from clfcore.training.settings import NOTHING, TrainConfig, settings_for
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
    messages take 25 seconds. It starts from the bundled trunk, as ``clf train`` does, which knows
    the sample messages of this project, without their labels. (Only with those very messages as
    ``X`` has it seen texts that are held out.) ``weights="distilled"`` makes a trunk of the
    messages that are learned from, which takes minutes in every fold. It never starts from the
    bundled checkpoint: that knows labels of the SMS Spam Collection, and cross-validation on this
    corpus would be flattered.

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
        fit_head_first: bool | None = None,
        rank: int | None = None,
        qat: str | None = None,
        position: str | None = None,
        causal: bool | None = None,
        padding: str | None = None,
        balance: str | None = None,
        balance_ratio: float | None = None,
        epochs: int | None = None,
        least_steps: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        embedding_learning_rate: float | None = None,
        schedule: str | None = None,
        warmup: float | None = None,
        weight_decay: float | None = None,
        practice: int | None = None,
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

    def fit(self, X: object, y: object, sample_weight: object = None) -> Self:
        """Learns from all but the validation part, and calibrates on that.

        Args:
            X: (N,) strings: a list, an array, a pandas Series; or one column of them, (N, 1).
            y: (N,) labels: all text, all whole numbers, or all booleans.
            sample_weight: (N,) how much each message counts, 0 or more: in the loss, in the
                calibration and in the weights of classes. 2 is as good as the message twice, and
                0 as none. What ``balance`` repeats or leaves out is drawn by number, not by
                weight.

        Raises:
            UnusableInput: not messages, not at least two labels, labels of several types, too few
                messages of one for a validation part, weights that are none, or a bad
                ``validation_share``.
            TuneshotError: settings that do not suit the messages, or a base that cannot be loaded.
        """
        data = check_labelled(X, y, sample_weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        config = settings_for(self.base, seed=seed, split_seed=seed, **self._chosen())

        train, val = validation_split(data.examples, self.validation_share, seed)
        start = load_base(
            self.base, len(data.names), config.weights, [example.text for example in train],
            seed, seed,
        )  # fmt: skip
        self.fine_tuned_ = fine_tune_on(
            start, train, val, data.names, config,
            about={
                "base": self.base,
                "data": {
                    "source": f"{type(self).__name__}.fit",
                    "split_seed": seed,
                    "train": data_record(train),
                    "val": data_record(val),
                },
                "classes": data.classes.tolist(),
            },
        ).classifier  # fmt: skip
        self.classes_ = data.classes
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
        answers = self.fine_tuned_.predict(check_texts(X))
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
        numbers = [number[answer.label] for answer in self.fine_tuned_.predict(check_texts(X))]
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
    def load(cls, path: str | Path, trust_source: bool = False) -> Self:
        """A fitted classifier out of any checkpoint, also one of ``clf train``.

        Base and settings are those it was made with, so that ``clone`` makes another
        like it; ``validation_share`` and ``random_state`` are not stored.

        Args:
            path: of the folder; it may come from a stranger.
            trust_source: see ``FineTuned.load``.

        Raises:
            TuneshotError: it does not exist or cannot be used.
        """
        fine_tuned = FineTuned.load(Path(path), trust_source)
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
