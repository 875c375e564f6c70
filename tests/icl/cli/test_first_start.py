"""Two first starts at once, on a machine whose cache is empty."""

import os
import subprocess
import sys

import pytest

from tests.support.doubles import EXAMPLES, save_tiny_lm
from tests.support.tiny_gguf import save_gguf


@pytest.mark.slow
def test_of_two_first_starts_at_once_one_converts_the_model_and_both_answer(tmp_path):
    save_gguf(save_tiny_lm(tmp_path / "lm", "llama"), tmp_path / "tiny.gguf")
    pool = tmp_path / "pool.tsv"
    pool.write_text("".join(f"{each.label}\t{each.text}\n" for each in EXAMPLES))
    command = [
        *(sys.executable, "-m", "icl", "classify", "win a prize", "--json"),
        *("--lm", str(tmp_path / "tiny.gguf"), "--pool", str(pool), "-k", "2"),
    ]
    environment = {**os.environ, "TUNESHOT_CACHE": str(tmp_path / "cache")}
    starts = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    (first, said), (second, also_said) = (each.communicate(timeout=300) for each in starts)
    assert [each.returncode for each in starts] == [0, 0], (said, also_said)
    assert (said + also_said).count("converting tiny") == 1
    assert '"label"' in first
    label = first.partition('"label"')[2].split(",")[0]
    assert label == second.partition('"label"')[2].split(",")[0]
    assert len([*(tmp_path / "cache" / "models").glob("tiny-*/config.json")]) == 1
