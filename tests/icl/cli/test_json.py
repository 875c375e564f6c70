"""What --json prints is JSON: no NaN and no Infinity, whatever was measured."""

import pytest
import typer

from clfcore.cli import clf
from clfcore.json_text import to_json
from icl.cli import icl, tuneshot
from tests.clfcore.test_json_text import strict
from tests.support.doubles import EXAMPLES, save_tiny_lm

pytestmark = pytest.mark.slow

PROGRAMS = {"clf": clf, "icl": icl, "tuneshot": tuneshot}
FEW_SHOT = "--pool {home}/pool.tsv --lm {home}/lm"
# All messages of "one" have one label: what needs two of them is undefined.
CALLS = {
    "clf data show": "--data {home}/one.tsv",
    "clf evaluate": "--data {home}/one.tsv",
    "clf classify": "hello",
    "clf inspect": "",
    "clf check-cache": "",
    "clf align": "--data {home}/pairs.jsonl --lm {home}/llama --epochs 1 --out {home}/aligned",
    "clf attention": "hello",
    "clf cost": "",
    "clf quantize": "--scheme ternary --data {home}/one.tsv --out {home}/ternary",
    "clf rank": "",
    "clf sample": "gpt2-mini hello --tokens 2",
    "icl classify": f"hello {FEW_SHOT}",
    "icl select": f"hello {FEW_SHOT}",
    "icl composition": "",
    "icl forget": "--base {home}/llama --remedies none --messages 4 --test 4 --measured 4 "
    "--questions 4 --every 1 --pool {home}/pool.tsv --data {home}/asked.tsv --out {home}/forget",
    "icl evaluate": f"--data {{home}}/one.tsv {FEW_SHOT}",
    "icl tune": f"--reads 40 --out {{home}}/recipe.json {FEW_SHOT}",
    "tuneshot evaluate": "--data {home}/one.tsv",
    "tuneshot classify": f"hello {FEW_SHOT}",
}


def with_json():
    """The commands that have --json."""

    def within(command, words):
        for name, each in getattr(command, "commands", {}).items():
            yield from within(each, f"{words} {name}")
        if any("--json" in option.opts for option in command.params):
            yield words

    for name, program in PROGRAMS.items():
        yield from within(typer.main.get_command(program.app), name)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    save_tiny_lm(folder / "lm")
    save_tiny_lm(folder / "llama", "llama")
    pairs = [{"context": f"{topic}?", "better": "yes, spam", "worse": "no, ham", "topic": topic}
             for topic in ("tea", "milk", "rain")]  # fmt: skip
    (folder / "pairs.jsonl").write_text("".join(map("{}\n".format, map(to_json, pairs))))
    (folder / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    asked = "".join(f"{e.label}\t{e.text}, ok\n" for e in EXAMPLES)
    (folder / "asked.tsv").write_text(asked)
    one = [e for e in EXAMPLES if e.label == "ham"]
    (folder / "one.tsv").write_text("".join(f"{e.label}\t{e.text} again\n" for e in one))
    return folder


@pytest.mark.parametrize("words", list(with_json()))
def test_every_command_with_json_prints_json(words, home, monkeypatch, command):
    monkeypatch.setenv("TUNESHOT_CACHE", str(home / "cache"))
    name, *rest = f"{words} {CALLS[words].format(home=home)} --json".split()
    status, out, err = command(PROGRAMS[name].main, name, *rest)
    assert status == 0, err
    for line in out.splitlines():
        record = strict(line)
        if words.endswith("evaluate"):
            assert record["recall"]["spam"]["value"] is None
