"""Accuracy and weights by the rank of LoRA: what the figure shows, and when there is none."""

import pytest

from clfcore.cli.clf import main
from clfcore.errors import TuneshotError
from clfcore.experiments.ranks_figure import ranks_figure
from clfcore.experiments.suites import SUITES


def run(layers, rank, hits, learning, seed=0, base="gpt2-mini"):
    share = {"hits": hits, "of": 100, "value": hits / 100}
    return {
        "config": {"layers": layers, "rank": rank}, "seed": seed, "base": base,
        "data": {"sha256": "0"}, "test": {"accuracy": share}, "weights": {"learning": learning},
    }  # fmt: skip


RUNS = [run("lora", 4, 92, 400), run("lora", 1, 80, 100), run("lora", 1, 90, 100, seed=1),
        run("all", 16, 97, 9000), run("last_block", 16, 50, 7)]  # fmt: skip


def test_the_suite_has_a_row_for_each_power_of_two_and_one_for_all_weights():
    changes = [row.changes for row in SUITES["lora_ranks"]]
    assert [each["rank"] for each in changes[:-1]] == [2**n for n in range(8)]
    assert {each["layers"] for each in changes[:-1]} == {"lora"}
    assert changes[-1] == {"layers": "all"}


def test_the_figure_shows_the_mean_of_each_rank_and_the_weights_that_learn():
    accuracy, learning = ranks_figure(RUNS).axes
    points = accuracy.containers[0].lines[0].get_xydata().tolist()
    assert points == [[1, pytest.approx(0.85)], [4, pytest.approx(0.92)]]
    assert learning.lines[0].get_xydata().tolist() == [[1, 100], [4, 400]]
    assert learning.lines[1].get_ydata()[0] == 9000
    assert accuracy.get_legend_handles_labels()[1] == ["all layers", "LoRA"]


def test_runs_that_failed_are_left_out():
    failed = {**RUNS[0], "config": {"layers": "lora", "rank": 8}, "error": "no"}
    del failed["test"]
    assert len(ranks_figure([*RUNS, failed]).axes[1].lines[0].get_xydata()) == 2


def test_one_rank_or_two_bases_are_refused_in_one_line():
    with pytest.raises(TuneshotError, match="at least two ranks, and the records have 1;"):
        ranks_figure(RUNS[1:])
    with pytest.raises(TuneshotError, match="several bases or data sets"):
        ranks_figure([*RUNS, run("lora", 8, 90, 800, base="gpt2")])


def test_a_file_that_no_figure_can_be_is_refused_before_anything_is_trained(command, tmp_path):
    status, out, err = command(
        main, "clf", "experiments", "lora_ranks", "--figure", "ranks.txt", "--out", str(tmp_path)
    )
    assert (status, out, list(tmp_path.iterdir())) == (1, "", [])
    assert "cannot draw ranks.txt" in err
