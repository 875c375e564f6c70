"""A reply that names no label is no answer, from the classifier to every place that shows it."""

import asyncio
import csv
import io
import json

import numpy as np
import pytest

from clfcore.errors import TuneshotError
from clfcore.evaluation.answers import Recorded
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.metrics import METRICS, LabelledPredictions, added_up, measure, reliability
from clfcore.types import Example, Prediction
from icl.batch.read import Messages
from icl.batch.result import BatchResult, RowAnswer
from icl.batch.run import BatchRun
from icl.grid.cell import GridCell
from icl.grid.table import table
from icl.report.answer_tables import confusions
from icl.report.findings import Findings
from icl.report.page import report_page
from icl.report.tables import markdown
from icl.session import votes
from icl.session.session import Model, Turn
from icl.session.settings import Settings
from icl.session.sweep import sweep
from tests.support.chat import WordSpotter, make_session, reply_of
from tests.support.doubles import Sayer, few_shot
from tests.support.lazy import lazy
from tests.support.summaries import make_summary

cards = lazy("icl.chat.cards")
service = lazy("icl.service.app")
upload = lazy("icl.chat.actions.upload")
peer = lazy("sklearn.metrics")

LABELS = ("ham", "spam")
REFUSAL = "I cannot help with that."
NOTE = f"no answer: the model said {REFUSAL!r} where a label was asked for"


def said(label):
    probabilities = {each: 0.5 if label is None else float(each == label) for each in LABELS}
    return Prediction(label, probabilities, ms=1.0, notes=() if label else (NOTE,))


class Silent(WordSpotter):
    """Has no answer to messages that have "shy" in them."""

    def answer(self, text):
        return said(None) if "shy" in text else super().answer(text)


# --- the answer -----------------------------------------------------------------------------------


def test_a_refusal_is_not_the_first_label_at_50_percent():
    (answer,) = few_shot(Sayer(REFUSAL), k=2).predict(["win a prize"])
    assert (answer.label, answer.p, answer.completion) == (None, None, REFUSAL)
    assert answer.probabilities == {"ham": 0.5, "spam": 0.5}
    assert NOTE in answer.notes


@pytest.mark.parametrize("reply", ["It is not spam", "ham or spam", "positive", "Is it spam?"])
def test_what_does_not_name_one_label_is_no_answer_either(reply):
    (answer,) = few_shot(Sayer(reply), k=2).predict(["win a prize"])
    assert answer.label is None


def test_the_words_decide_which_label_it_is():
    answers = few_shot(Sayer(" **Spam** ", "Label: ham"), k=2).predict(["a", "b"])
    assert [(answer.label, answer.p) for answer in answers] == [("spam", 1.0), ("ham", 1.0)]


# --- figures --------------------------------------------------------------------------------------

TRUTH = ["ham", "ham", "spam", "spam", "spam"]
SAID = ["ham", None, "spam", "ham", None]


def test_no_answer_is_never_right_and_has_a_column_of_its_own():
    figures = measure(TRUTH, [said(label) for label in SAID], LABELS)
    assert (figures.messages, figures.no_answer) == (5, 2)
    assert (figures.accuracy.hits, figures.accuracy.of) == (2, 5)
    assert figures.confusion == [[1, 0, 1], [1, 1, 1]]
    assert (figures.recall["ham"].of, figures.recall["spam"].of) == (2, 3)
    assert (figures.precision["ham"].of, figures.precision["spam"].of) == (2, 1)
    assert measure(TRUTH, [said(label) for label in TRUTH], LABELS).confusion == [[2, 0], [0, 3]]


def test_labels_are_judged_as_scikit_learn_judges_an_answer_outside_of_them():
    figures = measure(TRUTH, [said(label) for label in SAID], LABELS)
    given = [label or "none" for label in SAID]
    assert figures.figures["balanced_accuracy"] == pytest.approx(
        peer.recall_score(TRUTH, given, labels=LABELS, average="macro")
    )
    assert figures.figures["macro_f1"] == pytest.approx(
        peer.f1_score(TRUTH, given, labels=LABELS, average="macro")
    )


def test_calibration_is_about_answers_and_the_log_loss_about_messages():
    run = LabelledPredictions.from_labels(
        ["ham", "spam", "spam"], ["ham", None, None],
        [{"ham": 0.9, "spam": 0.1}, *[{"ham": 0.5, "spam": 0.5}] * 2], LABELS,
    )  # fmt: skip
    once = np.ones((1, 3))
    assert METRICS["ece"].compute(run, once) == pytest.approx(0.1)
    assert METRICS["nll"].compute(run, once) == pytest.approx((-np.log(0.9) + 2 * np.log(2)) / 3)
    assert reliability([run]) == [{"confidence": 0.9, "accuracy": 1.0, "count": 1}]


def test_where_nothing_is_answered_there_is_no_calibration():
    figures = measure(TRUTH, [said(None)] * 5, LABELS)
    assert (figures.accuracy.value, figures.no_answer) == (0, 5)
    assert np.isnan(figures.figures["ece"])
    assert np.isnan(figures.precision["ham"].value)


def test_tables_of_several_runs_add_up_though_only_some_have_the_column():
    tables = [np.array([[9, 1], [2, 8]]), np.array([[5, 0, 5], [0, 10, 0]])]
    assert added_up(tables).tolist() == [[14, 1, 5], [2, 18, 0]]


def test_what_was_recorded_is_read_as_no_answer_again(tmp_path):
    examples = [Example("shy", "ham"), Example("win", "spam")]

    def run():
        recorded = Recorded(Silent(), examples, tmp_path / "answers.jsonl")
        return evaluate(recorded, examples).metrics.to_dict()

    first = run()
    assert json.loads((tmp_path / "answers.jsonl").read_text().splitlines()[0])["answer"] is None
    assert first["no_answer"] == 1
    assert run() == first


# --- tables and reports ---------------------------------------------------------------------------


def recorded(selector, **test):
    config = GridCell(task="sms_spam", lm="any", selector=selector, seed=0).to_dict()
    share = {"value": 0.5, "low": 0.3, "high": 0.7, "hits": 10, "of": 20}
    return {
        "config": config,
        "test": {"accuracy": share, "messages": 20, "data_sha256": "0", **test},
    }


def test_a_grid_has_the_column_only_if_there_is_any():
    with_some = table([recorded("topk", no_answer=7), recorded("random")])  # an older record
    assert "| no answer |" in with_some
    assert "| 7 of 20 |" in with_some
    assert "| 0 of 20 |" in with_some
    assert "They count as mistakes" in with_some
    assert "no answer" not in table([recorded("topk", no_answer=0), recorded("random")])


def summary_with_no_answers():
    summary = make_summary()
    for point in summary["points"]:
        point |= {"asked": 200, "no_answer": 0}
        if point["method"] == "few_shot_topk":
            point |= {"no_answer": 30, "confusion": [[70, 10, 20], [5, 85, 10]], "reliability": []}
    return summary


def test_a_comparison_has_the_column_only_if_there_is_any():
    assert "30 of 200" in markdown(summary_with_no_answers())
    assert "| no answer |" in markdown(summary_with_no_answers()).splitlines()[0]
    assert "no answer" not in markdown(make_summary())  # an older summary
    by_name = {each.caption: each for each in confusions(Findings(summary_with_no_answers()))}
    columns = [each.columns[-1] for each in by_name.values()]
    assert columns.count("no answer") == 1
    assert columns.count("spam") == len(columns) - 1


def test_a_report_says_no_answer_where_a_label_would_stand():
    summary = summary_with_no_answers()
    summary["disagreements"]["items"][0]["b"] |= {"label": None, "p": None}
    page = report_page(summary).decode()
    assert "<strong>no answer</strong></h4>" in page
    assert "30 of 200" in page


# --- the page -------------------------------------------------------------------------------------


def chat(few_shot=Silent):
    return make_session(
        {
            "fine_tuned": lambda settings: Model("tiny", WordSpotter()),
            "few_shot": lambda settings: Model("reader", few_shot()),
        }
    )


def test_the_card_says_no_answer_with_the_reply_and_no_probabilities():
    reply = reply_of(chat(), "shy", "Compare", Settings())
    card = cards.compare_card(reply)["sides"][1]
    assert (card["label"], card["word"], card["bars"]) == (None, "no answer", [])
    assert card["problem"] == NOTE
    assert card["notes"] == []
    assert cards.verdict(reply) == "Fine-tuned says not spam; few-shot has no answer."
    alone = reply_of(chat(), "shy", "Few-shot", Settings())
    assert cards.verdict(alone) == "No answer: the card says why."


def test_people_can_still_vote_and_no_method_is_said_to_have_answered():
    turn = Turn("t1", "shy", Settings(), reply_of(chat(), "shy", "Few-shot", Settings()))
    assert turn.labels == LABELS
    vote = votes.vote(turn, "spam")
    assert (vote.right, vote.answers) == ("spam", ())


def test_nothing_can_change_an_answer_that_is_none():
    with pytest.raises(TuneshotError, match="no answer that could change"):
        sweep(few_shot(Sayer(REFUSAL), k=2), "win a prize")


def test_an_order_or_a_k_without_an_answer_is_kept_as_that():
    found = sweep(few_shot(Sayer("ham", REFUSAL), k=2), "win a prize", ks=(1,), orders=2)
    assert [answer.label for answer in found.by_k] == [None, "ham"]
    assert found.spread == 0  # of the orders that were answered
    assert found.to_dict()["by_k"][0]["label"] is None


def test_a_program_gets_neither_label_nor_probabilities_but_the_reason():
    (result,) = chat().classify("few_shot", Settings(), ["shy"])
    answer = service.MethodAnswer.of(result)
    assert (answer.label, answer.probabilities, answer.problem) == (None, {}, NOTE)
    assert (answer.ms, answer.model) == (1.0, "reader")


# --- a file ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    asked = Messages(("shy", "win", "hi"), (2, 3, 4), ("spam", "spam", "ham"), LABELS, empty=0)
    session = chat()

    async def ask(method, texts):
        return session.classify(method, Settings(), texts)

    async def ignore(progress):
        pass

    run = BatchRun(asked, ask, methods=("fine_tuned", "few_shot"))
    asyncio.run(run.run(ignore))
    return run.result()


def test_a_row_without_an_answer_is_wrong_and_says_what_the_model_said(result):
    summary = result.summary()
    few_shot = summary.figures["few_shot"]
    assert (few_shot.accuracy.hits, few_shot.accuracy.of, few_shot.no_answer) == (2, 3, 1)
    assert few_shot.confusion == [[1, 0, 0], [0, 1, 1]]
    assert summary.problems == {"fine_tuned": 0, "few_shot": 1}
    assert (summary.agreement.hits, summary.agreement.of) == (2, 2)
    rows = {row.text: row for row in result.table(3)}
    assert (rows["shy"].answers["few_shot"].label, rows["shy"].reason) == ("", "wrong: fine-tuned")
    cells = next(csv.DictReader(io.StringIO(result.to_csv().decode("utf-8-sig"))))
    assert (cells["few_shot"], cells["few_shot_p"], cells["few_shot_problem"]) == ("", "", NOTE)


def test_right_where_the_other_has_no_answer_is_right_alone():
    asked = Messages(("shy",), (2,), ("ham",), LABELS, empty=0)
    result = BatchResult(
        asked,
        {
            "fine_tuned": [RowAnswer("ham", 0.9, [0.9, 0.1])],
            "few_shot": [RowAnswer(probabilities=[0.5, 0.5], problem=NOTE)],
        },
    )
    summary = result.summary()
    assert summary.right_alone == {"fine_tuned": 1, "few_shot": 0}
    assert not any("agree" in line for line in upload._lines(summary))  # on none of none


def test_the_page_counts_them_beside_the_accuracy(result):
    lines = upload._lines(result.summary())
    assert "Few-shot: 1 of 3 answers named no label and count as wrong." in lines
    row = next(row for row in result.table(3) if row.text == "shy")
    assert upload._answer(row.answers["few_shot"]) == "no answer"
