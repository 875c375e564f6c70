import numpy as np
import pytest
import torch

from clfcore.errors import TuneshotError
from icl.lm.local import LocalLM
from icl.selectors.cone import ConE
from tests.support.doubles import EXAMPLES, HashedWords, few_shot, make_pool, save_tiny_lm

POOL = make_pool([f"win topic{i % 9} number{i}" for i in range(50)], ["ham", "spam"] * 25)
QUERY = "win topic3 number4 once more"


class Surprised:
    """Finds the query the less surprising the larger the row number of the example before it."""

    def __init__(self, room=lambda row: True):
        self.asked = []
        self.room = room

    def fitting(self, query, ranked, order):
        return tuple(row for row in order if self.room(row))

    def code_lengths(self, query, lists):
        self.asked += lists
        return [100.0 - row for (row,) in lists]


def chosen(k, reader=None, **options):
    selector = ConE(**options).fit(POOL, reader or Surprised())
    (selection,) = selector.select([QUERY], HashedWords().embed([QUERY]), k)
    return selection


def nearest(count):
    similarity = (POOL.vectors @ HashedWords().embed([QUERY])[0]).round(6)
    return np.argsort(-similarity, kind="stable")[:count].tolist()


def test_each_of_the_thirty_nearest_is_read_alone():
    reader = Surprised()
    chosen(4, reader)
    assert reader.asked == [[row] for row in nearest(30)]


def test_those_with_the_shortest_code_come_first_and_the_others_by_similarity():
    found = chosen(25)  # all that there are of each label
    best = sorted(nearest(30), reverse=True)
    assert found.rows == best + nearest(50)[30:]
    assert found.scores == [row - 100.0 for row in best] + [None] * 20


def test_the_best_k_are_shown_best_first_as_the_authors_do():
    reader = ConE().fit(POOL, Surprised())
    (selection,) = reader.select([QUERY], HashedWords().embed([QUERY]), 3)
    assert selection.rows[:3] == sorted(nearest(30), reverse=True)[:3]


def test_what_does_not_fit_alone_comes_after_what_was_read():
    odd = Surprised(room=lambda row: row % 2)
    found = chosen(25, odd)
    best = sorted((row for row in nearest(30) if row % 2), reverse=True)
    assert odd.asked == [[row] for row in nearest(30) if row % 2]
    assert found.rows[: len(best)] == best
    assert found.scores[len(best)] is None


def test_without_examples_nothing_is_asked():
    reader = Surprised()
    assert chosen(0, reader).rows == []
    assert reader.asked == []


def test_a_score_is_the_conditional_entropy_of_the_query_in_its_slot(tmp_path):
    """H(example, query) - H(example), by one full pass over each prompt."""
    lm = LocalLM(str(save_tiny_lm(tmp_path)))
    pool = make_pool([e.text for e in EXAMPLES], [e.label for e in EXAMPLES])
    classifier = few_shot(lm, pool, selector="cone", k=3, balance="none", order="as_given")
    (answer,) = classifier.predict(["see you at three"])
    assert all(shown.similarity is not None for shown in answer.demonstrations)

    def entropy(text):
        ids = torch.tensor([lm._encode(text)])
        with torch.no_grad():
            log_p = lm._model(ids).logits[0, :-1].log_softmax(-1)
        return -log_p[torch.arange(ids.shape[1] - 1), ids[0, 1:]].double().numpy()

    scores = {}
    for row, example in enumerate(EXAMPLES):
        query = "SMS: see you at three\nType:"
        of_tokens = entropy(f"SMS: {example.text}\nType: {example.label}\n\n{query}")
        scores[row] = -of_tokens[-len(lm._encode(query)) :].sum()
    best = sorted(scores, key=scores.get, reverse=True)[:3]
    assert [shown.row for shown in answer.demonstrations] == best
    assert [shown.score for shown in answer.demonstrations] == pytest.approx(
        [scores[row] for row in best], abs=1e-3
    )


def test_it_needs_a_language_model():
    with pytest.raises(TuneshotError, match="choose topk"):
        ConE().fit(POOL)
