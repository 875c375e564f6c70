from collections import Counter

import numpy as np
import pytest
from scipy.stats import entropy

from clfcore.errors import TuneshotError
from icl.few_shot import FewShot
from icl.lm.local import LocalLM
from icl.selectors import knn_prompting
from icl.selectors.knn_prompting import KNNPrompting
from tests.support.doubles import (
    EXAMPLES,
    POOL,
    AnsweringLM,
    CountingLM,
    HashedWords,
    few_shot,
    make_pool,
    save_tiny_lm,
)

QUERY = "win a free holiday prize"


class Expecting:
    """Expects a token for each word of the message; remembers what was shown with it."""

    def __init__(self, room=lambda row: True):
        self.asked, self.progress, self.room = [], [], room

    def on_progress(self, stage, done, total, figures):
        self.progress.append((done, total))

    def fitting(self, query, ranked, order):
        return tuple(row for row in order if self.room(row))

    def next_tokens(self, query, rows):
        self.asked.append((query, tuple(rows)))
        return np.log(expected(query))


def expected(text):
    (vector,) = HashedWords().embed([text])
    return np.exp(vector) / np.exp(vector).sum()


def fitted(reader=None, pool=POOL, **options):
    return KNNPrompting(**options).fit(pool, reader or Expecting())


def selected(selector, text, k=3):
    (selection,) = selector.select([text], np.empty((1, 0), np.float32), k)
    return selection


def test_the_nearest_by_kl_divergence_of_the_anchor_from_the_query_are_chosen():
    selector = fitted()
    by_hand = [entropy(expected(text), expected(QUERY)) for text in POOL.texts]
    assert selector.rows.tolist() == list(range(len(POOL)))
    assert selector.divergences(QUERY) == pytest.approx(by_hand, abs=1e-6)
    found = selected(selector, QUERY)
    nearest = np.argsort(by_hand, kind="stable")
    of_label = {label: [row for row in nearest if POOL.labels[row] == label][:3]
                for label in ("ham", "spam")}  # fmt: skip
    assert found.rows == [row for row in nearest if row in of_label[POOL.labels[row]]]
    assert found.similarities == pytest.approx(np.exp([-by_hand[row] for row in found.rows]))


def test_their_labels_are_the_answer_whatever_the_model_would_say():
    (answer,) = few_shot(CountingLM(), selector="knn_prompting", k=3).predict([QUERY])
    assert answer.label == "spam"
    assert answer.prompt == ""
    assert len(answer.demonstrations) == 3
    weights = [shown.similarity for shown in answer.demonstrations if shown.label == "spam"]
    total = sum(shown.similarity for shown in answer.demonstrations)
    assert answer.probabilities["spam"] == pytest.approx(sum(weights) / total, abs=1e-4)


def test_every_message_is_read_once_after_one_example_of_each_label():
    reader = Expecting()
    selector = fitted(reader)
    assert sorted(text for text, _ in reader.asked) == sorted(POOL.texts)
    assert reader.progress == [(n, len(POOL)) for n in range(1, len(POOL) + 1)]
    selected(selector, QUERY)
    prefixes = {rows for text, rows in reader.asked if POOL.group_of(text) is None}
    (prefix,) = prefixes
    assert sorted(POOL.labels[row] for row in prefix) == ["ham", "spam"]


def test_no_message_is_read_after_its_own_copy():
    reader = Expecting()
    selector = fitted(reader)
    for text in POOL.texts:
        selected(selector, f"{text} ")  # a copy, but not the same text, which is known already
    prefixes = Counter(rows for _, rows in reader.asked)
    for text, rows in reader.asked:
        assert text not in [POOL.texts[row] for row in rows]
        assert sorted(POOL.labels[row] for row in rows) == ["ham", "spam"]
    (_, usual), *others = prefixes.most_common()
    assert usual == 2 * (len(POOL) - 2)
    assert [count for _, count in others] == [2, 2], "each of its two examples, read as any other"


def test_a_message_that_was_read_is_not_read_again_and_found_as_if_it_were():
    reader, copies = Expecting(), Expecting()
    selector, other = fitted(reader), fitted(copies)
    for text in POOL.texts:
        assert selected(selector, text).rows == selected(other, f"{text} ").rows
    assert len(reader.asked) == len(POOL)
    assert len(copies.asked) == 2 * len(POOL)


def test_a_label_with_one_message_is_missing_from_the_prefix_of_that_message_only():
    pool = make_pool(["win cash", "see you", "see you later"], ["spam", "ham", "ham"])
    reader = Expecting()
    fitted(reader, pool)
    labels = {text: [pool.labels[row] for row in rows] for text, rows in reader.asked}
    assert labels["win cash"] == ["ham"]
    assert sorted(labels["see you"]) == ["ham", "spam"]


def test_the_prefix_is_what_has_room_before_the_longest_message():
    reader = Expecting(room=lambda row: POOL.labels[row] == "ham")
    fitted(reader)
    assert {POOL.labels[row] for _, rows in reader.asked for row in rows} == {"ham"}


def test_no_more_messages_are_read_than_are_asked_for():
    reader = Expecting()
    selector = fitted(reader, anchors=6)
    assert len(reader.asked) == len(selector.rows) == 6
    assert set(selected(selector, QUERY, 6).rows) == set(selector.rows.tolist())
    with pytest.raises(TuneshotError, match="choose k from 0 to 6, or a larger anchors"):
        selected(selector, QUERY, 7)
    assert len(reader.asked) == 7, "what is refused is not read"
    assert fitted(anchors=6, seed=1).rows.tolist() != selector.rows.tolist()


def test_rare_tokens_count_together(monkeypatch):
    monkeypatch.setattr(knn_prompting, "TOKENS_KEPT", 8)
    few = fitted()
    whole = np.array([entropy(expected(text), expected(QUERY)) for text in POOL.texts])
    mean = np.mean([expected(text) for text in POOL.texts], axis=0)
    kept = np.sort(np.argsort(-mean, kind="stable")[:8])

    def together(text):
        p = expected(text)
        return np.append(p[kept], 1 - p[kept].sum())

    by_hand = [entropy(together(text), together(QUERY)) for text in POOL.texts]
    assert few.divergences(QUERY) == pytest.approx(by_hand, abs=1e-6)
    assert np.all(few.divergences(QUERY) <= whole + 1e-6)  # never further apart than they are


def test_it_reads_what_a_local_model_expects(tmp_path):
    lm = LocalLM(str(save_tiny_lm(tmp_path)))
    prompt = "SMS: hello\nType:"
    log_p = lm.next_tokens(prompt)
    assert np.exp(log_p.astype(np.float64)).sum() == pytest.approx(1, abs=1e-5)
    read = lm.read(prompt, [" ham", " spam"])
    for tokens, logs in zip(read.tokens, read.log_probabilities, strict=True):
        assert log_p[tokens[0]] == pytest.approx(logs[0], abs=1e-4)
    classifier = few_shot(lm, selector="knn_prompting", k=3)
    alone = [classifier.predict([text])[0].probabilities for text in (QUERY, "", "x" * 5000)]
    together = classifier.predict([QUERY, "", "x" * 5000])
    for one, other in zip(alone, together, strict=True):
        assert other.probabilities == pytest.approx(one, abs=1e-4)


def test_the_prefix_is_read_once(tmp_path, monkeypatch):
    lm = LocalLM(str(save_tiny_lm(tmp_path)))
    fed = []
    forward = lm._pass
    monkeypatch.setattr(
        lm, "_pass", lambda ids, *rest: fed.append(len(ids[0])) or forward(ids, *rest)
    )
    classifier = few_shot(lm, selector="knn_prompting", k=3)
    fed.clear()
    classifier.predict(["see you at noon", "claim your cash now"])
    whole = lm.count_tokens(classifier.task.template.render([], "see you at noon"))
    assert max(fed) <= whole + 10, "a message costs its own tokens"


@pytest.mark.parametrize("lm", [AnsweringLM(), None])
def test_it_needs_a_model_that_says_what_it_expects(lm):
    with pytest.raises(TuneshotError, match=r"gives log-probabilities; .*choose knn"):
        few_shot(lm, selector="knn_prompting") if lm else KNNPrompting().fit(POOL)


def test_it_stays_out_of_the_chat_because_its_first_answer_takes_minutes():
    from icl.session.settings import CHAT_SELECTORS

    assert "knn_prompting" not in CHAT_SELECTORS


def test_progress_is_told_while_the_messages_are_read():
    news = []
    FewShot("sms_spam", "knn_prompting", lm=CountingLM(), embedder=HashedWords()).fit(
        EXAMPLES, lambda *line: news.append(line)
    )
    assert news[-1] == ("kNN prompting: messages read", len(EXAMPLES), len(EXAMPLES), "")


def test_a_vote_of_similar_messages_can_be_mixed_in():
    (plain,) = few_shot(CountingLM(), selector="knn_prompting", k=3).predict([QUERY])
    (knn,) = few_shot(selector="knn", k=8).predict([QUERY])
    (mixed,) = few_shot(CountingLM(), selector="knn_prompting", k=3, vote=0.5).predict([QUERY])
    assert mixed.probabilities["spam"] == pytest.approx(
        (plain.probabilities["spam"] + knn.probabilities["spam"]) / 2
    )


def test_of_many_labels_some_have_no_example_in_the_prefix(monkeypatch):
    monkeypatch.setattr(knn_prompting, "MOST_SHOWN", 3)
    pool = make_pool([f"topic{i} words" for i in range(20)], [f"label{i // 2}" for i in range(20)])
    reader = Expecting()
    selector = fitted(reader, pool)
    assert {len(rows) for _, rows in reader.asked} == {3}
    assert len({pool.labels[row] for row in selected(selector, "topic3", 20).rows}) == 10


def test_what_is_read_keeps_to_the_prompts_length():
    lm = CountingLM(200)
    classifier = few_shot(lm, selector="knn_prompting")
    assert len(classifier.predict(["win", "win a prize " * 3000])) == 2
    assert max(map(len, lm.prompts)) <= 200
