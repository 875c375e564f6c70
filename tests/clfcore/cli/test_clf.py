"""The ``clf`` command, as scripts and people use it."""

import json
import subprocess
import sys
from functools import partial

import pytest
import torch

from clfcore.cli.clf import main
from clfcore.data.split import content_hash, grouped_stratified_split
from clfcore.data.tables import read_labelled
from clfcore.model.classifier import TextClassifier
from clfcore.model.gpt import GPTModel
from clfcore.model.spec import GPTConfig, Reading
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta

CFG = GPTConfig(context_length=32, emb_dim=32, n_heads=2, n_layers=1)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tiny_model() -> TextClassifier:
    return TextClassifier(GPTModel(CFG, 2), Reading())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, a file of 120 labelled messages and a tiny untrained checkpoint."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines = [f"{'spam' if i % 4 == 0 else 'ham'}\t{'win ' if i % 4 == 0 else 'see you '}"
             f"{LETTERS[i % 26]}{LETTERS[i // 26]} now" for i in range(120)]  # fmt: skip
    (tmp_path / "sms").write_text("\n".join(lines) + "\n")
    torch.manual_seed(0)
    meta = Meta("tiny", ("ham", "spam"), CFG, about={"train": {"epochs": 1}})
    save_checkpoint(tmp_path / "tiny", tiny_model(), meta)
    return tmp_path


@pytest.fixture
def clf(home, command):
    """``clf`` with these arguments."""
    return partial(command, main, "clf")


@pytest.fixture
def trained_on_columns(home):
    """A checkpoint that was trained on the columns "was" and "art" of a table."""
    columns = {"text_column": "was", "label_column": "art"}
    meta = Meta("tiny", ("ham", "spam"), CFG, about={"data": {"columns": columns}})
    save_checkpoint(home / "german", tiny_model(), meta)
    rows = "".join(f"{i},see you {i},ham,x\n{i},win {i},spam,y\n" for i in range(3))
    (home / "german.csv").write_text(f"lfd,was,art,wo\n{rows}")
    return home


def evaluated(clf, *arguments):
    status, out, err = clf("evaluate", "--json", *arguments)
    return json.loads(out)["messages"] if status == 0 else err


def test_a_checkpoint_remembers_the_columns_it_was_trained_on(clf, trained_on_columns):
    table = ("--data", "german.csv")
    assert evaluated(clf, *table, "--checkpoint", "german") == 6
    assert "no column 'text'" in evaluated(clf, *table, "--checkpoint", "tiny")
    _, out, _ = clf("classify", "--file", "german.csv", "--checkpoint", "german", "--json")
    assert [json.loads(line)["text"] for line in out.splitlines()][:2] == ["see you 0", "win 0"]


def test_a_table_without_the_remembered_columns_is_read_as_any_other(clf, trained_on_columns):
    for name, text in {
        "usual.csv": "text,label\nhi,ham\nwin,spam\n",
        "sms": "ham\thi\nspam\twin\nham\tsee you\nspam\twin now\n",
    }.items():
        (trained_on_columns / name).write_text(text)
        found = evaluated(clf, "--data", name, "--checkpoint", "german")
        assert found == text.count("\n") - text.startswith("text")
    (trained_on_columns / "lines.txt").write_text("was ist, was war\nein Satz\n")
    _, out, _ = clf("classify", "--file", "lines.txt", "--checkpoint", "german", "--json")
    assert json.loads(out.splitlines()[0])["text"] == "was ist, was war"


def test_what_the_user_says_goes_before_what_the_checkpoint_remembers(clf, trained_on_columns):
    arguments = ("--file", "german.csv", "--checkpoint", "german", "--json")
    _, out, _ = clf("classify", *arguments, "--text-column", "wo")
    assert json.loads(out.splitlines()[0])["text"] == "x"
    status, _, err = clf("classify", *arguments, "--text-column", "nichts")
    assert (status, "has no column 'nichts'; its header is: lfd, was" in err) == (1, True)


def test_figures_on_messages_that_were_learned_from_are_marked(clf, home):
    examples = read_labelled(home / "sms")
    about = {"data": {"sha256": "of more", "learned_from": content_hash(examples)}}
    save_checkpoint(home / "own", tiny_model(), Meta("tiny", ("ham", "spam"), CFG, about=about))
    for data, marked in ({"sms": True, "other.tsv": False}).items():
        (home / "other.tsv").write_text("label\ttext\nham\thi\nspam\twin\n")
        _, _, err = clf("evaluate", "--data", data, "--checkpoint", "own")
        assert ("note: tiny has learned from these messages; ask about others" in err) == marked
    with_test = ("--data", "sms", "--test", "other.tsv", "--checkpoint", "own", "--part", "test")
    assert evaluated(clf, *with_test) == 2


def test_columns_are_remembered_only_as_names(clf, trained_on_columns):
    path = trained_on_columns / "german" / "meta.json"
    for columns in ({"text_column": 7}, ["was"], "was"):
        record = json.loads(path.read_text())
        record["about"]["data"]["columns"] = columns
        path.write_text(json.dumps(record))
        assert "damaged: about.data must be" in evaluated(
            clf, "--data", "german.csv", "--checkpoint", "german"
        )


def test_what_is_shown_of_the_data_is_what_the_chosen_base_reads(clf, home):
    (home / "long.csv").write_text("text,label\n" + f"{' '.join(['so'] * 400)},ham\nhi,spam\n" * 3)
    _, out, _ = clf("data", "show", "--data", "long.csv")
    assert "the longest has 400 tokens, gpt2-mini reads 256" in " ".join(out.split())
    assert "3 messages have more than 256 tokens" in " ".join(out.split())
    _, out, _ = clf("data", "show", "--data", "long.csv", "--base", "gpt2", "--json")
    assert (json.loads(out)["base"], json.loads(out)["survey"]["truncated"]) == ("gpt2", 0)


def test_json_is_one_object_a_line_in_input_order(clf, home):
    (home / "more.tsv").write_text("n\ttext\n1\tthird\n2\tfourth\n")
    status, out, _ = clf(
        "classify", "first", "second", "--file", "more.tsv", "--checkpoint", "tiny", "--json"
    )
    records = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [record["text"] for record in records] == ["first", "second", "third", "fourth"]
    for record in records:
        assert {"text", "label", "probabilities", "ms"} <= set(record)
        assert list(record["probabilities"]) == ["ham", "spam"]
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert record["ms"] > 0


def test_awkward_messages_come_back_unchanged_and_cannot_touch_the_terminal(clf, home):
    awkward = ["", "<b>x</b>", "{text} %s", "[red]x[/red]", "مرحبا", "😀", "a\tb", "\x1b[31mred"]
    (home / "awkward.txt").write_text("\n".join(awkward) + "\n", encoding="utf-8")
    arguments = ("classify", "--file", "awkward.txt", "--checkpoint", "tiny")
    status, out, _ = clf(*arguments, "--json")
    assert status == 0
    assert [json.loads(line)["text"] for line in out.splitlines()] == awkward
    status, out, _ = clf(*arguments)
    assert status == 0
    assert "\x1b" not in out
    assert "[red]x[/red]" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("classify", "hi", "--checkpoint", "nowhere"), "no checkpoint at nowhere"),
        (("classify", "--file", "nowhere.txt"), "cannot read nowhere.txt"),
        (("classify", "--file", "binary.txt"), "binary.txt is a binary file, no text; give a"),
        (("evaluate", "--data", "nolabels", "--checkpoint", "tiny"), "expected label, a tab"),
        (("evaluate", "--data", "sms", "--part", "some"), "choose from train, val, test, all"),
        (("train", "--data", "sms", "--layers", "some"), "choose from last_layer, last_block"),
        (("train", "--data", "sms", "--epochs", "0"), "epochs must be 1 or more"),
        (("train", "--data", "sms", "--out", "."), "is not a checkpoint; choose another --out"),
        (
            ("train", "--data", "sms", "--base", "./nothing"),
            "is not there; give a Hugging Face",
        ),
        (("data", "fetch", "--from", "sms"), "not the original SMS Spam Collection"),
        (("inspect", "--checkpoint", "nowhere"), "make one: clf train"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(clf, home, monkeypatch, arguments, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (home / "binary.txt").write_bytes(bytes(range(256)) * 4)
    (home / "nolabels").write_text("just text\n")
    status, out, err = clf(*arguments)
    assert (status, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("classify", "--colour"), ("train", "--epochs", "two"), ()])
def test_bad_usage_is_status_2(clf, arguments):
    status, _out, err = clf(*arguments)
    assert status == 2
    assert "Traceback" not in err


def test_no_message_at_all_is_bad_usage(home):
    done = subprocess.run(
        [sys.executable, "-m", "clfcore", "classify"], input=b"", capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"give at least one TEXT" in done.stderr


def test_messages_can_be_piped_in(home):
    done = subprocess.run(
        [sys.executable, "-m", "clfcore", "classify", "--checkpoint", "tiny", "--json"],
        input=b"one\ntwo\n",
        capture_output=True,
        check=True,
    )
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]


def test_help_imports_no_model_library():
    program = (
        "import sys\n"
        "from clfcore.cli.clf import app\n"
        "app(['classify', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"[]"


def test_evaluate_prints_the_metrics_as_json(clf, home):
    status, out, _ = clf("evaluate", "--data", "sms", "--checkpoint", "tiny", "--json")
    record = json.loads(out)
    assert status == 0
    assert (record["part"], record["messages"]) == ("all", 120)
    assert record["majority"]["value"] == 0.75
    assert record["accuracy"]["low"] <= record["accuracy"]["value"] <= record["accuracy"]["high"]
    assert sum(map(sum, record["confusion"])) == 120
    assert set(record["recall"]) == {"ham", "spam"}
    assert 0 <= record["calibration_error"] <= 1


def test_a_model_is_judged_on_messages_it_has_not_learnt(clf, home):
    """Trained on this very data: the test part is the default."""
    examples = read_labelled(home / "sms")
    about = {"data": {"sha256": content_hash(examples), "split_seed": 3}}
    save_checkpoint(home / "tiny", tiny_model(), Meta("tiny", ("ham", "spam"), CFG, about=about))
    _, out, _ = clf("evaluate", "--data", "sms", "--checkpoint", "tiny", "--json")
    record = json.loads(out)
    test = grouped_stratified_split(examples, seed=3).test
    assert record["part"] == "test"
    assert record["data_sha256"] == content_hash(examples[row] for row in test)


def test_inspect_shows_what_a_checkpoint_says_about_itself(clf):
    status, out, _ = clf("inspect", "--checkpoint", "tiny")
    assert status == 0
    assert "model.emb_dim" in out
    assert "about.train.epochs" in out


def test_data_show_counts_the_parts(clf):
    status, out, _ = clf("data", "show", "--data", "sms")
    assert status == 0
    assert "120 distinct messages" in out


def test_data_show_tells_a_program_and_a_person_the_same(clf):
    _, out, _ = clf("data", "show", "--data", "sms")
    status, line, _ = clf("data", "show", "--data", "sms", "--json")
    record = json.loads(line)
    assert status == 0
    assert {part: record["parts"][part]["messages"] for part in ("train", "val", "test")} == {
        "train": 84, "val": 12, "test": 24
    }  # fmt: skip
    assert record["parts"]["all"]["labels"] == record["survey"]["labels"] == {"ham": 90, "spam": 30}
    assert record["warnings"] == [
        "the commonest label has 3.0 times the messages of the rarest; see --balance"
    ]
    assert "3.0 times" in out
    assert record["parts"]["test"]["sha256"][:12] in out
    card = record["card"]
    assert (card["instances"], card["imbalance"], card["licence"]) == (120, 3, None)
    told = card["characters"]
    assert f"{told['shortest']} – {told['longest']}, median {told['median']:.5g}" in out
    assert "3.00 : 1" in out


def test_data_show_helps_where_the_split_refuses(clf, home):
    (home / "own.csv").write_text("Farbe,Nachricht,Art\nrot,hi,ham\nblau,win,spam\n")
    arguments = ("data", "show", "--data", "own.csv", "--text-column", "nachricht")
    status, _, err = clf(*arguments)
    assert status == 1
    assert (
        "its header is: Farbe, Nachricht, Art; name the column so, or say which it is with" in err
    )
    status, out, _ = clf(*arguments, "--label-column", "art")
    assert status == 0
    assert "label 'spam' has 1 different message" in " ".join(out.split())


def test_fine_tuning_a_pretrained_gpt2_from_a_folder(clf, home):
    """The whole of `clf train` on a random GPT-2: split, fit, calibrate, save, judge."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(n_positions=32, n_embd=32, n_head=2, n_layer=2)).save_pretrained(
        home / "random-gpt2"
    )
    arguments = ("train", "--data", "sms", "--base", home / "random-gpt2", "--out", "run",
                 "--layers", "all", "--learning-rate", "0.01", "--epochs", "6")  # fmt: skip
    status, out, err = clf(*arguments)
    assert status == 0, err
    assert "checkpoint: run" in out
    meta = json.loads((home / "run/meta.json").read_text())
    assert meta["name"] == "random-gpt2"
    assert len(meta["about"]["train"]["history"]) == 6
    assert meta["about"]["test_metrics"]["accuracy"]["value"] > 0.9  # "win" is a strong hint
    _, out, _ = clf("classify", "win zz now", "see you zz now", "--checkpoint", "run", "--json")
    assert [json.loads(line)["label"] for line in out.splitlines()] == ["spam", "ham"]
