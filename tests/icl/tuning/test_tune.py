import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.few_shot import FewShot
from icl.lm.base import Scored
from icl.prompt.tasks import TASKS, task_with_labels
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from icl.tuning.candidates import candidate_prompts
from icl.tuning.contender import Contender
from icl.tuning.questions import Questions
from icl.tuning.tune import LEAST_MESSAGES, tune
from tests.support.doubles import AnsweringLM, CountingLM, HashedWords, make_pool

LABELS = ("ham", "spam")
TASK = task_with_labels("toy", LABELS)


def coin(*parts) -> float:
    """A number in [0, 1) that belongs to these parts, and says nothing about them."""
    return zlib.crc32(repr(parts).encode()) / 2**32


# No two messages share a word, so neighbours are no help; which label each has, only an oracle
# knows.
MESSAGES = [Example(f"message{n}", LABELS[n % 2]) for n in range(120)]
# Their words say their labels, so the vote is always right.
NAMESAKES = [Example(f"{LABELS[n % 2]}s word{n}", LABELS[n % 2]) for n in range(40)]
TRUTH = {example.text: example.label for example in MESSAGES}


class Oracle(CountingLM):
    """Knows the right label nine times in ten where the prompt is ``good``; else it guesses.

    Args:
        good: says of the number of examples and the prompt's text whether it knows.
        bias: nats in favour of ham, whatever is asked.
    """

    def __init__(self, good, bias=0.0):
        super().__init__()
        self.good, self.bias = good, bias

    def read(self, prompt, continuations, since=None):
        self.prompts.append(prompt)
        *shown, asked = prompt.split("\n\n")
        text = asked.split("\n")[0].partition(": ")[2]
        knows = 0.9 if self.good(len(shown), prompt) else 0.5
        label = TRUTH[text] if coin(prompt) < knows else LABELS[TRUTH[text] == "ham"]
        scores = [np.log(0.8 if word.strip() == label else 0.2) for word in continuations]
        scores[0] += self.bias
        return Scored(((0,), (1,)), tuple((float(score),) for score in scores))


def tuned(lm, labelled=MESSAGES, **options):
    return tune(labelled, TASK, lm, HashedWords(), **options)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))


@pytest.mark.parametrize(("shown", "selector"), [(0, "zero"), (16, "topk")])
def test_the_prompt_that_is_known_to_be_best_is_found(shown, selector):
    settings = tuned(Oracle(lambda count, _: count == shown)).recipe.settings
    assert (settings.k, settings.selector) == (shown, selector)


def test_a_bias_of_the_model_is_taken_out():
    """Biased by 2 nats, it always says ham, until calibration; the order of the labels is kept."""
    result = tuned(Oracle(lambda count, _: True, bias=2.0))
    assert result.recipe.settings.calibration == "batch"
    assert result.recipe.basis["default"]["accuracy"] == pytest.approx(0.5, abs=0.05)
    assert result.recipe.basis["chosen"]["accuracy"] > 0.8


@pytest.mark.parametrize("seed", range(5))
def test_labels_that_are_noise_keep_the_default(seed):
    result = tuned(Oracle(lambda *_: False), default=FewShotConfig(seed=seed))
    assert result.recipe.settings == FewShotConfig(seed=seed)
    assert "nothing was better beyond chance" in result.recipe.basis["summary"]


@pytest.mark.parametrize("count", [1, 2, LEAST_MESSAGES - 1])
def test_too_few_labelled_messages_keep_the_default_and_say_so(count):
    lm, said = Oracle(lambda *_: True), []
    result = tuned(lm, MESSAGES[:count], note=said.append)
    assert result.recipe.settings == FewShotConfig()
    assert f"{count} different labelled messages are too few to choose by" in said[0]
    assert lm.prompts == []


def test_labelled_messages_of_one_label_keep_the_default_and_say_so():
    said = []
    tuned(Oracle(lambda *_: True), MESSAGES[::2], note=said.append)
    assert said == ["the default is kept: the labelled messages have one label only"]


def test_copies_are_one_message():
    said = []
    tuned(Oracle(lambda *_: True), MESSAGES[:10] * 4, note=said.append)
    assert "10 different labelled messages are too few" in said[0]


@pytest.mark.parametrize("reads", [40, 100, 333])
@pytest.mark.parametrize("labelled", [20, 120])
def test_the_model_is_asked_no_more_often_than_was_said(reads, labelled):
    lm, said = Oracle(lambda count, _: count == 4), []
    result = tuned(lm, MESSAGES[:labelled], reads=reads, note=said.append)
    most = int(said[0].split("at most ")[1].split()[0])
    assert len(lm.prompts) == result.recipe.basis["reads"] <= most <= reads


def test_too_few_reads_are_refused_before_the_first():
    lm = Oracle(lambda *_: True)
    with pytest.raises(TuneshotError, match="reads must be 17 or more here, not 10"):
        tuned(lm, reads=10)
    assert lm.prompts == []


def test_no_message_is_shown_to_itself():
    lm = Oracle(lambda *_: True)
    tuned(lm)
    for prompt in lm.prompts:
        *shown, asked = prompt.split("\n\n")
        text = asked.split("\n")[0]
        assert all(each.split("\n")[0] != text for each in shown)


def test_only_labelled_messages_are_read():
    lm = Oracle(lambda *_: True)
    tuned(lm, MESSAGES[:60])
    allowed = {example.text for example in MESSAGES[:60]}
    words = {word for prompt in lm.prompts for word in prompt.split() if word in TRUTH}
    assert words <= allowed


def test_the_same_seed_gives_the_same_recipe():
    lm = Oracle(lambda count, _: count >= 4)
    first, second = tuned(lm), tuned(Oracle(lambda count, _: count >= 4))
    assert first == second
    other = tuned(lm, default=FewShotConfig(seed=1))
    assert other.tried != first.tried


def test_everything_that_was_tried_is_told_and_one_of_it_is_chosen():
    result = tuned(Oracle(lambda count, _: count == 8))
    (chosen,) = [trial for trial in result.tried if trial["chosen"]]
    settings = result.recipe.settings
    assert chosen["settings"]["k"] == settings.k == 8
    assert {trial["messages"] for trial in result.tried} > {result.recipe.basis["asked"]}
    assert {trial["settings"]["selector"] for trial in result.tried} >= {"zero", "topk", "knn"}
    json.dumps(result.tried)


def test_progress_ends_where_it_was_said_to_end():
    steps = []
    tuned(Oracle(lambda *_: True), on_progress=lambda *step: steps.append(step))
    for stage in ("tune", "kNN prompting: messages read"):
        done = [step[1:3] for step in steps if step[0] == stage]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]


def test_knn_prompting_is_tried_with_a_quarter_of_the_reads():
    result = tuned(CountingLM(), MESSAGES, reads=300)
    (tried,) = [t for t in result.tried if t["settings"]["selector"] == "knn_prompting"]
    assert tried["settings"]["options"] == {"anchors": 75}
    assert tried["messages"] == result.recipe.basis["asked"]
    few = tuned(CountingLM(), MESSAGES, reads=100)
    assert all(trial["settings"]["selector"] != "knn_prompting" for trial in few.tried)


def test_knn_prompting_is_left_out_where_the_reads_pay_only_for_the_others():
    few = MESSAGES[:16]
    result = tuned(CountingLM(), few, reads=64, default=FewShotConfig(orders=4))
    assert result.recipe.basis["reads"] <= 64
    assert all(trial["settings"]["selector"] != "knn_prompting" for trial in result.tried)


def test_where_every_message_has_its_own_choices_nothing_votes():
    questions = [
        Example(f"question{n}? (A) a{n} (B) b{n} (C) c{n} (D) d{n} (E) e{n}", "ABCDE"[n % 5])
        for n in range(60)
    ]
    result = tune(questions, TASKS["commonsense_qa"], CountingLM(), HashedWords(), reads=300)
    assert result.tried
    for trial in result.tried:
        assert trial["settings"]["vote"] == 0
        assert not SELECTORS[trial["settings"]["selector"]].votes


class WithoutVocabulary(CountingLM):
    """As a server that scores words and names a few next tokens only."""

    def next_tokens(self, prompt):
        raise TuneshotError("it does not say how probable each token is")


def test_of_more_labels_than_a_prompt_considers_batch_calibration_is_not_tried():
    names = [f"label{n}" for n in range(40)]
    many = [Example(f"word{n} {names[n % 40]}", names[n % 40]) for n in range(80)]
    result = tune(many, task_with_labels("many", tuple(names)), CountingLM(), HashedWords())
    assert {trial["settings"]["calibration"] for trial in result.tried} == {"none"}
    assert {trial["settings"]["scoring"] for trial in result.tried} > {"sum", "mean"}


def test_what_the_model_cannot_do_is_said_and_not_tried():
    said = []
    result = tuned(WithoutVocabulary(), NAMESAKES, note=said.append)
    assert said[1] == "knn_prompting is not tried: it does not say how probable each token is"
    assert all(trial["settings"]["selector"] != "knn_prompting" for trial in result.tried)


def test_a_vote_that_is_as_good_is_preferred_for_it_asks_no_model():
    guessing = CountingLM()
    assert tuned(guessing, NAMESAKES).recipe.settings.selector == "knn"
    without = tuned(CountingLM(), NAMESAKES, vote=False)
    assert without.recipe.settings.selector != "knn"
    assert all(trial["settings"]["selector"] != "knn" for trial in without.tried)


def test_a_model_that_answers_in_words_can_be_tuned():
    result = tuned(AnsweringLM("spam"), NAMESAKES)
    assert result.recipe.settings.selector == "knn"
    assert {trial["settings"]["calibration"] for trial in result.tried} == {"none"}


def test_labels_that_the_task_does_not_have_are_refused():
    with pytest.raises(TuneshotError, match="eggs"):
        tuned(CountingLM(), [*MESSAGES, Example("more", "eggs")])


# --- what is tried ------------------------------------------------------------------------------


def test_the_default_is_tried_first_and_nothing_twice():
    for default in (FewShotConfig(), FewShotConfig(k=8, balance="none"), FewShotConfig(k=3)):
        tried = candidate_prompts(default, 100, vote=True)
        assert tried[0] == default
        shown = [(t.selector, t.k, t.balance, t.order) for t in tried]
        assert len(set(shown)) == len(shown)


def test_what_is_not_tuned_stays_as_it_is():
    default = FewShotConfig(near=0.9, longest=50, prompt_tokens=500, chat=True, seed=3)
    for each in candidate_prompts(default, 100, vote=True):
        assert replace(
            each, selector="topk", k=4, balance=default.balance, order=default.order
        ) == replace(default, k=4)  # fmt: skip


def test_no_more_examples_are_tried_than_there_are():
    assert max(each.k for each in candidate_prompts(FewShotConfig(), 5, vote=True)) == 4


def test_the_answers_that_are_compared_are_those_the_classifier_would_give():
    """With batch calibration too, but for its prior, which is made of other messages."""
    examples = MESSAGES[:30]
    pool = make_pool([e.text for e in examples], [e.label for e in examples])
    questions = Questions.of(pool, LABELS, seed=0)
    lm = Oracle(lambda *_: True, bias=0.5)
    contender = Contender(FewShotConfig(), True, TASK, pool, lm, HashedWords())
    contender.read(questions.texts)
    for settings, answers in contender.answers(FewShotConfig(), questions):
        way = {name: getattr(settings, name) for name in ("scoring", "calibration", "vote")}
        few_shot = FewShot(TASK, lm=lm, embedder=HashedWords(), **way).fit(pool)
        own = [list(p.probabilities.values()) for p in few_shot.predict(questions.texts)]
        same = settings.calibration == "none"
        assert answers == pytest.approx(np.array(own), abs=1e-9 if same else 0.1)


def test_labels_take_turns_however_rare_they_are():
    pool = make_pool([f"m{n}" for n in range(40)], ["spam"] * 4 + ["ham"] * 36)
    questions = Questions.of(pool, LABELS, seed=0)
    assert sorted(questions.right[:8].tolist()) == [0] * 4 + [1] * 4
    assert len(questions) == 40
    first = questions.first(20)
    assert first.for_labels[first.right == 1].sum() == pytest.approx(1 / 2)
    assert first.for_prior[first.right == 1].sum() / first.for_prior.sum() == pytest.approx(4 / 40)
