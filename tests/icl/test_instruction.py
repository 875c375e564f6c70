"""Prompts become pairs, a language model is tuned on them, and its folder answers few-shot."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from clfcore.cli import clf
from clfcore.errors import TuneshotError
from clfcore.training.instruction.folder import save_tuned
from clfcore.training.instruction.settings import instruction_settings
from clfcore.types import Example
from icl.cli import icl, tuneshot
from icl.few_shot import FewShot
from icl.instruction import instruct, pairs_of
from icl.lm.open import open_lm
from tests.support.doubles import EXAMPLES, AnsweringLM, HashedWords, save_tiny_lm
from tests.support.killed import finish, kill_twice, start
from tests.support.lazy import lazy

transformers = lazy("transformers")

QUICK = {"layers": "all", "epochs": 60, "learning_rate": 2e-3, "precision": "float32"}


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def folder(request, tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp(request.param), request.param)


def few_shot(folder, selector="topk", k=2, task="sms_spam", pool=EXAMPLES, **settings):
    settings = {"balance": "equal", **settings}
    lm = open_lm(f"fp32:{folder}")
    return FewShot(task, selector, lm=lm, k=k, embedder=HashedWords(), **settings).fit(pool)


# --- pairs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("selector", "k"), [("zero", 0), ("topk", 2)])
def test_a_pair_is_the_prompt_and_the_label_as_an_example_would_show_it(folder, selector, k):
    classifier = few_shot(folder, selector, k)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for pair, example in zip(pairs_of(classifier, EXAMPLES), EXAMPLES, strict=True):
        assert tokenizer.decode(pair.prompt) == classifier.prompt(example.text).text
        assert tokenizer.decode(pair.target) == f" {example.label}\n"


def test_no_prompt_shows_the_message_that_it_asks_about(folder):
    classifier = few_shot(folder, k=4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for pair, example in zip(pairs_of(classifier, EXAMPLES), EXAMPLES, strict=True):
        assert tokenizer.decode(pair.prompt).count(example.text) == 1


def test_where_messages_list_their_choices_the_choice_is_written(folder):
    questions = [
        Example("Where is money kept? (A) bank (B) river (C) tree (D) sea (E) sky", "A"),
        Example("What swims? (A) cat (B) fish (C) stone (D) car (E) cup", "B"),
    ]
    classifier = few_shot(folder, "zero", 0, "commonsense_qa", questions)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    targets = [tokenizer.decode(pair.target) for pair in pairs_of(classifier, questions)]
    assert targets == [" bank\n", " fish\n"]


def test_weights_of_messages_are_those_of_their_pairs(folder):
    pairs = pairs_of(few_shot(folder), [Example("win a prize", "spam", 2.5)])
    assert [pair.weight for pair in pairs] == [2.5]


def test_in_a_chat_the_assistant_writes_the_label(folder):
    lm = open_lm(f"fp32:{folder}")
    template = lm._tokenizer.chat_template
    lm._tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}assistant:"
    )
    try:
        (pair,) = pairs_of(few_shot(folder, "zero", 0, chat=True), EXAMPLES[:1])
        assert lm._tokenizer.decode(pair.prompt).endswith("<|end|>assistant:")
        assert lm._tokenizer.decode(pair.target) == "spam"
    finally:
        lm._tokenizer.chat_template = template


def test_what_has_no_weights_here_is_refused():
    classifier = FewShot("sms_spam", "zero", lm=AnsweringLM(), embedder=HashedWords())
    with pytest.raises(TuneshotError, match="answering has no weights on this machine"):
        pairs_of(classifier.fit(EXAMPLES), EXAMPLES)
    vote = FewShot("sms_spam", "knn", embedder=HashedWords()).fit(EXAMPLES)
    with pytest.raises(TuneshotError, match="a vote has no weights"):
        pairs_of(vote, EXAMPLES)


# --- tuned --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("selector", "k"), [("zero", 0), ("topk", 2)])
def test_a_tuned_folder_answers_as_the_model_that_was_tuned(folder, tmp_path, selector, k):
    """Ten messages are learnt by heart; the folder is opened, and scores what it was taught."""
    config = instruction_settings(**QUICK)
    classifier = few_shot(folder, selector, k)
    tuned = instruct(classifier, str(folder), EXAMPLES, EXAMPLES, config)
    save_tuned(tmp_path / "tuned", tuned, config, {})
    again = few_shot(tmp_path / "tuned", selector, k)
    answers = again.predict([example.text for example in EXAMPLES])
    assert [answer.label for answer in answers] == [example.label for example in EXAMPLES]
    assert min(answer.p for answer in answers) > 0.6

    lm, prompt = again.lm, again.prompt(EXAMPLES[0].text).text
    ids, tail = lm.tokens(prompt, " spam\n")
    with torch.no_grad():
        log_p = tuned.network(torch.tensor([[*ids, *tail]])).logits[0].log_softmax(dim=-1)
    by_hand = [float(log_p[len(ids) - 1 + i, token]) for i, token in enumerate(tail)]
    read = lm.read(prompt, [" spam\n"]).log_probabilities[0]
    assert read == pytest.approx(by_hand, abs=1e-4)
    written = lm.generate(prompt, max_tokens=8)
    assert written.text.startswith(" spam\n")


# --- icl train ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp("lm"), "llama")


@pytest.fixture
def run(tmp_path, monkeypatch, command):
    """``icl`` in a folder with 120 labelled messages."""
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = [f"{'spam' if i % 4 == 0 else 'ham'}\t{'win ' if i % 4 == 0 else 'see you '}"
             f"{letters[i % 26]}{letters[i // 26]} now" for i in range(120)]  # fmt: skip
    Path("sms").write_text("\n".join(lines) + "\n")
    return partial(command, icl.main, "icl")


FAST = ("--data", "sms", "--epochs", "1", "--least-steps", "1", "--limit", "8")


def test_icl_train_makes_a_folder_for_every_other_command(run, command, llama):
    code, out, err = run("train", "--lm", llama, *FAST, "--layers", "lora", "--out", "tuned")
    assert code == 0, err
    assert "language model: tuned" in out
    assert "84 messages" not in out  # progress and notes are no result
    about = json.loads(Path("tuned/tuning.json").read_text())
    assert about["task"] == "sms_spam"
    assert about["prompt"]["selector"] == "zero"
    assert about["test_metrics"]["messages"] == 8
    assert not Path("tuned.unfinished").exists()

    code, out, _ = run("classify", "--lm", "tuned", "--pool", "sms", "--json", "win a prize")
    assert code == 0
    assert json.loads(out)["label"] in ("ham", "spam")
    code, _, err = run("train", "--lm", "tuned", *FAST, "--out", "./tuned")
    assert code == 1
    assert "is the language model that is to be tuned; choose another --out" in err
    options = ("--base", "tuned", "--data", "sms", "--layers", "last_block", "--epochs", "1")
    assert command(clf.main, "clf", "train", *options, "--out", "classifier")[0] == 0


def test_prompts_show_as_many_examples_as_are_asked_for(run, llama):
    options = ("--examples", "2", "--selector", "bm25", "--messages", "40")
    code, out, err = run("train", "--lm", llama, *FAST, *options, "--out", "tuned")
    assert code == 0, err
    assert "2 examples in the prompt" in out
    about = json.loads(Path("tuned/tuning.json").read_text())
    assert (about["prompt"]["selector"], about["prompt"]["k"]) == ("bm25", 2)
    assert about["data"]["train"]["messages"] + about["data"]["val"]["messages"] == 40


def test_few_messages_are_all_learned_from_and_it_is_said(run, llama):
    code, _, err = run("train", "--lm", llama, *FAST, "--messages", "12", "--out", "tuned")
    assert code == 0
    assert "12 messages to learn from" in err
    assert "they are the same: some label has too few" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--lm", "api:openai/gpt-4o-mini"), "has no weights on this machine"),
        (("--lm", "nowhere/at/all"), "nowhere/at/all"),
        (("--selector", "knn"), "lets messages vote, without a prompt"),
        (("--selector", "bm25"), "chooses examples, and none are shown"),
        (("--selector", "zero", "--examples", "2"), "shows no examples"),
        (("--layers", "prompt"), "layers"),
        (("--layers", "last_layer"), "layers"),
        (("--learning-rate", "1e9"), "choose a smaller --learning-rate"),
        (("--pool", "sms"), "every message to show is a copy of one to ask about"),
        (("--out", "sms"), "exists and is not a tuned language model"),
        (("--objective", "poems"), "objective"),
        (("--examples", "200"), "cannot show k=200"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(run, llama, options, reason):
    given = () if "--lm" in options else ("--lm", llama)
    given += () if "--out" in options else ("--out", "tuned")
    code, out, err = run("train", *given, *FAST, *options)
    assert code in (1, 2)
    assert reason in err
    assert "Traceback" not in err
    assert out == ""
    assert not Path("tuned").exists()


def test_a_comparison_that_would_tune_a_model_behind_an_api_is_refused_before_the_work(
    run, command
):
    options = ("--data", "sms", "--methods", "majority,instruction_tuned", "--out", "compared")
    code, _, err = command(tuneshot.main, "tuneshot", "compare", *options, "--lm", "api:openai/x")
    assert code == 1
    assert "api:openai/x has no weights on this machine that could be tuned" in err
    assert not Path("compared").exists()


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["all", "qlora"])
def test_a_tuning_killed_at_any_moment_ends_with_the_same_bits(run, llama, layers):
    """kill -9, twice; then it is let go on to its end."""
    options = ("--lm", llama, "--data", "sms", "--limit", "8", "--layers", layers, "--epochs", "40",
               "--batch-size", "4", "--save-every", "0")  # fmt: skip

    finish(start("train", *options, "--out", "whole", program=("-m", "icl")))
    go_on = partial(start, "train", *options, "--out", "killed", "--resume", program=("-m", "icl"))
    kill_twice(go_on, "killed")
    code, _, err = run("train", *options, "--out", "killed", "--resume", "--seed", "5")
    assert code == 1
    assert "another run: different" in err
    finish(go_on())
    one, other = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert one == other
    assert not Path("killed.unfinished").exists()
    code, _, err = run("train", *options, "--out", "killed", "--resume")
    assert code == 0
    assert "killed is finished" in err
