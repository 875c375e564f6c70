"""Grids of runs: their rows, commands, records, intervals and table; on a tiny GPT-2."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial

import pytest
import torch
import typer
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clfcore.cli import terminal
from clfcore.cli.experiments import experiments as experiments_command
from clfcore.cli.train import train
from clfcore.data.balance import BALANCERS
from clfcore.data.messages import LabelledMessages, load_messages
from clfcore.data.split import content_hash
from clfcore.errors import TuneshotError
from clfcore.evaluation.intervals import Share, mean_of, over_seeds
from clfcore.evaluation.records import append_lines
from clfcore.evaluation.runner import read_records, write_table
from clfcore.experiments import run as experiments
from clfcore.experiments.run import command_for, run_experiments
from clfcore.experiments.suites import (
    SUITES,
    SuiteRow,
    choose_rows,
    config_of,
    free_grid,
    settings_from,
)
from clfcore.experiments.table import EXPERIMENTS, table
from clfcore.model.adapters import ADAPTERS
from clfcore.model.spec import POSITIONS
from clfcore.training.settings import TrainConfig, settings_for
from clfcore.types import Example

ALL_ROWS = [row for rows in SUITES.values() for row in rows]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
QUICK = {"epochs": 1, "precision": "float32"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A GPT-2 as Hugging Face stores it, with two layers of width 32."""
    from transformers import GPT2Config, GPT2Model
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("base") / "tiny"
    GPT2Model(GPT2Config(n_positions=48, n_embd=32, n_layer=2, n_head=2)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def toy_file(tmp_path_factory):
    """150 messages; one in three is spam."""
    path = tmp_path_factory.mktemp("data") / "toy.tsv"
    path.write_text(
        "".join(
            f"{'spam' if i % 3 == 0 else 'ham'}\t{'win cash' if i % 3 == 0 else 'see you'} "
            f"{LETTERS[i % 26]} {LETTERS[i // 26]} now\n"
            for i in range(150)
        )
    )
    return path


@pytest.fixture(scope="module")
def toy(toy_file):
    return load_messages(toy_file)


@pytest.fixture
def learnt(monkeypatch):
    """The settings of every run that was really made."""
    configs, real = [], experiments.fine_tune

    def spy(base, source, config, **more):
        configs.append(config)
        return real(base, source, config, **more)

    monkeypatch.setattr(experiments, "fine_tune", spy)
    return configs


def strict_json(line):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(line, parse_constant=refuse)


# --- rows ---------------------------------------------------------------------------------------


def test_every_row_of_every_suite_builds_and_has_a_name_and_a_question_of_its_own():
    for row in ALL_ROWS:
        assert isinstance(config_of(row, {}, seed=0), TrainConfig)
        assert row.question[0].isupper()
        assert "?" in row.question
        assert "|" not in row.question
    assert len({row.key for row in ALL_ROWS}) == len(ALL_ROWS)


def test_the_book_suite_is_the_published_table():
    rows = SUITES["book"]
    assert [row.key for row in rows] == [f"book-{number:02}" for number in range(1, 20)]
    published = {row.key: row.published for row in rows}
    assert published["book-01"] == (0.9663, 0.9933, 0.9500)
    assert published["book-06"] == (0.8750, 0.9128, 0.8467)
    assert published["book-13"] == (0.8308, 0.8792, 0.7833)
    assert published["book-19"] == (0.9779, 0.9933, 0.9633)
    for _, _, test in published.values():  # each is a number of 300 messages
        assert test * 300 == pytest.approx(round(test * 300), abs=0.02)
    sizes = {row.key[-2:]: row.size for row in rows if row.size}
    assert sizes == {"06": "gpt2-medium", "07": "gpt2-large", "08": "gpt2-xl", "09": "gpt2-xl",
                     "12": "gpt2-xl"}  # fmt: skip
    configs = [config_of(row, {}, 0) for row in rows]
    assert configs[17] == configs[0]
    assert {(c.position, c.padding) for c in configs[:12]} == {
        ("last_column", "longest"), ("first", "longest")
    }  # fmt: skip
    assert (configs[13].padding, configs[13].batch_size, configs[13].accumulate) == ("none", 1, 1)
    assert (configs[14].padding, configs[14].batch_size, configs[14].accumulate) == ("none", 1, 8)
    assert (configs[15].position, configs[15].padding) == ("last_token", "longest")
    assert [c.causal for c in configs].index(False) == 16


def test_the_suites_leave_nothing_out():
    def values(suite, name, **others):
        configs = [config_of(row, {}, 0) for row in SUITES[suite]]
        return {
            getattr(c, name) for c in configs if all(getattr(c, k) == v for k, v in others.items())
        }

    assert values("adapters", "layers") == {"last_block", *ADAPTERS}
    assert values("imbalance", "balance", layers="none") == set(BALANCERS)
    with_text = {name for name, balancer in BALANCERS.items() if balancer.kind != "points"}
    assert values("imbalance", "balance", layers="last_block") == with_text
    for causal in (True, False):
        assert values("positions", "position", causal=causal) == set(POSITIONS)
    assert {"last_layer", "all", "none", "lora"} <= values("layers", "layers")
    assert values("layers", "head", layers="none") == {"logistic", "mlp"}


def test_rows_are_chosen_by_suite_or_by_name():
    assert choose_rows("layers") == SUITES["layers"]
    chosen = choose_rows(None, ["book-16", "layers-all", "book-16"])
    assert [row.key for row in chosen] == ["book-16", "layers-all"]
    with pytest.raises(TuneshotError, match=r"unknown suite 'bok'; choose from book, layers"):
        choose_rows("bok")
    with pytest.raises(TuneshotError, match=r"unknown row 'book-16'; choose from layers-last"):
        choose_rows("layers", ["book-16"])
    with pytest.raises(TuneshotError, match=r"name a suite \(book, .*--vary"):
        choose_rows(None)


# --- commands -----------------------------------------------------------------------------------


def parsed(command):
    """The base, the settings and the data of a ``clf train`` command, as the program reads it."""
    program, subcommand, *words = shlex.split(command)
    assert (program, subcommand) == ("clf", "train")
    app = typer.Typer()
    app.command()(train)
    options = typer.main.get_command(app).make_context("train", words).params
    names = [f.name for f in fields(TrainConfig) if options[f.name] is not None]
    config = settings_for(options["base"], **{name: options[name] for name in names})
    return options["base"], config, options["data"]


@pytest.mark.parametrize("base", ["gpt2-mini", "gpt2", "a folder/gpt2 of mine"])
def test_the_command_of_every_row_means_the_settings_of_the_row(base):
    for row in ALL_ROWS:
        config = config_of(row, {}, seed=2)
        assert parsed(command_for(base, config)) == (base, config, None)


values_of = {
    field.name: st.sampled_from(list(field.metadata["setting"].choices))
    for field in fields(TrainConfig) if field.metadata["setting"].choices
} | {
    **dict.fromkeys(["causal", "fit_head_first"], st.booleans()),
    **dict.fromkeys(["rank", "epochs", "least_steps", "batch_size", "accumulate"],
                    st.integers(1, 100)),
    **dict.fromkeys(["validate_every", "patience", "practice", "split_seed", "seed"],
                    st.integers(0, 9)),
    **dict.fromkeys(["learning_rate", "embedding_learning_rate", "grad_clip", "weight_decay"],
                    st.floats(1e-9, 10)),
    **dict.fromkeys(["balance_ratio", "mix"], st.floats(0, 1, exclude_min=True)),
    **dict.fromkeys(["label_smoothing", "warmup"], st.floats(0, 1, exclude_max=True)),
    **dict.fromkeys(["threshold", "flag_at_most"], st.floats(0, 1)),
}  # fmt: skip


@settings(max_examples=60)
@given(st.fixed_dictionaries({}, optional=values_of), st.sampled_from(["gpt2-mini", "gpt2"]))
def test_the_command_of_any_settings_means_those_settings(values, base):
    assert values_of.keys() == {f.name for f in fields(TrainConfig)}
    try:
        config = TrainConfig(**values)
    except TuneshotError:
        assume(False)
    assert parsed(command_for(base, config)) == (base, config, None)


def test_a_command_says_no_more_than_it_must():
    assert command_for("gpt2-mini", settings_for("gpt2-mini")) == "clf train --base gpt2-mini"
    config = TrainConfig(causal=False, learning_rate=1e-4)
    assert command_for("gpt2", config, ("--data", "my data.csv")) == (
        "clf train --base gpt2 --data 'my data.csv' --learning-rate 0.0001 --no-causal-mask"
    )


# --- a grid of one's own ------------------------------------------------------------------------


def test_a_free_grid_has_every_combination_with_values_of_the_right_type():
    rows = free_grid(["epochs=1,2,1", "causal=true,false", "learning-rate=1e-4"], {})
    assert [dict(row.changes) for row in rows] == [
        {"epochs": epochs, "causal": causal, "learning_rate": 1e-4}
        for epochs in (1, 2) for causal in (True, False)
    ]  # fmt: skip
    assert [type(value) for value in rows[0].changes.values()] == [int, bool, float]
    assert rows[1].key == "epochs=1,causal=false,learning_rate=0.0001"
    assert len({row.key for row in rows}) == 4


@pytest.mark.parametrize(
    ("varied", "complaint"),
    [
        ("epoch=1", "unknown setting 'epoch'; choose from epochs, batch_size"),
        ("epochs=1,two", "epochs must be a whole number, not 'two'"),
        ("epochs=1,", "epochs must be a whole number, not ''"),
        ("learning_rate=fast", "learning_rate must be a number, not 'fast'"),
        ("causal=maybe", "causal must be true or false, not 'maybe'"),
        ("epochs", "expected name=value, not 'epochs'"),
        ("seed=1,2", "say how many with --seeds"),
        ("epochs=1,0", "epochs must be 1 or more, not 0"),
        ("layers=all,al", "unknown layers 'al'; choose from last_layer"),
        ("balance=none,smote", "smote invents points"),
    ],
)
def test_a_bad_grid_is_refused_in_one_line_before_any_work(varied, complaint):
    with pytest.raises(TuneshotError, match=complaint) as refused:
        free_grid([varied], {})
    assert "\n" not in str(refused.value)


def test_what_does_not_go_together_is_left_out_of_a_free_grid_with_the_reason(
    base, toy, tmp_path, learnt
):
    rows = free_grid(["position=last_token,last_column", "padding=dynamic,longest"], QUICK)
    records = run_experiments(rows, base, toy, [0], tmp_path / "r", overrides=QUICK)
    assert len(learnt) == 3
    left_out = [record for record in records if "not_run" in record]
    assert [record["key"] for record in left_out] == ["position=last_column,padding=dynamic"]
    assert "not run: the last column of a batch is only the same" in table(records)


# --- running ------------------------------------------------------------------------------------


def test_a_record_says_what_was_asked_done_and_measured(base, toy, tmp_path):
    heard = []
    rows = choose_rows(None, ["book-01", "imbalance-oversample-frozen"])
    out = tmp_path / "new"
    run_experiments(rows, base, toy, [0, 1], out, lambda *news: heard.append(news), QUICK)
    lines = (out / "records.jsonl").read_text().splitlines()
    first, frozen, *_ = records = [strict_json(line) for line in lines]
    assert [(r["key"], r["seed"]) for r in records] == [
        (row.key, seed) for seed in (0, 1) for row in rows
    ]
    assert first["published"] == [0.9663, 0.9933, 0.95]
    assert TrainConfig(**first["config"]) == config_of(rows[0], QUICK, seed=0)
    assert parsed(first["command"])[:2] == (base, config_of(rows[0], QUICK, seed=0))
    assert first["data"]["sha256"] == content_hash(toy.examples)
    parts = [first["data"][part]["messages"] for part in ("train", "val", "test")]
    assert sum(parts) == 150
    for part in ("val", "test"):
        figures = first[part]
        assert figures["messages"] == sum(map(sum, figures["confusion"]))
        assert set(figures["accuracy"]) == {"hits", "of", "value", "low", "high"}
        assert set(figures["recall"]) == set(figures["precision"]) == {"ham", "spam"}
        for name in ("balanced_accuracy", "calibration_error", "negative_log_likelihood", "auc"):
            assert isinstance(figures[name], float)
    assert 0 <= first["train_accuracy"] <= 1
    assert frozen["train_accuracy"] is None
    assert frozen["weights"]["learning"] == 66 < first["weights"]["learning"]
    assert first["weights"]["learning"] < first["weights"]["all"]
    assert first["seconds"] > 0
    assert {"python", "torch"} <= set(first["versions"])
    assert set(first["machine"]) == {"cpu", "cores", "threads", "device"}
    assert first["created"].endswith("+00:00")
    # the split stays, so that seeds and rows can be compared pair by pair
    assert len({record["test"]["data_sha256"] for record in records}) == 1
    runs = [news[1:3] for news in heard if news[0] == "cells"]
    assert runs == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert {"fine-tune", "evaluate"} <= {news[0] for news in heard}
    assert (out / "table.md").read_text() == table(records)


def test_a_killed_grid_goes_on_where_it_was(base, toy, tmp_path, learnt):
    rows, out = choose_rows(None, ["layers-last-block", "layers-last-layer"]), tmp_path / "r"
    path = out / "records.jsonl"
    run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
    assert len(learnt) == 4
    whole = path.read_bytes()
    kept = whole[: whole.rindex(b"\n", 0, -1) + 1]
    for end in (len(kept) + 40, len(whole) - 1):
        learnt.clear()
        path.write_bytes(whole[:end])
        assert len(read_records(out, EXPERIMENTS)) == 3
        records = run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
        assert learnt == [config_of(rows[1], QUICK, seed=1)]
        assert path.read_bytes().startswith(kept)
        assert [(r["key"], r["seed"]) for r in records] == [
            (row.key, seed) for seed in (0, 1) for row in rows
        ]
    learnt.clear()
    before = path.read_bytes()
    run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
    assert not learnt
    assert path.read_bytes() == before


def test_other_settings_seeds_and_messages_are_other_runs(base, toy, tmp_path, learnt):
    rows, out = choose_rows(None, ["layers-last-layer"]), tmp_path / "r"
    fewer = LabelledMessages(toy.examples[:-3], "fewer")
    run_experiments(rows, base, toy, [0], out, overrides=QUICK)
    run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
    run_experiments(rows, base, toy, [0], out, overrides={**QUICK, "batch_size": 4})
    records = run_experiments(rows, base, fewer, [0], out, overrides=QUICK)
    assert len(learnt) == 4
    assert len(records) == 4
    last = len(toy.examples)
    for start in (last - 12, last - 8):  # the same messages, parted elsewhere
        parted = toy._replace(own={"test": range(start, last)})
        run_experiments(rows, base, parted, [0], tmp_path / "parted", overrides=QUICK)
    assert len(learnt) == 6
    drawn = table(records)
    assert drawn.count("\n| layers-last-layer |") == 3  # two settings; and a table of its own
    assert "batch_size=4" in drawn
    assert "\n## fewer\n" in drawn


def test_another_base_in_the_same_folder_is_another_run(base, toy, tmp_path, learnt):
    rows, out, said = choose_rows(None, ["layers-last-layer"]), tmp_path / "r", []
    folder = tmp_path / "base"
    shutil.copytree(base, folder)
    go_on = partial(
        run_experiments, rows, str(folder), toy, [0], out, overrides=QUICK, note=said.append
    )
    go_on()
    go_on()
    assert (len(learnt), said) == (1, [])
    (folder / "notes.txt").write_text("trained for longer")
    records = go_on()
    assert len(learnt) == 2
    assert said == [
        f"{out} holds records of these settings, but not of this base (1); they are kept, and "
        "their cells run anew"
    ]
    assert len(records) == 2
    drawn = table(records)
    assert f"| {folder} |" in drawn
    assert f"| {folder}, before (" in drawn


def test_records_from_before_inputs_were_written_down_stay_readable(base, toy, tmp_path, learnt):
    rows, out, said = choose_rows(None, ["layers-last-layer"]), tmp_path / "r", []
    (record,) = run_experiments(rows, base, toy, [0], tmp_path / "new", overrides=QUICK)
    del record["inputs"]
    out.mkdir()
    append_lines(out / "records.jsonl", [record])
    assert "before" not in write_table(out, EXPERIMENTS)
    run_experiments(rows, base, toy, [0], out, overrides=QUICK, note=said.append)
    assert len(learnt) == 2
    assert "but not of this data and parts and base (1)" in said[0]
    assert f"| {base}, before (files not recorded) |" in write_table(out, EXPERIMENTS)


def test_what_was_run_under_another_name_is_not_run_again(base, toy, tmp_path, learnt):
    rows = choose_rows(None, ["book-18", "book-01", "positions-last-column"])
    records = run_experiments(rows, base, toy, [0], tmp_path / "r", overrides=QUICK)
    assert len(learnt) == 1
    assert [record.get("same_run_as") for record in records] == [None, "book-18", "book-18"]
    assert len({json.dumps(record["test"]) for record in records}) == 1
    assert [record["published"] is None for record in records] == [False, False, True]
    assert "The same run as book-18." in table(records)


def test_a_failure_is_recorded_and_the_grid_goes_on_and_tries_again_next_time(
    base, toy, tmp_path, learnt
):
    rows, out = choose_rows(None, ["adapters-prefix", "layers-last-layer"]), tmp_path / "r"
    records = run_experiments(rows, base, toy, [0], out, overrides=QUICK)
    assert "prefix writes into a cache of keys and values" in records[0]["error"]
    assert "test" in records[1]
    drawn = table(records)
    assert "| failed: prefix writes into a cache of keys and values" in drawn
    run_experiments(rows, base, toy, [0], out, overrides=QUICK)
    assert [config.layers for config in learnt] == ["prefix", "last_layer", "prefix"]
    # what has failed once and then worked has worked
    repaired = {**records[1], "key": "adapters-prefix", "config": records[0]["config"]}
    assert "failed" not in table([*records, repaired])


def test_rows_about_a_larger_gpt2_wait_for_the_base_gpt2(base, toy, tmp_path, learnt, monkeypatch):
    rows, out = choose_rows(None, ["book-12"]), tmp_path / "r"
    records = run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
    records = run_experiments(rows, base, toy, [0, 1], out, overrides=QUICK)
    assert [record["not_run"] for record in records] == [
        "needs gpt2-xl; give --base gpt2 to run it"
    ]
    drawn = table(records)
    assert "| gpt2-xl |" in drawn
    assert "| not run: needs gpt2-xl; give --base gpt2 to run it |" in drawn
    assert "| 98.33 % [96.2, 99.3] |" in drawn
    (command,) = re.findall("^clf train --base gpt2-xl.*", drawn, flags=re.M)
    assert "--layers lora" in command
    assert not learnt

    real = experiments.fine_tune
    monkeypatch.setattr(experiments, "check_start", lambda base, weights: None)
    monkeypatch.setattr(
        experiments, "fine_tune", lambda asked, *a, **b: real({"gpt2-xl": base}[asked], *a, **b)
    )
    records = run_experiments(rows, "gpt2", toy, [0], out, overrides=QUICK)
    assert records[-1]["base"] == "gpt2-xl"
    assert "not run" not in table(records)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"layers": "all"}, "every one of these rows sets its own layers"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"balance": "smote"}, "smote invents points"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_any_work(
    base, toy, tmp_path, overrides, complaint
):
    rows = choose_rows(None, ["adapters-lora", "layers-all"])
    with pytest.raises(TuneshotError, match=complaint):
        run_experiments(rows, base, toy, [0], tmp_path / "r", overrides=overrides)
    assert not (tmp_path / "r").exists()


def test_a_bad_base_and_bad_messages_fail_at_once_and_not_in_every_row(base, toy, tmp_path):
    rows, out = SUITES["layers"], tmp_path / "r"
    with pytest.raises(TuneshotError, match=r"holds no config\.json"):
        run_experiments(rows, str(tmp_path), toy, [0], out)
    with pytest.raises(TuneshotError, match="all messages have one label"):
        run_experiments(
            rows, base, LabelledMessages([Example("hello", "ham")] * 9, "few"), [0], out
        )
    (tmp_path / "file").write_text("")
    with pytest.raises(TuneshotError, match=r"cannot use .*; choose another place with --out"):
        run_experiments(rows, base, toy, [0], tmp_path / "file" / "r")
    with pytest.raises(TuneshotError, match="only gpt2-mini is distilled here"):
        run_experiments(rows, base, toy, [0], out, overrides={"weights": "distilled"})
    assert not out.exists()


def test_a_line_that_is_no_record_is_named(tmp_path):
    for line in ("{", "[]", '{"key": "book-01"}'):
        (tmp_path / "records.jsonl").write_text(f"{line}\n")
        with pytest.raises(TuneshotError, match=r"line 1 of .* is not a record"):
            read_records(tmp_path, EXPERIMENTS)
    with pytest.raises(TuneshotError, match=r"no records in .*run the grid first"):
        read_records(tmp_path / "missing", EXPERIMENTS)


# --- intervals and the table --------------------------------------------------------------------


def as_record(share):
    return {"hits": share.hits, "of": share.of, "value": share.value}


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_seeds_that_agree_have_the_interval_of_one_of_them(counts):
    one = Share.count(*counts)
    several = over_seeds([as_record(one)] * 3, spread=False)
    assert (several.value, several.low, several.high) == pytest.approx(
        (one.value, one.low, one.high), abs=1e-9
    )


def test_seeds_that_differ_have_the_interval_of_their_mean():
    shares = [as_record(Share.count(hits, 100)) for hits in (90, 91, 95, 97)]
    mean = over_seeds(shares, spread=False)
    below, above = Share.count(93, 100), Share.count(94, 100)
    assert mean.value == pytest.approx(0.9325)
    assert below.low < mean.low < above.low
    assert below.high < mean.high < above.high


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(50, 900)), min_size=1, max_size=5))
def test_a_mean_of_recalls_is_inside_its_interval_and_surer_than_each_of_them(counts):
    shares = [Share.count(*pair) for pair in counts]
    mean = mean_of(shares)
    assert mean.low - 1e-9 <= mean.value <= mean.high + 1e-9
    assert mean.value == pytest.approx(sum(share.value for share in shares) / len(shares))
    widths = [share.high - share.low for share in shares]
    assert mean.high - mean.low <= max(widths) + 1e-9
    if len(shares) == 1:
        assert (mean.low, mean.high) == pytest.approx((shares[0].low, shares[0].high))


def made_up(key, seed, confusion, labels=("ham", "spam"), **more):
    row = {row.key: row for row in ALL_ROWS}.get(key, SuiteRow(key, "Which | one?"))
    n, hits = sum(map(sum, confusion)), sum(line[i] for i, line in enumerate(confusion))
    recall = {
        label: as_record(Share.count(confusion[i][i], sum(confusion[i])))
        for i, label in enumerate(labels)
    }
    accuracy = as_record(Share.count(hits, n))
    return {
        "key": key, "question": row.question, "published": row.published, "base": "gpt2",
        "command": f"clf train --base gpt2 # {seed}", "seed": seed,
        "config": {**config_of(row, {}, seed).to_dict()},
        "data": {"source": "SMS", "sha256": "00"},
        "test": {"labels": labels, "accuracy": accuracy, "recall": recall},
        "weights": {"learning": 7_090_946, "all": 124_000_000}, "seconds": 10.0 + seed,
        "machine": {"cpu": "A CPU", "cores": 2, "threads": 1, "device": "cpu"}, **more,
    }  # fmt: skip


def cells(drawn, key):
    line = next(line for line in drawn.splitlines() if line.startswith(f"| {key} |"))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_table_has_means_intervals_published_figures_and_commands():
    records = [
        made_up("book-16", 0, [[960, 6], [10, 140]]),
        made_up("book-16", 1, [[964, 2], [12, 138]]),
        made_up("book-02", 0, [[800, 166], [50, 100]]),
    ]
    drawn = table(records)
    found = dict(zip(cells(drawn, "row"), cells(drawn, "book-16"), strict=True))
    assert found == {
        "row": "book-16",
        "question": "Is it better to read the last token that is not padding?",
        "base": "gpt2",
        "what differs from the lecture": "padding=longest",
        "weights that learn": "7,090,946",
        "test accuracy": "98.66 % [97.8, 99.2]",
        "seeds": "2: 98.57 – 98.75 %",
        "spam found": "92.67 % [87.3, 95.9]",
        "ham flagged": "0.41 % [0.2, 1.1]",
        "balanced accuracy": "96.13 % [93.4, 97.7]",
        "published (balanced test)": "98.33 % [96.2, 99.3]",
        "seconds": "10.5",
    }
    assert cells(drawn, "book-02")[6] == "1"
    assert drawn.index("| book-02 |") < drawn.index("| book-16 |")  # in the order of the suite
    commands = drawn.split("```sh\n")[1].split("```")[0].splitlines()
    assert commands == ["# book-02", "clf train --base gpt2 # 0", "# book-16",
                        "clf train --base gpt2 # 0"]  # fmt: skip
    for note in ("Wilson's", "28c65cd", "compare it\n  with the *balanced accuracy*", "A CPU"):
        assert note in drawn


def test_a_table_without_published_rows_does_not_speak_of_them():
    drawn = table([made_up("layers-all", 0, [[9, 1], [1, 9]])])
    assert cells(drawn, "layers-all")[-2] == "–"
    assert "28c65cd" not in drawn


def test_seeds_that_failed_are_counted_beside_those_that_did_not():
    good = made_up("layers-all", 0, [[9, 1], [1, 9]])
    bad = {**made_up("layers-all", 1, [[9, 1], [1, 9]]), "error": "no\nroom"}
    del bad["test"]
    assert cells(table([good, bad]), "layers-all")[6] == "1; 1 failed: no room"


def test_with_three_labels_there_is_no_first_and_second():
    confusion = [[9, 1, 0], [0, 10, 0], [0, 5, 5]]
    drawn = table([made_up("mine", 0, confusion, labels=("a", "b", "c"))])
    assert "found" not in drawn
    assert "flagged" not in drawn
    assert "| 80.00 % [" in drawn
    assert "Which \\| one?" in drawn


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def clf_experiments(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = terminal.new_app("One command.", version=False)
    app.command()(experiments_command)
    return partial(command, lambda: terminal.run_app(app), "experiments")


def test_a_grid_from_the_command_line(clf_experiments, base, toy_file, tmp_path):
    arguments = ("--vary", "layers=last_layer,all", "--set", "epochs=1", "--seeds", 2,
                 "--base", base, "--data", toy_file, "--out", "grid")  # fmt: skip
    status, out, err = clf_experiments(*arguments)
    assert status == 0
    assert len((tmp_path / "grid" / "records.jsonl").read_text().splitlines()) == 4
    drawn = (tmp_path / "grid" / "table.md").read_text()
    assert out.strip() == drawn.strip()
    assert "cells" in err
    for layers in ("last_layer", "all"):
        assert cells(drawn, f"layers={layers}")[6].startswith("2: ")
    command = next(line for line in drawn.splitlines() if line.startswith("clf train"))
    assert parsed(command)[2] == str(toy_file)

    (tmp_path / "grid" / "table.md").unlink()
    status, again, _ = clf_experiments("--table", "--out", "grid")
    assert (status, again) == (0, out)
    assert (tmp_path / "grid" / "table.md").read_text() == drawn


def test_the_list_has_every_row(clf_experiments, monkeypatch):
    monkeypatch.setattr(terminal.stdout, "_width", 300)
    status, out, _ = clf_experiments("--list")
    assert status == 0
    assert all(row.key in out for row in ALL_ROWS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "name a suite"),
        (("bok",), "unknown suite 'bok'"),
        (("--rows", "book-99"), "unknown row 'book-99'"),
        (("book", "--vary", "epochs=1"), "not both"),
        (("--vary", "epochs=x"), "epochs must be a whole number"),
        (("book", "--set", "speed=1"), "unknown setting 'speed'"),
        (("book", "--data", "missing.tsv"), "missing.tsv"),
        (("--table",), "no records in"),
    ],
)
def test_mistakes_are_answered_in_one_line(clf_experiments, arguments, complaint, tmp_path):
    if not arguments:
        arguments = ("--seeds", 1)
    status, out, err = clf_experiments(*arguments)
    assert (status, out) == (1, "")
    assert complaint in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_help_names_every_suite_and_loads_no_torch():
    program = (
        "import sys, typer; from clfcore.cli.experiments import experiments;"
        "app = typer.Typer(); app.command()(experiments);"
        "app(['--help'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(suite in shown.stdout for suite in SUITES)


def test_set_takes_options_as_they_are_spelt_on_the_command_line():
    assert settings_from(["batch-size=4", "layers=all", "batch_size=16"]) == {
        "batch_size": 16, "layers": "all"
    }  # fmt: skip
