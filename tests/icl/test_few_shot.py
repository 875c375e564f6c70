import numpy as np
import pytest

from clfcore.errors import TuneshotError
from icl.few_shot import FewShot
from icl.lm.base import ChatMessage, ReplyToken, Scored
from icl.lm.local import LocalLM
from icl.pool.pool import Pool
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.prompt import as_text
from icl.prompt.reply_scores import FIRST_TOKENS, OWN_TOKENS
from icl.prompt.scoring import SCORINGS, neighbour_vote, softmax
from icl.selectors.arrange import ARRANGEMENTS, BALANCES
from icl.selectors.mdl import SCORES
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from tests.support.doubles import (
    POOL,
    TASK,
    AnsweringLM,
    CountingLM,
    HashedWords,
    few_shot,
    save_tiny_lm,
)

STRANGE = {
    "empty": "",
    "100,000 characters": "prize " * 16_667,
    "emoji": "😀🎉",
    "NUL": "a\0b",
    "right to left": "مرحبا \u202e بالعالم",
    "HTML": "<script>alert(1)</script>",
    "markdown": "# **bold** [x](y) `code`",
    "braces": "{text} {0} {{}} ${x} %s",
    "tabs": "a\tb\tc",
    "lone surrogate": "half \ud83d a pair",
}


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize("order", ARRANGEMENTS)
def test_any_combination_answers_in_order_with_probabilities(selector, balance, order):
    classifier = few_shot(selector=selector, balance=balance, order=order)
    predictions = classifier.predict(["win a prize", "see you at dinner", ""])
    assert len(predictions) == 3
    for prediction in predictions:
        assert prediction.label in classifier.labels == ("ham", "spam")
        assert list(prediction.probabilities) == ["ham", "spam"]
        assert sum(prediction.probabilities.values()) == pytest.approx(1)
        assert len(prediction.demonstrations) == (0 if selector == "zero" else 4)
        assert prediction.ms > 0


def test_an_answer_names_what_it_rests_on():
    lm = CountingLM()
    (prediction,) = few_shot(lm).predict(["win a free prize today"])
    assert lm.prompts[1:] == [prediction.prompt]  # the first made sure that there are scores
    assert prediction.prompt_tokens == lm.count_tokens(prediction.prompt)
    for shown in prediction.demonstrations:
        assert (shown.text, shown.label) == (POOL.texts[shown.row], POOL.labels[shown.row])
        assert f"{shown.text}\nType: {shown.label}\n" in prediction.prompt
    similarities = [shown.similarity for shown in prediction.demonstrations]
    assert similarities == sorted(similarities), "nearest last"


class Parrot(CountingLM):
    """In a chat, says what the turns before said, as often as they did; anything else, never."""

    def read(self, prompt, continuations, since=None):
        said = [turn.content for turn in prompt if turn.role == "assistant"]
        with np.errstate(divide="ignore"):
            shares = np.log([said.count(word) / max(1, len(said)) for word in continuations])
        return Scored(tuple((i,) for i, _ in enumerate(shares)), tuple((p,) for p in shares))


def test_a_chat_is_scored_by_the_words_its_examples_show():
    query = "win a free cash prize in our weekly draw"
    chat = few_shot(Parrot(), chat=True, balance="none", k=4)
    (answer,) = chat.predict([query])
    labels = [shown.label for shown in answer.demonstrations]
    assert sorted(labels) == ["ham", "spam", "spam", "spam"]
    assert answer.probabilities == pytest.approx({"ham": 0.25, "spam": 0.75})


@pytest.mark.slow
def test_in_a_chat_the_bundled_model_reads_the_answer_that_its_template_writes():
    lm = LocalLM()
    chat = few_shot(lm, chat=True).prompt("win a free cash prize").text
    answers = ("ham", "spam")
    read = lm.read(chat, answers)
    for answer, tokens in zip(answers, read.tokens, strict=True):
        said = (*chat, ChatMessage("assistant", answer))
        turns = [{"role": turn.role, "content": turn.content} for turn in said]
        whole = lm._tokenizer.apply_chat_template(turns, return_dict=False)
        start = len(lm._ids(chat))
        assert tuple(whole[start : start + len(tokens)]) == tokens
    assert np.exp(read.totals).sum() > 0.3, "nearly half of what comes next is a label"
    assert np.exp(lm.read(chat, (" ham", " spam")).totals).sum() < 0.01


def test_all_labels_share_one_context():
    lm = CountingLM(max_prompt_tokens=150)
    (prediction,) = few_shot(lm, k=8).predict(["win"])
    assert lm.prompts[1:] == [prediction.prompt]  # the first made sure that there are scores
    assert prediction.dropped > 0
    assert len(prediction.prompt) <= 150


def test_a_prompt_is_as_long_as_asked_for():
    def shown(prompt_tokens):
        (answer,) = few_shot(CountingLM(400), k=8, prompt_tokens=prompt_tokens).predict(["win"])
        assert answer.prompt_tokens <= (prompt_tokens or 400)
        return len(answer.demonstrations)

    assert 0 < shown(150) < shown(250) < shown(400) == shown(0)
    with pytest.raises(TuneshotError, match="at most 400, which is all that counting can read"):
        few_shot(CountingLM(400), prompt_tokens=401)


class Bounded(CountingLM):
    """Reads nothing that is longer than its window, a label beside it."""

    def read(self, prompt, continuations, since=None):
        longest = max(map(len, continuations), default=0)
        assert len(as_text(prompt)) + longest <= self.max_prompt_tokens + len(" spam")
        return super().read(prompt, continuations, since)


ASKING = [{"selector": "mdl", "options": {"score": score}} for score in SCORES] + [
    {"selector": "cone"},
    {"selector": "votek_two_stage", "options": {"annotate": 8}},
    *({"scoring": scoring} for scoring in SCORINGS),
    *({"calibration": calibration} for calibration in CALIBRATIONS),
]


@pytest.mark.parametrize("settings", ASKING, ids=str)
@pytest.mark.parametrize("query", ["win", "win a prize " * 3000])
def test_whatever_asks_the_language_model_keeps_to_the_prompts_length(settings, query):
    (answer,) = few_shot(Bounded(200), k=8, **settings).predict([query])
    assert answer.dropped > 0
    assert answer.prompt_tokens <= 200


@pytest.mark.parametrize(
    "selector", [name for name in SELECTORS if name != "zero" and not SELECTORS[name].votes]
)
def test_of_too_many_examples_those_that_rank_lowest_are_left_out(selector):
    classifier = few_shot(CountingLM(220), selector=selector, k=6)
    for query in ("win a prize", "see you at dinner"):
        ranked, _ = classifier.select(query)
        (answer,) = classifier.predict([query])
        kept = [shown in answer.demonstrations for shown in ranked]
        assert 0 < sum(kept) == 6 - answer.dropped < 6
        for label in classifier.labels:
            of_label = [is_kept for is_kept, shown in zip(kept, ranked, strict=True)
                        if shown.label == label]  # fmt: skip
            assert of_label == sorted(of_label, reverse=True)


def test_the_list_that_mdl_ranks_is_the_list_that_is_shown():
    classifier = few_shot(CountingLM(220), selector="mdl", k=6)
    for query in ("win a prize", "see you at dinner"):
        tried = classifier.selector.organisations(query, HashedWords().embed([query])[0], 6)
        best = min(tried, key=lambda each: each.code_length)
        (answer,) = classifier.predict([query])
        assert tuple(shown.row for shown in answer.demonstrations) == best.rows
        assert answer.dropped == len(best.drawn) - len(best.rows) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"scoring": "channel"}, {"selector": "mdl", "options": {"score": "tempered", "trials": 2}}],
    ids=str,
)
def test_the_bundled_model_answers_a_message_of_9000_words(settings):
    (answer,) = few_shot(LocalLM(), prompt_tokens=300, **settings).predict(["win a prize " * 3000])
    assert answer.prompt_tokens <= 300
    assert any("two ends only" in note for note in answer.notes)


@pytest.mark.parametrize("characters", [0, 5, 30, 1000])
def test_even_the_shortest_prompt_that_is_allowed_holds_a_message(characters):
    with pytest.raises(TuneshotError, match=r"prompt_tokens must be 27 or more here, not 26: "):
        few_shot(prompt_tokens=26)  # "SMS: ", a line break and "Type:" are eleven
    (answer,) = few_shot(prompt_tokens=27).predict(["x" * characters])
    assert answer.prompt_tokens <= 27
    assert answer.prompt.startswith("SMS: ")
    assert answer.prompt.endswith("\nType:")


def test_topk_shows_the_nearest_whatever_their_labels_unless_balance_is_asked_for():
    query = "win a free cash prize in our weekly draw"
    (equal,) = few_shot(balance="equal").predict([query])
    assert [shown.label for shown in equal.demonstrations].count("spam") == 2
    assert FewShotConfig().balance == "none"
    (none,) = few_shot(balance="none", k=3).predict([query])
    assert [shown.label for shown in none.demonstrations].count("spam") == 3


def test_plain_random_ignores_balance_and_balanced_random_ignores_none():
    queries = [f"query {chr(97 + i)}" for i in range(26)]

    def shares(**settings):
        return {sum(shown.label == "spam" for shown in prediction.demonstrations)
                for prediction in few_shot(**settings).predict(queries)}  # fmt: skip

    assert shares(selector="balanced_random", balance="none") == {2}
    assert len(shares(selector="random", balance="equal")) > 1


def test_knn_needs_no_language_model_and_shows_its_neighbours():
    classifier = FewShot(TASK, "knn", embedder=HashedWords(), k=3).fit(POOL)
    (prediction,) = classifier.predict(["claim a free cash prize now"])
    assert prediction.label == "spam"
    assert prediction.prompt == ""
    assert prediction.prompt_tokens == 0
    assert len(prediction.demonstrations) == 3


def test_random_selectors_embed_nothing():
    class Never(HashedWords):
        def embed(self, texts):
            raise AssertionError("embedded")

    unseeing = FewShot(TASK, "random", lm=CountingLM(), embedder=Never()).fit(POOL)
    assert unseeing.predict(["hello"])


def test_zero_shot_shows_nothing_whatever_k_is():
    (prediction,) = few_shot(selector="zero", k=4).predict(["hello"])
    assert prediction.demonstrations == ()
    assert prediction.prompt == TASK.template.render([], "hello")


def test_ties_break_by_label_order():
    (prediction,) = few_shot(selector="zero").predict(["hello"])
    assert prediction.probabilities == {"ham": 0.5, "spam": 0.5}
    assert prediction.label == "ham"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selector": "topK"}, "unknown selector 'topK'; choose from zero, random, balanced_rand"),
        ({"balance": "fair"}, "unknown balance 'fair'; choose from none, equal"),
        ({"order": "up"}, "unknown order 'up'; choose from similar_last"),
        ({"k": -1}, "k must be 0 or more, not -1"),
        ({"selector": "knn", "k": 0}, "needs at least one neighbour"),
    ],
)
def test_bad_settings_are_refused_at_construction(settings, message):
    with pytest.raises(TuneshotError, match=message):
        few_shot(**settings)


def test_labels_the_task_does_not_know_are_refused():
    odd = Pool(("x",), ("junk",), HashedWords().embed(["x"]), np.array([0]))
    with pytest.raises(
        TuneshotError, match="the pool has the label 'junk', and the task has not; it has ham, spam"
    ):
        few_shot(pool=odd)


def test_too_large_k_is_refused_with_the_largest():
    with pytest.raises(TuneshotError, match="choose k from 0 to 10"):
        few_shot(k=11).predict(["hello"])


def test_notes_tell_what_is_unusual():
    (usual,) = few_shot().predict(["hello"])
    assert usual.notes == ()
    (many,) = few_shot(k=9).predict(["hello"])
    assert any("at most 8" in note for note in many.notes)
    assert any(
        "too few spam messages for an equal share: 5 ham, 4 spam" not in n for n in many.notes
    )
    (short,) = few_shot(k=10).predict(["hello"])
    assert any("too few spam messages for an equal share: 6 ham, 4 spam" in n for n in short.notes)
    (tight,) = few_shot(CountingLM(max_prompt_tokens=150), k=6).predict(["hello " * 100])
    assert any("of 6 examples were left out" in note for note in tight.notes)
    assert any("two ends only" in note for note in tight.notes)


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE.keys())
def test_any_message_is_answered_with_a_real_tokenizer(tmp_path_factory, text):
    folder = tmp_path_factory.getbasetemp() / "tiny-lm"
    if not folder.exists():
        save_tiny_lm(folder)
    lm = LocalLM(str(folder))
    (prediction,) = few_shot(lm).predict([text])
    assert prediction.prompt.endswith("\nType:")
    assert prediction.prompt_tokens <= lm.prompt_limit()


def test_same_seed_same_answers():
    for selector in SELECTORS:
        first, again = (
            few_shot(selector=selector, order="random", seed=3).predict(["hello", "win"])
            for _ in range(2)
        )
        assert [p.demonstrations for p in first] == [p.demonstrations for p in again]
        assert [p.probabilities for p in first] == [p.probabilities for p in again]


# --- models that answer in words ------------------------------------------------------------------


def test_an_answer_in_words_says_where_its_probabilities_come_from():
    spam = ReplyToken("spam", {"spam": np.log(0.6), "ham": np.log(0.2)})
    (answer,) = few_shot(AnsweringLM("spam", [spam])).predict(["win"])
    assert answer.probabilities == pytest.approx({"ham": 0.25, "spam": 0.75})
    assert OWN_TOKENS in answer.notes
    begun = ReplyToken("ham", {"ham": np.log(0.6), "sp": np.log(0.2)})
    (answer,) = few_shot(AnsweringLM("ham", [begun])).predict(["win"])
    assert answer.probabilities == pytest.approx({"ham": 0.75, "spam": 0.25})
    assert FIRST_TOKENS in answer.notes
    (answer,) = few_shot(AnsweringLM("ham")).predict(["win"])
    assert answer.probabilities == {"ham": 1, "spam": 0}
    assert any("no probabilities" in note for note in answer.notes)


@pytest.mark.parametrize(
    ("lm", "chat", "is_chat"),
    [(AnsweringLM, None, True), (AnsweringLM, False, False), (CountingLM, None, False),
     (CountingLM, True, True)],
)  # fmt: skip
def test_behind_an_api_the_prompt_is_a_chat_unless_told_otherwise(lm, chat, is_chat):
    classifier = few_shot(lm(), chat=chat)
    assert classifier.chat is is_chat
    (answer,) = classifier.predict(["win"])
    assert answer.prompt.startswith("[") is is_chat


def test_the_servers_own_count_of_tokens_is_what_an_answer_says():
    lm = AnsweringLM()
    (answer,) = few_shot(lm).predict(["win"])
    assert answer.prompt_tokens == 2 * len(lm.prompts[-1])


def test_a_prompt_that_the_server_finds_too_long_loses_its_least_similar_examples():
    whole, short = AnsweringLM(), AnsweringLM(window=300)
    (long,) = few_shot(whole, k=8, balance="none").predict(["win a prize"])
    (cut,) = few_shot(short, k=8, balance="none").predict(["win a prize"])
    assert (long.dropped, len(long.demonstrations)) == (0, 8)
    assert 1 <= len(cut.demonstrations) < 8
    assert cut.dropped == 8 - len(cut.demonstrations)
    assert cut.prompt_tokens <= 300
    assert max(shown.similarity for shown in long.demonstrations) in {
        shown.similarity for shown in cut.demonstrations
    }
    assert len(short.prompts) <= 3  # the server said how much too long it was
    limit = len(short.prompts[0]) * 300 // (2 * len(short.prompts[0]))
    assert f"examples were left out: the prompt may have {limit} tokens" in cut.notes[-1]


def test_where_not_even_the_message_fits_the_server_says_so():
    with pytest.raises(TuneshotError, match="too long"):
        few_shot(AnsweringLM(window=20)).predict(["win a prize"])


# --- scoring --------------------------------------------------------------------------------------


def test_softmax_compares_labels_only():
    scores = {"ham": -100.0, "spam": -100.0 + np.log(3)}
    assert softmax(scores) == pytest.approx({"ham": 0.25, "spam": 0.75}, abs=1e-5)
    assert softmax({"ham": 0.0, "spam": -1e4}) == {"ham": 1.0, "spam": 0.0}


def test_a_vote_is_weighted_by_similarity():
    labels = ("ham", "spam")
    one_near = neighbour_vote(labels, ["spam", "ham", "ham"], [0.9, 0.3, 0.3])
    assert one_near == pytest.approx({"ham": 0.4, "spam": 0.6}, abs=1e-4)
    nothing_near = neighbour_vote(labels, ["spam", "ham", "ham"], [0.0, -0.2, -0.1])
    assert nothing_near == pytest.approx({"ham": 2 / 3, "spam": 1 / 3})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("You are a winner you have been specially selected to receive $1000 cash or a $2000 "
         "award.", "spam"),
        ("Hey, just wanted to check if we're still on for dinner tonight? Let me know!", "ham"),
    ],
)  # fmt: skip
def test_the_lectures_messages_with_the_bundled_models(text, label):
    from clfcore.data.messages import sample_messages
    from clfcore.data.split import grouped_stratified_split
    from icl.pool.embed import SentenceEmbedder

    examples = sample_messages().examples
    embedder = SentenceEmbedder()
    train = [examples[row] for row in grouped_stratified_split(examples).train]
    pool = Pool.build(train, embedder)
    (prediction,) = FewShot(TASK, lm=LocalLM(), embedder=embedder).fit(pool).predict([text])
    assert prediction.label == label
