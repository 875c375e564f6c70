"""Reading costs a language model's time; answering what was read is arithmetic."""

from dataclasses import replace

import pytest

from clfcore.errors import TuneshotError
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.scoring import SCORINGS
from tests.support.doubles import AnsweringLM, CountingLM, few_shot

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
    here = replace(here, prior=here.prior_of(wanted.read(list(wanted.pool.texts))))
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
