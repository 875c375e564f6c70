"""The verdict: which method, by how much, how sure, at what cost; never more than the interval."""

import json
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from icl.report.findings import Findings
from icl.report.sentences import BLIND, say, verdict_record
from icl.report.tables import by_labels
from icl.report.verdict import OUTCOMES, verdicts
from tests.support.summaries import bare_summary, make_summary

RECORDS = Path(__file__).parents[3] / "docs" / "records"
# Key -> family, prompt tokens, seconds to learn, ms a message, dollars a message.
METHODS = {
    "tuned": ("fine_tuned", 0, 60.0, 5.0, 0.0),
    "head": ("fine_tuned", 0, 10.0, 5.0, 0.0),
    "shown": ("few_shot", 200, 0.1, 400.0, 0.0),
    "hired": ("few_shot", 200, 0.1, 400.0, None),
    "words": ("other", 0, 0.2, 0.1, 0.0),
    "zero": ("baseline", 50, 0.0, 60.0, 0.0),
    "common": ("baseline", 0, 0.0, 0.0, 0.0),
}


def compared(
    figures, half=0.02, *, kinds=METHODS, seeds=3, failures=(), crossovers=(), methods=None, **more
):
    """A summary of ``figures``, labels -> method -> accuracy; differences are sure to ``half``."""
    keys = methods or list(dict.fromkeys(key for at in figures.values() for key in at))
    points, tests = [], []
    for labels, at in figures.items():
        for key, value in at.items():
            family, tokens, seconds, ms, dollars = kinds[key]
            without = family == "baseline"
            points.append(
                {"method": key, "budget": 0 if without else labels,
                 "labels_used": 0 if without else labels, "dollars": dollars,
                 "metrics": {"accuracy": {"value": value, "low": value - 0.05,
                                          "high": value + 0.05, "seeds": [value] * seeds}},
                 "learn_seconds": seconds, "ms": ms, "prompt_tokens": tokens}
            )  # fmt: skip
        for a, b in combinations(at, 2):
            gap = at[a] - at[b]
            tests.append(
                {"budget": labels, "a": a, "b": b, "only_a": 1, "only_b": 1, "p": 1, "p_holm": 1,
                 "difference": {"value": gap, "low": gap - half, "high": gap + half}}
            )  # fmt: skip
    return Findings(
        {"methods": [{"key": key, "name": key, "family": kinds[key][0]} for key in keys],
         "metric": "accuracy", "budgets": list(figures), "seeds": list(range(seeds)),
         "points": points, "tests": tests, "failures": list(failures),
         "crossovers": list(crossovers), "memory_mb": {"tuned": 812.0}, "data": {"test": 200}}
        | more
    )  # fmt: skip


def said(findings):
    return say(findings, verdicts(findings))


def plain(text):
    return text.replace("\u00a0", " ")


# --- what is found --------------------------------------------------------------------------------


def test_a_clear_lead_is_said_with_its_size_and_the_next_method():
    findings = compared({64: {"shown": 0.85, "tuned": 0.95, "words": 0.7}})
    (found,) = verdicts(findings)
    assert (found.outcome, found.take, found.level) == ("ahead", "tuned", ())
    assert [lead.over for lead in found.leads] == ["shown", "words"]
    assert plain(said(findings).headline) == (
        "With 64 labelled messages, take tuned (accuracy 95.0 %; 95 %: 90.0 – 100.0). It is "
        "ahead of all 2 others; the next, shown, is 10.0 percentage points behind (95 %: "
        "7.7 to 12.3)."
    )


def test_a_lead_over_the_only_other_method_needs_no_wider_interval():
    findings = compared({64: {"shown": 0.85, "tuned": 0.95}})
    assert (
        "of shown, which is 10.0 percentage points behind (95 %: 8.0 to 12.0)"
        in said(findings).headline
    )
    assert said(findings).limits == ["The difference is given with its 95 % interval."]


def test_level_means_that_the_cheaper_one_lacks_little_at_most():
    findings = compared({512: {"tuned": 0.952, "words": 0.95, "shown": 0.8}})
    (found,) = verdicts(findings)
    assert (found.outcome, found.take, found.best) == ("level", "words", "tuned")
    assert plain(said(findings).headline) == (
        "With 512 labelled messages, level: take the cheaper one, words (accuracy 95.0 %; 95 %: "
        "90.0 – 100.0). Tuned did best, but the cheaper one may be as good: it is 0.2 percentage "
        "points behind (95 %: 2.1 ahead to 2.5 behind)."
    )
    assert said(findings).costs == (
        "Words costs 512 labels, 0.2 s to learn, 0.1 ms a message and nothing to pay. Tuned costs "
        "512 labels, 60 s to learn, 5 ms a message, nothing to pay and 812 MB of memory."
    )


def test_a_wide_interval_decides_nothing_whichever_costs_less():
    findings = compared({64: {"tuned": 0.9, "words": 0.85}}, half=0.1)
    (found,) = verdicts(findings)
    assert (found.outcome, found.take, found.gap.over) == ("open", "tuned", "words")
    assert plain(said(findings).headline) == (
        "With 64 labelled messages, it is not decided. Tuned (accuracy 90.0 %; 95 %: 85.0 – 95.0) "
        "did best, but words, which costs less, may be as good: it is 5.0 percentage points behind "
        "(95 %: 5.0 ahead to 15.0 behind). If quality counts most, take the first; if cost does, "
        "the second."
    )
    assert (
        "More messages to ask about (now 200) or more seeds (now 3) can tell closer methods "
        "apart." in said(findings).changes
    )


def test_the_best_is_taken_where_what_may_be_as_good_costs_no_less():
    findings = compared({64: {"words": 0.9, "tuned": 0.88, "shown": 0.5}}, half=0.05)
    (found,) = verdicts(findings)
    assert (found.outcome, found.take, found.level) == ("cheapest", "words", ("tuned",))
    assert "1 other may be as good, but costs no less: tuned is 2.0" in said(findings).headline


def test_without_labels_is_cheaper_than_any_time_saved():
    findings = compared({64: {"words": 0.9, "zero": 0.9}})
    assert verdicts(findings)[0].take == "zero"
    assert "Zero costs no labels" in said(compared({64: {"zero": 0.9, "words": 0.8}})).costs


def test_an_unknown_price_is_dearer_than_any_other_and_said():
    findings = compared({64: {"hired": 0.9, "shown": 0.895}})
    assert verdicts(findings)[0].take == "shown"
    assert "400 ms a message and a price that is not known." in said(findings).costs
    billed = compared({64: {"hired": 0.9}}, kinds={"hired": ("few_shot", 200, 0.0, 100.0, 0.0002)})
    assert "$0.2 for 1,000 messages" in said(billed).costs


def test_what_is_no_better_than_the_commonest_label_has_learned_nothing_that_shows():
    findings = compared({8: {"tuned": 0.6, "common": 0.5, "words": 0.4}}, half=0.15)
    assert verdicts(findings)[0].outcome == "unlearned"
    assert plain(said(findings).headline) == (
        "With 8 labelled messages, nothing is shown to be learned. Tuned (accuracy 60.0 %; "
        f"95 %: 55.0 – 65.0) did best, but {BLIND} may be as good: it is 10.0 percentage points "
        "behind (95 %: 7.2 ahead to 27.2 behind)."
    )
    assert said(findings).costs == ""
    blind = compared({8: {"tuned": 0.6, "common": 0.87}})
    assert plain(said(blind).headline) == (
        "With 8 labelled messages, nothing is shown to be learned: always answering the commonest "
        "label did best (accuracy 87.0 %; 95 %: 82.0 – 92.0)."
    )


def test_one_method_alone_is_compared_with_nothing():
    found = said(compared({64: {"tuned": 0.9}}))
    assert plain(found.headline) == (
        "With 64 labelled messages, only tuned (accuracy 90.0 %; 95 %: 85.0 – 95.0) was measured: "
        "there is nothing to compare it with."
    )
    assert found.sides == "No prompt was measured with 64 labelled messages."
    assert found.limits == []


def test_nothing_measured_is_said():
    assert said(compared({})).headline == "Nothing was measured."
    undefined = compared({64: {"tuned": 0.9, "words": 0.8}}, metric="auc")
    assert said(undefined).headline == "Nothing was measured."
    assert verdict_record(undefined)["by_labels"] == []


def test_a_difference_without_a_test_is_not_called_a_lead():
    findings = compared({64: {"tuned": 0.9, "words": 0.8}}, tests=[])
    assert verdicts(findings)[0].outcome == "alone"
    assert "did best, but no difference was tested." in said(findings).headline


# --- fine-tuning or prompting? --------------------------------------------------------------------


def test_the_best_of_both_sides_are_set_against_each_other():
    ahead = compared({64: {"tuned": 0.95, "head": 0.9, "shown": 0.8, "words": 0.96}})
    assert plain(said(ahead).sides) == (
        "Fine-tuning is ahead of prompting: the best prompt (shown) is 15.0 percentage points "
        "behind the best fine-tuned method (tuned); 95 %: 12.7 to 17.3."
    )
    behind = compared({64: {"tuned": 0.7, "zero": 0.9, "shown": 0.8}})
    assert plain(said(behind).sides).startswith(
        "Prompting is ahead of fine-tuning: the best fine-tuned method (tuned) is 20.0 percentage "
        "points behind the best prompt (zero); 95 %: 17.7 to 22.3"
    )
    level = compared({64: {"tuned": 0.81, "shown": 0.8}})
    assert plain(said(level).sides) == (
        "Fine-tuning and prompting are not told apart: the best prompt (shown) is 1.0 percentage "
        "points behind the best fine-tuned method (tuned); 95 %: 1.0 ahead to 3.0 behind."
    )


def test_a_side_that_is_missing_is_said():
    assert said(compared({64: {"shown": 0.9, "words": 0.8}})).sides == (
        "No fine-tuned method was measured with 64 labelled messages."
    )
    assert said(compared({64: {"words": 0.9, "common": 0.5}})).sides == (
        "No fine-tuned method and no prompt was measured with 64 labelled messages."
    )


def test_the_interval_between_the_sides_grows_with_the_number_of_pairs():
    one, four = (
        verdicts(compared({64: figures}))[0].sides
        for figures in (
            {"tuned": 0.9, "shown": 0.8},
            {"tuned": 0.9, "head": 0.7, "shown": 0.8, "zero": 0.6},
        )
    )
    assert one.value == four.value
    assert four.high - four.low > one.high - one.low


# --- what would change it -------------------------------------------------------------------------


def test_the_crossing_of_the_two_best_and_the_verdicts_of_other_numbers_of_labels_are_said():
    crossing = {"of": "tuned", "over": "shown", "sentence": "tuned is at least as good as shown "
                "from about 60 labels on (95 %: 40 to 110)"}  # fmt: skip
    other = crossing | {"of": "head", "sentence": "another one"}
    findings = compared(
        {
            8: {"tuned": 0.5, "head": 0.4, "shown": 0.8},
            16: {"tuned": 0.6, "head": 0.5, "shown": 0.8},
            512: {"tuned": 0.95, "head": 0.9, "shown": 0.8},
        },
        crossovers=[other, crossing],
    )
    assert [plain(line) for line in said(findings).changes] == [
        "Tuned is at least as good as shown from about 60 labels on (95 %: 40 to 110).",
        "Head is 5.0 percentage points behind (95 %: 2.7 to 7.3), and costs 512 labels, 10 s to "
        "learn, 5 ms a message and nothing to pay.",
        "With 8 to 16 labelled messages: take shown, which is ahead of all others.",
    ]
    table = by_labels(findings)
    assert [[cell.text for cell in row][::3] for row in table.rows] == [
        ["8", "prompting"], ["16", "prompting"], ["512", "fine-tuning"]
    ]  # fmt: skip


def test_a_single_budget_has_no_others_to_tell_of():
    assert said(compared({64: {"tuned": 0.95, "words": 0.5}})).changes == [
        "Words is 45.0 percentage points behind (95 %: 43.0 to 47.0), and costs 64 labels, 0.2 s "
        "to learn, 0.1 ms a message and nothing to pay."
    ]


# --- how far it goes ------------------------------------------------------------------------------


def test_failed_and_missing_methods_are_named():
    findings = compared(
        {64: {"tuned": 0.95, "shown": 0.8}},
        methods=["tuned", "shown", "words", "head"],
        failures=[{"method": "words", "budget": 64, "seed": 1, "error": "no"},
                  {"method": "head", "budget": 8, "seed": 1, "error": "no"}],
    )  # fmt: skip
    assert said(findings).limits[1:] == [
        "Left out with 64 labelled messages, as failed: words.",
        "Left out with 64 labelled messages, as not run: head.",
    ]


def test_one_seed_is_one_draw_of_labelled_messages():
    one = said(compared({64: {"tuned": 0.95, "shown": 0.8}}, seeds=1))
    assert "one draw of labelled messages (one seed)" in one.limits[-1]


def test_less_may_be_better():
    findings = compared({64: {"tuned": 0.3, "shown": 0.1, "words": 0.2}}, metric="ece")
    for point in findings.summary["points"]:
        point["metrics"]["ece"] = point["metrics"].pop("accuracy")
    (found,) = verdicts(findings)
    assert found.take == "shown"
    assert found.gap.value == pytest.approx(0.1)
    assert 0 < found.gap.low < found.gap.value < found.gap.high
    assert "words, is 0.100 of calibration error (ECE) behind" in said(findings).headline


def test_the_truly_best_is_left_out_in_no_more_than_five_of_a_hundred_comparisons():
    """Eight methods, of which all but one are a little worse; figures with normal errors."""
    rng, keys = np.random.default_rng(0), list("abcdefgh")
    kinds = dict.fromkeys(keys, ("other", 0, 1.0, 1.0, 0.0))
    truth, missed, crowned = np.r_[0.8, np.full(7, 0.79)], 0, 0
    for _ in range(400):
        figures = rng.normal(truth, 0.02)
        found_here = dict(zip(keys, figures.tolist(), strict=True))
        findings = compared({64: found_here}, half=1.96 * 0.02 * 2**0.5, kinds=kinds)
        (found,) = verdicts(findings)
        missed += "a" not in (found.best, *found.level)
        crowned += found.outcome == "ahead" and found.best != "a"
    assert missed <= 20
    assert crowned <= 4


# --- where it is read -----------------------------------------------------------------------------


def test_the_record_is_plain_json_with_a_verdict_for_every_number_of_labels():
    findings = Findings(make_summary())
    record = verdict_record(findings)
    json.dumps(record, allow_nan=False)
    assert [found["labels"] for found in record["by_labels"]] == [16, 128, 1024]
    assert {found["outcome"] for found in record["by_labels"]} <= OUTCOMES.keys()
    assert record["headline"] == said(findings).headline


@pytest.mark.parametrize("path", sorted(RECORDS.glob("compare_*.json")), ids=lambda path: path.stem)
def test_summaries_of_earlier_versions_have_a_verdict(path):
    found = said(Findings.read(path))
    for line in found.lines:
        assert re.match(r"(- )?[A-Z0-9]", line)
        assert re.search(r"[.:]$", line)
        assert not re.search(r"\bNone\b|nan|[{}]|  ", line)


def test_the_least_that_a_summary_has_is_enough():
    assert "did best, but no difference was tested" in said(Findings(bare_summary())).headline
