"""A tiny language model learns labels; perplexity and few-shot accuracy are measured beside it."""

import math
from dataclasses import replace

import pytest
import torch

from clfcore.alignment.measures import perplexity
from clfcore.errors import TuneshotError
from clfcore.forgetting.language_model import (
    PromptedTask,
    Question,
    TextTokens,
    judged,
    teach_language_model,
)
from clfcore.forgetting.remedies import NONE, REMEDIES
from clfcore.forgetting.settings import ForgettingConfig
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.pairs import Pair
from clfcore.training.resume import ResumableRun
from clfcore.weights.language_model import load_transformer
from tests.support.doubles import save_tiny_lm

QUICK = ForgettingConfig(batch_size=4, epochs=2, learning_rate=3e-3, every=2, rank=2,
                         precision="float32")  # fmt: skip
TEXTS = ["Label: ham, and more", "Type: spam, and less", "x", "a longer text about nothing at all"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return str(save_tiny_lm(tmp_path_factory.mktemp("llama"), "llama"))


def task():
    """After an even token comes 5, after an odd one 6."""
    pairs = [Pair((9, 10 + n), (5 + n % 2,)) for n in range(12)]
    questions = [Question((9, 30 + n), (5, 6), n % 2) for n in range(6)]
    return PromptedTask(
        pairs, questions, TEXTS,
        {"perplexity_other": lambda network, tokenizer: perplexity(network, tokenizer, TEXTS)},
    )  # fmt: skip


@pytest.mark.parametrize(
    "remedy",
    [
        pytest.param(name, marks=[] if name == "wise_ft" else pytest.mark.slow)
        for name, each in REMEDIES.items()
        if not each.column
    ],
)
def test_whatever_the_remedy_a_stopped_run_ends_with_the_same_figures(remedy, llama, tmp_path):
    def run(name, resume=False, stop=0):
        def on_progress(stage, done, total, figures):
            if stage == "learn" and stop and done == stop:
                raise KeyboardInterrupt

        resumable = ResumableRun(tmp_path / name, {"remedy": remedy}, 0, resume)
        return teach_language_model(
            llama, task(), remedy, QUICK, 3, on_progress=on_progress, resumable=resumable
        )["curve"]

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=4)
    torch.manual_seed(99)
    assert run("stopped", resume=True) == whole
    start, *_, last = whole
    assert start["perplexity_other"] != last["perplexity_other"]


def test_without_a_remedy_the_texts_are_forgotten_and_replayed_ones_less(llama):
    config = replace(QUICK, epochs=6)
    rises = {}
    for remedy in (NONE, "replay_50"):
        curve = teach_language_model(llama, task(), remedy, config, 0)["curve"]
        rises[remedy] = curve[-1]["perplexity_other"] / curve[0]["perplexity_other"]
    assert rises[NONE] > rises["replay_50"]


def test_an_answer_is_the_likeliest_first_token_among_those_allowed(llama):
    _, network = load_transformer(llama, "AutoModelForCausalLM")
    questions = [
        Question((3, 4, 5), (10, 11, 12), 0), Question((7,), (10, 11, 12), 1),
        Question((3, 9, 9, 9, 2), (12, 10, 11), 2),
    ]  # fmt: skip
    loss, right = 0.0, 0
    for question in questions:
        with torch.no_grad():
            z = network(torch.tensor([question.prompt])).logits[0, -1].double()
        log_p = z[list(question.firsts)].log_softmax(-1)
        loss -= float(log_p[question.right]) / 3
        right += int(log_p.argmax()) == question.right
    found = judged(network, questions)
    assert found[0] == pytest.approx(loss, rel=1e-4)
    assert found[1] == right / 3


def test_a_text_counts_once_with_the_mean_loss_of_its_tokens(llama):
    tokenizer, network = load_transformer(llama, "AutoModelForCausalLM")
    tokens = [tokenizer(text)["input_ids"] for text in TEXTS]
    old = TextTokens(LanguageModel(network), [*tokens, [4]], "float32", torch.device("cpu"))
    assert len(old.rows) == sum(len(ids) > 1 for ids in tokens)  # one token predicts none
    rows = [0, 2]
    with torch.no_grad():
        loss, _ = old.loss(old.model, rows)
    kept = [text for text, ids in zip(TEXTS, tokens, strict=True) if len(ids) > 1]
    expected = sum(math.log(perplexity(network, tokenizer, [kept[row]])) for row in rows)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(old.weight(rows)) == 2
    with torch.no_grad():
        assert old.validate()[0] > 0


def test_a_prompt_longer_than_the_model_reads_is_one_line(llama):
    long = replace(task(), asked=[Question(tuple([9] * 1024), (5, 6), 0)])
    with pytest.raises(TuneshotError, match=r"reads 1,024 tokens, and a prompt has 1,024"):
        teach_language_model(llama, long, NONE, QUICK, 0)
