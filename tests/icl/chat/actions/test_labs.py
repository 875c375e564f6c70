"""The lecture's labs as commands of the chat."""

import re

import pytest

from clfcore.errors import TuneshotError
from clfcore.fine_tuned import FineTuned
from clfcore.pretraining.cost import CostConfig, training_cost
from icl.session.session import Model, Reply, Turn
from icl.session.settings import Settings
from tests.support.chat import handle, make_workers
from tests.support.lazy import lazy

commands = lazy("icl.chat.actions.commands")
labs = lazy("icl.chat.actions.labs")
state = lazy("icl.chat.state")


@pytest.fixture(scope="module")
def bundled():
    return FineTuned.load()


def command(name, text="", chat=None, model=None):
    asking = make_workers(fine_tuned=lambda settings: Model("gpt2-mini", model))
    invocation = commands.Invocation(asking, chat or state.Chat(), text, None)
    return handle(commands.run_command, name, invocation)


# --- attention ------------------------------------------------------------------------------------


def test_attention_is_drawn_for_the_text_or_the_last_message(bundled):
    chat = state.Chat()
    chat.turns.add(Turn("1", "Do you have time", Settings(), Reply(())))
    for sent in (
        command("attention", chat=chat, model=bundled),
        command("attention", "Do you have time", model=bundled),
    ):
        assert [card["type"] for card in sent.cards] == ["plotly"]
        assert "layer 4 of 4, mean of 4 heads: the last token, time, looks most at" in plain(sent)


def test_of_a_long_message_it_is_said_how_to_see_it(bundled):
    with pytest.raises(
        TuneshotError, match=r"at most 40 tokens, and this one has \d\d; shorten it"
    ):
        command("attention", "see you later " * 20, model=bundled)


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "4B 40B"])
def test_without_a_question_the_price_is_of_the_lectures_model(text):
    sent = command("cost", text)
    assert "10 tokens a parameter" in plain(sent)
    assert "clf cost --parameters 4B --tokens 40B" in plain(sent)
    (card,) = sent.cards
    first = card["props"]["rows"][0]
    expected = training_cost(CostConfig("4B", "40B", "v100"))
    assert first == ["NVIDIA V100", f"{expected.hours:,.1f}", f"{expected.dollars:,.0f}"]


def test_without_tokens_it_is_twenty_a_parameter():
    assert "2.7B tokens" in plain(command("cost", "135M"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("much", "parameters must be a positive number such as 135M"),
        ("4B lots", "tokens must be a positive number"),
        ("4B 40B 3", "give the parameters and the tokens, as in: /cost 4B 40B"),
        ("-4B", "parameters must be a positive number"),
    ],
)
def test_what_is_no_number_is_one_line(text, said):
    with pytest.raises(TuneshotError, match=re.escape(said)):
        command("cost", text)


# --- recorded figures -----------------------------------------------------------------------------


def test_quantization_shows_what_is_recorded_of_the_bundled_model():
    sent = command("quantize")
    picture, card = sent.cards
    assert picture["type"] == "plotly"
    rows = {row[0]: row for row in card["props"]["rows"]}
    assert list(rows) == ["int8", "int4", "uint4", "nf4", "ternary", "binary"]
    recorded = next(
        each for each in labs.read_records("quantization")
        if (each["baseline"], each["scope"], each["scheme"]) == ("int8", "all", "nf4")
    )  # fmt: skip
    after = recorded["models"]["after"]
    assert rows["nf4"][1] == f"{after['bytes'] / 1e6:.1f}"
    assert rows["nf4"][3] == str(after["answers_changed"])


def test_forgetting_shows_every_remedy_that_is_recorded():
    sent = command("forget")
    picture, card = sent.cards
    assert picture["type"] == "plotly"
    recorded = labs.read_records("forgetting")
    rows = {row[0]: row for row in card["props"]["rows"]}
    assert set(rows) == {each["config"]["remedy"] for each in recorded}
    ends = [
        each["test"]["curve"][-1]["old_accuracy"]
        for each in recorded
        if each["config"]["remedy"] == "none"
    ]
    assert card["props"]["caption"] == f"Recorded with {len(ends)} seeds"
    assert rows["none"][2] == f"{100 * sum(ends) / len(ends):.1f} %"


def test_figures_that_are_not_there_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr("icl.chat.actions.labs.RECORDS", tmp_path)
    with pytest.raises(
        TuneshotError, match=r"recorded figures are not at .*install Tuneshot again"
    ):
        command("quantize")
    with pytest.raises(TuneshotError, match="recorded figures are not at"):
        command("forget")


def plain(sent):
    """What was said, without the backslashes that keep Markdown out."""
    return re.sub(r"\\(.)", r"\1", " ".join(sent.messages))
