import pickle
import threading
import time

import pytest
import torch

from clfcore.errors import TuneshotError
from clfcore.model.spec import MAKING
from tests.support.tiny import tiny_classifier


def test_weights_that_are_not_numbers_give_no_answer():
    """A comparison with NaN is false, so every message would be ham."""
    model = tiny_classifier()
    next(model.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(TuneshotError, match="the weights of tiny are damaged"):
        model.predict(["win a prize"])


@pytest.fixture
def as_while_a_language_model_is_loaded():
    """Another thread loads one in bfloat16: for all threads that is the type of new tensors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    yield
    torch.set_default_dtype(before)


def test_answers_are_the_same_while_another_thread_loads_a_language_model(request):
    model = tiny_classifier()
    (before,) = model.predict(["win a prize"])
    request.getfixturevalue("as_while_a_language_model_is_loaded")
    (meanwhile,) = model.predict(["win a prize"])
    assert meanwhile.probabilities == before.probabilities


def test_a_model_is_loaded_when_another_thread_has_loaded_its_own():
    stored = pickle.dumps(tiny_classifier())
    loading = threading.Event()

    def load():
        with MAKING:
            torch.set_default_dtype(torch.bfloat16)
            loading.set()
            time.sleep(0.3)
            torch.set_default_dtype(torch.float32)

    other = threading.Thread(target=load)
    other.start()
    loading.wait()
    model = pickle.loads(stored)
    other.join()
    assert {weight.dtype for weight in model.model.parameters()} == {torch.float32}
