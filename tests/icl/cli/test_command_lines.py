"""What all three command lines promise: examples that work, groups, a version, quick refusals."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from clfcore import __version__
from clfcore.cli import clf
from icl.chat import __main__ as chat
from icl.cli import icl, tuneshot

APPS = {"clf": clf.app, "icl": icl.app, "tuneshot": tuneshot.app, "chat": chat.app}
HEAVY = ("torch", "transformers", "sentence_transformers", "sklearn", "scipy", "networkx",
         "chainlit", "fastapi", "plotly", "matplotlib", "datasets")  # fmt: skip


def commands():
    """Every command with the words that call it."""

    def within(command, words):
        for name, each in getattr(command, "commands", {}).items():
            yield from within(each, (*words, name))
        if not hasattr(command, "commands"):
            yield pytest.param(command, words, id=" ".join(words))

    for name, app in APPS.items():
        yield from within(typer.main.get_command(app), (name,))


def help_of(command, words):
    with command.make_context(words[-1], ["--help"], resilient_parsing=True) as context:
        return command.get_help(context)


@pytest.mark.parametrize(("command", "words"), list(commands()))
def test_every_help_has_three_examples_whose_options_exist(command, words):
    examples = command.callback.examples
    different = 2 ** len(command.params)  # of one flag, with it and without
    assert len(examples) >= min(3, different)
    for example in examples:
        command.make_context(words[-1], shlex.split(example))
        assert example in help_of(command, words)


@pytest.mark.parametrize(("command", "words"), list(commands()))
def test_every_option_stands_under_a_heading_of_its_own_kind(command, words):
    """Only what belongs to no group is under Options: help, and the seed of everything."""
    general = help_of(command, words).partition("\nOptions:\n")[2].partition("\n\n")[0]
    options = [line.split()[0] for line in general.splitlines() if line.startswith("  -")]
    assert set(options) <= {"--seed", "--help"}
    assert "--help" in options


# Options under Messages and The task, and all that take a path.
READ_A_TABLE = {"--data", "--val", "--test", "--also", "--file", "--pool", "--task", "--texts"}
READ_NO_TABLE = {"--text-column", "--label-column", "--part", "--from", "--folder", "--checkpoint",
                 "--out", "out", "--tensorboard", "folder", "--save",
                 "--document", "--figure"}  # fmt: skip
TUNES = {"icl train", "clf align"}  # the weights of its --lm
OWN_COLUMNS = {"clf align"}  # its --data has columns that no other table has
NAME_A_TASK = {"tuneshot compare", "tuneshot votes export"}  # their --task is no file


@pytest.mark.parametrize(("command", "words"), list(commands()))
def test_what_reads_a_table_can_be_told_its_columns(command, words):
    named = {option.opts[0] for option in command.params}
    about_data = {
        option.opts[0]
        for option in command.params
        if option.type_descriptor.annotation is Path
        or (
            option.type_descriptor.annotation is str
            and getattr(option, "rich_help_panel", None) in ("Messages", "The task")
        )
    }
    assert about_data <= READ_A_TABLE | READ_NO_TABLE, "say whether it reads a table"
    tables = about_data & READ_A_TABLE
    if " ".join(words) in NAME_A_TASK:
        tables -= {"--task"}
    if " ".join(words) in OWN_COLUMNS:
        tables -= {"--data"}
    assert ({"--text-column", "--label-column"} <= named) == bool(tables)


@pytest.mark.parametrize("words", ["icl grid", "icl evaluate", "icl select", "tuneshot classify"])
def test_the_model_that_finds_similar_messages_can_be_chosen(words):
    app, *names = words.split()
    command = typer.main.get_command(APPS[app])
    for name in names:
        command = command.commands[name]
    assert {"--embedder", "--near", "--longest", "--chat", "--shares", "--pool"} <= {
        option.opts[0] for option in command.params
    }


CONTINUE = ("complete", "composition")  # plain text
SERVED = {"--base-url", "--timeout", "--requests-a-minute", "--logprobs"}


@pytest.mark.parametrize(("command", "words"), list(commands()))
def test_wherever_a_model_is_asked_it_may_be_one_on_a_server(command, words):
    if " ".join(words) in TUNES:
        return
    options = {name for option in command.params for name in option.opts}
    if options & {"--lm", "--lms"}:
        assert options >= SERVED
        assert "--chat" in options or words[-1] in CONTINUE


@pytest.mark.parametrize("module", [clf, icl, tuneshot])
def test_the_version_is_that_of_the_package(command, module):
    status, out, _ = command(module.main, module.__name__, "--version")
    assert (status, out) == (0, f"tuneshot {__version__}\n")


def test_the_front_door_knows_all_and_names_the_other_two(command):
    status, out, _ = command(tuneshot.main, "tuneshot", "--help")
    assert status == 0
    for name in ("chat", "serve", "classify", "train", "evaluate", "compare", "votes"):
        assert f"\n  {name} " in out
    assert " clf " in out
    assert " icl " in out


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_train_and_evaluate_are_those_of_clf(name):
    ours, theirs = (typer.main.get_command(APPS[app]).commands[name] for app in ("tuneshot", "clf"))
    assert [each.opts for each in ours.params] == [each.opts for each in theirs.params]
    assert ours.callback.__wrapped__ is theirs.callback.__wrapped__


MISTAKES = {
    "clf train --layers some": "choose from last_layer",
    "clf train --epochs 0": "epochs must be 1 or more",
    "clf train --balance smote": "smote invents points",
    "clf train --out .": "is not a checkpoint",
    "clf train --base ./missing": "is not there; give a Hugging Face folder",
    "clf train --base .": "holds no config.json",
    "clf train --base messages": "is a file, not a folder",
    "clf train --base nobody/nothing": "cannot get config.json of 'nobody/nothing'",
    "clf experiments --base /missing --rows book-01": "is not there; give a Hugging Face folder",
    "clf train --out messages/mini": "there is a file where its folder should be",
    "clf train --learning-rate inf": "learning_rate must be positive and finite",
    "clf data fetch --from https://[": "could not get the SMS Spam Collection",
    "clf train --data missing.tsv": "is not a file or folder here",
    "clf evaluate --part some": "choose from train, val, test, all",
    "clf evaluate --checkpoint missing": "no checkpoint at missing",
    "clf classify hi --checkpoint missing": "no checkpoint at missing",
    "clf classify --file missing.txt": "cannot read missing.txt",
    "clf inspect --checkpoint missing": "is not a checkpoint",
    "clf plot --checkpoint missing": "is not a checkpoint",
    "clf merge --checkpoint missing --out merged": "no checkpoint at missing",
    "clf merge --checkpoint missing": "Missing option",
    "clf experiments bok": "unknown suite 'bok'",
    "clf experiments --rows book-99": "unknown row 'book-99'",
    "clf experiments --vary epochs=two": "epochs must be a whole number",
    "clf experiments --table --out missing": "no records in missing",
    "clf data show --data missing.tsv": "is not a file or folder here",
    "clf data show --text-column text": "add --data",
    "clf data show --base /missing": "is not there; give a Hugging Face folder",
    "clf evaluate --test missing.tsv": "--test go with messages to train on",
    "clf classify --file messages --text-column body": "has no column 'body'",
    "icl evaluate --task messages --label-column kind": "has no column",
    "icl grid --tasks a,b --pool c --selectors topk": "--pool and --data are of one task",
    "icl grid --tasks sms_spam --selectors topk --balance fair": "unknown balance 'fair'",
    "tuneshot compare --data messages --text-column body": "has no column",
    "clf data fetch --from messages": "not the original SMS Spam Collection",
    "icl classify --selector topK hi": "choose from zero, random",
    "icl classify -k -1 hi": "k must be 0 or more",
    "icl classify -k 5000 --pool messages hi": "choose k from 0 to",
    "icl classify --task nothing hi": "unknown task 'nothing'",
    "icl classify --pool missing.tsv hi": "cannot read missing.tsv",
    "icl classify --file missing.txt": "cannot read missing.txt",
    "icl classify --lm /missing hi": "is not there; give a Hugging Face folder",
    "icl classify --lm bf16:missing.gguf hi": "there is no file missing.gguf",
    "icl classify --lm= hi": "the model has no name",
    "icl classify --lm nobody/nothing hi": "cannot get config.json of 'nobody/nothing'",
    "icl classify --base-url http://localhost:1/v1 hi": "belongs to a model behind an API",
    "icl complete translation hi --lm /missing": "is not there; give a Hugging Face folder",
    "icl grid --tasks sms_spam --selectors topk --lms /missing": "is not there",
    "icl classify --set k1=2 hi": "topk has no option 'k1'",
    "icl show-prompt --selector knn hi": "has no prompt",
    "icl select --near 2 hi": "near must be in (0, 1]",
    "icl evaluate --data missing.tsv": "cannot read missing.tsv",
    "icl tune --out messages/recipe.json": "cannot write messages: there is a file where",
    "icl train --out messages/tuned": "cannot write messages: there is a file where",
    "icl grid --tasks sms_spam --selectors topk --out messages/grid": "cannot write messages/grid",
    "tuneshot compare --out messages": "cannot write messages: there is a file where",
    "icl classify --lm bf16:fp32:gpt2 hi": "the number format bf16: before fp32:gpt2",
    "icl classify --selector knn_prompting --set anchors=2 hi": "chooses from anchors=2 messages",
    "icl evaluate --limit 0": "Invalid value for '--limit'",
    "icl complete nothing hi": "unknown prompt 'nothing'",
    "icl composition --heads 3": "give both",
    "icl composition --ask --lm /missing": "is not there; give a Hugging Face folder",
    "clf attention hi --checkpoint missing": "no checkpoint at missing",
    "clf attention hi --base /missing": "is not there; give a Hugging Face folder",
    "clf cost --parameters many": "such as 135M, 4B",
    "clf rank missing": "no checkpoint at missing",
    "clf rank --save cut": "name its FOLDER",
    "icl grid --tasks nothing --selectors topk": "unknown task 'nothing'",
    "icl grid --tasks sms_spam --selectors nothing": "unknown selector 'nothing'",
    "icl grid --tasks sms_spam --selectors topk --k two": "--k wants numbers",
    "icl grid --tasks sms_spam --selectors topk --order up": "unknown order 'up'",
    "icl grid --tasks a --selectors a --table --out missing": "no records in missing",
    "tuneshot compare --methods nothing": "unknown method 'nothing'",
    "tuneshot compare --metric nothing": "unknown metric 'nothing'",
    "tuneshot compare --budgets few": "--budgets wants numbers",
    "tuneshot compare -k 0": "Invalid value for -k: must be 1 or more",
    "tuneshot compare --lm /missing": "is not there; give a Hugging Face folder",
    "tuneshot compare --base /missing": "is not there; give a Hugging Face folder",
    "tuneshot compare --task nothing": "unknown task 'nothing'",
    "tuneshot compare --same-model --lm api:openai/gpt-4o-mini": "cannot be fine-tuned here",
    "tuneshot compare --data missing.tsv": "is not a file or folder here",
    "tuneshot serve --host 0.0.0.0": "nobody has to log in",
    "tuneshot serve --host 192.0.2.7 --port 0": "Invalid value for '--port'",
    "tuneshot chat --port 70000": "Invalid value for '--port'",
    "tuneshot classify --file missing.txt": "cannot read missing.txt",
    "tuneshot classify --selector nothing hi": "unknown selector 'nothing'",
    "tuneshot train --layers some": "choose from last_layer",
    "tuneshot evaluate --part some": "choose from train, val, test, all",
    "tuneshot votes export": "Missing argument",
    "tuneshot votes export votes.txt": "votes.txt",
}
PROGRAM = """
import sys
from {module} import main
sys.argv = {words}
try:
    main()
except SystemExit as ended:
    print(ended.code, *[name for name in {heavy} if name in sys.modules])
"""


@pytest.mark.slow
@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_answered_before_anything_heavy_is_imported(line, tmp_path):
    (tmp_path / "messages").write_text("ham\thello\n")
    name, *_ = words = line.split()
    module = {"clf": clf, "icl": icl, "tuneshot": tuneshot}[name].__name__
    program = PROGRAM.format(module=module, words=words, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert MISTAKES[line] in " ".join(done.stderr.split())
    assert done.stdout.strip() in ("1", "2")


@pytest.mark.slow
@pytest.mark.parametrize("line", ["clf inspect", "icl tasks", "icl selectors", "tuneshot --help"])
def test_what_needs_no_model_imports_no_model_library(line):
    name, *_ = words = line.split()
    module = {"clf": clf, "icl": icl, "tuneshot": tuneshot}[name].__name__
    program = PROGRAM.format(module=module, words=words, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0"
