import pickle
import threading
import time

import pytest
import torch

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.model.spec import MAKING
from clfcore.weights.language_model import load_transformer
from tests.support.doubles import save_tiny_lm
from tests.support.tiny import tiny_classifier
from tests.support.tiny_gguf import save_gguf


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


def test_nobody_waits_for_a_language_model_that_is_converted(tmp_path, monkeypatch):
    from transformers import modeling_gguf_pytorch_utils as of_gguf

    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    save_gguf(save_tiny_lm(tmp_path / "llama", "llama"), tmp_path / "model.gguf")
    converting, answered, in_time = threading.Event(), threading.Event(), []
    convert = of_gguf.load_gguf_checkpoint

    def slowly(*given, **how):
        converting.set()
        in_time.append(answered.wait(60))
        return convert(*given, **how)

    monkeypatch.setattr(of_gguf, "load_gguf_checkpoint", slowly)
    gguf = str(tmp_path / "model.gguf")
    other = threading.Thread(target=load_transformer, args=(gguf, "AutoModelForCausalLM"))
    other.start()
    assert converting.wait(60)
    pickle.loads(pickle.dumps(tiny_classifier())).predict(["win a prize"])
    FineTuned.load().predict(["win a prize"])
    answered.set()
    other.join()
    assert in_time
    assert all(in_time)
