"""A language model by its name: what no name is, is said before anything is loaded."""

import pytest

from clfcore.errors import TuneshotError
from icl.lm.open import check_lm, open_lm, without_dtype


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("fp32:api:openai/gpt-4o-mini", "fp32: before api:openai/gpt-4o-mini is for models on"),
        ("bf16:api:ollama/llama3.2", "bf16: before api:ollama/llama3.2 is for models on this"),
        ("bf16:fp32:gpt2", "bf16: before fp32:gpt2 is not the only one; name fp32:gpt2"),
        ("fp32:fp32:gpt2", "fp32: before fp32:gpt2 is not the only one"),
    ],
)
def test_a_number_format_stands_once_and_before_a_model_on_this_machine(name, complaint):
    for use in (check_lm, open_lm):
        with pytest.raises(TuneshotError, match=complaint):
            use(name)


def test_one_number_format_is_taken_off_a_name():
    assert [without_dtype(name) for name in ("bf16:a", "fp32:a", "a", "bf16:fp32:a")] == [
        "a", "a", "a", "fp32:a",
    ]  # fmt: skip
