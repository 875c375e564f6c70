"""Commands of a user whose home is read-only: the same answers, and at most one line about it."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.support.disks import AS_A_USER
from tests.support.doubles import EXAMPLES, save_tiny_lm

pytestmark = pytest.mark.slow

COMMANDS = {
    "clf classify": 0, "clf plot --out {tmp}/curves.png": 0, "clf check-cache": 0,
    "icl classify --lm {tmp}/lm --pool {tmp}/pool.tsv -k 2": 1,
    "tuneshot classify --lm {tmp}/lm --pool {tmp}/pool.tsv -k 2": 1,
}  # fmt: skip
MESSAGE = "You have won a prize"


@pytest.fixture(scope="module")
def tmp(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tmp")
    save_tiny_lm(folder / "lm")
    (folder / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    for home in ("writable", "read-only"):
        (folder / home).mkdir()
    (folder / "read-only").chmod(0o555)
    return folder


def run(tmp, home, command):
    program, *arguments = command.format(tmp=tmp).split()
    module = {"clf": "clfcore.cli.clf", "icl": "icl.cli.icl", "tuneshot": "icl.cli.tuneshot"}
    names = ("TUNESHOT_CACHE", "TUNESHOT_DATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    main = f"import sys; from {module[program]} import main; sys.exit(main())"
    message = [MESSAGE] if "classify" in command else []
    return subprocess.run(
        [*AS_A_USER, sys.executable, "-c", main, *arguments, *message],
        env={**environment, "HOME": str(tmp / home)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_answer_is_the_same_and_at_most_one_line_says_what_is_not_kept(tmp, command):
    if AS_A_USER and not shutil.which("setpriv"):
        pytest.skip("rights do not bind root here; needs setpriv")
    usual, read_only = (run(tmp, home, command) for home in ("writable", "read-only"))
    assert (usual.returncode, read_only.returncode) == (0, 0), read_only.stderr
    shown = [re.sub(r"[\d,]+ ms", "", done.stdout) for done in (usual, read_only)]
    assert shown[0].replace("writable", "read-only") == shown[1]
    more = [line for line in read_only.stderr.splitlines() if line not in usual.stderr]
    assert len(more) == COMMANDS[command]
    assert all("set TUNESHOT_CACHE to a folder that can be written" in line for line in more)
    assert list((tmp / "read-only").iterdir()) == []
