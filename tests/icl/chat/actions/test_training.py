"""``/train`` in the chat, with a training that is only played."""

import asyncio

import pytest

from clfcore.errors import TuneshotError
from clfcore.training.background import TrainingDone, TrainingFailed, TrainingProgress
from clfcore.types import Example
from icl.session.session import Model
from icl.session.settings import Settings
from tests.support.chat import Sent, WordSpotter, handle, make_session
from tests.support.lazy import lazy

training = lazy("icl.chat.actions.training")
state = lazy("icl.chat.state")

STEPS = [TrainingProgress(step, 3, 0.5, 0.4, 0.9, 1.0) for step in range(1, 4)]


@pytest.fixture
def played(monkeypatch):
    """Plays ``played.events``; notes what was asked, and what was stopped."""

    class Played:
        events, started, stopped, pause = [*STEPS], [], 0, 0.0
        forgotten: tuple[str, ...] = ()

    class Training:
        def __init__(self, out):
            self.out = out

        async def events(self):
            for event in Played.events:
                await asyncio.sleep(Played.pause)
                yield event
            if isinstance(Played.events[-1], TrainingProgress):
                self.out.mkdir()
                lost = list(Played.forgotten)
                yield TrainingDone(self.out, 1, 1, 0.98, 0.99, 12.3, 98, len(lost), lost[:3])

        async def stop(self):
            Played.stopped += 1

    async def start(taught, out, *, checkpoint, trust_source):
        Played.started.append((taught, checkpoint))
        return Training(out)

    monkeypatch.setattr(training.BackgroundTraining, "start", start)
    monkeypatch.setattr("icl.chat.actions.training.REFRESH_SECONDS", 0.0)
    return Played


@pytest.fixture
def said(monkeypatch):
    """What the message said, each time it was brought up to date."""
    contents: list[str] = []
    update = training.cl.Message.update

    async def noted(message):
        contents.append(message.content)
        return await update(message)

    monkeypatch.setattr(training.cl.Message, "update", noted)
    return contents


@pytest.fixture
def session(tmp_path):
    return make_session(
        {"fine_tuned": lambda settings: Model("tiny", WordSpotter())},
        checkpoint=lambda settings: tmp_path,
    )


def chat_with_an_example():
    chat = state.Chat()
    chat.add_example("sms_spam", Example("new number", "spam"))
    return chat


def test_it_trains_the_sessions_model_on_what_the_chat_was_taught(played, session, tmp_path):
    chat = chat_with_an_example()
    handle(training.fine_tune, session, chat, chat.settings(None))
    assert played.started == [((Example("new number", "spam"),), tmp_path)]
    assert chat.settings(None).trained is not None


def test_the_page_shows_each_step_and_the_curve_in_one_message(played, session):
    chat = chat_with_an_example()
    sent = handle(training.fine_tune, session, chat, chat.settings(None))
    assert sent.messages == ["The training starts …"]
    assert len(sent.cards) == 4
    assert len({element["id"] for element in sent.cards}) == 1
    assert not sent.removed


def test_it_says_that_nothing_was_forgotten(played, session, said):
    chat = chat_with_an_example()
    handle(training.fine_tune, session, chat, chat.settings(None))
    assert "Nothing was forgotten" in said[-1].replace("\\", "")


def test_it_says_what_was_forgotten_and_the_first_few_of_it_as_text(played, session, said):
    played.forgotten = ("<b>call</b> *me*", "see [this](http://a.b)", "ok", "and more")
    chat = chat_with_an_example()
    handle(training.fine_tune, session, chat, chat.settings(None))
    shown = said[-1].replace("\\", "")
    assert "of 98 messages put aside that it answered right, 4 are wrong now." in shown
    assert "– <b>call</b> *me*" in shown
    assert "and more" not in shown
    assert "\\<b\\>call" in said[-1]  # escaped: it is never markup
    assert "\\[this\\]" in said[-1]


def test_after_a_failure_the_old_model_goes_on_and_a_line_says_why(played, session):
    played.events = [STEPS[0], TrainingFailed("the training process was killed")]
    chat = chat_with_an_example()
    with pytest.raises(TuneshotError, match="was killed"):
        handle(training.fine_tune, session, chat, chat.settings(None))
    assert chat.settings(None).trained is None
    assert played.stopped == 1


def test_stopping_it_ends_the_process_and_changes_nothing(played, session):
    played.pause = 0.05
    chat, sent = chat_with_an_example(), Sent()

    async def stopped():
        sent.listen()
        run = asyncio.create_task(training.fine_tune(session, chat, chat.settings(None)))
        await asyncio.sleep(0.08)
        run.cancel()
        await asyncio.wait([run])

    asyncio.run(stopped())
    assert played.stopped == 1
    assert chat.trained == {}
    assert len(sent.removed) == 1
    assert training._pending == []


def test_one_at_a_time_and_the_others_are_told_how_many_are_before_them(played, session):
    played.pause = 0.01
    running = most = 0
    events = training.BackgroundTraining.start

    async def start(*args, **kwargs):
        nonlocal running, most
        running += 1
        most = max(most, running)
        made = await events(*args, **kwargs)
        stop = made.stop

        async def stopped():
            nonlocal running
            running -= 1
            await stop()

        made.stop = stopped
        return made

    training.BackgroundTraining.start = start
    sent = Sent()

    async def crowd():
        sent.listen()
        chats = [chat_with_an_example() for _ in range(training.MAX_PENDING_TRAININGS + 1)]
        return await asyncio.gather(
            *(training.fine_tune(session, chat, chat.settings(None)) for chat in chats),
            return_exceptions=True,
        )

    *trained, refused = asyncio.run(crowd())
    assert trained == [None] * training.MAX_PENDING_TRAININGS
    assert isinstance(refused, TuneshotError)
    assert "waiting already" in str(refused)
    assert most == 1
    assert "2 trainings are before yours." in sent.messages


@pytest.mark.parametrize(
    ("added", "task", "complaint"),
    [
        ({}, "sms_spam", "first: /teach spam MESSAGE"),
        ({"sst2": (Example("fine", "positive"),)}, "sst2", "trains for sms_spam only"),
    ],
)
def test_what_cannot_be_trained_says_why(session, added, task, complaint):
    with pytest.raises(TuneshotError, match=complaint):
        handle(training.fine_tune, session, state.Chat(added=added), Settings(task=task))


def test_a_model_that_had_to_give_way_is_not_asked(played, session, monkeypatch):
    monkeypatch.setattr("icl.chat.actions.training.MAX_KEPT_MODELS", 1)
    monkeypatch.setattr("icl.chat.actions.training._models", [])
    first, second = chat_with_an_example(), chat_with_an_example()
    handle(training.fine_tune, session, first, first.settings(None))
    handle(training.fine_tune, session, second, second.settings(None))
    assert first.settings(None).trained is None
    assert second.settings(None).trained is not None


def test_a_point_of_the_curve_is_the_mean_of_a_few_steps():
    seen = [TrainingProgress(0, 20, val_loss=0.9)]
    seen += [TrainingProgress(step, 20, float(step)) for step in range(1, 17)]
    seen += [TrainingProgress(17, 20, 3.0, val_loss=0.2)]
    shown = [(at.step, at.loss, at.val_loss) for at in training._points(seen)]
    assert shown == [(0, None, 0.9), (8, 4.5, None), (16, 12.5, None), (17, None, 0.2)]
