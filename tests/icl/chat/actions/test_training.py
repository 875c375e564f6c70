"""``/train`` in the chat, with a training that is only played."""

import asyncio

import pytest
from chainlit.context import init_http_context

from clfcore.errors import TuneshotError
from clfcore.training.background import Done, Failed, Progress
from clfcore.types import Example
from icl.chat.actions import training
from icl.chat.actions.training import MOST, train
from icl.chat.state import Chat
from icl.session.session import Model, Session
from icl.session.settings import Settings
from tests.icl.chat.test_chat_app import Sent, handle, workers
from tests.icl.session.test_session import WordSpotter

STEPS = [Progress(step, 3, 0.5, 0.4, 0.9, 1.0) for step in range(1, 4)]


@pytest.fixture
def played(monkeypatch):
    """Plays ``played.events``; notes what was asked, and what was stopped."""

    class Played:
        events, started, stopped, pause = [*STEPS], [], 0, 0.0

    class Training:
        def __init__(self, out):
            self.out = out

        async def events(self):
            for event in Played.events:
                await asyncio.sleep(Played.pause)
                yield event
            if isinstance(Played.events[-1], Progress):
                self.out.mkdir()
                yield Done(self.out, 1, 1, 0.98, 0.99, 12.3)

        async def stop(self):
            Played.stopped += 1

    async def start(taught, out, *, checkpoint):
        Played.started.append((taught, checkpoint))
        return Training(out)

    monkeypatch.setattr(training.BackgroundTraining, "start", start)
    monkeypatch.setattr(training, "EVERY", 0.0)
    return Played


@pytest.fixture
def session(tmp_path):
    return Session(
        {"fine_tuned": lambda settings: Model("tiny", WordSpotter())},
        checkpoint=lambda settings: tmp_path,
    )


def taught_chat():
    chat = Chat()
    chat.teach("sms_spam", Example("new number", "spam"))
    return chat


def test_it_trains_the_sessions_model_on_what_the_chat_was_taught(played, session, tmp_path):
    chat = taught_chat()
    handle(train, session, chat, chat.settings(None))
    assert played.started == [((Example("new number", "spam"),), tmp_path)]
    assert chat.settings(None).trained is not None


def test_the_page_shows_each_step_and_the_curve_in_one_message(played, session):
    chat = taught_chat()
    sent = handle(train, session, chat, chat.settings(None))
    assert sent.messages == ["The training starts …"]
    assert len(sent.cards) == 4
    assert len({element["id"] for element in sent.cards}) == 1
    assert not sent.removed


def test_after_a_failure_the_old_model_goes_on_and_a_line_says_why(played, session):
    played.events = [STEPS[0], Failed("the training process was killed")]
    chat = taught_chat()
    with pytest.raises(TuneshotError, match="was killed"):
        handle(train, session, chat, chat.settings(None))
    assert chat.settings(None).trained is None
    assert played.stopped == 1


def test_stopping_it_ends_the_process_and_changes_nothing(played, session):
    played.pause = 0.05
    chat, sent = taught_chat(), Sent()

    async def stopped():
        sent.listen(init_http_context().emitter)
        run = asyncio.create_task(train(session, chat, chat.settings(None)))
        await asyncio.sleep(0.08)
        run.cancel()
        await asyncio.wait([run])

    asyncio.run(stopped())
    assert played.stopped == 1
    assert chat.trained == {}
    assert len(sent.removed) == 1
    assert training._here == []


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
        sent.listen(init_http_context().emitter)
        chats = [taught_chat() for _ in range(MOST + 1)]
        return await asyncio.gather(
            *(train(session, chat, chat.settings(None)) for chat in chats), return_exceptions=True
        )

    *trained, refused = asyncio.run(crowd())
    assert trained == [None] * MOST
    assert isinstance(refused, TuneshotError)
    assert "waiting already" in str(refused)
    assert most == 1
    assert "2 trainings are before yours." in sent.messages


@pytest.mark.parametrize(
    ("chat", "settings", "complaint"),
    [
        (Chat(), Settings(), "first: /teach spam MESSAGE"),
        (
            Chat(taught={"sst2": (Example("fine", "positive"),)}),
            Settings(task="sst2"),
            "trains for sms_spam only",
        ),
    ],
)
def test_what_cannot_be_trained_says_why(session, chat, settings, complaint):
    with pytest.raises(TuneshotError, match=complaint):
        handle(train, session, chat, settings)


def test_without_a_fine_tuned_model_there_is_nothing_to_train():
    with pytest.raises(TuneshotError, match="nothing to train"):
        handle(train, workers().session, taught_chat(), Settings())


def test_a_model_that_had_to_give_way_is_not_asked(played, session, monkeypatch):
    monkeypatch.setattr(training, "KEPT", 1)
    monkeypatch.setattr(training, "_models", [])
    first, second = taught_chat(), taught_chat()
    handle(train, session, first, first.settings(None))
    handle(train, session, second, second.settings(None))
    assert first.settings(None).trained is None
    assert second.settings(None).trained is not None


def test_a_point_of_the_curve_is_the_mean_of_a_few_steps():
    seen = [Progress(0, 20, val_loss=0.9)]
    seen += [Progress(step, 20, float(step)) for step in range(1, 17)]
    seen += [Progress(17, 20, 3.0, val_loss=0.2)]
    shown = [(at.step, at.loss, at.val_loss) for at in training._points(seen)]
    assert shown == [(0, None, 0.9), (8, 4.5, None), (16, 12.5, None), (17, None, 0.2)]
