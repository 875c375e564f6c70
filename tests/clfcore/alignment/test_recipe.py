"""Tiny random language models learn which answer is better; the reference stays what it was."""

import math
from dataclasses import replace

import pytest
import torch

from clfcore.alignment.measures import perplexity, reply
from clfcore.alignment.objective import Choice, PreferredAnswers, preferred
from clfcore.alignment.preferences import Preference
from clfcore.alignment.recipe import align_language_model, choice_of
from clfcore.alignment.settings import AlignConfig
from clfcore.errors import TuneshotError
from clfcore.model.adapters import adapt, adapter_off, merge
from clfcore.training.instruction.model import LanguageModel
from clfcore.training.instruction.pairs import Pair
from clfcore.training.loop import learn
from clfcore.weights.language_model import load_transformer
from tests.support.doubles import save_tiny_lm

QUICK = AlignConfig(rank=4, epochs=2, batch_size=2, learning_rate=5e-3)
CPU = torch.device("cpu")


def pairs(topic, n=4):
    """The better answer says ham, and the model prefers the worse one, which says spam."""
    return [
        Preference(f"Is {topic} number {row} good?", f"ham so, {row}", f"spam, {row}.", topic)
        for row in range(n)
    ]


TRAIN, HELD_OUT = [*pairs("tea"), *pairs("milk")], pairs("rain")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return str(save_tiny_lm(tmp_path_factory.mktemp("llama"), "llama"))


def objective_of(folder, config=QUICK, train=TRAIN, held_out=HELD_OUT):
    tokenizer, network = load_transformer(folder, "AutoModelForCausalLM")
    model = LanguageModel(network)
    before = [log_p_by_hand(network, choice_of(tokenizer, pair)) for pair in held_out]
    adapt(model, "lora", config.rank, 1, config.seed)
    model.trunk.out_head.requires_grad_(False)
    parts = [[choice_of(tokenizer, pair) for pair in part] for part in (train, held_out)]
    return network, before, PreferredAnswers(model, *parts, config, CPU)


def log_p_by_hand(network, choice):
    """One pass an answer, one token after the other."""
    sums = []
    for pair in (choice.better, choice.worse):
        ids = [*pair.prompt, *pair.target]
        with torch.no_grad():
            log_p = network(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
        sums.append(sum(float(log_p[i - 1, ids[i]]) for i in range(len(pair.prompt), len(ids))))
    return sums


# --- what is read ---------------------------------------------------------------------------------


def test_an_answer_is_read_after_its_question_and_with_what_ends_it(llama):
    tokenizer, _ = load_transformer(llama, "AutoConfig")
    choice = choice_of(tokenizer, Preference("Good?", "spam <|end|>", "ham", "t"))
    assert tokenizer.decode(choice.better.prompt) == "Good?\n\n"
    assert choice.better.target[-1] == choice.worse.target[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in choice.better.target[:-1]  # those characters, no token


def test_a_model_made_for_chats_reads_the_question_as_a_chat(llama):
    tokenizer, _ = load_transformer(llama, "AutoConfig")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}<|end|>{% endfor %}assistant:"
    )
    choice = choice_of(tokenizer, Preference("Good? <|end|>", "spam", "ham", "t"))
    assert choice.better.prompt.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(choice.better.prompt).endswith("<|end|>assistant:")
    assert tokenizer.decode(choice.better.target) == "spam<|end|>"


def test_log_probabilities_are_summed_over_the_answers_tokens_whatever_stands_in_the_batch(llama):
    _, by_hand, objective = objective_of(llama)
    for mine, theirs in zip(objective.held_out_reference.tolist(), by_hand, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-3)


def test_a_pair_is_preferred_by_the_mean_of_its_tokens_and_not_by_their_sum():
    choice = Choice(Pair((1,), (2, 3, 4, 5)), Pair((1,), (2,)))
    assert preferred(torch.tensor([[-4.0, -1.5], [-8.0, -1.5]]), [choice, choice]) == [True, False]


# --- the reference --------------------------------------------------------------------------------


def test_with_its_adapter_off_the_model_says_the_same_bits_as_before_it_had_one(llama):
    ids = torch.tensor([[5, 6, 7, 8]])
    _, network = load_transformer(llama, "AutoModelForCausalLM")
    with torch.no_grad():
        before = network(ids).logits
    network, _, objective = objective_of(llama)
    learn(objective.model, objective, QUICK)
    trainable = [w.requires_grad for w in objective.model.parameters()]
    with torch.no_grad():
        assert not torch.equal(network(ids).logits, before)
        with adapter_off(objective.model):
            assert torch.equal(network(ids).logits, before)
        assert not torch.equal(network(ids).logits, before)
    assert [w.requires_grad for w in objective.model.parameters()] == trainable
    assert any(trainable)


def test_at_the_start_the_loss_is_ln_2_and_the_margins_and_the_distance_are_0(llama):
    _, _, objective = objective_of(llama)
    loss, _, figures = objective.validate()
    assert loss == pytest.approx(math.log(2), abs=1e-5)
    assert figures["margin"] == pytest.approx(0, abs=1e-5)
    assert figures["kl"] == pytest.approx(0, abs=1e-6)
    summed, _ = objective.loss(objective.model, [0, 3, 5])
    assert float(summed.detach()) == pytest.approx(3 * math.log(2), abs=1e-4)


def test_one_step_makes_the_better_answer_likelier_and_the_worse_one_less_likely(llama):
    _, _, objective = objective_of(llama, replace(QUICK, seed=1))
    model, chosen = objective.model, [objective.train[0]]
    start = objective.log_probabilities(chosen)
    objective.loss(model, [0])[0].backward()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.grad is not None:
                weight -= 1e-3 * weight.grad / weight.grad.norm().clamp_min(1e-12)
    better, worse = (objective.log_probabilities(chosen) - start)[0].tolist()
    assert better > 0 > worse


def test_a_larger_beta_moves_the_model_less(llama):
    moved = []
    for beta in (0.05, 1.0):
        config = replace(QUICK, beta=beta, epochs=4)
        _, _, objective = objective_of(llama, config)
        history = learn(objective.model, objective, config)
        moved.append(history[-1].figures["kl"])
        assert history[-1].figures["margin"] > 0
    assert moved[0] > moved[1] > 0


def test_the_distance_is_that_between_the_two_distributions_at_each_token(llama):
    network, _, objective = objective_of(llama)
    learn(objective.model, objective, QUICK)
    said = objective.validate().figures["kl"]
    kl, tokens = 0.0, 0
    for choice in objective.held_out:
        ids = torch.tensor([choice.better.read])
        with torch.no_grad():
            p = network(ids).logits[0].double().log_softmax(-1)
            with adapter_off(objective.model):
                q = network(ids).logits[0].double().log_softmax(-1)
        where = slice(len(choice.better.prompt) - 1, None)
        kl += float((p.exp() * (p - q)).sum(-1)[where].sum())
        tokens += len(choice.better.target)
    assert said == pytest.approx(kl / tokens, rel=1e-3)
    assert said > 0


# --- a run ----------------------------------------------------------------------------------------


def test_what_is_better_is_learned_and_holds_for_a_topic_that_was_held_out(llama):
    config = replace(QUICK, epochs=8, learning_rate=2e-2)
    aligned = align_language_model(
        llama, TRAIN, HELD_OUT, config, scores={"one": lambda network, tokenizer: 1.0}
    )
    before, after = aligned.preferred
    assert sum(after) > sum(before)
    assert all(after)
    last = aligned.tuned.history[-1]
    assert last.figures["margin"] > 0
    assert last.val_accuracy == sum(after) / len(after)  # merged, it prefers the same
    assert aligned.scores == {"one": (1.0, 1.0)}
    (answer,) = aligned.replies  # there is one topic
    assert answer.better == HELD_OUT[-1].better
    assert aligned.tuned.trained_weights < aligned.tuned.all_weights / 4


@pytest.mark.parametrize("stop_after", [1, 4, 8])
def test_a_run_resumed_at_any_step_ends_with_the_same_bits(llama, stop_after):
    config = replace(QUICK, validate_every=2, schedule="cosine")
    states = {}

    def run(resume=None):
        network, _, objective = objective_of(llama, config)
        steps = []

        def offer(make):
            if resume is None and len(steps) == stop_after:
                state = make()
                states["kept"] = replace(state, tensors={**state.tensors}, history=[*state.history])

        history = learn(
            objective.model, objective, config, steps.append, resume=resume, on_state=offer
        )
        merge(objective.model)
        return network.state_dict(), history

    whole, whole_history = run()
    torch.manual_seed(99)  # another process, another random state
    again, history = run(states["kept"])
    assert history == whole_history
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_model_without_linear_layers_is_one_line(tmp_path):
    gpt2 = str(save_tiny_lm(tmp_path, "gpt2"))
    with pytest.raises(TuneshotError, match=r"keeps its weights elsewhere.* another base"):
        align_language_model(gpt2, TRAIN, HELD_OUT, QUICK)


def test_a_pair_longer_than_the_model_reads_is_one_line(llama):
    long = [replace(TRAIN[0], context="word " * 1200)]
    with pytest.raises(TuneshotError, match=r"reads 1,024 tokens, and a question with its answer"):
        align_language_model(llama, long, HELD_OUT, QUICK)


# --- measures -------------------------------------------------------------------------------------


def test_a_reply_is_the_likeliest_token_after_the_other(llama):
    tokenizer, network = load_transformer(llama, "AutoModelForCausalLM")
    prompt, written = [5, 6, 7], []
    for _ in range(6):
        token = int(network(torch.tensor([prompt + written])).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
    said = reply(network, tokenizer, prompt, most=6)
    assert said == tokenizer.decode(written, skip_special_tokens=True).strip()


def test_the_perplexity_is_that_of_all_tokens_but_the_first_of_each_text(llama):
    tokenizer, network = load_transformer(llama, "AutoModelForCausalLM")
    texts = ["ham spam Label", "x", "Type: a longer text, of many more tokens than the others"]
    nats, count = 0.0, 0
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            log_p = network(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        nats -= sum(float(log_p[i - 1, ids[i]]) for i in range(1, len(ids)))
        count += len(ids) - 1
    assert perplexity(network, tokenizer, texts) == pytest.approx(math.exp(nats / count), rel=1e-4)
