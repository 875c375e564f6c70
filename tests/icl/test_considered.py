"""Of many labels, a language model is asked about those that may be the answer."""

from collections import Counter

import numpy as np
import pytest

from clfcore.types import Example
from icl.answering import CALIBRATES_ALL
from icl.considered import Considered
from icl.few_shot import FewShot
from icl.prompt.calibration import CALIBRATIONS
from icl.prompt.scoring import SCORINGS
from icl.prompt.tasks import task_with_labels
from icl.selectors.table import SELECTORS
from tests.support.doubles import AnsweringLM, CountingLM, HashedWords, make_pool

LABELS = tuple(f"topic {number}" for number in range(60))
EXAMPLES = [Example(f"word{n} said {way}", LABELS[n]) for n in range(60) for way in ("so", "thus")]
POOL = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])
TASK = task_with_labels("mine.csv", LABELS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))


class AskedLM(CountingLM):
    """Remembers about which labels it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def read(self, prompt, continuations, since=None):
        self.asked.append(tuple(word.strip() for word in continuations))
        return super().read(prompt, continuations, since)


def classifier(lm=None, **settings):
    made = FewShot(TASK, lm=lm or AskedLM(), embedder=HashedWords(), **settings)
    return made.fit(POOL)


def embedded(text):
    return text, *HashedWords().embed([text])


def nearest_labels(text):
    cosines = (POOL.vectors @ HashedWords().embed([text])[0]).round(6)
    return list(dict.fromkeys(POOL.labels[row] for row in np.argsort(-cosines, kind="stable")))


class CountingWords(HashedWords):
    """Counts how often each text is embedded."""

    def __init__(self):
        self.embedded = Counter()

    def embed(self, texts):
        self.embedded.update(texts)
        return super().embed(texts)


@pytest.mark.parametrize("selector", ["topk", "mmr", "random", "zero", "knn"])
def test_a_message_is_embedded_once_for_examples_voters_and_labels(selector):
    embedder = CountingWords()
    made = FewShot(TASK, selector, lm=AskedLM(), embedder=embedder, vote=0.5).fit(POOL)
    made.predict(["word7 is new", "word8 is"])
    assert embedder.embedded["word7 is new"] == embedder.embedded["word8 is"] == 1


# --- which ----------------------------------------------------------------------------------------


def test_those_of_the_most_similar_messages_are_considered_in_the_tasks_order():
    considered = Considered(TASK.template, POOL, HashedWords(), most=5)
    chosen = considered.labels(*embedded("word7 is new"), ())
    assert chosen == tuple(label for label in LABELS if label in nearest_labels("word7 is new")[:5])
    assert "topic 7" in chosen


def test_what_the_examples_show_is_considered_first_however_much_it_is():
    considered = Considered(TASK.template, POOL, HashedWords(), most=3)
    assert {"topic 50", "topic 51"} < set(
        considered.labels(*embedded("word7 is new"), LABELS[50:52])
    )
    assert considered.labels(*embedded("word7 is new"), LABELS[50:55]) == LABELS[50:55]


def test_the_label_of_a_copy_of_the_message_says_nothing():
    odd = make_pool(["the very same", "word1 so", "word2 so"], LABELS[:3])
    considered = Considered(TASK.template, odd, HashedWords(), most=2)
    assert considered.labels(*embedded("The very  same"), ()) == LABELS[1:3]


def test_without_examples_the_labels_whose_words_are_like_the_message_are_considered():
    mine = task_with_labels("mine.csv", ("refund my money", "lost card", "change address"))
    relabelled = [make_pool(["a", "b", "c"], labels) for labels in (mine.labels, mine.labels[::-1])]
    for pool in relabelled:
        zero = FewShot(mine, "zero", lm=AskedLM(), embedder=HashedWords(), most_labels=2).fit(pool)
        (answer,) = zero.predict(["my card is lost"])
        assert answer.probabilities["lost card"] > 0
        assert zero.lm.asked[-1] == ("refund my money", "lost card")
        assert any(note.startswith("2 of 3 labels were considered") for note in answer.notes)


def test_labels_that_no_message_shows_are_considered_where_there_is_room():
    few = make_pool(["word1 so", "word2 so"], LABELS[1:3])
    chosen = Considered(TASK.template, few, HashedWords(), most=10).labels(*embedded("topic 9"), ())
    assert len(chosen) == 10
    assert {"topic 1", "topic 2", "topic 9"} <= set(chosen)


# --- what they are for ----------------------------------------------------------------------------


def test_only_those_are_read_and_the_others_count_as_impossible():
    chosen = classifier(most_labels=8, k=2)
    (answer,) = chosen.predict(["word7 is new"])
    possible = {label for label, p in answer.probabilities.items() if p > 0}
    assert possible == set(chosen.lm.asked[-1])
    assert len(possible) == 8
    assert {shown.label for shown in answer.demonstrations} <= possible
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert tuple(answer.probabilities) == TASK.labels
    assert (
        "8 of 60 labels were considered for this message, those of the most similar messages; the "
        "others count as impossible"
    ) in answer.notes


@pytest.mark.parametrize("most", [0, 60, 61])
def test_all_labels_are_read_where_that_is_asked_for_or_there_are_no_more(most):
    every = classifier(most_labels=most)
    (answer,) = every.predict(["word7 is new"])
    assert every.lm.asked[-1] == TASK.labels
    assert not any("considered" in note for note in answer.notes)


def test_what_is_considered_changes_nothing_among_the_considered():
    (few,) = classifier(most_labels=8, balance="none").predict(["word7 is new"])
    (every,) = classifier(most_labels=0, balance="none").predict(["word7 is new"])
    share = sum(every.probabilities[label] for label, p in few.probabilities.items() if p)
    for label, p in few.probabilities.items():
        assert p == 0 or p == pytest.approx(every.probabilities[label] / share)


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_answers_among_many_labels(selector):
    answers = classifier(
        selector=selector, most_labels=6, k=0 if selector == "zero" else 4
    ).predict(["word7 is new", "word9 so"])
    for answer in answers:
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert sum(p > 0 for p in answer.probabilities.values()) <= 6


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("orders", [1, 2])
def test_every_way_to_answer_is_possible_among_many_labels(scoring, calibration, orders):
    settings = {"scoring": scoring, "calibration": calibration, "orders": orders}
    (answer,) = classifier(most_labels=6, vote=0.5, **settings).predict(["word7 is new"])
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert (CALIBRATES_ALL in answer.notes) is (calibration == "batch")
    assert not answer.provisional


def test_a_reply_in_words_may_name_any_label():
    (answer,) = classifier(AnsweringLM("topic 33"), most_labels=6).predict(["word7 is new"])
    assert answer.label == "topic 33"


def test_two_thousand_labels_cost_no_more_than_a_few():
    labels = tuple(f"product {number}" for number in range(2000))
    pool = make_pool([f"word{number} said so" for number in range(2000)], labels)
    task = task_with_labels("mine.csv", labels)
    many = FewShot(task, lm=AskedLM(), embedder=HashedWords()).fit(pool)
    (answer,) = many.predict(["word1234 said thus"])
    assert [len(asked) for asked in many.lm.asked] == [1, 32]  # the first: whether it has scores
    assert sum(p > 0 for p in answer.probabilities.values()) == 32
