"""``/train``: fine-tunes on a chat's added messages, while the page keeps answering.

One training at a time, in a separate process (``clfcore.training.background``); the others wait
their turn. Each starts from the model the chat began with, with everything added since.
"""

import asyncio
import shutil
import time
import uuid
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

import chainlit as cl

from clfcore.errors import TuneshotError
from clfcore.scratch import process_folder
from clfcore.training.background import (
    BackgroundTraining,
    TrainingDone,
    TrainingFailed,
    TrainingProgress,
)
from clfcore.types import Example
from icl.chat.cards import share, time_left
from icl.chat.conversation import paragraphs, picture
from icl.chat.language import numeral, say
from icl.chat.state import Chat
from icl.figures.answers import loss_curve
from icl.session.session import Session
from icl.session.settings import Settings

TASK = "sms_spam"  # the one whose messages are here, to be trained on again beside the added ones
MAX_PENDING_TRAININGS = 10  # running or waiting
REFRESH_SECONDS = 1.0  # between two pictures
STEPS_PER_POINT = 8  # of the curve
MAX_KEPT_MODELS = 40  # of all chats, of 64 MB each; the oldest are deleted

_one_at_a_time = asyncio.Lock()
_pending: list[object] = []  # the trainings that run or wait
_models: list[Path] = []  # the newest last


async def fine_tune(session: Session, chat: Chat, settings: Settings) -> None:
    """Trains on the messages added in ``chat``, shows the progress, and gives the chat the result.

    Stopping it leaves the model that was there.

    Args:
        session: whose fine-tuned model is trained further.
        chat: gets the new model.
        settings: the present ones: the task and the model.

    Raises:
        TuneshotError: no message was added, no model or no data for it, too many wait, or the
            training failed.
    """
    added = chat.added.get(settings.task, ())
    if not added:
        raise TuneshotError("nothing has been taught in this chat; first: /teach spam MESSAGE")
    if settings.task != TASK:
        raise TuneshotError(
            f"the chat trains for {TASK} only; for {settings.task}, use clf train --data FILE"
        )
    parent = session.checkpoint(settings)
    if len(_pending) >= MAX_PENDING_TRAININGS:
        raise TuneshotError(
            f"{MAX_PENDING_TRAININGS} trainings are waiting already; try again in a few minutes"
        )
    view = _TrainingView(cl.Message(content=_waiting()), len(added))
    await view.message.send()
    _pending.append(view)
    try:
        async with _one_at_a_time:
            done = await _run(added, parent, view)
    except BaseException:
        await view.message.remove()
        raise
    finally:
        _pending.remove(view)
    _models.append(done.folder)
    while len(_models) > MAX_KEPT_MODELS:
        shutil.rmtree(_models.pop(0), ignore_errors=True)
    chat.trained[settings.task] = done.folder


@cache
def _scratch() -> Path:
    """Where models of chats lie, as long as this process lives."""
    return process_folder("trained")


async def _run(added: tuple[Example, ...], parent: Path, view: "_TrainingView") -> TrainingDone:
    folder = _scratch() / uuid.uuid4().hex
    # Whether it may be loaded, the session has said: it was, to know its labels.
    training = await BackgroundTraining.start(added, folder, checkpoint=parent, trust_source=True)
    try:
        async for event in training.events():
            if isinstance(event, TrainingFailed):
                raise TuneshotError(event.problem)
            await view.show(event)
    finally:
        await training.stop()
    assert isinstance(event, TrainingDone)  # the last one is, or ``TrainingFailed``
    return event


class _TrainingView:
    """One training on the page: a message, and the loss curve in it."""

    def __init__(self, message: cl.Message, added: int) -> None:
        self.message = message
        self._added = added
        self._events: list[TrainingProgress] = []
        self._last_refresh = 0.0

    async def show(self, event: TrainingProgress | TrainingDone) -> None:
        """Shows the newest figures; not every step is worth a picture."""
        if isinstance(event, TrainingProgress):
            self._events.append(event)
            if time.monotonic() < self._last_refresh + REFRESH_SECONDS:
                return
            self._last_refresh = time.monotonic()
        points = _points(self._events)
        drawing = loss_curve(
            [point.step for point in points],
            [point.loss for point in points],
            [point.val_loss for point in points],
            self._events[-1].steps,
        )
        if isinstance(event, TrainingDone):
            lines = [_done(event), *_forgotten(event)]
        else:
            lines = [_progress(event, self._added)]
        lines += [drawing.description] if self._events[-1].step else []
        self.message.content = paragraphs(*lines)
        await self.message.update()
        element = picture(drawing, "loss")
        element.id = self.message.id + "-loss"  # takes the place of the one before
        await element.send(for_id=self.message.id, persist=isinstance(event, TrainingDone))


def _points(events: list[TrainingProgress]) -> list[TrainingProgress]:
    """The mean loss of every few steps, as one batch's says little, and all validation losses."""
    points, losses = [], []
    for event in events:
        losses += [event.loss] if event.loss is not None else []
        loss = fmean(losses) if losses and event.step % STEPS_PER_POINT == 0 else None
        if loss is not None:
            losses.clear()
        if loss is not None or event.val_loss is not None:
            points.append(replace(event, loss=loss))
    return points


def _waiting() -> str:
    return (
        say("{count} trainings are before yours.", count=len(_pending))
        if _pending
        else say("The training starts …")
    )


def _progress(event: TrainingProgress, added: int) -> str:
    sentences = [
        say(
            "Training on {taught} taught messages and others it knows: step {step} of {steps}.",
            taught=added,
            step=event.step,
            steps=event.steps,
        ),
        *time_left(event.seconds_left),
        say("The stop button ends it, and nothing changes."),
    ]
    return " ".join(sentences)


def _done(done: TrainingDone) -> str:
    return say(
        "Trained in {seconds} s: it answers {learnt} of {taught} taught messages as taught. On "
        "messages put aside it was right in {before} of the cases before, and is in {after} now.",
        seconds=numeral(f"{done.seconds:.0f}"),
        learnt=done.answered_as_taught,
        taught=done.taught,
        before=share(done.accuracy_before),
        after=share(done.accuracy),
    )


def _forgotten(done: TrainingDone) -> list[str]:
    """What it answered right before and does not now: how many messages, and the first of them."""
    if not done.forgotten:
        return [say("Nothing was forgotten: what it answered right there, it still does.")]
    count = say(
        "Forgotten: of {right} messages put aside that it answered right, {count} are wrong now.",
        right=numeral(f"{done.right_before:,}"),
        count=numeral(f"{done.forgotten:,}"),
    )
    return [count, *(f"– {text}" for text in done.forgotten_texts)]
