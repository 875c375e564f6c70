"""Grids of few-shot evaluations: cells, draws, records, resuming, Ray, and the survey's table."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.data.draw import draw
from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import Share, over_seeds, paired_over_seeds
from clfcore.evaluation.records import append_lines
from clfcore.evaluation.records import identity as record_identity
from clfcore.evaluation.runner import read_records, remaining, run_cells, write_table
from clfcore.types import Example, Prediction, ignore
from clfcore.wording import duration
from icl.grid import table as survey
from icl.grid.cell import GridCell, TaskMessages, cells, with_inputs
from icl.grid.run import run_cell
from icl.grid.table import FEW_SHOT_GRID, table
from icl.lm.connection import DEFAULT_CONNECTION, Connection
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from tests.support.doubles import few_shot, make_pool

LABELS = ("ham", "spam")
MESSAGES = [
    Example(f"{'win' if i % 4 == 0 else 'see'} {i}", LABELS[i % 4 == 0]) for i in range(200)
]
GRID = partial(cells, ["sms_spam"], ["tiny", "large"], ["topk"], limit=20)
TIMES = {"seconds", "created"}


# --- doubles; Ray's workers and other processes import them from here ---------------------------


@dataclass(frozen=True, kw_only=True)
class Answer(Prediction):
    prompt_tokens: int
    dollars: float | None


class Guess:
    """Answers by message and cell only; may kill its process after so many messages."""

    labels = LABELS

    def __init__(self, cell):
        self.cell, self.asked = cell, []

    def predict(self, texts):
        self.asked += texts
        if asked() > int(os.environ.get("DIE_AFTER", 10_000)):
            os.kill(os.getpid(), signal.SIGKILL)
        return [self._answer(text) for text in texts]

    def _answer(self, text):
        digest = content_hash([Example(text, identity(self.cell))])
        p = int(digest[:4], 16) / 0xFFFF
        return Answer(
            label=LABELS[p > 0.5],
            probabilities={"ham": 1 - p, "spam": p},
            ms=p,
            prompt_tokens=7,
            dollars=0.5,
        )


made = []


def make(cell):
    guess = Guess(cell)
    made.append(guess)
    return guess, draw(MESSAGES, cell.limit, cell.balanced, cell.seed)


def asked():
    return sum(len(guess.asked) for guess in made)


@pytest.fixture(autouse=True)
def nothing_made():
    made.clear()


run = partial(run_cell, make=make)


def run_grid(some_cells, out, run, on_progress=ignore, ray=None):
    return run_cells(some_cells, out, run, FEW_SHOT_GRID, on_progress, ray=ray)


def identity(cell):
    return record_identity(cell.record)


def fail_on_large(cell, answers):
    if cell.lm == "large":
        raise TuneshotError("large does not fit into memory")
    return run(cell, answers=answers)


def without_times(records):
    """Records that two runs must share, in an order of their own."""
    kept = [
        {name: value for name, value in record.items() if name not in TIMES} for record in records
    ]
    for record in kept:
        if "test" in record:
            record["test"] = {**record["test"], "ms_per_message": None}
    return sorted(kept, key=lambda record: json.dumps(record["config"], sort_keys=True))


def files_of(folder):
    return {path.name: path.read_text() for path in (folder / "answers").iterdir()}


# --- cells --------------------------------------------------------------------------------------


def test_a_grid_is_every_combination_once_with_the_baselines():
    some = cells(["sms_spam", "a/file"], ["tiny", "large"], ["topk", "zero"], [2, 4], [0, 1])
    by_selector = Counter(cell.selector for cell in some)
    assert by_selector == {"zero": 8, "random": 16, "topk": 16, "knn": 8}
    assert len({identity(cell) for cell in some}) == len(some)
    assert {cell.k for cell in some if cell.selector == "zero"} == {0}
    assert {cell.lm for cell in some if cell.selector == "knn"} == {None}
    seeds = [cell.seed for cell in some]
    assert seeds == sorted(seeds)
    models = [cell.lm for cell in some if cell.seed == 0 and cell.lm]
    assert sum(a != b for a, b in pairwise(models)) == 1


@dataclass
class Annotated(SELECTORS["topk"]):
    annotate: int = 100

    def __post_init__(self):
        if self.annotate < 1:
            raise TuneshotError(f"annotate must be 1 or more, not {self.annotate}")


def test_options_go_to_their_selector_and_make_another_cell(monkeypatch):
    monkeypatch.setitem(SELECTORS, "annotated", Annotated)
    build = partial(cells, ["sms_spam"], ["tiny"], ["topk", "annotated"], [4])
    (chosen,) = [
        cell
        for cell in build(options={"annotated": {"annotate": 7}})
        if cell.selector == "annotated"
    ]
    assert chosen.options == chosen.to_dict()["options"] == {"annotate": 7}
    assert identity(chosen) != identity(replace(chosen, options={}))
    for options, complaint in [
        ({"annotated": {"annotate": 0}}, "annotate must be 1 or more, not 0"),
        ({"annotated": {"annotat": 1}}, "annotated has no option 'annotat'; its options: annotate"),
        ({"topk": {"annotate": 1}}, "topk has no option 'annotate'; its options: none"),
        ({"balanced_random": {}}, "options for 'balanced_random', which is not in the grid"),
    ]:
        with pytest.raises(TuneshotError, match=complaint):
            build(options=options)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"tasks": []}, "at least one task"),
        ({"lms": []}, "at least one model"),
        ({"seeds": []}, "at least one seed"),
        ({"lms": [""]}, "needs a language model"),
        ({"tasks": ["sms"]}, "unknown task 'sms'; choose from sms_spam"),
        ({"selectors": ["topK"]}, "unknown selector 'topK'; choose from zero"),
        ({"options": {"top": {}}}, "options for 'top', which is not in the grid"),
        ({"ks": [0, 4]}, "k must be 1 or more, not 0; the selector zero shows none"),
        ({"seeds": [-1]}, "seed must be 0 or more, not -1"),
        ({"limit": 0}, "limit must be 1 or more, not 0"),
        ({"balances": ["fair"]}, "unknown balance 'fair'; choose from none"),
        ({"arrangements": ["best"]}, "unknown order 'best'"),
        ({"baselines": ["topk"]}, "unknown baseline 'topk'; choose from zero, random, knn"),
        ({"scoring": "max"}, "unknown scoring 'max'"),
        ({"calibrations": ["some"]}, "unknown calibration 'some'"),
    ],
)
def test_nonsense_is_refused_in_one_line(changes, complaint):
    usual = {"tasks": ["sms_spam"], "lms": ["tiny"], "selectors": ["topk"]}
    with pytest.raises(TuneshotError, match=complaint) as refused:
        cells(**{**usual, **changes})
    assert "\n" not in str(refused.value)


# --- the draw -----------------------------------------------------------------------------------

example_lists = st.lists(
    st.builds(Example, st.sampled_from("abcdefghijkl"), st.sampled_from("xyz")), min_size=1
)


def test_balance_and_order_are_axes_where_they_make_a_difference():
    some = cells(
        ["sms_spam"], ["tiny"], ["topk"], balances=["equal", "none"],
        arrangements=["similar_last", "random"],
    )  # fmt: skip
    of = {
        name: [c for c in some if c.selector == name] for name in ("zero", "random", "knn", "topk")
    }
    assert {name: len(them) for name, them in of.items()} == {
        "zero": 1, "random": 2, "knn": 1, "topk": 4,
    }  # fmt: skip
    assert {(c.balance, c.order) for c in of["topk"]} == {
        ("equal", "similar_last"), ("equal", "random"),
        ("none", "similar_last"), ("none", "random"),
    }  # fmt: skip


def test_calibration_is_an_axis_and_baselines_may_be_left_out():
    some = cells(
        ["sms_spam"], ["tiny"], ["topk"], calibrations=["none", "batch"], baselines=["zero", "knn"]
    )
    calibrated = Counter((cell.selector, cell.calibration) for cell in some)
    usual = FewShotConfig().calibration
    assert calibrated == {
        ("zero", "none"): 1, ("zero", "batch"): 1, ("topk", "none"): 1, ("topk", "batch"): 1,
        ("knn", usual): 1,
    }  # fmt: skip
    (alone,) = cells(["sms_spam"], ["tiny"], ["topk"], baselines=[])
    assert alone.selector == "topk"


@given(example_lists, st.integers(3, 15), st.booleans(), st.integers(0, 3))
def test_a_draw_has_no_copies_and_the_shares_that_were_asked_for(examples, limit, balanced, seed):
    drawn = draw(examples, limit, balanced, seed)
    assert drawn == draw(examples, limit, balanced, seed)
    assert len({example.text for example in drawn}) == len(drawn) <= limit
    first = {example.text: example.label for example in reversed(examples)}
    there, counts = Counter(first.values()), Counter(example.label for example in drawn)
    if balanced:
        assert counts == dict.fromkeys(there, min(limit // len(there), *there.values()))
    else:
        assert len(drawn) == min(limit, len(first))
        for label, count in there.items():
            assert abs(counts[label] - len(drawn) * count / len(first)) < 1


def test_a_draw_depends_on_the_seed_and_refuses_too_few():
    assert draw(MESSAGES, 20, True, 0) != draw(MESSAGES, 20, True, 1)
    counts = Counter(example.label for example in draw(MESSAGES, 20, False, 0))
    assert counts == {"ham": 15, "spam": 5}
    with pytest.raises(TuneshotError, match="1 messages are fewer than the 2 labels"):
        draw(MESSAGES, 1, True, 0)
    assert draw([], 5, True, 0) == []


# --- running ------------------------------------------------------------------------------------


def test_a_record_says_what_was_asked_and_measured(tmp_path):
    cell = GridCell(task="sms_spam", lm="org/tiny", selector="topk", limit=30)
    heard = []
    record = run_cell(cell, make, tmp_path / "a.jsonl", lambda *news: heard.append(news))
    assert record["config"] == cell.record["config"] == {
        **FewShotConfig().to_dict(), "task": "sms_spam", "lm": "org/tiny", "limit": 30,
        "balanced": True,
    }  # fmt: skip
    drawn = draw(MESSAGES, 30, True, 0)
    test, answers = record["test"], [
        json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()
    ]  # fmt: skip
    hits = sum(line["answer"] == line["label"] for line in answers)
    share = Share.count(hits, 30)
    assert test["accuracy"] == {
        "hits": hits, "of": 30, "value": hits / 30, "low": share.low, "high": share.high
    }  # fmt: skip
    assert test["data_sha256"] == content_hash(drawn)
    assert test["ms_per_message"] == pytest.approx(
        sum(line["ms"] for line in answers) / 30, abs=1e-3
    )
    assert [answer == "1" for answer in record["right"]] == [
        line["answer"] == line["label"] for line in answers
    ]
    assert (record["prompt_tokens"], record["dollars"]) == (210, 15.0)
    assert record["answers"] == "a.jsonl"
    assert set(record["versions"]) == {"python", "tuneshot", "torch", "transformers"}
    assert record["created"].endswith("+00:00")
    assert [line["message"] for line in answers] == [content_hash([e])[:16] for e in drawn]
    assert [news[1:3] for news in heard] == [(8, 30), (16, 30), (24, 30), (30, 30)]


def test_all_cells_of_a_seed_answer_the_same_messages(tmp_path):
    records = run_grid(GRID(seeds=[0, 1]), tmp_path, run)
    digests = {(record["config"]["seed"], record["test"]["data_sha256"]) for record in records}
    assert len(records) == 14
    assert len(digests) == 2
    assert len(dict(digests)) == 2
    for record in records:
        lines = (tmp_path / "answers" / record["answers"]).read_text().splitlines()
        assert len(lines) == record["test"]["messages"] == 20
    assert len({record["answers"] for record in records}) == 14
    assert (
        (tmp_path / "table.md").read_text()
        == table(records)
        == write_table(tmp_path, FEW_SHOT_GRID)
    )


def test_progress_counts_cells_and_says_what_it_does_not_know(tmp_path, monkeypatch):
    heard = []
    run_grid(GRID(seeds=[0, 1]), tmp_path, run, lambda *news: heard.append(news))
    assert [news[:3] for news in heard] == [("cells", done, 14) for done in range(15)]
    figures = [news[3] for news in heard]
    assert figures[0] == figures[-1] == ""
    assert figures[1].endswith(" and 12 cells of unknown length")  # one more seed of it is known
    assert "unknown" not in figures[7]


def test_an_estimate_counts_the_likes_of_what_is_left():
    one, two = cells(["sms_spam"], ["tiny"], ["topk"], seeds=[0, 1])[3:4] * 2
    known = [{**one.record, "test": {}, "seconds": s} for s in (100.0, 140.0)]
    other = replace(one, selector="balanced_random")
    assert remaining([one, two], known, FEW_SHOT_GRID, pace=1.0) == "about 4 min"
    assert remaining([one, two], known, FEW_SHOT_GRID, pace=0.25) == "about 60 s"
    left = remaining([one, other], known, FEW_SHOT_GRID, pace=1.0)
    assert left == "about 2 min and 1 cells of unknown length"
    assert duration(7200) == "2.0 h"


def test_shares_of_nothing_are_null_and_not_nan(tmp_path):
    def only_ham(cell):
        return Guess(cell), [e for e in MESSAGES[:20] if e.label == "ham"]

    (cell,) = cells(["sms_spam"], ["tiny"], ["topk"])[:1]
    run_grid([cell], tmp_path, partial(run_cell, make=only_ham))
    assert '"value": null' in (tmp_path / "records.jsonl").read_text()
    assert "NaN" not in (tmp_path / "records.jsonl").read_text()


def test_a_failed_cell_is_recorded_does_not_stop_the_others_and_is_tried_again(tmp_path):
    records = run_grid(GRID(), tmp_path, fail_on_large)
    failed = [record for record in records if "error" in record]
    assert len(failed) == 3
    assert {record["error"] for record in failed} == {"large does not fit into memory"}
    assert sum("test" in record for record in records) == 4
    drawn = table(records)
    assert "| large | topk | 8 | – | failed |" in drawn
    assert "*failed*: large, topk, k=8, SMS, seed 0: large does not fit into memory" in drawn
    made.clear()
    again = run_grid(GRID(), tmp_path, run)
    assert {guess.cell.lm for guess in made} == {"large"}
    assert not any("error" in record for record in again)
    assert len(read_records(tmp_path, FEW_SHOT_GRID)) == 10
    assert "failed" not in write_table(tmp_path, FEW_SHOT_GRID)


def test_a_bug_is_recorded_with_its_trace(tmp_path):
    def broken(cell, answers):
        raise ValueError("two\nlines")

    (record,) = run_grid(GRID()[:1], tmp_path, broken)
    assert record["error"] == "ValueError: two lines"
    assert "in broken" in record["traceback"]


def test_a_label_the_classifier_does_not_know_fails_before_it_is_asked(tmp_path):
    def strange(cell):
        made.append(Guess(cell))
        return made[-1], [Example("hello", "eggs")]

    (record,) = run_grid(GRID()[:1], tmp_path, partial(run_cell, make=strange))
    assert "the label 'eggs', and the classifier has not" in record["error"]
    assert not asked()


# --- going on -----------------------------------------------------------------------------------

IN_ANOTHER_PROCESS = """
import sys, pathlib, tests.icl.grid.test_grid as t
assert "ray" not in sys.modules  # until it is asked for
out, run, ray, *_ = [*sys.argv[1:], None]
t.run_grid(t.GRID(seeds=[0, 1]), pathlib.Path(out), getattr(t, run), print, ray)
assert not (ray and t.made)
"""


def run_elsewhere(out, run="run", *ray, **environment):
    """Runs the grid in a process of its own; returns its exit status and its progress."""
    ended = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, str(out), run, *ray],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout.splitlines()


def test_a_killed_grid_goes_on_and_ends_like_a_plain_run(tmp_path):
    plain = run_grid(GRID(seeds=[0, 1]), tmp_path / "plain", run)
    status, _ = run_elsewhere(tmp_path / "killed", DIE_AFTER="36")
    assert status == -signal.SIGKILL
    # one cell has ended, and the next one has answered two batches of three
    assert len(read_records(tmp_path / "killed", FEW_SHOT_GRID)) == 1
    in_pieces = files_of(tmp_path / "killed")
    assert sorted(len(text.splitlines()) for text in in_pieces.values()) == [16, 20]
    made.clear()
    resumed = run_grid(GRID(seeds=[0, 1]), tmp_path / "killed", run)
    assert asked() == 20 * 14 - 36
    assert without_times(resumed) == without_times(plain)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "plain")


def test_half_a_line_is_dropped_and_only_what_is_missing_is_asked(tmp_path):
    plain = run_grid(GRID(), tmp_path, run)
    path, before = tmp_path / "records.jsonl", files_of(tmp_path)
    whole = path.read_bytes()
    answers = tmp_path / "answers" / plain[-1]["answers"]
    lines = answers.read_bytes().splitlines(keepends=True)
    for end, kept in ((len(whole) - 1, 20), (len(whole) - 100, 13), (len(whole) - 1, 0)):
        path.write_bytes(whole[:end])
        answers.write_bytes(b"".join(lines[:kept]) + lines[-1][:-1])  # half a line
        assert len(read_records(tmp_path, FEW_SHOT_GRID)) == len(plain) - 1
        made.clear()
        assert without_times(run_grid(GRID(), tmp_path, run)) == without_times(plain)
        assert asked() == 20 - kept
        assert files_of(tmp_path) == before
        assert path.read_bytes().startswith(whole[: whole[:end].rfind(b"\n") + 1])
    made.clear()
    after = path.read_bytes()
    run_grid(GRID(), tmp_path, run)
    assert path.read_bytes() == after
    assert not made


def test_answers_about_other_messages_do_not_count(tmp_path):
    cell, path = GRID()[0], tmp_path / "answers.jsonl"
    others = [Example(f"other {i}", LABELS[i % 2]) for i in range(9)]
    run_cell(cell, lambda cell: (Guess(cell), others), path)
    record = run_cell(cell, make, path)
    assert asked() == 20
    assert len(path.read_text().splitlines()) == record["test"]["messages"] == 20


def test_a_line_that_is_no_record_is_named(tmp_path):
    path = tmp_path / "records.jsonl"
    for line, complaint in [
        ("{", "not a record"),
        ("[]", "not a record"),
        ('{"config": {}}', "not"),
    ]:
        path.write_text(f"{line}\n")
        with pytest.raises(TuneshotError, match=f"line 1 of .* {complaint}"):
            run_grid(GRID(), tmp_path, run)
    with pytest.raises(TuneshotError, match=r"no records in .*missing"):
        write_table(tmp_path / "missing", FEW_SHOT_GRID)
    with pytest.raises(TuneshotError, match=r"cannot use .*; choose another place with --out"):
        run_grid(GRID(), path, run)


# --- what decides a record ----------------------------------------------------------------------

SMS = TaskMessages(TASKS["sms_spam"], MESSAGES[:100], MESSAGES[100:])


def about(messages=SMS, embedder="mini", connection=DEFAULT_CONNECTION, **grid):
    some = GRID(**grid) if "lms" not in grid else cells(["sms_spam"], selectors=["topk"], **grid)
    return with_inputs(some, {"sms_spam": messages}, embedder, connection)


def identities(some_cells):
    return {identity(cell) for cell in some_cells}


def another_format(task):
    return replace(
        task, template_file=Path(survey.__file__).parents[1] / "prompt/templates/sst2.txt"
    )


def test_a_record_says_in_which_number_format_the_language_model_was(monkeypatch):
    for dtype, prefix in (("bfloat16", "bf16:"), ("float32", "fp32:")):
        monkeypatch.setattr("icl.lm.open.native_dtype", lambda dtype=dtype: dtype)
        twice = about(lms=["org/tiny", f"{prefix}org/tiny"])
        assert {cell.lm for cell in twice} == {f"{prefix}org/tiny", None}, "knn has none"
        assert identities(twice) == identities(about(lms=["org/tiny"]))
        assert len(twice) == len(identities(twice)), "each is run once"


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": replace(SMS, pool=SMS.pool[:60])},
        {"messages": replace(SMS, pool=[*SMS.pool[1:], SMS.pool[0]])},
        {"messages": replace(SMS, questions=[Example("new", "ham"), *SMS.questions[1:]])},
        {"messages": replace(SMS, task=another_format(SMS.task))},
        {"embedder": "mini@ab12"},
    ],
    ids=["fewer in the pool", "another order", "another question", "another format", "embedder"],
)
def test_what_the_settings_are_applied_to_decides_a_record(changed):
    assert not identities(about()) & identities(about(**changed))
    assert identities(about()) == identities(about())


def test_every_setting_decides_a_record():
    cell = GridCell(task="sms_spam", lm="tiny", selector="topk")
    settings = {field.name for field in fields(GridCell)} - {"inputs"}
    assert cell.record["config"].keys() == settings
    for changed in ({"k": 5}, {"longest": 60}, {"chat": True}, {"limit": 200}, {"lm": "large"}):
        assert identity(replace(cell, **changed)) != identity(cell)


def test_another_model_at_the_same_path_is_another_record(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_bytes(b"one")
    before = about(lms=[str(model)])
    assert identities(before) == identities(about(lms=[f"{model}"]))
    (model / "weights").write_bytes(b"two")
    after = about(lms=[str(model)])
    shared = identities(before) & identities(after)
    assert {cell.selector for cell in before if identity(cell) in shared} == {"knn"}  # asks none


def test_another_address_of_a_model_is_another_record(monkeypatch):
    lms = ["api:openai/local"]
    here, there = (
        about(lms=lms, connection=Connection(base_url=f"http://127.0.0.1:{port}/v1"))
        for port in (8000, 9000)
    )
    assert all(cell.selector == "knn" for cell in here if identity(cell) in identities(there))
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9000/v1")
    assert identities(about(lms=lms)) == identities(there)
    monkeypatch.setenv("TUNESHOT_TIMEOUT", "5")  # decides nothing
    assert identities(about(lms=lms)) == identities(there)
    monkeypatch.setenv("TUNESHOT_LOGPROBS", "false")
    assert identities(about(lms=lms)) != identities(there)


def test_a_grid_that_goes_on_with_another_pool_runs_anew_says_so_and_keeps_the_old(tmp_path):
    said = []

    def go_on(messages):
        made.clear()
        return run_cells(
            about(messages), tmp_path, run, FEW_SHOT_GRID, note=lambda text: said.append(text)
        )

    old = go_on(SMS)
    assert said == []
    kept, answered = (tmp_path / "records.jsonl").read_bytes(), files_of(tmp_path)
    new = go_on(replace(SMS, pool=SMS.pool[:60]))
    assert said == [
        f"{tmp_path} holds records of these settings, but not of this pool (7); they are kept, "
        "and their cells run anew"
    ]
    assert asked() == 20 * 7
    assert not {r["answers"] for r in old} & {r["answers"] for r in new}
    assert (tmp_path / "records.jsonl").read_bytes().startswith(kept)
    assert files_of(tmp_path).items() >= answered.items()
    go_on(SMS)
    assert not made
    drawn = write_table(tmp_path, FEW_SHOT_GRID)
    header = rows_of(drawn)[0].keys()
    assert [name.split(",")[0] for name in header][-2:] == ["SMS", "SMS"]
    assert "SMS, before (pool of 100, " in list(header)[-1]
    assert "- *before*: recorded with another pool" in drawn


def test_records_from_before_inputs_were_written_down_are_shown_and_not_taken_for_new(tmp_path):
    said = []
    earlier = [{n: v for n, v in record.items() if n != "inputs"} | {"answers": "gone.jsonl"}
               for record in run_grid(about(), tmp_path / "earlier", run)]  # fmt: skip
    for record in earlier:
        del record["config"]["shares"]  # a setting that came later
    append_lines(tmp_path / "records.jsonl", earlier)
    plain = write_table(tmp_path, FEW_SHOT_GRID)
    assert "before" not in plain
    assert [row["SMS"] != "–" for row in rows_of(plain)] == [True] * 7
    run_cells(about(), tmp_path, run, FEW_SHOT_GRID, note=said.append)
    (line,) = said
    assert "but not of this pool and questions and template and embedder and lm (7)" in line
    assert len(read_records(tmp_path, FEW_SHOT_GRID)) == 14
    assert "SMS, before (pool not recorded)" in write_table(tmp_path, FEW_SHOT_GRID)


# --- what was shown -----------------------------------------------------------------------------


def make_few_shot(cell):
    settings = {name: getattr(cell, name) for name in ("selector", "k", "seed", "prompt_tokens")}
    pool = make_pool([e.text for e in MESSAGES[:40]], [e.label for e in MESSAGES[:40]])
    return few_shot(pool=pool, **settings), MESSAGES[40:48]


def test_what_was_shown_is_in_every_answer_and_counted_in_record_and_table(tmp_path):
    whole = GridCell(task="sms_spam", lm="tiny", selector="topk", k=4)
    some = [whole, replace(whole, prompt_tokens=80), replace(whole, selector="zero", k=0),
            replace(whole, selector="knn", lm=None)]  # fmt: skip
    records = run_cells(some, tmp_path, partial(run_cell, make=make_few_shot), FEW_SHOT_GRID)
    for record, cell in zip(records, some, strict=True):
        assert "test" in record, record
        lines = (tmp_path / "answers" / record["answers"]).read_text().splitlines()
        for line in lines:
            shown = json.loads(line)["shown"]
            assert [MESSAGES[row].label for row in shown["rows"]] == shown["labels"]
            assert shown["examples"] == len(shown["rows"]) == cell.k - shown["dropped"]
    full, short, zero, vote = (record["shown"] for record in records)
    assert full == {"messages": 8, "mean": 4, "least": 4, "labels": {"ham": 2, "spam": 2}}
    assert 0 < short["mean"] < 4
    assert (zero["mean"], vote["mean"]) == (0, 4)
    drawn = write_table(tmp_path, FEW_SHOT_GRID)
    assert "| tiny | topk | 4 | 4.0, least 4 | 1 |" in drawn
    assert f"| tiny | topk | 4 | {short['mean']:.1f}, least {short['least']} | 1 |" in drawn
    assert "| tiny | topk | 4 | none | ham 2.0, spam 2.0 |" in drawn
    assert "| no model | knn | 4 | none |" in drawn
    assert "- *shown*: how many examples" in drawn


# --- Ray ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_grid_on_ray_has_the_records_of_a_plain_run(tmp_path, cluster):
    some = GRID(seeds=[0, 1])
    plain = run_grid(some, tmp_path / "plain", run)
    half_done = tmp_path / "ray" / "answers"
    half_done.mkdir(parents=True)
    name = plain[0]["answers"]
    lines = (tmp_path / "plain" / "answers" / name).read_text().splitlines(keepends=True)
    (half_done / name).write_text("".join(lines[:8]))
    # Ray's own logs, with dumps of its state, may go to the process's output.
    logs = {"RAY_LOG_TO_STDERR": "1", "RAY_event_stats_print_interval_ms": "300"}
    status, heard = run_elsewhere(tmp_path / "ray", "run", cluster, **logs)
    assert status == 0
    assert [line.split()[:3] for line in heard] == [["cells", str(n), "14"] for n in range(15)]
    spread = read_records(tmp_path / "ray", FEW_SHOT_GRID)
    assert without_times(spread) == without_times(plain)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "plain")

    status, _ = run_elsewhere(tmp_path / "failing", "fail_on_large", cluster)
    failing = read_records(tmp_path / "failing", FEW_SHOT_GRID)
    assert status == 0
    assert Counter("error" in record for record in failing) == {True: 6, False: 8}


def test_a_ray_that_is_missing_or_does_not_answer_is_said_at_once(tmp_path, monkeypatch):
    out = tmp_path / "out"
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:port", "nonsense"):
        with pytest.raises(TuneshotError, match=f"no Ray cluster at {address} .*ray start --head"):
            run_grid(GRID(), out, run, ray=address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TuneshotError, match=r"pip install 'tuneshot\[ray\]'"):
        run_grid(GRID(), out, run, ray="auto")
    assert not out.exists()


# --- intervals and the table --------------------------------------------------------------------


def share(hits, of):
    return {"hits": hits, "of": of, "value": hits / of}


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_seeds_that_agree_have_wilsons_interval_of_one_of_them(counts):
    one = Share.count(*counts)
    for seeds in (1, 3):
        assert astuple(over_seeds([share(*counts)] * seeds)) == pytest.approx(
            (one.value, one.low, one.high), abs=1e-9
        )


def test_seeds_that_differ_widen_the_interval_as_worked_out_by_hand():
    # p = 0.5, within = 0.25 / 100, s² = 0.01, among = 0.01 / 3; freedom = 2 (7/4)² = 6.125, where
    # Student's t is 2.4343; so n_eff = 100 · 3/7 = 42.857, and z²/n_eff = 0.13827.
    value, low, high = astuple(over_seeds([share(40, 100), share(50, 100), share(60, 100)]))
    assert value == 0.5
    assert (low, high) == pytest.approx((0.32573, 0.67427), abs=2e-4)


@given(st.lists(st.integers(0, 60), min_size=2, max_size=5), st.sampled_from([60, 100]))
def test_an_interval_over_seeds_holds_the_mean_and_is_within_0_and_1(hits, of):
    interval = over_seeds([share(hit, of) for hit in hits])
    assert -1e-9 <= interval.low <= interval.value + 1e-9
    assert interval.value - 1e-9 <= interval.high <= 1 + 1e-9


def recorded(task, lm, selector, seed, hits, k=4, sha="0", asked=300, **config):
    cell = GridCell(task="sms_spam", lm="any", selector="topk", seed=seed).record["config"]
    named = {"task": task, "lm": lm, "selector": selector, "k": k, **config}
    test = {"accuracy": share(hits, 100), "data_sha256": f"{sha}{task}{seed}", "messages": asked}
    return {"config": {**cell, **named}, "test": test}


def rows_of(drawn):
    """The rows of the first table."""
    drawn = drawn[drawn.index("| ") :].split("\n\n")[0]
    lines = [line.strip("| ").split(" | ") for line in drawn.splitlines() if line.startswith("| ")]
    header, _, *rows = lines
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_the_table_has_the_form_of_the_survey():
    records = [
        recorded("sms_spam", "SmolLM2", "votek_pool", 0, 90, options={"annotate": 7}),
        recorded("sst5", "SmolLM2", "topk", 0, 40),
        recorded("sst5", "SmolLM2", "topk", 1, 50),
        recorded("sst5", "SmolLM2", "topk", 2, 60),
        recorded("sms_spam", "SmolLM2", "topk", 0, 95),
        recorded("sst5", "SmolLM2", "zero", 0, 20, k=0),
    ]
    drawn = table(records)
    ours = [row for row in rows_of(drawn) if "published" not in row["model"]]
    assert [tuple(row.values()) for row in ours] == [
        ("no model", "knn", "–", "–", "–", "–"),
        ("SmolLM2", "zero", "0", "1", "20.0 [13.3, 28.9]", "–"),
        ("SmolLM2", "random", "–", "–", "–", "–"),
        ("SmolLM2", "topk", "4", "1–3", "50.0 [32.6, 67.4]", "95.0 [88.8, 97.8]"),
        ("SmolLM2", "votek_pool (annotate=7)", "4", "1", "–", "90.0 [82.6, 94.5]"),
    ]
    assert list(ours[0]) == ["model", "selector", "k", "seeds", "SST5", "SMS"]
    published = [row for row in rows_of(drawn) if "published" in row["model"]]
    assert len(published) == 12
    assert tuple(published[0].values()) == ("GPT2, published", "topk", "–", "–", "40.1", "–")
    assert "2301.00234v6, Table 2" in drawn
    assert "\n## limit=300, balanced=true\n" in drawn
    for note in ("Wilson's (1927)", "Satterthwaite's (1946)", "the answers are kept"):
        assert note in drawn


def test_the_published_averages_are_those_of_the_published_figures():
    columns = [recorded(task, "m", "topk", 0, 50) for task in survey.SURVEY_TASKS]
    rows = rows_of(table(columns))
    averages = [row["average"] for row in rows if "published" in row["model"]]
    assert averages == ["49.5", "34.9", "54.4", "63.9", "50.6", "63.5", "69.4", "67.0", "69.2",
                        "71.5", "70.5", "70.9"]  # fmt: skip
    (ours,) = [row for row in rows if row["selector"] == "topk" and row["model"] == "m"]
    # each is 50.0 ± 9.6, so their mean is 50.0 ± 9.6 / √5
    assert ours["average"] == "50.0 [45.7, 54.3]"


def answered(selector, right, task="sms_spam", lm="m", **changes):
    record = recorded(task, lm, selector, changes.pop("seed", 0), right.count("1"), **changes)
    return {**record, "right": right}


def test_rows_are_compared_with_zero_shot_message_by_message():
    zero = answered("zero", "1100" * 25, k=0)
    records = [
        zero,
        answered("zero", "1110" * 25, k=0, calibration="batch"),
        answered("topk", "0111" * 25, k=4),
        answered("knn", "1111" * 25, lm=None),
        answered("topk", "1111" * 25, k=8, sha="other messages"),
        recorded("sms_spam", "m", "topk", 0, 50, k=2),  # from before answers were recorded
    ]
    drawn = table(records)
    compared = drawn[drawn.index("Points of accuracy above zero-shot:") :].split("\n- ")[0]
    rows = {(row["selector"], row["k"]): row["SMS"] for row in rows_of(compared)}
    # By hand, of 100 pairs with 50 gains and 25 losses: 25/102 ± 1.96 · √(76 - 25²/102)/102.
    assert rows == {
        ("zero (calibration=batch)", "0"): "+25.0 [+15.9, +33.1]",
        ("topk", "4"): "+25.0 [+8.4, +40.6]",
        ("knn", "4"): "+50.0 [+39.1, +58.9]",
    }
    assert "- *above zero-shot*" in drawn
    against_topk = survey.differences(records, {"selector": "topk", "k": 4})
    assert {row["SMS"][:5] for row in rows_of(against_topk)} == {"-25.0", "+0.0 ", "+25.0"}
    assert "above zero-shot" not in table([recorded("sms_spam", "m", "topk", 0, 50)])


def test_a_vote_is_compared_where_there_is_one_model_only():
    two = [answered("zero", "10" * 50, lm=lm, k=0) for lm in "ab"]
    vote = answered("knn", "11" * 50, lm=None)
    topk = answered("topk", "11" * 50, lm="b")
    rows = rows_of(survey.differences([*two, vote, topk]))
    assert [(row["model"], row["selector"]) for row in rows] == [("b", "topk")]


pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1)


@given(st.lists(pairs, min_size=1, max_size=3))
def test_a_paired_interval_turns_around_with_the_pair_and_stays_between_all_and_nothing(seeds):
    one = paired_over_seeds([tuple(zip(*seed, strict=True)) for seed in seeds])
    other = paired_over_seeds([tuple(zip(*seed, strict=True))[::-1] for seed in seeds])
    assert astuple(one) == pytest.approx((-other.value, -other.high, -other.low))
    assert -1 <= one.low < one.high <= 1


def test_without_a_task_of_the_survey_the_table_does_not_speak_of_it():
    drawn = table([recorded("sms_spam", "m", "topk", 0, 50)])
    assert "published" not in drawn
    assert "average" not in drawn


def test_other_settings_are_other_tables():
    one = recorded("sst2", "m", "topk", 0, 50)
    other = recorded("sst2", "m", "topk", 0, 60, scoring="mean")
    drawn = table([one, other])
    assert "\n## scoring=mean, limit=300, balanced=true\n" in drawn
    assert drawn.count("\n## ") == 2


def test_how_many_messages_were_really_asked_about_is_said():
    assert "asked*" not in table([recorded("sst2", "m", "topk", 0, 50)])
    drawn = table([recorded("sms_spam", "m", "topk", seed, 50, asked=258) for seed in (0, 1)])
    assert drawn.count("- *asked*: SMS, 258 messages a seed, though 300 were allowed") == 1


def test_what_was_measured_on_other_messages_is_said():
    one = recorded("sst2", "m", "topk", 0, 50)
    assert "Not comparable" not in table([one, recorded("sst2", "m", "random", 0, 50)])
    drawn = table([one, recorded("sst2", "m", "random", 0, 50, sha="1")])
    assert "**Not comparable**: the rows of SST2, seed 0, limit 300" in drawn


def test_bars_and_line_breaks_stay_in_their_cell():
    assert "a\\|b c" in table([recorded("sst2", "a|b\nc", "topk", 0, 50)])
