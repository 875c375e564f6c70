"""A service without models."""

import threading
from functools import partial
from types import SimpleNamespace

from clfcore.errors import TuneshotError
from clfcore.types import Prediction
from icl.session.session import Model
from icl.session.workers import WARM_UP_TEXT, Workers
from tests.support.chat import make_session

HERE = "http://localhost"  # a name that every server answers to
METHODS = ("fine_tuned", "few_shot")
OFFERS = {"lm": ["reader", "writer"], "checkpoint": ["gpt2-mini", "films"]}


class Spotter:
    """Workers of two methods that say spam if a text has the word."""

    def __init__(self):
        self.calls = []
        self.open = threading.Event()
        self.open.set()
        methods = {method: partial(self.model, method) for method in METHODS}
        self.workers = Workers(make_session(methods, offers=OFFERS))
        self.workers.warm_up.retry_seconds = 0

    def model(self, method, settings):
        predict = partial(self.predict, method, settings)
        return Model(f"tiny {method}", SimpleNamespace(predict=predict))

    def predict(self, method, settings, texts):
        assert self.open.wait(10)
        self.calls.append((method, list(texts), settings))
        if "bug" in texts:
            raise RuntimeError("cannot open /home/me/secret.bin")
        if "missing" in texts:
            raise TuneshotError("no model; run: make setup")
        return [self.answer(text) for text in texts]

    def answer(self, text):
        spam = 0.9 if "win" in text else 0.25
        label = "spam" if spam > 0.5 else "ham"
        return Prediction(label, {"ham": 1 - spam, "spam": spam}, 1.5, ("a note",))

    @property
    def asked(self):
        return [call for call in self.calls if call[1] != [WARM_UP_TEXT]]
