"""Reading costs a language model's time; answering what was read is arithmetic."""

import itertools
import zlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from clfcore.errors import TuneshotError
from icl.lm.base import Scored
from icl.prompt.calibration import CALIBRATIONS, CONTENT_FREE, Prior
from icl.prompt.orders import ENTROPIES, ORDERS_TRIED
from icl.prompt.scoring import SCORINGS
from tests.support.doubles import AnsweringLM, CountingLM, LastLabelLM, Sayer, few_shot, make_pool

TEXTS = ["win a free prize now", "see you at dinner", ""]


def facts(answer):
    return {name: getattr(answer, name) for name in answer.__dataclass_fields__ if name != "ms"}


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_an_answer_is_made_of_what_was_read_and_of_nothing_else(scoring, calibration):
    classifier = few_shot(CountingLM(), scoring=scoring, calibration=calibration)
    readings = classifier.read(TEXTS)
    asked = len(classifier.lm.prompts)
    answers = [classifier.answering.answer(reading) for reading in readings]
    assert len(classifier.lm.prompts) == asked
    assert list(map(facts, answers)) == list(map(facts, classifier.predict(TEXTS)))


@pytest.mark.parametrize("scoring", ["mean", "first_token", "constrained"])
@pytest.mark.parametrize("shares", ["equal", "pool"])
def test_the_same_readings_answer_under_other_settings(scoring, shares):
    readings = few_shot(CountingLM()).read(TEXTS)
    wanted = few_shot(CountingLM(), scoring=scoring, calibration="batch", shares=shares)
    here = replace(few_shot(CountingLM()).answering, config=wanted.config)
    priors = [here.label_scores(reading) for reading in wanted.read(list(wanted.pool.texts))]
    here = replace(here, prior=Prior.of(priors))
    there = [facts(answer) for answer in wanted.predict(TEXTS)]
    assert [facts(here.answer(reading)) for reading in readings] == there


def test_what_pmi_has_read_answers_by_sum_too_and_not_the_other_way_round():
    pmi, plain = (few_shot(CountingLM(), scoring=scoring) for scoring in ("pmi", "sum"))
    (read_for_pmi,), (read_for_sum,) = pmi.read(TEXTS[:1]), plain.read(TEXTS[:1])
    assert facts(plain.answering.answer(read_for_pmi)) == facts(plain.predict(TEXTS[:1])[0])
    with pytest.raises(TuneshotError, match=r"scoring pmi asks .* not read; read again with it"):
        pmi.answering.answer(read_for_sum)


def test_a_calibration_by_probes_has_to_be_read():
    (reading,) = few_shot(CountingLM()).read(TEXTS[:1])
    calibrated = few_shot(CountingLM(), calibration="contextual")
    with pytest.raises(TuneshotError, match=r"calibration contextual needs .* read again with it"):
        calibrated.answering.answer(reading)


@pytest.mark.parametrize("settings", [{"lm": AnsweringLM("Label: ham")}, {"selector": "knn"}])
def test_words_and_votes_are_readings_like_any_other(settings):
    classifier = few_shot(**settings)
    answers = [classifier.answering.answer(reading) for reading in classifier.read(TEXTS)]
    assert list(map(facts, answers)) == list(map(facts, classifier.predict(TEXTS)))


# --- several orders -------------------------------------------------------------------------------


class Moody(CountingLM):
    """Says something else after every prompt, always the same after the same."""

    def read(self, prompt, continuations, since=None):
        scores = np.random.default_rng(zlib.crc32(prompt.encode())).normal(size=len(continuations))
        return Scored(tuple((i,) for i, _ in enumerate(scores)), tuple((s,) for s in scores))


def rows_of(reading):
    return [tuple(shown.row for shown in prompt.demonstrations) for prompt in reading.prompts]


@pytest.mark.parametrize("selector", ["topk", "random", "votek", "mdl"])
def test_an_answer_over_several_orders_is_the_mean_of_the_answers_in_each(selector):
    one, four = (few_shot(LastLabelLM(), selector=selector, orders=n, k=3) for n in (1, 4))
    (reading,), (first,) = four.read(TEXTS[:1]), one.read(TEXTS[:1])
    assert rows_of(reading)[0] == rows_of(first)[0], "the configured order comes first"
    assert len(set(rows_of(reading))) == 4
    assert len({tuple(sorted(rows)) for rows in rows_of(reading)}) == 1, "the same examples"
    alone = [
        one.answering.answer(replace(reading, prompts=(prompt,))).probabilities["spam"]
        for prompt in reading.prompts
    ]
    answer = four.answering.answer(reading)
    assert len(set(alone)) > 1
    assert answer.probabilities["spam"] == pytest.approx(sum(alone) / 4)
    assert answer.prompt == reading.prompts[0].text
    assert "the mean of 4 orders of the examples, each read by itself" in answer.notes


def test_each_order_costs_a_prompt_and_few_examples_have_few_orders():
    for k, prompts in ((0, 1), (1, 1), (2, 2), (3, 5)):
        classifier = few_shot(CountingLM(), k=k, orders=5)
        before = len(classifier.lm.prompts)
        classifier.predict(TEXTS[:1])
        assert len(classifier.lm.prompts) - before == prompts


def test_in_any_order_the_same_examples_have_room():
    (reading,) = few_shot(CountingLM(220), k=6, orders=4).read(TEXTS[:1])
    assert len({frozenset(rows) for rows in rows_of(reading)}) == 1
    assert {prompt.dropped for prompt in reading.prompts} == {reading.prompts[0].dropped} != {0}


@pytest.mark.parametrize("calibration", ["contextual", "batch"])
def test_a_calibration_is_of_the_mean_over_the_orders(calibration):
    calibrated = few_shot(Moody(), calibration=calibration, orders=3)
    (reading,) = calibrated.read(TEXTS[:1])
    plain = few_shot(Moody(), orders=3)
    answer = plain.answering.answer(reading).probabilities
    if calibration == "batch":
        others = plain.predict(list(plain.pool.texts))
        prior = np.mean([list(other.probabilities.values()) for other in others], axis=0)
    else:
        shown = [prompt.demonstrations for prompt in reading.prompts]
        asked = [
            [plain.lm.read(plain.task.template.render(each, probe), (" ham", " spam")).totals
             for each in shown]
            for probe in CONTENT_FREE
        ]  # fmt: skip
        prior = softmax(np.array(asked), axis=-1).mean(axis=(0, 1))
    shares = np.array(list(answer.values())) / prior
    expected = shares / shares.sum()
    assert list(calibrated.answering.answer(reading).probabilities.values()) == pytest.approx(
        expected.tolist()
    )


def test_of_replies_in_words_those_that_name_a_label_are_averaged():
    (answer,) = few_shot(Sayer("spam", "what?", "spam", "ham"), orders=4).predict(["win"])
    assert answer.probabilities == pytest.approx({"ham": 1 / 3, "spam": 2 / 3})
    assert answer.label == "spam"
    assert answer.completion == "spam\nwhat?\nham"
    assert any("the model said 'what?'" in note for note in answer.notes)
    (silent,) = few_shot(Sayer("what?"), orders=4).predict(["win"])
    assert silent.label is None


# --- an order by entropy --------------------------------------------------------------------------


@pytest.mark.parametrize("order", ENTROPIES)
def test_the_order_that_is_chosen_has_the_largest_entropy_on_unlabelled_messages(order):
    classifier = few_shot(Moody(), order=order, balance="none", k=3)
    tried = few_shot(Moody(), balance="none", k=3, orders=6)
    readings = tried.read(list(classifier.pool.texts))  # ten messages, fewer than would be read
    by_hand = {}
    for place in set(itertools.permutations(range(3))):
        p = []
        for reading in readings:
            rows = [reading.prompts[0].demonstrations[i].row for i in place]
            prompt = reading.prompts[[list(each) for each in rows_of(reading)].index(rows)]
            p.append(
                [np.exp(tried.answering.log_probabilities(replace(reading, prompts=(prompt,))))]
            )
        by_hand[place] = float(ENTROPIES[order](np.array(p))[0])
    (shown,) = classifier.read(TEXTS[:1])
    (usual,) = few_shot(Moody(), balance="none", k=3).read(TEXTS[:1])
    chosen = tuple(rows_of(usual)[0].index(row) for row in rows_of(shown)[0])
    assert by_hand[chosen] == pytest.approx(max(by_hand.values()))
    assert max(by_hand.values()) > min(by_hand.values())


@pytest.mark.parametrize("order", ENTROPIES)
def test_choosing_an_order_has_its_price_before_the_first_answer_and_none_after(order):
    lm = CountingLM()
    classifier = few_shot(lm, order=order, k=4)
    assert len(lm.prompts) == 1 + ORDERS_TRIED * len(classifier.pool)  # of 16, the pool has ten
    classifier.predict(TEXTS[:1])
    assert len(lm.prompts) == 2 + ORDERS_TRIED * len(classifier.pool)
    news: list[tuple[str, int, int, str]] = []
    classifier.fit(classifier.pool, lambda *line: news.append(line))
    assert news == [("order: messages read", n, 10, "") for n in range(1, 11)]


def test_several_orders_by_entropy_are_the_most_promising_ones():
    best, three = (few_shot(LastLabelLM(), order="global_entropy", orders=n) for n in (1, 3))
    (one,), (several,) = best.read(TEXTS[:1]), three.read(TEXTS[:1])
    assert len(several.prompts) == 3
    assert rows_of(several)[0] == rows_of(one)[0]


@pytest.mark.parametrize("settings", [{"selector": "zero"}, {"k": 1}, {"k": 0}, {"selector": "knn"},
                                      {"selector": "mdl"}], ids=str)  # fmt: skip
def test_where_there_is_no_order_to_choose_nothing_is_read_for_it(settings):
    lm, usual = CountingLM(), CountingLM()
    by_entropy = few_shot(lm, order="local_entropy", **settings).predict(TEXTS)
    assert list(map(facts, by_entropy)) == list(
        map(facts, few_shot(usual, **settings).predict(TEXTS))
    )
    assert lm.prompts == usual.prompts


def test_a_model_that_answers_in_words_has_no_entropies():
    with pytest.raises(TuneshotError, match="so order global_entropy cannot be computed"):
        few_shot(AnsweringLM(), order="global_entropy")


# --- a vote beside the prompt ---------------------------------------------------------------------


@pytest.mark.parametrize("selector", ["topk", "zero", "random"])
def test_a_vote_has_its_share_of_the_probabilities(selector):
    query = ["win a free prize now"]
    (vote,) = few_shot(selector="knn", k=3).predict(query)
    (prompt,) = few_shot(LastLabelLM(), selector=selector).predict(query)
    (mixed,) = few_shot(LastLabelLM(), selector=selector, vote=0.3, voters=3).predict(query)
    for label in ("ham", "spam"):
        share = 0.7 * prompt.probabilities[label] + 0.3 * vote.probabilities[label]
        assert mixed.probabilities[label] == pytest.approx(share)
    assert "30% of the probabilities are a vote of similar messages; voters: 3" in mixed.notes
    assert facts(mixed)["demonstrations"] == facts(prompt)["demonstrations"]


def test_a_vote_that_is_all_of_the_answer_is_the_answer_of_knn():
    alone = few_shot(selector="knn", k=8).predict(TEXTS)
    mixed = few_shot(LastLabelLM(), vote=1.0).predict(TEXTS)
    for one, other in zip(alone, mixed, strict=True):
        assert other.probabilities == pytest.approx(one.probabilities)


def test_one_reading_answers_with_any_share_and_fewer_voters():
    readings = few_shot(LastLabelLM(), vote=0.5, voters=6).read(TEXTS)
    for vote, voters in ((0.0, 6), (0.2, 3), (1.0, 1)):
        wanted = few_shot(LastLabelLM(), vote=vote, voters=voters)
        answers = [facts(wanted.answering.answer(reading)) for reading in readings]
        assert answers == list(map(facts, wanted.predict(TEXTS)))
    (without,) = few_shot(LastLabelLM()).read(TEXTS[:1])
    with pytest.raises(TuneshotError, match="read again with vote above 0"):
        few_shot(LastLabelLM(), vote=0.5).answering.answer(without)


def test_where_fewer_can_vote_all_of_them_do():
    (answer,) = few_shot(LastLabelLM(), vote=0.5, voters=99).predict(["win"])
    assert "50% of the probabilities are a vote of similar messages; voters: 9" in answer.notes
    alone = make_pool(["win a prize"], ["spam"])
    with pytest.raises(TuneshotError, match="vote needs two different messages in the pool"):
        few_shot(LastLabelLM(), pool=alone, k=1, vote=0.5)


def test_a_reply_that_names_no_label_stays_no_answer_beside_a_vote():
    (answer,) = few_shot(Sayer("what?"), vote=0.5).predict(["win"])
    assert answer.label is None
