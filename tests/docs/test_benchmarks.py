"""The benchmarks, as far as they can be asked without measuring."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["finetune.py"], "error: the corpus is missing; run: clf data fetch\n"),
        (["unlike_messages.py"], "error: the corpus is missing; run: clf data fetch\n"),
        (["few_shot.py", "--pool", "gone.tsv"], "error: cannot read gone.tsv: "),
        (["selection.py", "--pool", "gone.tsv"], "error: cannot read gone.tsv: "),
    ],
)
def test_what_a_benchmark_lacks_is_said_in_one_line(arguments, said, tmp_path):
    nothing = {"TUNESHOT_CACHE": str(tmp_path / "cache"), "TUNESHOT_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, BENCHMARKS / arguments[0], *arguments[1:]],
        env={**os.environ, **nothing, "PYTHONPATH": str(BENCHMARKS.parent)},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
