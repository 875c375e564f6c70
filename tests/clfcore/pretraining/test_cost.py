"""What training costs, against the table of Hoffmann et al. 2022 and in closed form."""

import json
import math

import pytest

from clfcore.cli.clf import main
from clfcore.errors import TuneshotError
from clfcore.pretraining.cost import (
    HARDWARE,
    PUBLISHED,
    TOKENS_PER_PARAMETER,
    CostConfig,
    count_in_words,
    optimal_parameters,
    read_count,
    training_cost,
    training_flop,
)


@pytest.mark.parametrize("parameters", PUBLISHED)
def test_six_flop_a_weight_and_token_give_the_published_table(parameters):
    """Within the rounding of its token counts, but for the row of 67B, which is 4.7 % off."""
    tokens, flop = PUBLISHED[parameters]
    off = 0.048 if parameters == 67e9 else 0.01
    assert training_flop(parameters, tokens) == pytest.approx(flop, rel=off)


def test_twenty_tokens_a_parameter_are_where_the_published_table_begins():
    shares = [tokens / parameters for parameters, (tokens, _) in PUBLISHED.items()]
    assert shares[0] == TOKENS_PER_PARAMETER
    assert all(TOKENS_PER_PARAMETER <= share < 22.5 for share in shares)


def test_four_billion_parameters_on_forty_billion_tokens_have_half_of_what_they_want():
    cost = training_cost(CostConfig(parameters="4B", tokens="40B"))
    assert cost.flop == 6 * 4e9 * 40e9
    assert (cost.tokens_per_parameter, cost.optimal_tokens) == (10, 80e9)
    assert cost.verdict == "10 tokens a parameter, 0.5 times Chinchilla's 20"
    assert cost.optimal_parameters == pytest.approx(4e9 / math.sqrt(2))  # 6·N·20N = 6·4B·40B


def test_a_model_that_reads_twenty_tokens_a_parameter_is_the_best_use_of_its_flop():
    cost = training_cost(CostConfig(parameters="135M"))
    assert cost.tokens == cost.optimal_tokens == 2.7e9
    assert cost.optimal_parameters == pytest.approx(cost.parameters)
    assert cost.verdict == "20 tokens a parameter, as Chinchilla"
    assert optimal_parameters(training_flop(7e9, 140e9)) == pytest.approx(7e9)


def test_hours_and_money_are_work_divided_by_speed_and_multiplied_by_price():
    """10^15 FLOP/s at one half: 1.8 · 10^18 FLOP take an hour."""
    config = CostConfig("1B", "300M", utilisation=0.5, accelerators=24, peak=1e15, price=2)
    cost = training_cost(config)
    assert (cost.hours, cost.dollars) == (pytest.approx(1), pytest.approx(2))
    assert cost.days == pytest.approx(1 / 24 / 24)


@pytest.mark.parametrize("name", HARDWARE)
def test_known_hardware_says_where_its_figures_are_from(name):
    cost = training_cost(CostConfig(hardware=name, utilisation=1))
    known = HARDWARE[name]
    assert cost.hours * 3600 * known.peak == pytest.approx(cost.flop)
    assert cost.dollars == pytest.approx(cost.hours * known.price)
    assert "data sheet" in known.source


@pytest.mark.parametrize(
    ("text", "number"),
    [("4B", 4e9), ("1.5t", 1.5e12), ("135M", 135e6), ("4e9", 4e9), ("12", 12), ("3K", 3e3)],
)
def test_numbers_are_read_as_people_write_them(text, number):
    assert read_count(text) == number
    assert read_count(count_in_words(number)) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "4G", "nan", "inf", "1e999", "B"])
def test_what_is_no_number_of_weights_is_refused(text):
    with pytest.raises(TuneshotError, match="such as 135M, 4B"):
        read_count(text)


def test_rounding_finds_the_next_unit():
    assert [count_in_words(n) for n in (999.9e6, 0.5, 2.8284e9)] == ["999.9M", "0.5", "2.828B"]


def test_the_command_says_a_person_and_a_program_the_same(command):
    arguments = ("cost", "--parameters", "4B", "--tokens", "40B", "--hardware", "h100")
    status, out, err = command(main, "clf", *arguments)
    assert status == 0
    assert "10 tokens a parameter, 0.5 times Chinchilla's 20" in out
    assert "AWS" in err
    _, line, _ = command(main, "clf", *arguments, "--json")
    record = json.loads(line)
    assert record["flop"] == 9.6e20
    assert f"{record['hours']:,.1f} hours of NVIDIA H100 SXM" in out
    assert [row["parameters"] for row in record["published"]] == list(PUBLISHED)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tokens", "many"), "tokens must be a positive number such as 135M"),
        (("--hardware", "abacus"), "choose from v100, a100, h100, h200"),
        (("--utilisation", "2"), "utilisation must be in (0, 1]"),
    ],
)
def test_what_cannot_be_reckoned_is_bad_usage(command, arguments, said):
    status, _, err = command(main, "clf", "cost", *arguments)
    assert status == 2
    assert said in err
