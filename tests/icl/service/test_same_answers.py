"""One text has one answer: alone, among others, over the API, and while others ask."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fastapi.testclient import TestClient

from clfcore.data.messages import sample_messages
from clfcore.fine_tuned import FineTuned
from clfcore.types import without_lone_surrogates
from icl.few_shot import FewShot
from icl.service.app import create_app
from icl.session.open import open_session
from icl.session.settings import Settings
from icl.session.workers import Workers
from tests.support.doubles import save_tiny_lm
from tests.support.nasty import hostile_messages
from tests.support.service import HERE

LARGEST_DIFFERENCE = 5e-5  # of a probability: what a batch's width may move
METHODS = ("fine_tuned", "few_shot")
MESSAGES = hostile_messages(24)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    return str(save_tiny_lm(tmp_path_factory.mktemp("lm")))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Some labelled messages as a file."""
    path = tmp_path_factory.mktemp("pool") / "pool.tsv"
    path.write_text("".join(f"{e.label}\t{e.text}\n" for e in sample_messages().examples[::20]))
    return path


@pytest.fixture(scope="module")
def models(language_model):
    few_shot = FewShot("sms_spam", lm=language_model, k=Settings().k).fit(
        sample_messages().examples[::20]
    )
    return {"fine_tuned": FineTuned.load(), "few_shot": few_shot}


@pytest.fixture(scope="module")
def alone(models):
    """Method -> text -> label and probabilities, each text asked by itself."""
    return {
        method: {text: answer_of(model.predict([text])[0]) for text in MESSAGES}
        for method, model in models.items()
    }


@pytest.fixture(scope="module")
def client(language_model, table):
    workers = Workers(open_session(pool=table, lms=[language_model]))
    with TestClient(create_app(workers), HERE) as client:
        yield client


def answer_of(prediction):
    return prediction.label, [prediction.probabilities[label] for label in ("ham", "spam")]


def check_same(expected, found):
    assert found[0] == expected[0]
    assert found[1] == pytest.approx(expected[1], abs=LARGEST_DIFFERENCE)


def post(client, texts):
    """Method -> label and probabilities of each text, in order."""
    response = client.post("/api/classify", json={"texts": texts})
    assert response.status_code == 200, response.text
    return {
        method: [
            (each[method]["label"], [each[method]["probabilities"][x] for x in ("ham", "spam")])
            for each in response.json()["answers"]
        ]
        for method in METHODS
    }


@pytest.mark.parametrize("method", METHODS)
def test_hostile_messages_get_in_a_batch_the_answers_they_get_alone(models, alone, method):
    order = np.random.default_rng(0).permutation(len(MESSAGES)).tolist()
    together = models[method].predict([MESSAGES[row] for row in order])
    for row, prediction in zip(order, together, strict=True):
        check_same(alone[method][MESSAGES[row]], answer_of(prediction))


def test_over_the_api_many_at_once_get_the_answers_they_get_alone(client, alone):
    rng = np.random.default_rng(0)
    texts = [text for text in MESSAGES if text == without_lone_surrogates(text)]  # JSON has none
    requests = [
        [texts[row] for row in rng.permutation(len(texts))[: rng.integers(1, 8)]] for _ in range(24)
    ]
    with ThreadPoolExecutor(8) as visitors:
        for texts, found in zip(
            requests, visitors.map(lambda texts: post(client, texts), requests), strict=True
        ):
            for method in METHODS:
                for text, answer in zip(texts, found[method], strict=True):
                    check_same(alone[method][text], answer)


@pytest.mark.slow
def test_3006_hostile_messages_have_an_answer_each_and_the_same_in_a_batch(models):
    messages = hostile_messages(3006, seed=1)
    model = models["fine_tuned"]
    for text, together in zip(messages, model.predict(messages), strict=True):
        label, p = answer_of(together)
        assert label in model.labels
        assert sum(p) == pytest.approx(1, abs=1e-5)
        check_same(answer_of(model.predict([text])[0]), (label, p))
