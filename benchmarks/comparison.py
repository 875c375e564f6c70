"""How long the default comparison and its intervals take, and how large its report is.

    python benchmarks/comparison.py [--json] [--out FOLDER]

Runs `tuneshot compare` with nothing but its defaults, on the downloaded corpus, else on the
sample; vectors and converted models that are on this machine already are not made again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clfcore.cli.terminal import run_app
from clfcore.evaluation.metrics import METRICS, LabelledPredictions
from clfcore.evaluation.paired import estimate, resamples
from clfcore.evaluation.provenance import machine_name
from clfcore.json_text import to_json

GOALS = {"minutes": 30, "MB": 5, "s": 3}


def interval_seconds() -> float:
    """Seconds for 1,000 resamples of every metric, of three seeds and 2,000 messages."""
    rng, drawn = np.random.default_rng(0), resamples(2000, 3)
    truth = rng.integers(0, 2, 2000)
    runs = [
        LabelledPredictions(np.column_stack([1 - p, p]), (p >= 0.5).astype(np.int64), truth)
        for p in rng.random((3, 2000))
    ]
    start = time.perf_counter()
    for metric in METRICS:
        estimate(metric, runs, drawn)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="a folder to keep it in; must be new")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch) / "compare"
        start = time.perf_counter()
        command = [sys.executable, "-c", "from icl.cli.tuneshot import main; main()"]
        done = subprocess.run([*command, "compare", "--out", str(out)], stdout=sys.stderr)
        if done.returncode:  # it has said why
            raise SystemExit(done.returncode)
        minutes = (time.perf_counter() - start) / 60
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        size = (out / "report.html").stat().st_size / 1e6
    cells = sum(len(summary["seeds"]) for _ in summary["points"])
    about = f"{len(summary['methods'])} methods, {len(summary['budgets'])} budgets"
    about += f", {len(summary['seeds'])} seeds, {summary['data']['test']} test messages"
    for name, value, unit in (
        (f"the default comparison: {about}", minutes, "minutes"),
        ("points of it, over all seeds", cells, ""),
        ("its report", size, "MB"),
        ("the intervals of one point, every metric", interval_seconds(), "s"),
    ):
        goal = GOALS.get(unit)
        record = {
            "name": name,
            "value": round(value, 2),
            "unit": unit,
            "goal": goal,
            "ok": None if goal is None else value <= goal,
            "peer": None,
            "machine": machine_name(),
        }
        print(to_json(record) if options.json else f"{name}: {value:.2f} {unit}")


if __name__ == "__main__":
    run_app(main)
