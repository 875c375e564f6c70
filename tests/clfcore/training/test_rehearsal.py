"""A few messages more for a finished classifier: a tiny one, and the bundled one."""

import json

import pytest
import torch

from clfcore.data.messages import LabelledMessages, load_messages
from clfcore.data.split import grouped_stratified_split, normal_form
from clfcore.errors import TuneshotError
from clfcore.evaluation.evaluate import evaluate
from clfcore.fine_tuned import FineTuned
from clfcore.model.spec import Reading
from clfcore.training.rehearsal import plan_rehearsal, train_further
from clfcore.types import Example
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta
from tests.support.taught import ABOUT, HAM, SOURCE, SPAM, TAUGHT, toy_classifier
from tests.support.tiny import CFG, LABELS, tiny, tiny_classifier


def weights(classifier: FineTuned) -> dict[str, torch.Tensor]:
    return {name: w.clone() for name, w in classifier.model.trunk.state_dict().items()}


@pytest.fixture(scope="module")
def learnt() -> FineTuned:
    parent = toy_classifier()
    return train_further(parent, plan_rehearsal(parent, TAUGHT, SOURCE))


@pytest.mark.parametrize(
    ("most", "ham", "spam"), [(28, 14, 14), (10, 5, 5), (40, 26, 14), (999, 42, 14)]
)
def test_only_the_training_part_is_rehearsed_with_as_many_of_each_label_as_there_are(
    monkeypatch, most, ham, spam
):
    monkeypatch.setattr("clfcore.training.rehearsal._MAX_REHEARSED_MESSAGES", most)
    rehearsal = plan_rehearsal(toy_classifier(), TAUGHT, SOURCE)
    split = grouped_stratified_split(SOURCE.examples)
    assert set(rehearsal.rehearsed) <= {SOURCE.examples[row] for row in split.train}
    assert set(rehearsal.val) == {SOURCE.examples[row] for row in split.val}
    labels = [example.label for example in rehearsal.rehearsed]
    assert (labels.count("ham"), labels.count("spam")) == (ham, spam)


def test_the_parts_are_those_the_parent_was_trained_with():
    parent = toy_classifier(about={"data": {**ABOUT["data"], "split_seed": 3}})
    split = grouped_stratified_split(SOURCE.examples, seed=3)
    assert set(plan_rehearsal(parent, TAUGHT, SOURCE).val) == {
        SOURCE.examples[row] for row in split.val
    }


def test_copies_of_what_is_taught_are_neither_rehearsed_nor_judged():
    taught = [Example(text.upper(), "spam") for text in HAM[:30]]
    rehearsal = plan_rehearsal(toy_classifier(), taught, SOURCE)
    known = {normal_form(text) for text in HAM[:30]}
    assert not {normal_form(e.text) for e in (*rehearsal.rehearsed, *rehearsal.val)} & known


def test_of_messages_it_was_not_trained_on_it_rehearses_its_own_answers():
    parent = tiny_classifier()
    spam = [answer.probabilities["spam"] for answer in parent.predict([*HAM, *SPAM])]
    with torch.no_grad():  # else it gives all messages one label
        parent.model.trunk.out_head.bias[1] -= torch.tensor(spam).median().logit()
    rehearsal = plan_rehearsal(parent, TAUGHT, SOURCE)
    own = [answer.label for answer in parent.predict([e.text for e in rehearsal.rehearsed])]
    assert [example.label for example in rehearsal.rehearsed] == own
    assert own.count("ham") == own.count("spam") > 0
    learnt = train_further(parent, rehearsal)
    assert learnt.meta.about["rehearsal"]["own_answers"]
    assert learnt.meta.about["calibration"] is None


def test_of_a_message_taught_twice_the_last_label_counts():
    rehearsal = plan_rehearsal(
        toy_classifier(), [Example("Hi you", "ham"), Example("hi YOU", "spam")], SOURCE
    )
    assert rehearsal.taught == [Example("hi YOU", "spam")]


@pytest.mark.parametrize(("count", "repeats"), [(1, 24), (3, 24), (10, 24), (20, 12), (100, 8)])
def test_the_more_is_taught_the_less_often_each_is_repeated(count, repeats):
    rehearsal = plan_rehearsal(
        toy_classifier(), [Example(f"news {i}", "ham") for i in range(count)], SOURCE
    )
    assert len(rehearsal.repeated) == count * repeats
    assert len(rehearsal.rows) == len(rehearsal.rehearsed) + count * repeats


def test_repeats_leave_out_words_and_never_all_of_them():
    rehearsal = plan_rehearsal(toy_classifier(), [*TAUGHT, Example("hello", "ham")], SOURCE)
    repeats = rehearsal.rows[len(rehearsal.rehearsed) + 2 :]
    assert rehearsal.rows == rehearsal.rows
    assert {len(e.text.split()) for e in repeats} >= {1, 3, 4, 5, 6}
    for example in repeats:
        words = "hello" if example.label == "ham" else TAUGHT[0].text
        assert example.text
        assert set(example.text.split()) <= set(words.split())


def test_what_is_taught_is_learnt_and_only_the_last_block_changes(learnt):
    (answer,) = learnt.predict([TAUGHT[0].text])
    assert answer.label == "spam"
    before, after = weights(toy_classifier()), weights(learnt)
    changed = {name.split(".")[0] + "." + name.split(".")[1] for name in before
               if not torch.equal(before[name], after[name])}  # fmt: skip
    assert changed == {"trf_blocks.1", "final_norm.scale", "final_norm.shift", "out_head.weight",
                       "out_head.bias"}  # fmt: skip


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(learnt):
    def again(seed: int) -> dict[str, torch.Tensor]:
        parent = toy_classifier()
        return weights(train_further(parent, plan_rehearsal(parent, TAUGHT, SOURCE, seed)))

    first, same, other = weights(learnt), again(0), again(1)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["out_head.weight"], other["out_head.weight"])


def test_it_says_what_it_is_and_keeps_no_text(learnt, tmp_path):
    save_checkpoint(tmp_path / "more", learnt.model, learnt.meta)
    record = (tmp_path / "more" / "meta.json").read_text()
    assert "table" not in record
    about = json.loads(record)["about"]
    assert about["parent"]["name"] == "tiny"
    assert about["taught"] == {
        "messages": 1, "shown": 24 * len(about["train"]["history"]), "answered_as_taught": 1
    }  # fmt: skip
    loaded = FineTuned.load(tmp_path / "more")
    assert loaded.name == "tiny + 1 taught"
    val = plan_rehearsal(loaded, TAUGHT, SOURCE).val
    judged = evaluate(loaded, val).to_dict()
    assert judged["accuracy"] == about["val_metrics"]["accuracy"]
    assert len(about["train"]["history"]) == about["train"]["epochs"]


def test_threshold_and_reading_of_the_parent_stay():
    """Also the chapter's way of reading: padding, read at the last column."""
    reading = Reading("last_column", 20)
    parent = FineTuned(
        tiny(reading=reading), Meta("old", LABELS, CFG, reading=reading, threshold=0.7, about=ABOUT)
    )
    learnt = train_further(parent, plan_rehearsal(parent, TAUGHT, SOURCE))
    assert (learnt.meta.reading, learnt.meta.threshold) == (reading, 0.7)
    losses = [look["train_loss"] for look in learnt.meta.about["train"]["history"]]
    assert losses[-1] < losses[0] - 0.1


def test_what_differed_from_a_trunk_kept_elsewhere_is_still_marked_as_different():
    """A checkpoint on such a trunk stores the weights that require gradients, and no others."""
    parent = toy_classifier()
    parent.model.trunk.requires_grad_(False)
    parent.model.trunk.trf_blocks[0].requires_grad_(True)
    learnt = train_further(parent, plan_rehearsal(parent, TAUGHT, SOURCE))
    marked = {n.rsplit(".")[0] for n, w in learnt.model.trunk.named_parameters() if w.requires_grad}
    assert marked == {"trf_blocks", "final_norm", "out_head"}
    assert all(w.requires_grad for w in learnt.model.trunk.trf_blocks.parameters())


@pytest.mark.parametrize(
    ("meta", "taught", "source", "line"),
    [
        ({}, [], SOURCE, "no message has been taught"),
        ({}, [Example("hi", "joke")], SOURCE, "no label 'joke'; it knows ham, spam"),
        (
            {},
            TAUGHT,
            LabelledMessages([Example("hi", "good")], "reviews"),
            "reviews has the labels good",
        ),
        ({"adapter": {"name": "lora"}}, TAUGHT, SOURCE, "clf merge"),
    ],
)
def test_what_cannot_be_taught_is_refused_in_one_line(meta, taught, source, line):
    with pytest.raises(TuneshotError, match=line) as refused:
        plan_rehearsal(toy_classifier(**meta), taught, source)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_the_bundled_model_learns_a_message_and_its_like_and_forgets_little():
    parent = FineTuned.load()
    text = "Your table for two at 8pm is confirmed. Reply YES to keep it or call 555-0117"
    like = [
        "Your table for four at 7pm is confirmed. Reply YES to keep it or call 555-0142",
        "We have your table for two at 8pm. Reply YES to keep it or call 555-0117",
    ]
    assert [p.label for p in parent.predict([text, *like])].count("spam") >= 2
    rehearsal = plan_rehearsal(parent, [Example(text, "ham")], load_messages())
    before = evaluate(parent, rehearsal.val).metrics.accuracy.value
    learnt = train_further(parent, rehearsal)
    assert [p.label for p in learnt.predict([text, *like])] == ["ham"] * 3
    assert evaluate(learnt, rehearsal.val).metrics.accuracy.value >= before - 0.005
