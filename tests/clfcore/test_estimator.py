"""The classifier as scikit-learn uses it."""

import inspect
import json
from dataclasses import fields

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clfcore import estimator
from clfcore.cli.clf import main
from clfcore.data.split import UnusableInput, distinct_per_label, normal_form, validation_split
from clfcore.errors import TuneshotError
from clfcore.training.settings import TrainConfig
from clfcore.types import Example
from clfcore.weights.meta import BUNDLED
from tests.support.doubles import save_tiny_trunk
from tests.support.lazy import lazy

pd = lazy("pandas")
sklearn_base = lazy("sklearn.base")
exceptions = lazy("sklearn.exceptions")
model_selection = lazy("sklearn.model_selection")
sklearn_pipeline = lazy("sklearn.pipeline")
preprocessing = lazy("sklearn.preprocessing")
ours = lazy("clfcore.estimator")

TOPICS = {
    "ham": "see you at {}, mum is cooking",
    "spam": "WIN {} prizes, claim your reward now",
    "bank": "your account balance is {} euros",
}


def messages(*topics: str, each: int = 20) -> tuple[list[str], list[str]]:
    rows = [(TOPICS[topic].format(i), topic) for i in range(each) for topic in topics]
    texts, labels = zip(*rows, strict=True)
    return list(texts), list(labels)


TEXTS, LABELS = messages("ham", "spam")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(save_tiny_trunk(tmp_path_factory.mktemp("tiny-gpt2")))


@pytest.fixture(scope="module")
def fitted(base):
    return ours.TuneshotClassifier(base).fit(TEXTS, LABELS)


# --- what scikit-learn asks of every estimator --------------------------------------------------


def test_every_training_setting_is_a_parameter():
    own = {"base", "validation_share", "random_state"}
    names = {field.name for field in fields(TrainConfig)} - {"seed", "split_seed"}
    assert set(inspect.signature(ours.TuneshotClassifier).parameters) == names | own


def test_fitting_changes_no_parameter_and_a_clone_has_learnt_nothing(fitted):
    fresh = sklearn_base.clone(fitted)
    assert (
        fresh.get_params()
        == fitted.get_params()
        == ours.TuneshotClassifier(fitted.base).get_params()
    )
    assert sklearn_base.is_classifier(fresh)
    with pytest.raises(exceptions.NotFittedError):
        fresh.predict(TEXTS)


# --- inside scikit-learn ------------------------------------------------------------------------


def test_it_is_a_step_of_a_pipeline_and_can_be_cross_validated(base):
    shout = preprocessing.FunctionTransformer(
        lambda column: np.char.upper(np.asarray(column, dtype=str))
    )
    pipeline = sklearn_pipeline.make_pipeline(shout, ours.TuneshotClassifier(base))
    assert (
        model_selection.cross_val_score(pipeline, TEXTS, LABELS, cv=2, scoring="roc_auc").min()
        > 0.9
    )


def test_a_grid_search_compares_balancing_and_layers(base):
    quick = ours.TuneshotClassifier(base, epochs=1, learning_rate=1e-3, validation_share=0.2)
    texts, labels = messages("ham", "spam")
    keep = [i for i, label in enumerate(labels) if label == "ham" or i < 30]
    texts, labels = [texts[i] for i in keep], [labels[i] for i in keep]
    grid = {"layers": ["none", "last_block"], "balance": ["none", "undersample"]}
    search = model_selection.GridSearchCV(quick, grid, cv=2, error_score="raise").fit(texts, labels)
    assert len(search.cv_results_["params"]) == 4
    trained = search.best_estimator_.fine_tuned_.meta.about["train"]
    assert {name: trained[name] for name in grid} == search.best_params_
    assert search.score(texts, labels) > 0.6


def test_it_travels_between_processes_as_joblib_sends_it(fitted, tmp_path):
    joblib.dump(fitted, tmp_path / "fitted")
    copy = joblib.load(tmp_path / "fitted")
    np.testing.assert_array_equal(copy.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


# --- answers ------------------------------------------------------------------------------------


def test_probabilities_are_one_row_a_message_and_one_column_a_label(fitted):
    p = fitted.predict_proba(TEXTS)
    assert (p.shape, p.dtype) == ((len(TEXTS), 2), np.float64)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-12)
    assert fitted.predict_proba([]).shape == (0, 2)
    assert fitted.predict([]).tolist() == []
    assert fitted.score(TEXTS, LABELS) == 1


def test_three_labels_are_told_apart_by_the_largest_probability(base):
    texts, labels = messages("spam", "ham", "bank")
    model = ours.TuneshotClassifier(base, threshold=0.9).fit(texts, labels)
    assert model.classes_.tolist() == ["bank", "ham", "spam"]
    p = model.predict_proba(texts)
    assert p.shape == (60, 3)
    assert model.predict(texts).tolist() == model.classes_[p.argmax(axis=1)].tolist()
    assert model.score(texts, labels) > 0.9


SPAM = np.array(LABELS) == "spam"


@pytest.mark.parametrize(
    "labels",
    [SPAM, np.where(SPAM, 10, 9), np.where(SPAM, 1, -1).astype(np.int8), np.where(SPAM, 2.0, 1.0),
     np.array(LABELS, dtype=object), pd.Series(LABELS, dtype="category")],
    ids=["bool", "two digits", "negative", "float", "object", "pandas"],
)  # fmt: skip
def test_labels_come_back_in_their_own_type(base, labels, tmp_path):
    model = ours.TuneshotClassifier(base).fit(TEXTS, labels)
    assert model.classes_.dtype == np.asarray(labels).dtype
    assert model.classes_.tolist() == sorted(set(labels))
    assert model.predict(TEXTS).tolist() == list(labels)
    assert model.predict_proba(TEXTS)[SPAM, 1].min() > 0.5
    model.save(tmp_path / "model")
    assert ours.TuneshotClassifier.load(tmp_path / "model").predict(TEXTS).tolist() == list(labels)


FORMS = {
    "tuple": tuple(TEXTS),
    "array": np.array(TEXTS),
    "objects": np.array(TEXTS, dtype=object),
    "column": np.array(TEXTS)[:, None],
    "list of rows": [[text] for text in TEXTS],
    "series": pd.Series(TEXTS, index=range(100, 100 + len(TEXTS))),
    "table": pd.DataFrame({"text": TEXTS}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_messages_may_come_in_any_form(fitted, form):
    np.testing.assert_array_equal(fitted.predict_proba(form), fitted.predict_proba(TEXTS))


def test_the_threshold_decides_the_label_and_not_the_probability(base, fitted):
    usual = fitted.predict_proba(TEXTS)
    threshold = float(np.median(usual[SPAM, 1]))
    careful = ours.TuneshotClassifier(base, threshold=threshold).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(careful.predict_proba(TEXTS), usual)
    expected = np.where(usual[:, 1] >= threshold, "spam", "ham")
    assert careful.predict(TEXTS).tolist() == expected.tolist()
    assert 5 < (expected == "spam").sum() < 20


def test_the_same_random_state_gives_the_same_probabilities(base):
    def probabilities(random_state):
        model = ours.TuneshotClassifier(
            base, layers="last_block", epochs=1, random_state=random_state
        )
        return model.fit(TEXTS, LABELS).predict_proba(TEXTS)

    once = probabilities(3)
    np.testing.assert_array_equal(once, probabilities(3))
    assert not np.array_equal(once, probabilities(4))
    np.testing.assert_array_equal(
        probabilities(np.random.RandomState(5)), probabilities(np.random.RandomState(5))
    )


# --- what is learnt from what -------------------------------------------------------------------


@settings(max_examples=40)
@given(st.data(), st.sampled_from([0.5, 0.34, 0.2]), st.integers(0, 3))
def test_no_copy_of_a_validation_message_is_learnt_from(data, share, seed):
    enough = st.lists(st.integers(0, 30), min_size=round(1 / share), max_size=40, unique=True)
    numbers = data.draw(st.dictionaries(st.sampled_from("abc"), enough, min_size=2))
    # The upper case is a copy: the same message with another spelling.
    examples = [
        Example(text, label)
        for label, own in numbers.items()
        for number in own
        for text in (f"{label} {number}", f"{label.upper()}  {number}")[: 1 + number % 2]
    ]
    counts = distinct_per_label(examples)
    train, val = validation_split(examples, share, seed)
    copies = [{normal_form(example.text) for example in part} for part in (train, val)]
    assert not copies[0] & copies[1]
    assert sorted(e.text for e in train + val) == sorted(e.text for e in examples)
    assert distinct_per_label(train).keys() == distinct_per_label(val).keys() == counts.keys()


def test_gpt2_mini_is_distilled_only_if_asked_and_of_nothing_that_is_held_out(monkeypatch):
    distilled_from = []

    def distil(texts, seed, on_progress):
        distilled_from.append(texts)
        return estimator.load_base("gpt2-mini", 2).trunk.state_dict()

    monkeypatch.setattr("clfcore.weights.bases._distilled", distil)
    mini = ours.TuneshotClassifier("gpt2-mini").fit(TEXTS, LABELS)
    assert not distilled_from
    assert mini.fine_tuned_.meta.source is None
    about = (
        ours.TuneshotClassifier("gpt2-mini", weights="distilled", validation_share=0.25)
        .fit(TEXTS, LABELS)
        .fine_tuned_.meta.about
    )
    assert [len(texts) for texts in distilled_from] == [30]
    assert about["data"]["train"]["messages"] == 30


def test_the_best_epoch_is_picked_on_the_validation_part(base):
    model = ours.TuneshotClassifier(
        base, layers="last_block", keep="best", epochs=3, learning_rate=1e-3, validation_share=0.25
    ).fit(TEXTS, LABELS)
    about = model.fine_tuned_.meta.about
    assert (about["data"]["train"]["messages"], about["data"]["val"]["messages"]) == (30, 10)
    assert (about["train"]["keep"], len(about["train"]["history"])) == ("best", 3)


def test_a_message_of_weight_0_is_as_good_as_absent(base):
    """Also its label, which no other message has."""
    texts, labels = [*TEXTS, "nobody counts me"], [*LABELS, "other"]
    weights = np.r_[np.ones(39), 0, 0]
    with_it = ours.TuneshotClassifier(base).fit(texts, labels, weights)
    without = ours.TuneshotClassifier(base).fit(TEXTS[:-1], LABELS[:-1])
    assert with_it.classes_.tolist() == ["ham", "spam"]
    np.testing.assert_array_equal(with_it.predict_proba(TEXTS), without.predict_proba(TEXTS))


@pytest.mark.parametrize("settings", [{}, {"layers": "last_block", "learning_rate": 1e-3}])
def test_heavier_messages_are_answered_with_more_confidence(base, settings):
    """The labels are noise, so that the weights alone decide."""
    model = ours.TuneshotClassifier(base, balance="none", **settings)
    noise = np.resize(["ham", "ham", "spam", "spam"], 40)
    p = [
        sklearn_base.clone(model).fit(TEXTS, noise, weights).predict_proba(TEXTS)[:, 1].mean()
        for weights in (None, np.where(noise == "spam", 4, 1), np.where(noise == "spam", 0.25, 1))
    ]
    assert p[2] < p[0] < p[1]


# --- to disk and back ---------------------------------------------------------------------------


def test_a_saved_classifier_answers_the_same_here_and_on_the_command_line(base, tmp_path, command):
    # Numpy's numbers are what a randomised search draws.
    model = ours.TuneshotClassifier(
        base, rank=np.int64(4), balance_ratio=np.float32(0.5), threshold=0.7
    )
    model.fit(TEXTS, LABELS).save(tmp_path / "spam")
    again = ours.TuneshotClassifier.load(tmp_path / "spam")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    assert again.classes_.tolist() == ["ham", "spam"]
    assert (again.base, again.rank, again.balance_ratio, again.threshold) == (base, 4, 0.5, 0.7)

    _, out, _ = command(main, "clf", "classify", TEXTS[1], "--checkpoint", tmp_path / "spam",
                        "--json")  # fmt: skip
    p = json.loads(out)["probabilities"]
    assert list(p.values()) == pytest.approx(model.predict_proba([TEXTS[1]])[0], abs=1e-4)


def test_any_checkpoint_can_be_loaded():
    bundled = ours.TuneshotClassifier.load(BUNDLED)
    assert bundled.predict(["You have won a prize, call now"]).tolist() == ["spam"]


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["one message", np.array([["a", "b"]] * 40), [*TEXTS[:-1], None]])
def test_what_is_no_list_of_messages_is_refused_by_every_method(fitted, wrong):
    for use in (
        lambda: sklearn_base.clone(fitted).fit(wrong, LABELS),
        lambda: fitted.predict(wrong),
        lambda: fitted.predict_proba(wrong),
        lambda: fitted.score(wrong, LABELS),
    ):
        with pytest.raises(UnusableInput):
            use()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ham"] * 40, "all texts are of one class"),
        (LABELS[:-1], "X has 40 texts and y has 39 labels"),
        ([*LABELS[:-1], 0], "labels are of several kinds: text"),
        (["spam"] * 3 + ["ham"] * 37, "label 'spam' has 3 messages.* at least 10 of each label"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused_in_one_line(base, labels, message):
    with pytest.raises(UnusableInput, match=message):
        ours.TuneshotClassifier(base).fit(TEXTS, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"validation_share": 0.0}, "validation_share must be above 0 and at most 0.5, not 0.0"),
        ({"validation_share": 0.9}, "validation_share"),
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\], not 1.5"),
        ({"balance": "magic"}, "unknown balance 'magic'; choose from"),
        ({"layers": "last_block", "balance": "smote"}, "smote invents points"),
    ],
)
def test_a_bad_parameter_is_refused_when_it_is_used(base, parameters, message):
    model = ours.TuneshotClassifier(base, **parameters)
    with pytest.raises(TuneshotError, match=message):
        model.fit(TEXTS, LABELS)
