import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl.lm.base import ChatMessage, Scored
from icl.prompt.prompt import Prompt
from icl.prompt.scoring import (
    SCORINGS,
    log_softmax,
    scoring_hint,
    softmax,
    with_ends,
)
from icl.prompt.template import Demonstration, Template

WORDS = {"ham": (" ham", " normal"), "spam": (" spam",)}
TEMPLATE = Template("Ham or spam?", "SMS: ", "\nType:", WORDS)
SHOWN = [Demonstration("win a prize", "spam", 0.9, 3)]
log = np.log


def scored(words):
    """{tokens: probabilities} as a model would answer."""
    return Scored(tuple(words), tuple(tuple(map(float, log(p))) for p in words.values()))


CHAT = (ChatMessage("user", "x"),)


def requests(name, text, query="hi"):
    prompt = Prompt(text, 9, tuple(SHOWN), dropped=0, query=query)
    return SCORINGS[name].requests(TEMPLATE, prompt, WORDS)


def labels(name, *reads, words=WORDS):
    return SCORINGS[name].combine(reads, words)


READ = scored({(1,): [0.1], (2, 3): [0.2, 0.5], (4, 5, 6): [0.4, 0.5, 0.25]})


# --- combining ------------------------------------------------------------------------------------


def test_the_sum_adds_tokens_and_any_word_of_a_label_counts():
    assert labels("sum", READ) == pytest.approx(log([0.1 + 0.1, 0.05]))


def test_the_mean_is_per_token():
    expected = [0.1 + (0.2 * 0.5) ** (1 / 2), (0.4 * 0.5 * 0.25) ** (1 / 3)]
    assert labels("mean", READ) == pytest.approx(log(expected))


def test_the_first_token_ignores_the_rest():
    assert labels("first_token", READ) == pytest.approx(log([0.1 + 0.2, 0.4]))


def test_a_first_token_shared_by_words_of_one_label_counts_once():
    read = scored({(1, 2): [0.3, 0.5], (1, 3): [0.3, 0.5], (4,): [0.3]})
    assert labels("first_token", read) == pytest.approx(log([0.3, 0.3]))


def test_pmi_divides_by_the_bare_prompt_and_a_second_word_is_no_bonus():
    bare = scored({(1,): [0.4], (2, 3): [0.4, 1.0], (4, 5, 6): [0.1, 1.0, 1.0]})
    assert labels("pmi", READ, bare) == pytest.approx(log([0.2 / 0.8, 0.05 / 0.1]))
    assert labels("pmi", READ, READ) == pytest.approx([0, 0])


def test_channel_is_the_message_given_the_label_and_a_second_word_is_no_bonus():
    reads = [scored({(7, 8): p}) for p in ([0.5, 0.2], [0.1, 0.2], [0.3, 0.2])]
    assert labels("channel", *reads) == pytest.approx(log([(0.1 + 0.02) / 2, 0.06]))


def test_constrained_steps_count_with_their_share_among_siblings():
    # After 1 the only ways on are 2 and 3; after 4, only 5.
    read = scored({(1, 2): [0.06, 0.3], (1, 3): [0.06, 0.1], (4, 5): [0.02, 0.01]})
    words = {"a": (" a",), "b": (" b",), "c": (" c",)}
    found = labels("constrained", read, words=words)
    assert found == pytest.approx(log([0.75 * 0.75, 0.75 * 0.25, 0.25]))


# " good" is half of what may come; " morning" follows it in one case of five, " day" in one of ten.
GOOD = scored({(1,): [0.5], (1, 2): [0.5, 0.2], (1, 3): [0.5, 0.1], (4,): [0.3]})
GOOD_WORDS = {name: (f" {name}",) for name in ("good", "good morning", "good day", "bad")}


@pytest.mark.parametrize(
    ("name", "probabilities"),
    [
        ("sum", [0.5 * 0.7, 0.5 * 0.2, 0.5 * 0.1, 0.3]),
        ("mean", [(0.5 * 0.7) ** 0.5, (0.5 * 0.2) ** 0.5, (0.5 * 0.1) ** 0.5, 0.3]),
        ("constrained", [5 / 8 * 0.7, 5 / 8 * 0.2, 5 / 8 * 0.1, 3 / 8]),
    ],
)
def test_a_word_that_others_continue_has_to_end(name, probabilities):
    assert labels(name, GOOD, words=GOOD_WORDS) == pytest.approx(log(probabilities))


def test_pmi_of_a_word_that_others_continue_has_both_of_its_ends():
    bare = scored({(1,): [0.1], (1, 2): [0.1, 0.4], (1, 3): [0.1, 0.4], (4,): [0.3]})
    expected = [0.5 * 0.7 / (0.1 * 0.2), 0.5 * 0.2 / (0.1 * 0.4), 0.5 * 0.1 / (0.1 * 0.4), 1]
    assert labels("pmi", GOOD, bare, words=GOOD_WORDS) == pytest.approx(log(expected))


def test_a_label_that_begins_like_another_can_win():
    read = scored({(1,): [0.5], (1, 2): [0.5, 0.9]})
    words = {"sport": (" sport",), "sport shop": (" sport shop",)}
    for name in ("sum", "mean", "constrained"):
        sport, shop = labels(name, read, words=words)
        assert shop > sport


@given(
    st.dictionaries(
        st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple),
        st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
        min_size=1,
    )
)
@settings(deadline=None)
def test_words_that_continue_no_other_are_scored_as_they_were_read(paths):
    paths = {
        path: p[: len(path)]
        for path, p in paths.items()
        if not any(path != other[: len(other)] and other[: len(path)] == path for other in paths)
    }
    assert with_ends(scored(paths)) == scored(paths)


@given(
    st.dictionaries(
        st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple), st.none(), min_size=1
    ),
    st.integers(0, 99),
)
@settings(deadline=None)
def test_constrained_probabilities_add_up_to_one(paths, seed):
    """Over any trie, with a model's probabilities at every node."""
    rng = np.random.default_rng(seed)
    nodes = {}

    def after(tokens):
        return nodes.setdefault(tokens, rng.dirichlet([1] * 6))

    read = scored({path: [after(path[:i])[t] for i, t in enumerate(path)] for path in paths})
    words = {str(path): (" x",) for path in paths}
    assert np.exp(labels("constrained", read, words=words)).sum() == pytest.approx(1)


@pytest.mark.parametrize("name", ["sum", "mean", "first_token", "constrained"])
def test_words_of_one_token_score_alike_up_to_a_constant(name):
    words = {"a": (" a",), "b": (" b",), "c": (" c",)}
    found = labels(name, scored({(1,): [0.1], (2,): [0.2], (3,): [0.3]}), words=words)
    assert np.exp(log_softmax(found)) == pytest.approx([1 / 6, 2 / 6, 3 / 6])


# --- asking ---------------------------------------------------------------------------------------


def test_most_scorings_ask_for_the_words_after_the_prompt():
    for name in ("sum", "mean", "first_token", "constrained"):
        (request,) = requests(name, "the prompt")
        assert request == ("the prompt", (" ham", " normal", " spam"))


def test_pmi_also_asks_for_the_words_after_the_bare_slot():
    first, bare = requests("pmi", "the prompt")
    assert first.continuations == bare.continuations
    assert bare.prompt == "Ham or spam?\n\nSMS: \nType:"
    first, bare = requests("pmi", CHAT)
    assert (first.prompt, bare.prompt) == (CHAT, TEMPLATE.render_chat([], ""))


@pytest.mark.parametrize("name", [name for name in SCORINGS if name != "channel"])
def test_in_a_chat_the_words_asked_for_are_those_the_examples_answer_with(name):
    answers = [
        turn.content for turn in TEMPLATE.render_chat(SHOWN, "hi") if turn.role == "assistant"
    ]
    assert answers == ["spam"]
    for request in requests(name, CHAT):
        assert request.continuations == ("ham", "normal", "spam")


def test_channel_asks_for_the_message_after_each_word():
    asked = requests("channel", "unused", "see\nyou")
    assert [prompt.rpartition("Type:")[2] for prompt, _ in asked] == [
        " ham\nSMS:",
        " normal\nSMS:",
        " spam\nSMS:",
    ]
    assert {continuations for _, continuations in asked} == {(" see you",)}
    assert requests("channel", CHAT, "see\nyou") == asked, "plain text, even in a chat"
    assert asked[2].prompt == ("Ham or spam?\n\nType: spam\nSMS: win a prize\n\nType: spam\nSMS:")


# --- hints ----------------------------------------------------------------------------------------


def test_words_of_different_length_are_worth_a_hint_under_sum_only():
    hint = scoring_hint("sum", WORDS, READ)
    assert "'ham' is 1 and 'spam' 3 tokens long" in hint
    assert "\n" not in hint
    assert scoring_hint("mean", WORDS, READ) is None
    assert scoring_hint("sum", WORDS, scored({(1,): [0.1], (2,): [0.1], (3,): [0.1]})) is None


def test_labels_that_begin_alike_are_worth_a_hint_under_first_token_only():
    read = scored({(1,): [0.1], (2,): [0.1], (2, 3): [0.1, 0.1]})
    assert "'ham' and 'spam' begin with the same token" in scoring_hint("first_token", WORDS, read)
    assert scoring_hint("first_token", WORDS, READ) is None
    same_label = scored({(1, 2): [0.1, 0.1], (1, 3): [0.1, 0.1], (2,): [0.1]})
    assert scoring_hint("first_token", WORDS, same_label) is None


# --- softmax --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([-1000.0, -1000.0 + log(3)], [0.25, 0.75]),
        ([0.0, -np.inf], [1, 0]),
        ([np.nan, -5.0], [0, 1]),
        ([-np.inf, np.nan], [0.5, 0.5]),
        ([np.inf, 0.0], [1, 0]),
        ([np.inf, np.inf], [0.5, 0.5]),
        ([-3.0], [1]),
    ],
)
def test_softmax_of_anything_is_probabilities(scores, expected):
    assert np.exp(log_softmax(scores)) == pytest.approx(expected)
    named = {str(i): score for i, score in enumerate(scores)}
    assert list(softmax(named).values()) == pytest.approx(expected)


def test_log_softmax_works_row_by_row():
    found = np.exp(log_softmax([[0.0, 0.0], [np.nan, np.nan], [log(3), 0.0]]))
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.5, 0.5], [0.75, 0.25]]))
