"""The bound of Peng et al. 2024, by hand."""

import json
from types import SimpleNamespace

import pytest

from icl.cli.icl import main
from icl.cli.labs.composition import DOMAIN
from icl.prompt.composition import LAYERS, Layer, bits_of
from icl.prompt.free_prompts import FREE_PROMPTS


def test_a_function_on_n_values_takes_n_log_n_bits():
    assert [bits_of(n) for n in (1, 2, 8, 1024)] == [0, 2, 24, 10240]


def test_a_layer_passes_on_a_number_for_each_head_and_feature_and_one_more():
    assert Layer(heads=2, width=3, precision=4).bits == 2 * (3 + 1) * 4
    assert LAYERS["GPT-3 175B"].bits == 96 * 12289 * 16


@pytest.mark.parametrize("name", LAYERS)
def test_the_largest_domain_fits_and_the_next_one_does_not(name):
    layer = LAYERS[name]
    n = layer.largest_domain
    assert bits_of(n) <= layer.bits < bits_of(n + 1)


def test_a_layer_of_exactly_the_bits_of_eight_values_composes_eight():
    layer = Layer(heads=3, width=7, precision=1)  # 24 bits
    assert layer.largest_domain == 8
    assert layer.least_error(8) == 0
    assert layer.least_error(16) == pytest.approx((64 - 24) / (3 * 64))
    assert Layer(1, 1, 1).largest_domain == 2


def test_at_worst_a_third_is_wrong_for_sure():
    assert Layer(1, 1, 1).least_error(10**9) == pytest.approx(1 / 3, rel=1e-3)


def test_the_prompt_has_nine_languages_which_every_model_could_compose():
    prompt = FREE_PROMPTS["function_composition"]
    asked = {text for text, _ in (*prompt.examples, *prompt.questions) if text.startswith("f(g(")}
    assert len(asked) == DOMAIN == 9
    assert all(layer.least_error(DOMAIN) == 0 for layer in LAYERS.values())


def test_the_command_shows_the_bound_beside_the_six_questions(command):
    arguments = ("composition", "--heads", "3", "--width", "7", "--precision", "1")
    status, out, _ = command(main, "icl", *arguments, "--domain", "16")
    assert status == 0
    yours = next(line for line in out.splitlines() if "yours" in line)
    assert [cell.strip() for cell in yours.split("│")[2:-1]] == ["3", "7", "24", "8", "≥ 20.8%"]
    assert "f(g(Norwegian))" in out
    record = json.loads(command(main, "icl", *arguments, "--json")[1])
    assert record["layers"]["yours"]["largest_domain"] == 8
    assert [each["right"] for each in record["questions"]] == [None] * 6


def test_asked_the_language_model_answers_the_six_questions(command, monkeypatch):
    from icl.lm import open as opened

    class KnowsRome:
        def generate(self, prompt, stop):
            return SimpleNamespace(text=" Rome" if prompt.endswith("(Italian)) =") else " Italy")

    monkeypatch.setattr(opened, "open_lm", lambda *_, **__: KnowsRome())
    _, out, _ = command(main, "icl", "composition", "--ask")
    assert "1 of 6 right" in out


def test_one_size_alone_is_no_model(command):
    status, _, err = command(main, "icl", "composition", "--heads", "3")
    assert (status, "give both" in err) == (2, True)


@pytest.mark.parametrize("option", ["--heads", "--width", "--precision", "--domain"])
def test_a_number_that_no_model_has_is_one_line(command, option):
    status, out, err = command(main, "icl", "composition", option, str(10**400))
    assert (status, out) == (2, "")
    assert "less than or equal to" in " ".join(err.split())
