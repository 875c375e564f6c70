"""What calibrates a prompt is read while nobody asks; a visitor does not wait for it."""

import asyncio

import pytest

from clfcore.errors import TuneshotError
from icl.answering import NOT_CALIBRATED
from icl.session.session import Model
from icl.session.settings import Settings
from tests.support.chat import make_workers
from tests.support.doubles import POOL, CountingLM, few_shot

CALIBRATED = Settings(calibration="batch")


@pytest.fixture
def waiting():
    """A classifier whose prior has not been read, and workers who know it."""
    classifier = few_shot(CountingLM(), calibration="batch", read_prior=False)
    workers = make_workers(few_shot=lambda settings: Model("reader", classifier))
    yield classifier, workers
    workers.close()


async def ask(workers, texts=("win a prize",), background=False):
    results = await workers.classify("few_shot", CALIBRATED, texts, background=background)
    return [result.prediction for result in results]


def test_the_first_answer_does_not_wait_and_those_after_the_reading_are_calibrated(waiting):
    classifier, workers = waiting

    async def visit():
        (first,) = await ask(workers)
        asked = len(classifier.lm.prompts)
        while classifier.batch_prior.left:
            await asyncio.sleep(0.01)
        (later,) = await ask(workers)
        return first, asked, later

    first, asked, later = asyncio.run(visit())
    assert NOT_CALIBRATED in first.notes
    assert asked < len(POOL), "the first answer came before the messages had been read"
    assert not later.provisional
    (wanted,) = few_shot(CountingLM(), calibration="batch").predict(["win a prize"])
    assert later.probabilities == wanted.probabilities


def test_all_messages_of_a_file_are_answered_alike_after_the_reading(waiting):
    _, workers = waiting
    answers = asyncio.run(ask(workers, ["win a prize", "see you", "late"], background=True))
    assert not any(answer.provisional for answer in answers)


def test_without_a_calibration_nothing_is_read_beside_the_question():
    classifier = few_shot(CountingLM())
    workers = make_workers(few_shot=lambda settings: Model("reader", classifier))

    async def visit():
        await workers.classify("few_shot", Settings(), ["win"], background=False)
        await asyncio.sleep(0.05)

    asyncio.run(visit())
    workers.close()
    assert len(classifier.lm.prompts) == 2  # one made sure that there are scores


def test_a_prior_that_cannot_be_read_leaves_the_answers_as_they_are(waiting, caplog):
    classifier, workers = waiting

    def fail():
        raise TuneshotError("the server is gone")

    classifier.batch_prior.read_next = fail
    (answer,) = asyncio.run(ask(workers, background=True))
    assert answer.provisional
    assert "the server is gone" in caplog.text
