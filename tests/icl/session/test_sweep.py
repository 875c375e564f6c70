"""How a few-shot answer changes with the number and the order of its examples."""

import json

import pytest

from clfcore.errors import TuneshotError
from icl.few_shot import FewShot
from icl.lm.local import LocalLM
from icl.selectors.table import SELECTORS
from icl.session.sweep import sweep
from tests.support.doubles import (
    EXAMPLES,
    CountingLM,
    HashedWords,
    LastLabelLM,
    few_shot,
    save_tiny_lm,
)

TEXT = "win a free prize now, see you at dinner"


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory):
    return LocalLM(str(save_tiny_lm(tmp_path_factory.mktemp("lm"))))


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("calibration", ["none", "contextual", "batch"])
def test_each_k_is_answered_as_a_classifier_of_that_k_would(tiny_lm, selector, calibration):
    def made(k):
        return few_shot(tiny_lm, selector=selector, k=k, calibration=calibration)

    found = sweep(made(2), TEXT, ks=(1, 2, 3), orders=2)
    assert [each.k for each in found.by_k] == [1, 2, 3]
    for each in found.by_k:
        (expected,) = made(each.k).predict([TEXT])
        assert each.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
        assert each.shown == len(expected.demonstrations)


@pytest.mark.parametrize("order", ["similar_last", "similar_first", "random"])
@pytest.mark.parametrize("chat", [False, True])
def test_each_order_is_read_from_a_prompt_with_the_same_examples(order, chat):
    lm = CountingLM()
    classifier = few_shot(lm, k=4, order=order, chat=chat)
    (now,) = classifier.predict([TEXT])
    lm.prompts.clear()
    found = sweep(classifier, TEXT, ks=(), orders=6)
    texts = [shown.text for shown in now.demonstrations]
    assert len(lm.prompts) == len(found.by_order) == 6
    for prompt, each in zip(lm.prompts, found.by_order, strict=True):
        assert sorted(prompt) == sorted(now.prompt), "the same characters"
        places = [prompt.index(texts[place]) for place in each.order]
        assert places == sorted(places)


def test_the_orders_differ_and_the_present_one_and_its_reverse_lead():
    found = sweep(few_shot(k=4), TEXT, ks=(), orders=24).by_order
    assert [each.order for each in found[:2]] == [(0, 1, 2, 3), (3, 2, 1, 0)]
    assert len({each.order for each in found}) == len(found) == 24
    again = sweep(few_shot(k=4), TEXT, ks=(), orders=24).by_order
    assert found == again
    other = sweep(few_shot(k=4, seed=1), TEXT, ks=(), orders=24).by_order
    assert [each.order for each in found] != [each.order for each in other]


@pytest.mark.parametrize(("k", "orders"), [(0, 1), (1, 1), (2, 2), (3, 6)])
def test_few_examples_have_few_orders(k, orders):
    found = sweep(few_shot(k=k, selector="topk"), TEXT, ks=(), orders=10)
    assert len(found.by_order) == orders


def test_an_order_that_turns_the_answer_is_seen():
    found = sweep(few_shot(LastLabelLM(), k=2), TEXT, ks=())
    assert found.flipped
    assert found.spread == pytest.approx(1 / 3)
    assert {each.label for each in found.by_order} == {"ham", "spam"}
    steady = sweep(few_shot(CountingLM(), k=2), TEXT, ks=())
    assert not steady.flipped
    assert steady.spread == 0


def test_a_vote_has_no_order():
    found = sweep(few_shot(selector="knn", k=3), TEXT)
    assert found.by_order == ()
    assert (found.spread, found.flipped) == (0.0, False)
    assert [each.k for each in found.by_k] == [1, 2, 3, 4, 8]


def test_more_examples_than_the_pool_has_are_skipped_and_said():
    found = sweep(few_shot(k=2), TEXT, ks=(len(EXAMPLES), 1, len(EXAMPLES) + 1))
    assert [each.k for each in found.by_k] == [1, 2, len(EXAMPLES)]
    assert list(found.skipped) == [len(EXAMPLES) + 1]
    assert "cannot show k=11 examples" in found.skipped[len(EXAMPLES) + 1]


def test_what_cannot_be_asked_now_is_an_error():
    with pytest.raises(TuneshotError, match="cannot show k=99 examples"):
        sweep(few_shot(k=99), TEXT)


def test_examples_that_do_not_fit_are_not_counted_as_shown():
    found = sweep(few_shot(CountingLM(max_prompt_tokens=150), k=2), "win", ks=(8,))
    shown = {each.k: each.shown for each in found.by_k}
    assert 0 < shown[8] < 8


@pytest.mark.parametrize("asked", range(8))
def test_it_stops_between_two_questions_with_what_it_has(asked):
    lm = CountingLM()
    classifier = few_shot(lm, k=2)
    lm.prompts.clear()
    found = sweep(classifier, TEXT, ks=(1, 2, 4, 8), orders=2, stop=lambda: len(lm.prompts) > asked)
    whole = sweep(classifier, TEXT, ks=(1, 2, 4, 8), orders=2)
    known = len(found.by_k) + len(found.by_order) - 1  # the present answer is in both
    assert known == min(asked + 1, 5)
    assert found.stopped == (asked < 4)
    assert not whole.stopped
    assert {each.k for each in found.by_k} <= {each.k for each in whole.by_k}
    assert found.by_order == whole.by_order[: len(found.by_order)]


def test_progress_counts_every_question_once():
    news = []
    sweep(few_shot(k=2), TEXT, ks=(1, 2, 99), orders=2, on_progress=lambda *line: news.append(line))
    assert [(done, total) for _, done, total, _ in news] == [(n, 4) for n in range(1, 5)]
    assert [figures.split(":")[0] for *_, figures in news] == [
        "k = 2", "k = 1", "k = 99", "another order",
    ]  # fmt: skip


def test_the_classifier_is_left_as_it_was():
    classifier = few_shot(k=2)
    before = (classifier.config, classifier.selector)
    answer = classifier.predict([TEXT])[0].prompt
    sweep(classifier, TEXT)
    assert (classifier.config, classifier.selector) == before
    assert classifier.predict([TEXT])[0].prompt == answer


def test_it_can_be_written_as_json():
    found = sweep(few_shot(LastLabelLM(), k=2), TEXT, ks=(1, 99), orders=2)
    read = json.loads(json.dumps(found.to_dict()))
    assert read["k"] == 2
    assert list(read["skipped"]) == ["99"]
    assert read["by_order"][1]["order"] == [1, 0]
    assert (read["flipped"], read["spread"]) == (True, pytest.approx(1 / 3))


@pytest.mark.slow
def test_the_bundled_language_model_can_be_swept():
    classifier = FewShot("sms_spam", "topk", embedder=HashedWords(), k=2).fit(EXAMPLES)
    found = sweep(classifier, TEXT, ks=(1, 2))
    assert [each.k for each in found.by_k] == [1, 2]
    assert len(found.by_order) == 2
    assert 0 <= found.spread <= 1
