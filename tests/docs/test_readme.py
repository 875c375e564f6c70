"""Every command of the README does what the README says; every figure comes from a record."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CORPUS = ROOT.parent / "shared/data/sms_spam/SMSSpamCollection"
COMMANDS = [
    line.split("    #")[0].rstrip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.S)
    for line in block.splitlines()
]
BIN = Path(sys.executable).parent


def commands(*starts: str) -> list[str]:
    return [command for command in COMMANDS if command.startswith(starts)]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Runs a command as a reader would, with this environment's programs, offline."""
    folder = tmp_path_factory.mktemp("readme")

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            shell=True,
            cwd=folder,
            text=True,
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"},
        )

    return run


def test_every_command_is_looked_at_here():
    known = commands("make", "clf", "icl", "tuneshot", "python3.11 -m venv", ".venv/bin/")
    assert known == COMMANDS
    assert len(COMMANDS) > 15


QUICK = [c for c in commands("clf", "icl", "tuneshot") if "fetch" not in c and "train" not in c]


@pytest.mark.slow
@pytest.mark.parametrize("command", QUICK)
def test_a_command_of_the_readme_works(shell, command):
    done = shell(command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_fetching_brings_the_corpus_or_says_how(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    (command,) = commands("clf data fetch")
    done = shell(f"{command} --from {CORPUS}" if CORPUS.exists() else command)
    if done.returncode:
        assert done.returncode == 1
        assert "clf data fetch --from FILE" in done.stderr
    else:
        assert (tmp_path / "sms_spam/SMSSpamCollection").exists()


@pytest.mark.rebuild
def test_gpt2_mini_can_be_made_again(shell, tmp_path_factory):
    """The whole recipe, offline. With the corpus where it is; else on the sample messages."""
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^model:.*\n\t\$\(BIN\)/(.*)", recipes, flags=re.M)
    data = f" --data {CORPUS}" if CORPUS.exists() else ""
    done = shell(f"{command}{data} && clf inspect --checkpoint runs/gpt2-mini --json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["about"]["test_metrics"]
    assert found["auc"] > (0.98 if CORPUS.exists() else 0.8)


@pytest.mark.slow
def test_the_few_shot_sides_own_model_can_be_fine_tuned(shell):
    """On thirty messages, and one of them is then classified."""
    (command,) = commands("clf train --base SmolLM2")
    rows = "".join(f"{label}\\t{word} {i}\\n" for i in range(15)
                   for label, word in (("spam", "win cash"), ("ham", "see you at")))  # fmt: skip
    done = shell(
        f"printf '{rows}' > thirty && {command} --data thirty --epochs 1"
        " && clf classify 'win cash 7' --checkpoint runs/smol"
    )
    assert done.returncode == 0, done.stderr
    assert "weights trained" in done.stdout


@pytest.mark.slow
def test_a_model_that_is_not_at_hand_is_one_line(shell):
    (command,) = commands("clf train --base gpt2 ")
    done = shell(f"HF_HOME=/nonexistent {command}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: cannot get config.json")


@pytest.mark.parametrize("command", commands("make"))
def test_make_knows_its_targets(command):
    subprocess.run(["make", "-n", command.split()[1]], cwd=ROOT, check=True, capture_output=True)


def test_the_plain_commands_are_those_of_make():
    recipes = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin").replace(" -q", "")
    recipes = recipes.replace("$(PYTHON)", "python3.11").replace(" --port $(PORT)", "")
    recipes = recipes.replace("\\\n", "")
    made = [shlex.split(line, comments=True) for line in recipes.splitlines()]
    for command in commands("python3.11", ".venv/bin/"):
        assert shlex.split(command) in made, command


RECORDS = ROOT / "docs/records"


def test_every_figure_of_the_readme_stands_in_a_record():
    """The table is written by docs/figures.py; running it again must change nothing."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/figures.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
