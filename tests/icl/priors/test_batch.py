"""The prior of batch calibration: read once, remembered, and nobody has to wait for it."""

import json
import sqlite3
from dataclasses import fields

import numpy as np
import pytest

from clfcore.data.messages import sample_messages
from clfcore.data.split import content_hash, grouped_stratified_split
from clfcore.paths import cache_dir
from clfcore.types import Example
from icl.answering import NOT_CALIBRATED
from icl.few_shot import FewShot
from icl.lm.local import LocalLM
from icl.priors.batch import BUNDLED, BatchPrior, about_prior, key_of
from icl.prompt.tasks import TASKS
from icl.session.settings import Settings
from icl.settings import ANSWER, EXAMPLES, FewShotConfig
from tests.support.doubles import (
    POOL,
    TASK,
    CountingLM,
    HashedWords,
    few_shot,
    make_pool,
    save_tiny_lm,
)

TEXTS = ["win a free prize", "see you at dinner"]
ABOUT = {"model": {"name": "any"}, "settings": {"k": 4}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory):
    return LocalLM(str(save_tiny_lm(tmp_path_factory.mktemp("lm") / "tiny")))


class Reads:
    """Gives label scores, and counts how often it was asked."""

    def __init__(self):
        self.texts = []

    def __call__(self, text):
        self.texts.append(text)
        return np.log([0.2, 0.8]) if "win" in text else np.log([0.6, 0.4])


def prior(about=ABOUT, labels=("ham", "spam"), read=None):
    return BatchPrior(about, labels, TEXTS, read or Reads())


# --- read once ------------------------------------------------------------------------------------


def test_it_is_read_message_by_message_and_there_after_the_last():
    reads = Reads()
    one = prior(read=reads)
    assert (one.left, one.value) == (2, None)
    one.read_next()
    assert (one.left, one.value) == (1, None)
    one.read_all()
    assert one.left == 0
    assert np.exp(one.value.log_mean) == pytest.approx([0.4, 0.6])
    one.read_next()
    assert reads.texts == TEXTS


def test_what_was_read_once_is_remembered_in_the_same_digits():
    first = prior()
    first.read_all()
    again = prior(read=None)
    assert again.left == 0
    assert np.array_equal(again.value.log_mean, first.value.log_mean)


@pytest.mark.parametrize(
    "other",
    [
        {"about": {**ABOUT, "settings": {"k": 5}}},
        {"about": {**ABOUT, "model": {"name": "another"}}},
        {"labels": ("spam", "ham")},
        {"about": None},
    ],
)
def test_whatever_decides_it_makes_another_prior(other):
    prior().read_all()
    assert prior(**other).left == 2


def test_it_can_be_read_again_and_then_that_is_remembered():
    prior(read=lambda text: np.log([0.5, 0.5])).read_all()
    again = prior()
    again.read_again()
    assert np.exp(again.value.log_mean) == pytest.approx([0.4, 0.6])
    assert np.array_equal(prior().value.log_mean, again.value.log_mean)


def test_a_label_that_is_never_said_is_remembered_as_that():
    def read(text):
        return np.array([0.0, -np.inf])

    prior(read=read).read_all()
    assert prior().value.log_mean.tolist() == [0.0, -np.inf]


@pytest.mark.parametrize("stored", ['{"log_prior": {"ham": "x", "spam": 1}}', "{", "[]", "{}"])
def test_a_damaged_prior_is_read_again(stored):
    prior().read_all()
    with sqlite3.connect(cache_dir() / "priors.sqlite") as file:
        file.execute("UPDATE answers SET answer = ?", [stored])
    assert prior().left == 2


def test_without_a_place_to_keep_it_nothing_is_lost_but_time(capfd):
    cache_dir().write_text("a file where the folder should be")
    one = prior()
    one.read_all()
    assert one.value is not None
    assert prior().left == 2
    assert capfd.readouterr().err.count("set TUNESHOT_CACHE") <= 1


# --- what decides it ------------------------------------------------------------------------------


def about(lm, pool=POOL, template="t", embedder="e", **settings):
    return about_prior(lm, pool, template, embedder, FewShotConfig(**settings), prompt_tokens=100)


def test_messages_labels_model_format_and_what_is_shown_decide(tiny_lm, tmp_path):
    usual = key_of(about(tiny_lm))
    assert usual == key_of(about(tiny_lm))
    relabelled = make_pool(POOL.texts, POOL.labels[::-1])
    others = [
        about(tiny_lm, relabelled), about(tiny_lm, template="u"), about(tiny_lm, embedder="f"),
        about(tiny_lm, k=2), about(tiny_lm, balance="equal"), about(tiny_lm, seed=1),
        about(tiny_lm, scoring="mean"), about(tiny_lm, selector="mdl", options={"trials": 2}),
        about(LocalLM(str(save_tiny_lm(tmp_path / "tiny")))),
    ]  # fmt: skip
    assert len({usual, *map(key_of, others)}) == 1 + len(others)
    for changed in ({"calibration": "batch"}, {"shares": "pool"}, {"vote": 0.5}):
        assert key_of(about(tiny_lm, **changed)) == usual, changed  # what comes after the reading
    zero = key_of(about(tiny_lm, selector="zero"))
    assert key_of(about(tiny_lm, selector="zero", k=2, balance="equal")) == zero, "shows nothing"


def test_every_setting_is_of_the_examples_or_of_the_answer():
    groups = {each.name: each.metadata["setting"].group for each in fields(FewShotConfig)}
    assert {name for name, group in groups.items() if group not in (EXAMPLES, ANSWER)} == {"seed"}


def test_a_model_without_a_lasting_name_is_read_each_time():
    assert about(CountingLM()) is None


# --- answers --------------------------------------------------------------------------------------


def test_a_classifier_reads_its_prior_once_and_another_remembers_it(tiny_lm, monkeypatch):
    asked = []
    read = LocalLM.read

    def counting(self, *arguments):
        asked.append(arguments)
        return read(self, *arguments)

    monkeypatch.setattr(LocalLM, "read", counting)
    first = few_shot(tiny_lm, calibration="batch")
    assert len(asked) == 1 + len(POOL)  # one makes sure that there are scores
    again = few_shot(tiny_lm, calibration="batch")
    assert len(asked) == 2 + len(POOL)
    answers = [each.predict(TEXTS) for each in (first, again)]
    for one, other in zip(*answers, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert not any(answer.provisional for answer in answers[1])


def test_who_does_not_wait_is_answered_without_and_told_so_until_it_is_read():
    fitted = few_shot(CountingLM(), calibration="batch")
    waiting = few_shot(CountingLM(), calibration="batch", read_prior=False)
    (at_once,) = waiting.predict(TEXTS[:1])
    (plain,) = few_shot(CountingLM()).predict(TEXTS[:1])
    assert at_once.provisional
    assert NOT_CALIBRATED in at_once.notes
    assert at_once.probabilities == plain.probabilities
    assert len(waiting.lm.prompts) == 2  # the other made sure that there are scores
    waiting.batch_prior.read_all()
    (calibrated,) = waiting.predict(TEXTS[:1])
    assert calibrated.probabilities == fitted.predict(TEXTS[:1])[0].probabilities
    assert not calibrated.provisional
    assert NOT_CALIBRATED not in calibrated.notes


def test_messages_added_by_hand_are_calibrated_by_the_prior_of_the_others():
    lm = CountingLM()
    usual = few_shot(lm, calibration="batch")
    asked = len(lm.prompts)
    added = POOL.with_added([Example("call for cash", "spam")], HashedWords())
    taught = FewShot(TASK, lm=lm, embedder=HashedWords(), calibration="batch")
    taught.fit(added, prior=usual.batch_prior)
    assert len(lm.prompts) == asked + 1  # that made sure that there are scores
    assert taught.answering.prior is usual.answering.prior is not None


# --- what comes with the program ------------------------------------------------------------------


def bundled():
    return json.loads(BUNDLED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("usual", [{}, {"k": Settings().k}, {"selector": "zero"}])
@pytest.mark.parametrize("lm", ["SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct in bfloat16"])
def test_the_bundled_messages_with_the_usual_settings_have_their_prior(usual, lm):
    """If this fails, settings, format or messages have changed: make priors."""
    sample = sample_messages().examples
    train = [sample[row] for row in grouped_stratified_split(sample).train]
    config = FewShotConfig(**usual)
    examples = {each.name for each in fields(config)
                if each.metadata["setting"].group == EXAMPLES} | {"scoring", "seed"}  # fmt: skip
    settings = {name: value for name, value in config.to_dict().items() if name in examples}
    (found,) = [
        each for each in bundled()
        if each["about"]["model"]["name"] == lm
        and each["about"]["pool"] == {"messages": len(train), "sha256": content_hash(train)}
        and each["about"]["settings"] == {**settings, "chat": False, "prompt_tokens": 1024}
    ]  # fmt: skip
    assert found["about"]["template"] == TASKS["sms_spam"].template.digest
    assert list(found["log_prior"]) == ["ham", "spam"]
    assert np.exp(list(found["log_prior"].values())).sum() == pytest.approx(1)


@pytest.mark.slow
def test_the_prior_of_the_bundled_messages_is_what_the_bundled_model_says():
    sample = sample_messages().examples
    train = [sample[row] for row in grouped_stratified_split(sample).train]
    carried = FewShot("sms_spam", "zero", calibration="batch").fit(train).batch_prior
    remembered = carried.value.log_mean
    carried.read_again()
    assert carried.value.log_mean == pytest.approx(remembered, abs=0.1)
