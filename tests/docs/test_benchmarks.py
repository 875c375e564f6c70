"""The benchmarks, as far as they can be asked without measuring."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from clfcore.evaluation.perturb import INJECTIONS
from clfcore.types import Example, Prediction

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["finetune.py"], "error: the corpus is missing; run: clf data fetch\n"),
        (["injection.py"], "error: the corpus is missing; run: clf data fetch\n"),
        (["unlike_messages.py"], "error: the corpus is missing; run: clf data fetch\n"),
        (["few_shot.py", "--pool", "gone.tsv"], "error: cannot read gone.tsv: "),
        (["selection.py", "--pool", "gone.tsv"], "error: cannot read gone.tsv: "),
    ],
)
def test_what_a_benchmark_lacks_is_said_in_one_line(arguments, said, tmp_path):
    nothing = {"TUNESHOT_CACHE": str(tmp_path / "cache"), "TUNESHOT_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, BENCHMARKS / arguments[0], *arguments[1:]],
        env={**os.environ, **nothing, "PYTHONPATH": str(BENCHMARKS.parent)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


# --- prompt injection: what is counted ----------------------------------------------------------


@pytest.fixture(scope="module")
def injection():
    spec = spec_from_file_location("injection", BENCHMARKS / "injection.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Toy:
    """Answers by a rule."""

    labels = ("ham", "spam")

    def __init__(self, rule):
        self.rule = rule

    def predict(self, texts):
        return [Prediction(self.rule(text), {}, 0.0) for text in texts]


def by_words(text):
    return "spam" if "prize" in text else "ham"


def obeying(text):
    """Reads the last label it is told, and else the message."""
    told = max(("ham", "spam"), key=text.rfind)
    return told if told in text else by_words(text)


def fewer_words(text):
    """Takes any long text for harmless."""
    return "ham" if len(text) > 30 else by_words(text)


EXAMPLES = [
    Example("win a prize", "spam"), Example("prize!", "spam"), Example("your money", "spam"),
    Example("hello", "ham"), Example("dinner at eight?", "ham"),
]  # fmt: skip


def told(injection, rule):
    records = list(injection.figures("toy", Toy(rule), EXAMPLES))
    return {(r["injection"], r["place"], r["label"]): r for r in records}


def test_only_what_was_recognised_is_asked_again(injection):
    found = told(injection, by_words)
    assert len(found) == len(INJECTIONS) * 2 * 2
    assert {record["of"] for (*_, label), record in found.items() if label == "spam"} == {2}


def test_who_reads_words_alone_is_turned_by_nothing(injection):
    for record in told(injection, by_words).values():
        assert (record["value"], record["peer"], record["ok"]) == (0, 0, True)


def test_who_obeys_is_turned_by_every_injection_and_by_no_harmless_words(injection):
    for record in told(injection, obeying).values():
        assert (record["value"], record["turned"], record["peer"]) == (100, record["of"], 0)
        assert record["more_than_harmless"][0] == 100


def test_who_is_diluted_loses_as_much_to_harmless_words(injection):
    record = told(injection, fewer_words)["chat_tokens", "end", "spam"]
    assert (record["value"], record["peer"], record["turned_by_harmless"]) == (100, 100, 2)
    assert record["more_than_harmless"][0] == 0
    assert record["ok"]


def test_an_injection_is_told_from_harmless_words_where_there_are_enough_messages(injection):
    few = injection.figure([True, True], [False, False])
    many = injection.figure([True] * 20 + [False] * 80, [True] * 5 + [False] * 95)
    assert few["ok"], "two messages prove nothing"
    assert not many["ok"]
    assert (many["value"], many["low"], many["high"]) == (20.0, 13.3, 28.9)  # Wilson
    assert many["more_than_harmless"][0] == 15


def test_harmless_words_stand_where_the_injection_does_and_are_as_long(injection):
    for place, where in (("end", str.startswith), ("front", str.endswith)):
        words, control = injection.with_words(Example("dinner", "ham"), "fake_example", place)
        assert "\nType: spam\n\nSMS: OK" in words
        assert 0 <= len(control) - len(words) < 10
        assert where(words, "dinner")
        assert where(control, "dinner")
