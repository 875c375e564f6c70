import pytest

from clfcore.errors import TuneshotError
from tests.support.tiny import tiny_classifier


def test_weights_that_are_not_numbers_give_no_answer():
    """A comparison with NaN is false, so every message would be ham."""
    model = tiny_classifier()
    next(model.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(TuneshotError, match="the weights of tiny are damaged"):
        model.predict(["win a prize"])
