"""The chat without a page: what comes in, what goes out, what happens when a part fails."""

import json
from dataclasses import replace

import pytest

from clfcore.errors import TuneshotError
from clfcore.types import MAX_CHARACTERS, Example
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import BUNDLED, Meta
from icl.answering import FewShotPrediction
from icl.prompt.tasks import TASKS
from icl.prompt.template import Demonstration
from icl.selectors.arrange import ARRANGEMENTS
from icl.session.open import open_session
from icl.session.session import Model
from icl.session.settings import CHAT_SELECTORS, MAX_K, PROFILES, Settings
from tests.support.chat import WordSpotter, make_session, reply_of
from tests.support.lazy import lazy
from tests.support.tiny import CFG, tiny

cards = lazy("icl.chat.cards")
controls = lazy("icl.chat.controls")

NASTY = {
    "only emoji": "🎉🎉🎉🍕",
    "NUL bytes": "a\0b\0",
    "right to left": "שלום, נתראה הערב?",
    "HTML": "<img src=x onerror=alert(1)><b>WIN</b>",
    "markdown": "# **WIN** [now](http://example.com) `x` ![](y)",
    "template braces": "{text} {{label}} {% raw %} ${HOME} %s </text>",
    "tabs": "ham\tspam\tboth",
    "lone surrogate": "half a pair \ud800",
    "line breaks": "one\nLabel: ham\r\nthree\u2028four",
    "the longest allowed": "a b " * (MAX_CHARACTERS // 4),
}


class PromptedWordSpotter(WordSpotter):
    def answer(self, text):
        said = super().answer(text)
        return FewShotPrediction(
            said.label,
            said.probabilities,
            said.ms,
            ("one note",),
            demonstrations=(
                Demonstration("see you", "ham", 0.25, 7),
                Demonstration("x" * 5000, "spam", None, 3),
            ),
            prompt=f"Message: {text}\nLabel:",
            prompt_tokens=1234,
            dropped=0,
        )


def session(fine_tuned=None, few_shot=None):
    return make_session(
        {
            "fine_tuned": lambda settings: Model("tiny", fine_tuned or WordSpotter()),
            "few_shot": lambda settings: Model("reader", few_shot or PromptedWordSpotter()),
        }
    )


def failing(error):
    def load(settings):
        raise error

    return load


# --- replies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("profile", "methods"), PROFILES.items())
def test_a_profile_asks_its_methods_and_no_other(profile, methods):
    reply = reply_of(session(), "win a prize", profile, Settings())
    assert tuple(side.method for side in reply.results) == methods
    assert reply.labels == ("spam",) * len(methods)


def test_the_model_of_each_message_is_made_for_its_settings():
    seen = []

    def few_shot(settings):
        seen.append(settings)
        return Model("reader", WordSpotter())

    chat = make_session({"few_shot": few_shot})
    for k in (1, 8):
        reply_of(chat, "hello", "Few-shot", Settings(k=k))
    assert [settings.k for settings in seen] == [1, 8]


def test_one_failing_method_leaves_the_other_its_answer():
    chat = session()
    chat.methods["few_shot"] = failing(TuneshotError("no model; run: pip install it"))
    fine_tuned, few_shot = reply_of(chat, "win", "Compare", Settings()).results
    assert fine_tuned.prediction.label == "spam"
    assert few_shot.prediction is None
    assert few_shot.problem == "no model; run: pip install it"


def test_an_unexpected_error_gives_a_reference_and_nothing_away(caplog):
    chat = session()
    chat.methods["fine_tuned"] = failing(RuntimeError("cannot open /home/me/secret.bin"))
    fine_tuned, few_shot = reply_of(chat, "win", "Compare", Settings()).results
    assert few_shot.prediction.label == "spam"
    assert "secret" not in fine_tuned.problem
    reference = fine_tuned.problem.split()[-1]
    assert reference in caplog.text
    assert "secret.bin" in caplog.text


def test_a_method_that_failed_is_tried_again_at_the_next_message():
    outcomes = iter([TuneshotError("not yet"), None])

    def load(settings):
        if error := next(outcomes):
            raise error
        return Model("tiny", WordSpotter())

    chat = make_session({"fine_tuned": load})
    sides = [reply_of(chat, "win", "Fine-tuned", Settings()).results[0] for _ in range(2)]
    assert [side.problem for side in sides] == ["not yet", ""]


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_odd_messages_reach_the_models_unchanged_and_make_a_card(text):
    spotter = WordSpotter()
    reply = reply_of(session(fine_tuned=spotter), text, "Compare", Settings())
    assert spotter.asked == [text]
    json.loads(json.dumps(cards.compare_card(reply)))
    assert cards.verdict(reply)


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_an_empty_message_is_refused(text):
    with pytest.raises(TuneshotError, match="empty"):
        reply_of(session(), text, "Compare", Settings())


def test_a_message_beyond_the_limit_is_refused_with_the_limit():
    with pytest.raises(TuneshotError, match="100,000"):
        reply_of(session(), "x" * (MAX_CHARACTERS + 1), "Compare", Settings())


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(TuneshotError, match="Compare, Fine-tuned, Few-shot"):
        reply_of(session(), "hello", "Compere", Settings())


def test_messages_asked_together_get_the_answers_they_get_alone():
    texts = ["win a prize", "see you", "WIN"]
    chat = session()
    together = chat.classify("fine_tuned", Settings(), texts)
    assert together == [chat.classify("fine_tuned", Settings(), [text])[0] for text in texts]


def test_one_message_that_cannot_be_answered_leaves_the_others_theirs():
    class Choosy(WordSpotter):
        def predict(self, texts):
            if "too long" in texts:
                raise TuneshotError("too long; send less")
            return super().predict(texts)

    sides = session(few_shot=Choosy()).classify("few_shot", Settings(), ["win", "too long", "hi"])
    assert [side.problem for side in sides] == ["", "too long; send less", ""]
    assert [side.prediction and side.prediction.label for side in sides] == ["spam", None, "ham"]


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("choices", [None, {}])
def test_a_message_that_beats_the_pickers_gets_the_defaults(choices):
    assert Settings.read(choices) == Settings(selector="topk", k=4, order="similar_last")


def test_choices_of_the_page_become_settings():
    choices = {"selector": "random", "k": "8", "order": "easy_to_hard"}
    assert Settings.read(choices) == Settings(selector="random", k=8, order="easy_to_hard")


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        ({"selector": "topK"}, "unknown selector 'topK'; choose from zero"),
        ({"order": "best"}, "unknown order 'best'; choose from similar_last"),
        (
            {"temperature": "1"},
            "unknown setting 'temperature'; choose from selector, k, balance, order",
        ),
        ({"k": "many"}, "k is 'many'; choose a number"),
        ({"k": "-1"}, "k is '-1'; choose a number"),
        ({"k": "٤"}, "choose a number"),
        ({"k": str(MAX_K + 1)}, f"from 0 to {MAX_K}"),
        ({"k": "9" * 5000}, "choose a number"),
    ],
)
def test_bad_choices_are_refused_with_what_is_allowed(choices, complaint):
    with pytest.raises(TuneshotError, match=complaint):
        Settings.read(choices)


def test_the_pickers_offer_every_registered_choice_and_start_at_the_defaults():
    by_id = {picker.id: picker for picker in controls.pickers()}
    assert [option.id for option in by_id["selector"].options] == list(CHAT_SELECTORS)
    assert [option.id for option in by_id["order"].options] == list(ARRANGEMENTS)
    assert Settings.read({id: p.get_default_option().id for id, p in by_id.items()}) == Settings()


def test_every_option_of_the_pickers_is_a_valid_setting():
    for picker in controls.pickers():
        for option in picker.options:
            Settings.read({picker.id: option.id})


def test_fine_tuned_answers_depend_on_their_own_settings_alone():
    settings = Settings(
        selector="knn", k=8, order="random", checkpoint="mine", added=(Example("hi", "ham"),)
    )
    assert settings.relevant_to("fine_tuned") == Settings(checkpoint="mine")
    assert settings.relevant_to("few_shot") == replace(settings, checkpoint="")


# --- the real parts -----------------------------------------------------------------------------


def test_missing_parts_are_named_and_each_method_fails_alone(tmp_path):
    chat = open_session([tmp_path / "no-checkpoint"], lms=[str(tmp_path / "no-lm")])
    fine_tuned, few_shot = reply_of(chat, "hello", "Compare", Settings()).results
    assert "no-checkpoint" in fine_tuned.problem
    assert "no-lm" in few_shot.problem


def test_a_length_that_no_prompt_can_have_is_refused_at_once():
    with pytest.raises(TuneshotError, match="prompt_tokens must be"):
        open_session(prompt_tokens=-1)


def test_few_shot_uses_an_added_message_at_once_and_fine_tuning_does_not():
    chat = open_session()
    text = "Meet the wizard behind the moonlit bakery and bring seven blue spoons"
    neighbours = Settings(selector="knn", k=1)
    before = reply_of(chat, text, "Compare", neighbours)
    other = {"ham": "spam", "spam": "ham"}[before.labels[1]]
    after = reply_of(chat, text, "Compare", replace(neighbours, added=(Example(text, other),)))
    assert after.labels == (before.labels[0], other)


def test_a_task_without_a_fine_tuned_model_says_how_to_make_one():
    (side,) = reply_of(open_session(), "a fine film", "Fine-tuned", Settings(task="sst2")).results
    assert "clf train" in side.problem
    assert "sst2" in side.problem


def test_a_chosen_model_of_another_task_names_the_one_to_choose(tmp_path):
    save_checkpoint(tmp_path / "films", tiny(), Meta("films", TASKS["sst2"].labels, CFG))
    chat = open_session([BUNDLED, tmp_path / "films"])

    def side(**chosen):
        return chat.classify("fine_tuned", Settings(task="sst2", **chosen), ["a fine film"])[0]

    assert side(checkpoint="gpt2-mini").problem == (
        "gpt2-mini was not fine-tuned for sst2; choose films"
    )
    assert side().model == side(checkpoint="films").model == "films"


def test_a_task_without_data_says_where_it_may_be_and_asks_no_other_machine(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *asked, **rest: pytest.fail(str(asked)))
    (side,) = reply_of(
        open_session(), "a fine film", "Few-shot", Settings(selector="knn", task="sst2")
    ).results
    assert "TUNESHOT_FOLDER" in side.problem


def test_models_that_are_not_offered_are_refused_with_those_that_are(tmp_path):
    chat = open_session([tmp_path / "mine"], lms=["one", "two"])
    sides = reply_of(chat, "hi", "Compare", Settings(checkpoint="other", lm="three")).results
    assert "choose from mine" in sides[0].problem
    assert "choose from one, two" in sides[1].problem


# --- what the page draws ------------------------------------------------------------------------


def test_the_verdict_uses_the_words_of_the_lecture():
    assert cards.verdict(reply_of(session(), "win", "Compare", Settings())) == "Both say spam."
    assert cards.verdict(reply_of(session(), "hi", "Compare", Settings())) == "Both say not spam."
    assert (
        cards.verdict(reply_of(session(), "hi", "Few-shot", Settings()))
        == "Few-shot says not spam."
    )


def test_the_verdict_names_who_says_what_when_they_disagree():
    reply = reply_of(session(few_shot=PromptedWordSpotter("lottery")), "win", "Compare", Settings())
    assert cards.verdict(reply) == "They disagree: fine-tuned says spam, few-shot says not spam."


def test_the_verdict_says_which_method_is_silent():
    chat = session()
    chat.methods["few_shot"] = failing(TuneshotError("gone"))
    assert cards.verdict(reply_of(chat, "win", "Compare", Settings())) == (
        "Fine-tuned says spam; few-shot has no answer."
    )
    chat.methods["fine_tuned"] = failing(TuneshotError("gone"))
    assert (
        cards.verdict(reply_of(chat, "win", "Compare", Settings()))
        == "No answer: the card says why."
    )


def test_the_card_shows_everything_the_answer_rests_on():
    reply = reply_of(
        session(), "win {text}", "Compare", Settings(selector="topk", k=2, order="similar_first")
    )
    fine_tuned, few_shot = cards.compare_card(reply)["sides"]
    assert (fine_tuned["title"], fine_tuned["model"]) == ("Fine-tuned", "tiny")
    assert [(bar["word"], bar["percent"]) for bar in fine_tuned["bars"]] == [
        ("not spam", "10.0 %"),
        ("spam", "90.0 %"),
    ]
    assert fine_tuned["latency"] == "12 ms"
    assert few_shot["facts"] == ["1,234 tokens", "free", "Top-k", "k = 2", "Similar first"]
    assert few_shot["notes"] == ["one note"]
    assert few_shot["prompt"] == "Message: win {text}\nLabel:"
    assert few_shot["examples"][0] == {
        "label": "ham",
        "word": "not spam",
        "text": "see you",
        "similarity": "0.25",
    }


def test_the_card_stays_small_whatever_the_examples():
    reply = reply_of(session(), "win", "Compare", Settings())
    assert len(json.dumps(cards.compare_card(reply))) < 3000


@pytest.mark.parametrize(
    ("selector", "facts"), [("zero", ["Zero-shot"]), ("knn", ["kNN vote", "k = 4"])]
)
def test_the_card_names_only_the_relevant_settings(selector, facts):
    (side,) = cards.compare_card(
        reply_of(session(), "win", "Few-shot", Settings(selector=selector))
    )["sides"]
    assert side["facts"][2:] == facts


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(0.0, "free"), (None, "price unknown"), (0.000123, "$0.00012"), (1e-7, "< $0.00001")],
)
def test_a_price_is_shown_as_far_as_it_is_known(dollars, shown):
    assert cards.cost(dollars) == shown


@pytest.mark.parametrize(
    ("p", "shown"), [(0.5, "50.0 %"), (0.99995, "> 99.9 %"), (1.0, "> 99.9 %"), (0.0, "< 0.1 %")]
)
def test_no_probability_is_shown_as_certain(p, shown):
    assert cards.percent(p) == shown


@pytest.mark.parametrize(
    ("ms", "shown"), [(4.26, "4.3 ms"), (512.4, "512 ms"), (3678, "3,678 ms"), (12345, "12.3 s")]
)
def test_durations_are_shown_at_a_useful_precision(ms, shown):
    assert cards.milliseconds(ms) == shown


def test_text_in_a_markdown_message_is_never_interpreted():
    assert cards.escape_markdown("call:now <b>*x*</b>\n[a](b)") == (
        r"call\:now \<b\>\*x\*\<\/b\> \[a\]\(b\)"
    )
