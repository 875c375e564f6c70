"""Comparisons: who sees which messages, going on after a kill, the same on Ray, honest errors."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from clfcore.cli.terminal import print_evaluation
from clfcore.config import DEFAULT_LM
from clfcore.data.messages import LabelledMessages, sample_messages
from clfcore.data.split import content_hash, normal_form
from clfcore.errors import TuneshotError
from clfcore.evaluation.answers import KEPT_LABELS, kept
from clfcore.evaluation.evaluate import evaluate
from clfcore.evaluation.metrics import METRICS, Metric, measure
from clfcore.evaluation.perturb import PERTURBATIONS
from clfcore.evaluation.records import identity, read_lines
from clfcore.types import Example, Prediction
from icl.cli.tuneshot import main
from icl.compare import run as compare
from icl.compare.disagreements import explain
from icl.compare.learn import fine_tuning
from icl.compare.learn.labels import MajorityClass, WithAllLabels
from icl.compare.learn.others import tfidf
from icl.compare.methods import METHODS, Method
from icl.compare.plan import ComparisonCell, Plan, budgets_of
from icl.compare.results import Results
from icl.compare.robustness import thresholds
from icl.compare.run import method_input, run_cell
from icl.compare.summary import summarize
from icl.compare.task_split import find_task, split_task
from icl.report.answer_tables import confusions
from icl.report.findings import Findings
from icl.report.tables import markdown
from tests.support.doubles import save_tiny_lm

MESSAGES = LabelledMessages(
    [
        Example(
            f"{'win cash now' if i % 4 == 0 else 'see you at'} {i} {i % 7}",
            ["ham", "spam"][i % 4 == 0],
        )
        for i in range(200)
    ],
    "two hundred messages",
)
QUICK = ("majority", "tfidf")
TIMES = {"seconds", "learn_seconds", "ms", "ms_per_message", "created", "memory_mb", "machine",
         "megabytes", "command", "config", "verdict"}  # fmt: skip


def without_times(found):
    if isinstance(found, dict):
        return {name: without_times(value) for name, value in found.items() if name not in TIMES}
    return [without_times(each) for each in found] if isinstance(found, list) else found


def plan(**more):
    return Plan(**{"methods": QUICK, "budgets": (8, 32), "seeds": (0, 1), "robust": False} | more)


def cell(split, method, budget, seed=0, **more):
    return ComparisonCell(method=method, budget=budget, seed=seed, task=split.task.name, **more)


# --- who sees what ------------------------------------------------------------------------------


def test_another_embedder_makes_other_cells_of_the_methods_that_use_vectors():
    split, some = split_task(MESSAGES), {"methods": ("knn", "tfidf"), "seeds": (0,)}
    usual, other = (
        {c.method: identity(c.record) for c in plan(**some, **more).cells(split)}
        for more in ({}, {"embedder": "another"})
    )
    assert usual["knn"] != other["knn"]
    assert usual["tfidf"] == other["tfidf"]
    (knn, _) = plan(**some, embedder="another", budgets=(8,)).cells(split)
    assert method_input(split, knn).embedder == "another"


def test_a_record_says_in_which_number_format_the_language_model_was(monkeypatch):
    split, some = split_task(MESSAGES), {"methods": ("few_shot_topk",), "budgets": (8,)}
    for dtype, prefix in (("bfloat16", "bf16:"), ("float32", "fp32:")):
        monkeypatch.setattr("icl.lm.open.native_dtype", lambda dtype=dtype: dtype)
        here, named = plan(**some).cells(split), plan(**some, lm=prefix + DEFAULT_LM).cells(split)
        assert {identity(c.record) for c in here} == {identity(c.record) for c in named}
        assert {c.record["config"]["lm"] for c in here} == {prefix + DEFAULT_LM}


def test_no_message_that_is_asked_about_may_be_labelled():
    split = split_task(sample_messages(), test_size=100)
    pool, test = ([normal_form(e.text) for e in part] for part in (split.pool, split.test))
    assert len(test) == 100
    assert not set(pool) & set(test)
    assert len(set(pool)) == len(pool)


def test_test_messages_have_their_natural_shares_or_are_balanced():
    natural, balanced = (split_task(MESSAGES, test_size=20, balanced=b).test for b in (False, True))
    assert Counter(e.label for e in natural) == {"ham": 15, "spam": 5}
    assert Counter(e.label for e in balanced) == {"ham": 10, "spam": 10}


def test_all_methods_see_the_same_labelled_messages_and_more_of_them_at_larger_budgets():
    split = split_task(MESSAGES, test_size=20)
    for seed in (0, 1):
        seen = [method_input(split, cell(split, key, 16, seed)).labelled
                for key in METHODS if METHODS[key].chooses == "random"]  # fmt: skip
        assert all(labelled == seen[0] for labelled in seen)
        more = method_input(split, cell(split, "tfidf", 32, seed)).labelled
        assert more[:16] == seen[0]
    assert seen[0] != method_input(split, cell(split, "tfidf", 16, 0)).labelled
    everything = method_input(split, cell(split, "tfidf", len(split.pool), 0)).labelled
    assert sorted(e.text for e in everything) == sorted(e.text for e in split.pool)


def test_vote_k_chooses_by_texts_alone_and_differently_from_seed_to_seed():
    split = split_task(MESSAGES, test_size=20)
    order = compare.votek_order(split.pool, 10, seed=0)
    assert sorted(order.tolist()) == list(range(len(split.pool)))
    other_labels = [Example(e.text, "spam") for e in split.pool]
    assert (compare.votek_order(other_labels, 10, seed=0) == order).all()
    assert set(order[:10].tolist()) != set(
        compare.votek_order(split.pool, 10, seed=1)[:10].tolist()
    )


def test_what_needs_no_labels_is_asked_once_and_only_the_largest_budget_has_more():
    split = split_task(MESSAGES, test_size=20, second=MESSAGES)
    methods = ("zero", "few_shot_topk", "few_shot_knn_prompting", "tfidf")
    some = Plan(methods=methods, budgets=(8, 140), seeds=(0, 1)).cells(split)
    assert Counter(c.method for c in some) == dict(zip(methods, (1, 4, 4, 4), strict=True))
    more = {(c.method, c.budget, c.seed): c.more for c in some if c.more}
    assert list(more) == [("zero", 0, 0), *((name, 140, 0) for name in methods[1:])]
    assert set(more["tfidf", 140, 0]) == {"memory", "held out", "hard", "second", *PERTURBATIONS}
    assert "held out" not in more["zero", 0, 0]  # it learns nothing
    orders = {"order 1", "order 2", "order 3", "order 4"}
    assert set(more["few_shot_topk", 140, 0]) - set(more["tfidf", 140, 0]) == orders
    assert more["few_shot_knn_prompting", 140, 0] == more["tfidf", 140, 0]  # it shows none


def test_what_a_comparison_is_about_decides_its_records(tmp_path):
    lm = tmp_path / "lm"
    lm.mkdir()
    (lm / "weights").write_bytes(b"one")
    some = plan(methods=("tfidf", "knn", "few_shot_topk"), lm=str(lm), robust=True)
    again = LabelledMessages(MESSAGES.examples[:60], "again")

    def identities(split):
        return {identity(c.record) for c in some.cells(split)}

    usual = split_task(MESSAGES, test_size=20, second=again)
    assert identities(usual) == identities(split_task(MESSAGES, test_size=20, second=again))
    for other in (
        replace(usual, pool=usual.pool[:-1]),
        replace(usual, test=usual.test[::-1]),
        replace(
            usual, task=find_task(LabelledMessages([Example("a", "x"), Example("b", "y")], ""))
        ),
    ):
        assert not identities(usual) & identities(other)
    # The other corpus matters where it is asked about: once for each method.
    shared = identities(usual) & identities(replace(usual, second=usual.second[:-1]))
    assert len(shared) == len(identities(usual)) - 3
    before = identities(usual)
    (lm / "weights").write_bytes(b"two")
    shared = before & identities(usual)
    assert len(shared) == len(before) * 2 / 3  # tfidf and knn ask no language model


def test_every_setting_of_a_comparison_is_in_its_records():
    settings = {field.name for field in fields(ComparisonCell)} - {"inputs", "connection"}
    split = split_task(MESSAGES, test_size=20)
    assert cell(split, "tfidf", 8).record["config"].keys() == settings
    planned = {field.name for field in fields(Plan)}
    of_all = {
        "methods",
        "budgets",
        "seeds",
        "robust",
        "connection",
    }  # of several cells: method, budget, seed, more; the address is one of the inputs
    assert planned - settings == of_all | {"metric"}  # which figure decides is no matter of records


def test_a_method_is_not_run_beyond_the_labels_it_is_made_for():
    split = split_task(MESSAGES, test_size=20)
    some = Plan(methods=("setfit",), budgets=(8, 512), seeds=(0,)).cells(split)
    assert [c.budget for c in some] == [8]


def many_labels(labels, each=12):
    return LabelledMessages(
        [
            Example(f"word{n} {n * i % 17} number {i}", f"topic {n:04d}")
            for i in range(each)
            for n in range(labels)
        ],
        "many labels",
    )


def test_labels_too_many_for_the_questions_are_no_reason_to_refuse():
    split = split_task(many_labels(100), test_size=60)
    assert len(split.not_asked) == 40
    assert len(split.balanced_sample) == 60
    assert split_task(many_labels(70)).not_asked == []  # by default, there are enough questions
    assert len(split_task(many_labels(70)).balanced_sample) == 60


def test_a_comparison_of_many_labels_writes_what_is_needed_and_no_more(tmp_path):
    """No table of all labels by all, and of each answer the probabilities that a figure reads."""
    split = split_task(many_labels(101), test_size=202)
    some = plan(budgets=(202,), seeds=(0,))
    records = compare.run(some, split, tmp_path)
    assert [record["test"]["confusion"] for record in records] == [None, None]
    (answers, *_) = read_lines(tmp_path / "answers" / records[-1]["answers"])
    assert len(answers["probabilities"]) in (KEPT_LABELS, KEPT_LABELS + 1)
    assert {answers["answer"], answers["label"]} <= answers["probabilities"].keys()
    summary = summarize(some, split, records, tmp_path / "answers", command="")
    majority = summary["points"][0]
    assert majority["confusion"] == []
    assert len(majority["mistakes"]) == 12
    assert majority["mistakes"][0].keys() == {"label", "answer", "messages", "of"}
    assert majority["mistakes"][0]["messages"] == majority["mistakes"][0]["of"] >= 2
    caption = "always the commonest label: its most frequent mistakes"
    assert caption in {table.caption for table in confusions(Findings(summary))}


def test_what_is_left_out_of_an_answer_changes_no_figure():
    rng, labels = np.random.default_rng(0), [f"label {n}" for n in range(300)]
    truth = rng.choice(labels, 40).tolist()
    whole = []
    for row in rng.dirichlet(np.full(300, 0.1), 40):
        p = dict(zip(labels, row.tolist(), strict=True))
        whole.append(Prediction(max(p, key=p.get), p, 0.0))
    part = [
        replace(answer, probabilities=kept(answer, label))
        for answer, label in zip(whole, truth, strict=True)
    ]
    assert max(len(answer.probabilities) for answer in part) <= KEPT_LABELS + 1
    assert measure(truth, part, labels).figures == pytest.approx(
        measure(truth, whole, labels).figures, nan_ok=True
    )


def test_budgets_are_numbers_and_all():
    assert budgets_of("8, 64,all", 500) == (8, 64, 500)
    assert budgets_of("64,8,8,1000", 500) == (8, 64, 500)
    for wrong in ("", "8,", "0", "-3", "many", "²"):
        with pytest.raises(TuneshotError, match="--budgets wants numbers"):
            budgets_of(wrong, 500)


def test_the_task_is_known_by_the_labels():
    assert find_task(MESSAGES).name == "sms_spam"
    films = [Example(f"film {i}", ("negative", "positive")[i % 2]) for i in range(9)]
    assert find_task(LabelledMessages(films, "films")).name == "sst2"
    own = find_task(LabelledMessages([Example("a", "x"), Example("b", "y")], "own"))
    assert own.labels == ("x", "y")
    with pytest.raises(
        TuneshotError, match="films has labels 'negative', 'positive', and task sms_spam"
    ):
        find_task(LabelledMessages(films, "films"), "sms_spam")
    with pytest.raises(TuneshotError, match="unknown task 'nonsense'; choose from sms_spam"):
        find_task(MESSAGES, "nonsense")


def test_what_cannot_be_compared_is_said_in_one_line():
    with pytest.raises(TuneshotError, match="none is spam; choose a larger --test-size"):
        split_task(MESSAGES, test_size=1)
    strangers = LabelledMessages([Example("a", "eggs")] * 3, "breakfast")
    with pytest.raises(TuneshotError, match="breakfast has the label 'eggs', and two hundred"):
        split_task(MESSAGES, second=strangers)


# --- running ------------------------------------------------------------------------------------


def test_a_cell_measures_learning_answers_and_what_else_is_asked(tmp_path, monkeypatch):
    lm = str(save_tiny_lm(tmp_path / "lm", "llama"))
    split = split_task(
        MESSAGES, test_size=40, second=LabelledMessages(MESSAGES.examples[:60], "again")
    )
    more = ("memory", "hard", *PERTURBATIONS, "order 1", "order 2", "second")
    monkeypatch.setattr(compare, "peak_memory", lambda *_: 12.5)
    record = run_cell(
        cell(split, "few_shot_topk", 16, lm=lm, k=2, test_size=40, more=more),
        split, answers=tmp_path / "answers.jsonl",
    )  # fmt: skip
    assert record["labels_used"] == 16
    assert record["test"]["messages"] == 40
    assert record["prompt_tokens"] > 40
    assert record["learn_seconds"] > 0
    assert record["more"].keys() == set(more)
    assert record["more"]["memory"] == {"megabytes": 12.5}
    answers = read_lines(tmp_path / "answers.jsonl")
    for shown in (line["shown"] for line in answers):
        assert [split.pool[row].label for row in shown["rows"]] == shown["labels"]
        assert shown["examples"] == len(shown["rows"]) == len(shown["scores"]) == 2
        assert shown["dropped"] == 0
    assert record["shown"] == {
        "messages": 40, "mean": 2.0, "least": 2, "labels": {"ham": 1.5, "spam": 0.5}
    }  # fmt: skip
    lines = Counter(line["asked"] for line in answers)
    assert lines["test"] == 40
    assert {lines[name] for name in more if name not in ("memory", "second")} == {20}


def test_a_record_says_what_a_method_has_chosen_for_itself(tmp_path, monkeypatch):
    class Chooser(MajorityClass):
        chosen = {"k": 7}  # noqa: RUF012

    split = split_task(MESSAGES, test_size=40)
    for name, learn in (
        ("all labels", Chooser),
        ("some labels", lambda inputs: WithAllLabels(Chooser(inputs), inputs.task.labels)),
        ("nothing", MajorityClass),
    ):
        monkeypatch.setitem(METHODS, name, Method(name, "other", learn))
        record = run_cell(
            cell(split, name, 8, test_size=40), split, answers=tmp_path / f"{name}.jsonl"
        )
        assert record["chosen"] == (None if name == "nothing" else {"k": 7})


def test_a_threshold_is_chosen_on_messages_that_the_method_has_not_learned_from(
    tmp_path, monkeypatch
):
    learned = []

    def learn(inputs):
        learned.append(inputs)
        return tfidf(inputs)

    monkeypatch.setitem(METHODS, "tfidf", replace(METHODS["tfidf"], learn=learn))
    split = split_task(MESSAGES, test_size=40)
    some = plan(methods=("tfidf",), budgets=(8, 120), seeds=(3,), robust=True)
    cells = [replace(cell, more=("held out",)) for cell in some.cells(split) if cell.more]
    (record,) = [run_cell(each, split, answers=tmp_path / "a.jsonl") for each in cells]
    everything, rest = learned
    assert (len(everything.labelled), len(rest.labelled)) == (120, 90)
    aside = [line for line in read_lines(tmp_path / "a.jsonl") if line["asked"] == "held out"]
    assert len(aside) == 30
    kept = {content_hash([example])[:16] for example in rest.labelled}
    assert not kept & {line["message"] for line in aside}
    assert [split.pool[row] for row in rest.rows] == list(rest.labelled)
    results = Results(some, split, [record], tmp_path)
    found = thresholds(results)
    assert found["held_out"] == 30
    by_target = {row["target"]: row for row in found["rows"]}
    assert by_target[0.9]["accuracy"]["of"] == by_target[0.9]["coverage"]["hits"]
    assert by_target[0.99]["threshold"] is None  # 30 messages cannot tell
    (point,) = results.points()
    assert point["coverage"][0]["accuracy"] == pytest.approx(point["metrics"]["accuracy"]["value"])


def test_few_labels_are_all_needed_to_learn():
    split = split_task(MESSAGES, test_size=40)
    (few,) = plan(methods=("tfidf",), budgets=(60,), seeds=(0,), robust=True).cells(split)
    assert "held out" not in few.more


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own():
    split = split_task(MESSAGES, test_size=20)
    used = compare.peak_memory(cell(split, "majority", 8), split)
    assert 50 < used < 2000


def test_a_summary_has_every_figure_with_its_interval(tmp_path):
    split = split_task(MESSAGES, test_size=40)
    records = compare.run(plan(), split, tmp_path)
    summary = summarize(plan(), split, records, tmp_path / "answers", command="tuneshot compare")
    json.dumps(summary, allow_nan=False)
    assert [(p["method"], p["budget"]) for p in summary["points"]] == [
        ("majority", 8), ("majority", 32), ("tfidf", 8), ("tfidf", 32)
    ]  # fmt: skip
    tfidf = summary["points"][-1]
    figure = tfidf["metrics"]["balanced_accuracy"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["value"] == pytest.approx(np.mean(figure["seeds"]))
    assert np.sum(tfidf["confusion"]) == 80
    assert [test["budget"] for test in summary["tests"]] == [8, 32]
    majority = summary["points"][0]["metrics"]
    assert majority["balanced_accuracy"]["value"] == 0.5
    assert summary["crossovers"] == []
    assert tfidf["shown"] is None
    assert "examples shown" not in markdown(summary)
    tfidf["shown"] = {"messages": 80, "mean": 3.9, "least": 2, "labels": {"ham": 2, "spam": 1.9}}
    assert "| 3.9, least 2 | ham 2.0, spam 1.9 |" in markdown(summary)
    assert summary["second"] is None


def test_a_second_corpus_and_other_words_are_set_against_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "peak_memory", lambda *_: None)
    split = split_task(
        MESSAGES, test_size=40, second=LabelledMessages(MESSAGES.examples[:60], "again")
    )
    robust = plan(robust=True)
    records = compare.run(robust, split, tmp_path)
    summary = summarize(robust, split, records, tmp_path / "answers", command="")
    json.dumps(summary, allow_nan=False)
    assert summary["second"]["source"] == "again"
    assert [row["method"] for row in summary["second"]["rows"]] == list(QUICK)
    for row in summary["second"]["rows"]:
        there = row["metrics"]["balanced_accuracy"]["value"]
        assert row["drop"]["value"] == pytest.approx(row["first"] - there)
        assert row["drop"]["low"] <= row["drop"]["value"] <= row["drop"]["high"]
    asked = {(row["method"], row["variant"]) for row in summary["robustness"]["rows"]}
    assert asked == {(key, variant) for key in QUICK for variant in PERTURBATIONS}
    assert summary["memory_mb"] == {}
    assert summary["orders"]["rows"] == []


@pytest.mark.slow
def test_several_jobs_give_the_same_summary(tmp_path):
    split = split_task(MESSAGES, test_size=20)
    found = []
    for jobs in (1, 2):
        records = compare.run(plan(), split, tmp_path / str(jobs), jobs=jobs)
        answers = tmp_path / str(jobs) / "answers"
        found.append(without_times(summarize(plan(), split, records, answers, command="")))
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_comparison_on_ray_has_the_records_of_a_plain_run(tmp_path, cluster):
    split = split_task(MESSAGES, test_size=20)
    plain = compare.run(plan(), split, tmp_path / "plain")
    code = (
        "import sys, pathlib, tests.icl.compare.test_run as t\n"
        "split, out = t.split_task(t.MESSAGES, test_size=20), pathlib.Path(sys.argv[1])\n"
        "t.compare.run(t.plan(), split, out, ray=sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "ray", cluster],
        check=True,
        cwd=Path(__file__).parents[3],
    )
    spread = read_lines(tmp_path / "ray" / "records.jsonl")
    key = lambda record: json.dumps(record["config"])  # noqa: E731
    assert without_times(sorted(spread, key=key)) == without_times(sorted(plain, key=key))


def test_answers_that_differ_are_explained_on_both_sides(tmp_path, monkeypatch):
    lm = str(save_tiny_lm(tmp_path / "lm", "llama"))
    monkeypatch.setattr(fine_tuning, "LEAST_STEPS", 4)
    split = split_task(MESSAGES, test_size=20)
    both = plan(methods=("fine_tuned", "few_shot_topk"), budgets=(24,), seeds=(0,), lm=lm, base=lm)
    records = compare.run(both, split, tmp_path / "out")
    found = explain(both, split, records, tmp_path / "out" / "answers")
    assert (found["a"], found["b"]) == ("fine_tuned", "few_shot_topk")
    assert found["count"] == len(found["items"]) > 0
    for item in found["items"]:
        assert item["a"]["label"] != item["b"]["label"]
        assert "".join(word for word, _ in item["a"]["words"]) == item["text"].replace(" ", "")
        assert len(item["b"]["demonstrations"]) == both.k
        assert item["text"] in item["b"]["prompt"]
    assert explain(plan(), split, records[:1], tmp_path / "out" / "answers") is None


def test_a_new_metric_is_one_entry_of_the_table(tmp_path, monkeypatch, command, capfd):
    """It decides the comparison, and stands in summary, table, report and ``clf evaluate``."""
    ham = Metric("share called ham", lambda run, weights: weights @ (run.predicted == 0) / 40)
    monkeypatch.setitem(METRICS, "ham_share", ham)
    status, said, news = command(main, "tuneshot", *asked(tmp_path, "--metric", "ham_share"))
    assert status == 0, news
    assert "ham_share" in said.replace(" ", "_")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["metric"] == "ham_share"
    assert all(point["metrics"]["ham_share"] for point in summary["points"])
    assert (tmp_path / "table.md").read_text().startswith("| method | labels | share called ham |")
    assert "Share called ham (95 %)" in (tmp_path / "report.html").read_text()
    for line in (tmp_path / "records.jsonl").read_text().splitlines():
        assert 0 <= json.loads(line)["test"]["ham_share"] <= 1
    split = split_task(MESSAGES, test_size=40)
    classifier = METHODS["majority"].learn(method_input(split, cell(split, "majority", 8)))
    print_evaluation(evaluate(classifier, split.test), "test")
    assert "share called ham" in capfd.readouterr().out
    with pytest.raises(TuneshotError, match=r"unknown metric 'x'; choose from .*, ham_share"):
        plan(metric="x")


# --- the command --------------------------------------------------------------------------------


def asked(out, *more):
    usual = "--methods majority,tfidf --budgets 8,all --seeds 2 --test-size 40 --no-robust --jobs 1"
    return ["compare", *usual.split(), "--out", str(out), *more]


def test_the_command_writes_records_summary_table_and_report(tmp_path, command):
    status, said, news = command(main, "tuneshot", *asked(tmp_path / "out"))
    assert status == 0, news
    assert "tf-idf" in said
    assert "report.html" in said
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"records.jsonl", "answers", "summary.json", "table.md", "report.html"}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["command"].startswith(
        "tuneshot compare --methods majority,tfidf --budgets 8,all"
    )
    assert "--no-robust" in summary["command"]
    before = (tmp_path / "out" / "summary.json").read_text()
    status, _, _ = command(main, "tuneshot", *asked(tmp_path / "out"))
    assert status == 0
    assert (tmp_path / "out" / "summary.json").read_text() == before  # nothing was run again


def test_bad_usage_is_one_line_before_any_work(tmp_path, command):
    out = tmp_path / "out"
    for more, complaint in {
        ("--methods", "magic"): "unknown method 'magic'; choose from fine_tuned",
        ("--methods", ","): "a comparison needs methods; name at least one",
        ("--metric", "beauty"): "unknown metric 'beauty'; choose from accuracy",
        ("--budgets", "few"): "--budgets wants numbers",
        ("--task", "chess"): "unknown task 'chess'",
        ("--lm", "api:openai/gpt-4o-mini", "--same-model"): "cannot be fine-tuned here",
        ("--data", "/nowhere.tsv"): "nowhere.tsv",
    }.items():
        status, _, news = command(main, "tuneshot", *asked(out, *more))
        assert status == 1
        assert complaint in " ".join(news.split())
        assert "Traceback" not in news
    assert not out.exists()


def test_a_method_that_fails_is_said_and_the_others_are_reported(tmp_path, command):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    status, said, news = command(
        main,
        "tuneshot",
        *asked(tmp_path / "out", "--methods", "majority,zero", "--lm", str(broken)),
    )
    assert status == 1
    assert "failed: zero, 0 labels, seed 0" in news
    assert "always the commonest label" in said
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["failures"]


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_gives_the_same_summary(tmp_path):
    def start(out):
        line = [
            sys.executable,
            "-c",
            "from icl.cli.tuneshot import main; main()",
            *asked(out, "--seeds", "6"),
        ]
        return subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    assert start(tmp_path / "plain").wait(300) == 0
    killed, records = start(tmp_path / "killed"), tmp_path / "killed" / "records.jsonl"
    for _ in range(3000):
        if records.exists() and records.read_bytes().count(b"\n") >= 2:
            break
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert start(tmp_path / "killed").wait(300) == 0
    first, second = (
        without_times(json.loads((tmp_path / name / "summary.json").read_text()))
        for name in ("plain", "killed")
    )
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_a_comparison_is_stopped(tmp_path, stop):
    line = asked(tmp_path / "out", "--seeds", "40", "--jobs", "2")
    started = subprocess.Popen(
        [sys.executable, "-c", "from icl.cli.tuneshot import main; main()", *line],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    records = tmp_path / "out" / "records.jsonl"
    for _ in range(6000):
        if records.exists() and records.stat().st_size:
            break
        time.sleep(0.01)
    children = psutil.Process(started.pid).children(recursive=True)
    assert len(children) >= 2
    started.send_signal(stop)
    _, news = started.communicate(timeout=60)
    assert started.returncode == (130 if stop == signal.SIGINT else -stop)
    assert "Traceback" not in news
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_showing_no_example_is_bad_usage(command):
    status, _, error = command(main, "tuneshot", "compare", "-k", "0")
    assert status == 2
    assert "-k: must be 1 or more, not 0" in error


def test_methods_are_listed(command):
    status, said, _ = command(main, "tuneshot", "compare", "--list")
    assert status == 0
    for key in ("fine_tuned", "few_shot_topk", "setfit"):
        assert key in said
