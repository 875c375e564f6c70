"""``/train``: the fine-tuned model learns what a chat was taught, while the page goes on answering.

One training at a time, in a process of its own (``clfcore.training.background``); the others wait
in turn. Each starts from the model that was there first, with everything taught since.
"""

import asyncio
import shutil
import time
import uuid
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

import chainlit as cl

from clfcore.errors import TuneshotError
from clfcore.training.background import BackgroundTraining, Done, Failed, Progress
from clfcore.types import Example
from icl.chat.cards import plain, share
from icl.chat.conversation import picture
from icl.chat.language import numeral, say
from icl.chat.state import Chat
from icl.figures.answers import loss_curve
from icl.session.session import Session
from icl.session.settings import Settings

TASK = "sms_spam"  # whose messages are at hand to be rehearsed
MOST = 10  # trainings that run or wait
EVERY = 1.0  # seconds between two pictures
AVERAGED = 8  # steps in a point of the curve
KEPT = 40  # models of all chats, of 64 MB each; the oldest give way

_turn = asyncio.Lock()
_here: list[object] = []  # the trainings that run or wait
_models: list[Path] = []  # the newest last


async def train(session: Session, chat: Chat, settings: Settings) -> None:
    """Trains on what ``chat`` was taught, shows how it goes, and lets the chat ask the result.

    Stopping it leaves the model that was there.

    Args:
        session: whose fine-tuned model learns.
        chat: gets the new model.
        settings: of the moment: the task and the model.

    Raises:
        TuneshotError: there is nothing to learn, no model or no data for it, too many wait, or
            the training failed.
    """
    taught = chat.taught.get(settings.task, ())
    if not taught:
        raise TuneshotError("nothing has been taught in this chat; first: /teach spam MESSAGE")
    if settings.task != TASK:
        raise TuneshotError(
            f"the chat trains for {TASK} only; for {settings.task}, use clf train --data FILE"
        )
    parent = session.checkpoint(settings)
    if len(_here) >= MOST:
        raise TuneshotError(f"{MOST} trainings are waiting already; try again in a few minutes")
    view = _View(cl.Message(content=_waiting()), len(taught))
    await view.message.send()
    _here.append(view)
    try:
        async with _turn:
            done = await _run(taught, parent, view)
    except BaseException:
        await view.message.remove()
        raise
    finally:
        _here.remove(view)
    _models.append(done.folder)
    while len(_models) > KEPT:
        shutil.rmtree(_models.pop(0), ignore_errors=True)
    chat.trained[settings.task] = done.folder


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="tuneshot-trained-", ignore_cleanup_errors=True)


async def _run(taught: tuple[Example, ...], parent: Path, view: "_View") -> Done:
    folder = Path(_scratch().name) / uuid.uuid4().hex
    training = await BackgroundTraining.start(taught, folder, checkpoint=parent)
    try:
        async for event in training.events():
            if isinstance(event, Failed):
                raise TuneshotError(event.problem)
            await view.show(event)
    finally:
        await training.stop()
    assert isinstance(event, Done)  # the last one is, or ``Failed``
    return event


class _View:
    """One training on the page: a message, and the loss curve in it."""

    def __init__(self, message: cl.Message, taught: int) -> None:
        self.message = message
        self._taught = taught
        self._seen: list[Progress] = []
        self._shown = 0.0
        self._id = message.id + "-loss"

    async def show(self, event: Progress | Done) -> None:
        """Shows the newest figures; not every step is worth a picture."""
        if isinstance(event, Progress):
            self._seen.append(event)
            if time.monotonic() < self._shown + EVERY:
                return
            self._shown = time.monotonic()
        points = _points(self._seen)
        drawing = loss_curve(
            [at.step for at in points],
            [at.loss for at in points],
            [at.val_loss for at in points],
            self._seen[-1].steps,
        )
        said = _done(event) if isinstance(event, Done) else _progress(event, self._taught)
        lines = (said, drawing.description) if self._seen[-1].step else (said,)
        self.message.content = "\n\n".join(plain(line) for line in lines)
        await self.message.update()
        element = picture(drawing, "loss")
        element.id = self._id  # takes the place of the one before
        await element.send(for_id=self.message.id, persist=isinstance(event, Done))


def _points(seen: list[Progress]) -> list[Progress]:
    """Of every few steps their mean loss, as one batch's says little; all looks at validation."""
    points, losses = [], []
    for at in seen:
        losses += [at.loss] if at.loss is not None else []
        loss = fmean(losses) if losses and at.step % AVERAGED == 0 else None
        if loss is not None:
            losses.clear()
        if loss is not None or at.val_loss is not None:
            points.append(replace(at, loss=loss))
    return points


def _waiting() -> str:
    if not _here:
        return say("The training starts …")
    return say("{count} trainings are before yours.", count=len(_here))


def _progress(at: Progress, taught: int) -> str:
    words = [
        say(
            "Training on {taught} taught messages and others it knows: step {step} of {steps}.",
            taught=taught,
            step=at.step,
            steps=at.steps,
        )
    ]
    if at.seconds_left is not None:
        words.append(say("About {duration} left.", duration=f"{at.seconds_left:.0f} s"))
    return " ".join([*words, say("The stop button ends it, and nothing changes.")])


def _done(done: Done) -> str:
    return say(
        "Trained in {seconds} s: it answers {learnt} of {taught} taught messages as taught. On "
        "messages put aside it was right in {before} of the cases before, and is in {after} now.",
        seconds=numeral(f"{done.seconds:.0f}"),
        learnt=done.learnt,
        taught=done.taught,
        before=share(done.accuracy_before),
        after=share(done.accuracy),
    )
