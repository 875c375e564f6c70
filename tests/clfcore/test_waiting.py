"""Two programs on the same cores: threads that wait leave the processor to the other one."""

import os
import subprocess
import sys

import pytest

SPINS = (
    "import os, clfcore; print(os.environ['OMP_WAIT_POLICY'], 'torch' in __import__('sys').modules)"
)


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_wait_without_spinning_unless_told_otherwise(given, policy):
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given is not None:
        env["OMP_WAIT_POLICY"] = given
    done = subprocess.run(
        [sys.executable, "-c", SPINS], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [policy, "False"], "before PyTorch reads it"
