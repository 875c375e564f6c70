"""The models' queues know which questions are equal, and what makes an answer old."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from clfcore.types import Example, Prediction
from icl.answering import FewShotPrediction
from icl.session.session import MethodResult, Model
from icl.session.settings import Settings
from icl.session.workers import Workers, _is_final
from tests.support.chat import make_session


class Counting:
    """Answers as told, and counts how often it was asked."""

    def __init__(self):
        self.asked, self.label = 0, "spam"

    def predict(self, texts):
        self.asked += len(texts)
        return [Prediction(self.label, {"spam": 1.0}, 1.0) for _ in texts]


def asked(method, *questions, label="spam"):
    """How often the model was asked for these questions, one after another."""
    model = Counting()
    model.label = label
    workers = Workers(make_session({method: lambda settings: Model("counting", model)}))

    async def ask():
        for text, settings in questions:
            await workers.classify(method, settings, [text], background=False)

    try:
        asyncio.run(ask())
    finally:
        workers.close()
    return model.asked


NOW = Settings()
TAUGHT = replace(NOW, added=(Example("new", "ham"),))
TRAINED = replace(NOW, trained=Path("runs/new"))


def test_the_same_message_under_the_same_settings_is_read_once():
    assert asked("few_shot", ("win", NOW), ("win", Settings())) == 1
    assert asked("few_shot", ("win", NOW), ("Win", NOW)) == 2


@pytest.mark.parametrize(
    "changed",
    [TAUGHT, Settings(k=8), Settings(selector="knn"), Settings(lm="other"), Settings(seed=1)],
    ids=["taught", "k", "selector", "model", "seed"],
)
def test_what_was_taught_or_chosen_makes_a_prompts_answer_old(changed):
    assert asked("few_shot", ("win", NOW), ("win", changed), ("win", NOW)) == 2


def test_what_was_trained_makes_a_fine_tuned_answer_old_and_what_was_taught_does_not():
    assert asked("fine_tuned", ("win", NOW), ("win", TRAINED), ("win", TAUGHT)) == 2
    assert asked("few_shot", ("win", NOW), ("win", TRAINED)) == 1


def test_an_answer_without_a_label_is_asked_for_again():
    assert asked("few_shot", ("win", NOW), ("win", NOW), label=None) == 2


def test_an_answer_before_its_calibration_is_asked_for_again():
    early = FewShotPrediction(
        "spam", {"spam": 1.0}, 1.0, demonstrations=(), prompt="", prompt_tokens=0, dropped=0,
        provisional=True,
    )  # fmt: skip
    assert not _is_final(MethodResult("few_shot", NOW, "counting", early))
    assert _is_final(MethodResult("few_shot", NOW, "counting", replace(early, provisional=False)))


def test_forty_who_press_the_same_starter_wait_for_one_answer():
    model = Counting()
    workers = Workers(make_session({"few_shot": lambda settings: Model("counting", model)}))

    async def press():
        return await asyncio.gather(
            *(workers.reply("win", ("few_shot",), Settings()) for _ in range(40))
        )

    try:
        replies = asyncio.run(press())
    finally:
        workers.close()
    assert [reply.labels for reply in replies] == [("spam",)] * 40
    assert model.asked == 1
