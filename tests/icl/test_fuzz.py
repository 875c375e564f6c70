"""Thousands of texts that nobody writes by accident: each is answered, and nothing is logged."""

import asyncio
import json
import logging
import math
import warnings

import pytest

from clfcore.fine_tuned import FineTuned
from clfcore.weights.meta import BUNDLED
from icl.few_shot import FewShot
from icl.prompt.tasks import TASKS
from tests.support.chat import make_workers
from tests.support.doubles import EXAMPLES, CountingLM, HashedWords
from tests.support.lazy import lazy
from tests.support.nasty import nasty_texts
from tests.support.pages import free_port
from tests.support.service import HERE
from tests.support.signed_in import OpenPage, Visitor, page_of_a_class, user_message

testclient = lazy("fastapi.testclient")
service = lazy("icl.service.app")


@pytest.fixture
def silence(caplog, capfd):
    """Nothing is logged, warned of or printed."""
    with caplog.at_level(logging.INFO), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert [record.getMessage() for record in caplog.records if record.name != "httpx"] == []
    assert capfd.readouterr() == ("", "")


def check(predictions, labels):
    """Each is a label with probabilities, or none with a reason."""
    for prediction in predictions:
        assert tuple(prediction.probabilities) == labels
        assert math.isclose(sum(prediction.probabilities.values()), 1, abs_tol=1e-5)
        assert all(0 <= p <= 1 for p in prediction.probabilities.values())
        assert prediction.label in labels


def test_the_texts_are_the_same_for_a_seed_and_others_for_another():
    texts = list(nasty_texts(500, seed=1))
    assert texts == list(nasty_texts(500, seed=1))
    assert len(set(texts) & set(nasty_texts(500, seed=2))) < 100
    assert any("\ud83d" in text for text in texts)
    assert any(not text.strip() for text in texts)
    assert any(len(text) > 1_000 for text in texts)


@pytest.mark.slow
def test_the_fine_tuned_model_answers_10_000(silence):
    model = FineTuned.load(BUNDLED)
    texts = list(nasty_texts(10_000, longest=600))
    for start in range(0, len(texts), 500):
        check(model.predict(texts[start : start + 500]), model.labels)


def test_a_few_shot_prompt_is_made_of_500_and_answered(silence):
    few_shot = FewShot(TASKS["sms_spam"], lm=CountingLM(), embedder=HashedWords(), k=4)
    few_shot.fit([*EXAMPLES, *(example for example in EXAMPLES)])
    check(few_shot.predict(list(nasty_texts(500, seed=3))), few_shot.labels)


@pytest.mark.slow
def test_the_api_answers_1_500(silence):
    workers = make_workers()
    texts = [text for text in nasty_texts(1_700, seed=4) if text.strip()][:1_500]
    with testclient.TestClient(service.create_app(workers), HERE) as client:
        for start in range(0, 1_500, 100):
            asked = {"texts": texts[start : start + 100]}
            answer = client.post(  # with escapes, as half a surrogate pair has no UTF-8
                "/api/classify",
                content=json.dumps(asked),
                headers={"Content-Type": "application/json"},
            )
            halves = any("\ud800" <= c <= "\udfff" for text in asked["texts"] for c in text)
            assert answer.status_code == 200 or (halves and answer.status_code == 422)
            assert len(answer.json().get("answers", asked["texts"])) == 100


@pytest.mark.slow
def test_the_page_answers_1_500_and_says_nothing_in_its_log(tmp_path):
    port = free_port()
    texts = list(nasty_texts(1_500, seed=5))

    async def ask(anna):
        page = await OpenPage(anna).open()
        for start in range(0, len(texts), 30):
            some = texts[start : start + 30]
            del page.seen[:]
            for text in some:
                await page.client.emit("client_message", user_message(text))
            for _ in range(3_000):
                if (ended := len(page.all("task_end"))) >= len(some):
                    break
                await asyncio.sleep(0.02)
            assert ended >= len(some), f"{ended} of {len(some)} answered from {start} on"
        return await page.say("win")

    with page_of_a_class(tmp_path, port):
        anna = Visitor(f"http://127.0.0.1:{port}")
        assert anna.sign_in("anna") == 200
        assert asyncio.run(ask(anna))
    assert (tmp_path / "log").read_text().splitlines() == [
        f"Tuneshot: {anna.url} (Ctrl+C stops it)"
    ]
