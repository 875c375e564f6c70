"""A chat without a server: models that look for a word, and what a handler sends to the page."""

import asyncio

from clfcore.types import Prediction
from icl.session.session import Model, Reply, Session, check_message, methods_of
from icl.session.workers import Workers
from tests.support.lazy import lazy

contexts = lazy("chainlit.context")


class WordSpotter:
    """Says spam if the word is in the message. Remembers what it was asked."""

    labels = ("ham", "spam")

    def __init__(self, word="win"):
        self.word = word
        self.asked = []

    def predict(self, texts):
        self.asked += texts
        return [self.answer(text) for text in texts]

    def answer(self, text):
        spam = 0.9 if self.word in text.lower() else 0.2
        label = "spam" if spam > 0.5 else "ham"
        return Prediction(label, {"ham": 1 - spam, "spam": spam}, ms=12.3)


def make_session(methods, checkpoint=None, offers=None):
    """A session without a language model: ``methods`` is name -> function of the settings."""
    return Session(methods, language_model=None, checkpoint=checkpoint, offers=offers or {})


def make_workers(fine_tuned=None, few_shot=None):
    return Workers(
        make_session(
            {
                "fine_tuned": fine_tuned or (lambda settings: Model("tiny", WordSpotter())),
                "few_shot": few_shot or (lambda settings: Model("reader", WordSpotter("cash"))),
            }
        )
    )


def reply_of(session, text, profile, settings):
    """What the methods of a profile answer, without workers."""
    check_message(text)
    results = (session.classify(m, settings, [text])[0] for m in methods_of(profile))
    return Reply(tuple(results))


class Sent:
    """What a handler sends to the page."""

    def __init__(self):
        self.messages, self.errors, self.cards, self.removed = [], [], [], []

    def listen(self):
        """Begins a chat whose messages come here."""

        async def step(sent):
            if sent["type"] == "assistant_message":
                (self.errors if sent["isError"] else self.messages).append(sent["output"])

        async def element(sent):
            self.cards.append(sent)

        async def delete(sent):
            self.removed.append(sent["output"])

        emitter = contexts.init_http_context().emitter
        emitter.send_step, emitter.send_element, emitter.delete_step = step, element, delete


def handle(handler, *args):
    """Runs a handler as Chainlit does and returns what it sent."""
    sent = Sent()

    async def run():
        sent.listen()
        await handler(*args)

    asyncio.run(run())
    return sent
