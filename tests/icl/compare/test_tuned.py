"""Few-shot that chooses its settings by its own labelled messages, in a comparison."""

from dataclasses import replace

import pytest

from clfcore.data.messages import LabelledMessages
from clfcore.types import Example
from icl.compare import plan as compare_plan
from icl.compare.learn import prompting
from icl.compare.learn.inputs import MethodInput
from icl.compare.methods import METHODS
from icl.compare.plan import Plan
from icl.compare.task_split import split_task
from icl.prompt.tasks import TASKS
from icl.tuning import candidates
from icl.tuning.race import USUAL_READS
from tests.support.doubles import CountingLM

WORDS = {"spam": ("prize", "cash", "win", "free"), "ham": ("dinner", "milk", "train", "mum")}
LABELLED = tuple(
    Example(f"{WORDS[label][n % 4]} number{n}", label) for n in range(20) for label in WORDS
)
TUNED = ["few_shot_tuned", "few_shot_tuned_no_vote"]


@pytest.fixture
def lm(monkeypatch):
    """Counts the labels that it is shown, which is no help where there are as many of each."""
    lm = CountingLM()
    monkeypatch.setattr(prompting, "open_lm", lambda *_, **__: lm)
    return lm


def learn(name, labelled=LABELLED, **more):
    inputs = MethodInput(tuple(labelled), TASKS["sms_spam"], base="", lm="counting", **more)
    return METHODS[name].learn(inputs)


@pytest.mark.parametrize("name", TUNED)
def test_what_was_chosen_is_in_the_record_and_answers(name, lm):
    classifier = learn(name)
    settings, config = classifier.chosen["settings"], classifier.few_shot.config
    assert {setting: getattr(config, setting) for setting in settings} == settings
    assert classifier.chosen["asked"] == len(LABELLED)
    assert classifier.chosen["chosen"]["accuracy"] > classifier.chosen["default"]["accuracy"]
    (answer,) = classifier.predict(["win cash"])
    assert answer.label == "spam"


def test_the_share_of_the_vote_is_told_and_none_where_it_may_not_answer(lm):
    assert 0 < learn("few_shot_tuned").chosen["vote_share"] <= 1
    alone = learn("few_shot_tuned_no_vote").chosen
    assert alone["vote_share"] == 0
    assert alone["settings"]["selector"] != "knn"


@pytest.mark.parametrize("name", TUNED)
def test_with_few_labels_it_answers_as_the_untuned_default(name, lm):
    few = LABELLED[:8]
    tuned, untuned = learn(name, few), learn("few_shot_topk", few)
    assert tuned.few_shot.config == untuned.config
    assert "too few to choose by" in tuned.chosen["summary"]


def test_what_was_chosen_is_not_chosen_again_and_only_the_order_differs(lm, monkeypatch):
    first = learn("few_shot_tuned_no_vote")
    monkeypatch.delattr(prompting, "tune")
    again = learn("few_shot_tuned_no_vote", chosen=first.chosen, order="random", seed=3)
    assert again.few_shot.config == replace(first.few_shot.config, order="random", seed=3)
    assert again.chosen == first.chosen


@pytest.mark.parametrize("name", TUNED)
def test_learning_reads_labelled_messages_only(name, lm):
    learn(name)
    words = {word for prompt in lm.prompts for word in prompt.split() if "number" in word}
    assert words == {f"number{n}" for n in range(20)}


def test_a_record_is_of_what_was_tried_and_with_how_many_reads(monkeypatch):
    split = split_task(LabelledMessages(list(LABELLED), "made up"), test_size=10)
    plan = Plan(methods=("few_shot_tuned", "few_shot_topk"), budgets=(8,), lm="gpt2", seeds=(0,))
    monkeypatch.setattr(compare_plan, "lm_record", lambda *_: {})
    tuned, untuned = plan.cells(split)
    assert tuned.inputs["tuning"]["reads"] == USUAL_READS
    assert "tuning" not in untuned.inputs
    monkeypatch.setattr(candidates, "VOTE_SHARES", (0.0, 0.5))
    assert plan.cells(split)[0].record != tuned.record
