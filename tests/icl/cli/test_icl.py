import json
import subprocess
import sys
from functools import partial

import pytest

from icl.cli.icl import main
from tests.support.doubles import EXAMPLES, save_tiny_lm

STRANGE = {
    "empty": "",
    "100,000 characters": "prize " * 16_666 + "win!",
    "emoji": "😀🎉",
    "right to left": "مرحبا \u202e بالعالم",
    "HTML": "<script>alert(1)</script>",
    "markdown": "# **bold** [red]x[/red] `code`",
    "braces": "{text} {0} {{}} ${x} %s",
    "tabs": "a\tb\tc",
    "escape sequence": "\x1b[31mred\x07",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache, a tiny language model and a pool that all commands of this file share."""
    folder = tmp_path_factory.mktemp("home")
    save_tiny_lm(folder / "lm")
    (folder / "pool.tsv").write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    return folder


@pytest.fixture
def icl(home, monkeypatch, command):
    """``icl`` with these arguments."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(home / "cache"))
    return partial(command, main, "icl")


@pytest.fixture
def classify(icl, home):
    """``icl classify`` with the tiny pool and language model."""
    return lambda *rest: icl("classify", "--pool", home / "pool.tsv", "--lm", home / "lm", *rest)


def test_help_imports_no_model_library():
    program = (
        "import sys\n"
        "from icl.cli.icl import app\n"
        "app(['classify', '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert b"--selector" in done.stdout
    assert done.stdout.endswith(b"[]\n")


def test_json_has_the_promised_fields_one_object_a_line_in_input_order(classify, tmp_path):
    file = tmp_path / "messages.csv"
    file.write_text('text,other\n"win, ""now""",1\nsee you,2\n')
    code, out, _ = classify("--json", "--file", file, "--selector", "topk", "-k", "2")
    assert code == 0
    first, second = map(json.loads, out.splitlines())
    assert (first["text"], second["text"]) == ('win, "now"', "see you")
    assert first["label"] in {"ham", "spam"}
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert first["ms"] > 0
    assert first["prompt_tokens"] > 0
    assert [set(shown) for shown in first["demonstrations"]] == [
        {"text", "label", "similarity"}
    ] * 2


@pytest.mark.slow
def test_argument_file_and_stdin_are_three_spellings_of_one_input(classify, home, tmp_path):
    def answers(out):
        found = [{**json.loads(line), "ms": 0} for line in out.splitlines()]
        for answer in found:  # what the model has read before changes the last digits
            answer["probabilities"] = {n: round(p, 4) for n, p in answer["probabilities"].items()}
        return found

    file = tmp_path / "messages.txt"
    file.write_text("win a prize\nsee you\n")
    options = ("--json", "--selector", "random")
    by_argument = answers(classify(*options, "win a prize", "see you")[1])
    by_file = answers(classify(*options, "--file", file)[1])
    command = [sys.executable, "-m", "icl", "classify", "--pool", home / "pool.tsv",
               "--lm", home / "lm", *options]  # fmt: skip
    by_stdin = subprocess.run(command, input=file.read_bytes(), capture_output=True, check=True)
    assert by_argument == by_file == answers(by_stdin.stdout)
    assert len(by_file) == 2


def test_strange_messages_are_answered_and_never_interpreted(classify, tmp_path):
    file = tmp_path / "strange.csv"
    rows = [text.replace('"', '""') for text in [*STRANGE.values(), "a\0b"]]
    file.write_bytes(("text\n" + "".join(f'"{row}"\n' for row in rows)).encode())
    code, out, err = classify("--json", "--file", file, "--selector", "zero")
    assert code == 0, err
    assert [json.loads(line)["text"] for line in out.splitlines()] == [*STRANGE.values(), "a\0b"]
    code, out, err = classify("--selector", "zero", *STRANGE.values())
    assert code == 0, err
    assert "\x1b[31mred" not in out, "a message must not steer the terminal"
    assert "[red]x[/red]" in out


def test_a_table_is_shown_without_json(classify):
    code, out, _ = classify("win a free prize")
    assert code == 0
    assert "win a free prize" in out
    assert "similarity" in out
    assert "prompt tokens" in out


def test_show_prompt_prints_the_exact_prompt_and_nothing_else(icl, home):
    text = "win {a} prize\nType: ham"
    options = ("--pool", home / "pool.tsv", "--lm", home / "lm", "-k", "2")
    code, out, err = icl("show-prompt", text, *options)
    assert code == 0
    assert out.count("win {a} prize Type: ham\n") == 1
    assert "tokens" in err
    code, answer, _ = icl("classify", "--json", text, *options)
    for shown in json.loads(answer)["demonstrations"]:
        assert shown["text"] in out
    assert not out.endswith(("\n", " "))


@pytest.mark.parametrize("selector", ["knn", "topk", "random"])
def test_evaluate_reports_metrics_and_settings(icl, home, tmp_path, selector):
    data = tmp_path / "data.tsv"
    data.write_text(
        "ham\tsee you at dinner\nspam\tclaim a free prize\nspam\twin a FREE prize  now\n"
    )
    sources = ("--data", data, "--pool", home / "pool.tsv", "--lm", home / "lm")
    code, out, err = icl("evaluate", *sources, "--selector", selector, "-k", "2", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["messages"] == 2, "half spam, half ham"
    assert 0 <= record["accuracy"]["low"] <= record["accuracy"]["value"]
    assert set(record["recall"]) == {"ham", "spam"}
    assert record["selector"] == selector
    # "win a FREE prize  now" is asked about, so its copy may not be shown.
    assert record["pool_messages"] == len(EXAMPLES) - 1
    assert (record["shown"]["mean"], record["shown"]["least"]) == (2, 2)


def test_evaluate_splits_a_single_data_set(icl, tmp_path):
    data = tmp_path / "data.tsv"
    lines = [f"{'spam' if i % 3 == 0 else 'ham'}\tmessage {chr(97 + i % 26)}{chr(97 + i // 26)}\n"
             for i in range(120)]  # fmt: skip
    data.write_text("".join(lines))
    code, out, err = icl("evaluate", "--data", data, "--selector", "knn", "--no-balanced", "--json")
    assert code == 0, err
    record = json.loads(out)
    assert record["pool_messages"] + record["messages"] < 120
    assert record["balanced"] is False
    code, out, _ = icl("evaluate", "--data", data, "--selector", "knn", "--limit", "6")
    assert code == 0
    assert "accuracy" in out
    assert "examples shown: 8.0, least 8; ham " in out


CONFLICT = "note: pool: row 0 and row 2 have the same text with labels spam and ham; correct them\n"


def test_one_text_with_two_labels_is_told_wherever_a_pool_is_read(icl, home, tmp_path):
    pool = tmp_path / "pool.tsv"
    pool.write_text(
        "spam\twin a prize\nham\tsee you\nham\tWin a  prize\nspam\tcash now\nham\tat home\n"
    )
    for words in (
        ["show-prompt", "win cash"],
        ["classify", "win cash"],
        ["select", "win a prize x"],
    ):
        code, out, err = icl(*words, "--pool", pool, "--lm", home / "lm", "-k", "2")
        assert code == 0, err
        assert CONFLICT in err
    assert "row 2, a conflict: row 0 and row 2 have the same text with labels spam and ham" in out
    data = tmp_path / "data.tsv"
    data.write_text("ham\tcash NOW\nspam\tfree entry\n")
    sources = ("--pool", pool, "--data", data, "--selector", "knn", "-k", "2")
    code, _, err = icl("evaluate", *sources)
    assert code == 0, err
    assert "copies of questions taken out of the pool: 1; with another label there: 1" in err
    assert CONFLICT in err


@pytest.mark.slow
def test_a_grid_whose_pool_has_shrunk_runs_anew_and_takes_copies_out_as_evaluate_does(
    icl, home, tmp_path
):
    data, pool, out = tmp_path / "data.tsv", tmp_path / "pool.tsv", tmp_path / "out"
    data.write_text("ham\tsee you at dinner\nspam\tclaim a free prize\n")
    lines = [f"{e.label}\t{e.text}\n" for e in EXAMPLES]

    def grid(pool_lines):
        pool.write_text("".join(["spam\tclaim a FREE prize\n", *pool_lines]))
        code, _, err = icl(
            "grid", "--tasks", "sms_spam", "--selectors", "topk", "--k", "2", "--seeds", "1",
            "--limit", "2", "--pool", pool, "--data", data, "--lms", home / "lm", "--out", out,
        )  # fmt: skip
        assert code == 0, err
        return err

    said = grid(lines)
    assert "copies of questions taken out of the pool: 1" in said
    assert f"sms_spam: {len(EXAMPLES)} messages to show, 2 to ask about" in said
    assert "holds records" not in said
    assert "holds records of these settings, but not of this pool (4)" in grid(lines[2:9])
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [record["inputs"]["pool"]["messages"] for record in records] == [10] * 4 + [7] * 4
    assert "SMS, before (pool of 10, " in (out / "table.md").read_text()
    assert "holds records" not in grid(lines[2:9])
    assert len((out / "records.jsonl").read_text().splitlines()) == 8


def test_settings_that_change_nothing_are_told(classify):
    _, _, err = classify("--selector", "knn", "--vote", "0.5", "--orders", "2", "x")
    assert "note: without effect beside the other settings: orders 2, vote 0.5\n" in err
    _, _, err = classify("--selector", "knn", "-k", "3", "x")
    assert "without effect" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--selector", "topK", "x"), 2, "choose from zero, random, balanced_random, topk"),
        (("--balance", "fair", "x"), 2, "choose from none, equal"),
        (("--order", "up", "x"), 2, "choose from similar_last"),
        (("-k", "-1", "x"), 2, "k must be 0 or more"),
        (("-k", "500", "x"), 1, "choose k from 0 to 10"),
        (("--selector", "knn", "-k", "0", "x"), 2, "needs at least one neighbour"),
        (("--file", "/nowhere/at/all", "x"), 1, "cannot read /nowhere/at/all"),
        (("--pool", "/nowhere/at/all", "x"), 1, "cannot read /nowhere/at/all"),
        (("--lm", "/nowhere/at/all", "x"), 1, "is not there; give a Hugging Face folder"),
        ((), 2, "give at least one TEXT"),
    ],
)
def test_mistakes_are_one_line_and_an_honest_status(classify, arguments, code, message):
    found, out, err = classify(*arguments)
    assert found == code, err
    assert out == ""
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    if code == 1:
        assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_windows_1252_is_read_and_said_once_in_one_line(classify, tmp_path):
    file = tmp_path / "windows.txt"
    file.write_bytes("fine\n€5 naïve\n".encode("cp1252"))
    code, out, err = classify("--file", file)
    assert code == 0
    assert "€5 naïve" in out
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {file}: it is not UTF-8 (line 2) and read as Windows-1252; save it as UTF-8 if "
        "letters look wrong"
    ]


def test_knn_has_no_prompt_to_show(icl):
    code, _, err = icl("show-prompt", "hello", "--selector", "knn")
    assert code == 1
    assert "has no prompt" in err
