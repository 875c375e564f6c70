"""Commands that write, on a disk that fills up meanwhile: one line, and nothing half-written."""

import errno
import re

import pytest

from clfcore.cli import clf
from icl.cli import icl, tuneshot
from icl.session import votes
from icl.session.votes import Vote
from tests.support.disks import full_disk
from tests.support.doubles import EXAMPLES, save_tiny_lm, save_tiny_trunk

CHEAP = "--epochs 1 --layers last_layer"
KNN = "--methods knn,majority --budgets 8 --seeds 1 --no-robust --jobs 1"

# What each command is, and what may be there afterwards: a killed run continues with it.
COMMANDS = {
    "clf train": (clf.main, f"clf train --data {{data}} {CHEAP} --out {{out}}/run", ""),
    "clf train --compact": (
        clf.main, f"clf train --data {{data}} {CHEAP} --compact --out {{out}}/run", "",
    ),
    "clf train, as it saves its state": (
        clf.main,
        "clf train --data {data} --epochs 1 --layers last_block --save-every 0 --out {out}/run", "",
    ),
    "clf train --tensorboard": (
        clf.main, f"clf train --data {{data}} {CHEAP} --tensorboard {{out}}/tb --out {{home}}/run",
        "tb|tb/events.*",
    ),
    "clf pretrain": (
        clf.main, "clf pretrain --base {home}/trunk --data {data} --epochs 1 --out {out}/run", "",
    ),
    "clf merge": (clf.main, "clf merge --checkpoint {home}/lora --out {out}/run", ""),
    "clf plot": (clf.main, "clf plot --checkpoint {home}/lora --out {out}/curves.svg", ""),
    "clf experiments": (
        clf.main,
        "clf experiments --rows book-03 --set epochs=1 --seeds 1 --data {data} --out {out}/e",
        "e|e/records.jsonl|e/answers.*",
    ),
    "icl train": (
        icl.main,
        "icl train --pool {data} --lm {home}/lm --examples 0 --epochs 1 --out {out}/lm", "",
    ),
    "icl tune": (
        icl.main, "icl tune --pool {data} --lm {home}/lm --reads 40 --out {out}/r.json", "",
    ),
    "icl grid": (
        icl.main,
        "icl grid --pool {data} --tasks sms_spam --lms {home}/lm --selectors topk --seeds 1 "
        "--data {home}/asked.tsv --limit 4 --out {out}/g",
        "g|g/records.jsonl|g/answers.*",
    ),
    "tuneshot compare": (
        tuneshot.main, f"tuneshot compare --data {{data}} {KNN} --out {{out}}/c",
        "c|c/records.jsonl|c/answers.*",
    ),
    "tuneshot votes export": (tuneshot.main, "tuneshot votes export {out}/votes.tsv", ""),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """What the commands read; it lies on another disk."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_lm(folder / "lm")
    save_tiny_trunk(folder / "trunk")
    rows = [f"{e.label}\t{e.text} {n}\n" for n in range(8) for e in EXAMPLES]
    (folder / "data.tsv").write_text("".join(rows))
    (folder / "asked.tsv").write_text("".join(f"{e.label}\tI say {e.text}\n" for e in EXAMPLES))
    votes.record(Vote("", "", "1", "win", {"task": "sms_spam"}, (), "spam"), folder / "votes.jsonl")
    lora = f"clf train --data {folder}/data.tsv --layers lora --epochs 1 --out {folder}/lora"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", lora.split())
        with pytest.raises(SystemExit):
            clf.main()
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_ends_the_command_in_one_line(name, home, tmp_path, command, monkeypatch):
    main, words, may_stay = COMMANDS[name]
    monkeypatch.setenv("TUNESHOT_CACHE", str(home / "cache"))
    monkeypatch.setenv("TUNESHOT_DATA", str(home))
    out = tmp_path / "out"
    out.mkdir()
    words = words.format(home=home, data=home / "data.tsv", out=out).split()
    with full_disk(out, errno.ENOSPC):
        status, _, err = command(main, *words)
    *before, last = err.splitlines()
    assert status == 1, err
    assert re.match(r"error: .*(No space left on device|File too large)", last), err
    assert "Traceback" not in err
    assert not any(line.startswith("error") for line in before)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*")}
    assert {path for path in left if not re.fullmatch(may_stay, path)} == set()
