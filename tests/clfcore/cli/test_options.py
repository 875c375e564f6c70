"""Options made from a settings dataclass, in both command lines."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields

import pytest
from typer.testing import CliRunner

from clfcore.cli.options import with_settings
from clfcore.cli.terminal import new_app
from clfcore.config import Checked, at_least, setting
from clfcore.errors import TuneshotError
from clfcore.training.settings import ADAPTERS, TrainConfig
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig

COLORS = {"red": 1, "blue": 2}


@dataclass(frozen=True)
class Toy(Checked):
    color: str = setting("red", "What it is painted in.", "Looks", choices=COLORS)
    wheels: int = setting(4, "What it stands on.", bound=at_least(3))
    loud: bool = setting(False, "Make a noise.")
    extras: Mapping[str, str] = setting(dict, "What else.", option="--with")


def run(config, *arguments, defaults=True):
    """Exit status, output, and the settings that a command of these options got."""
    app, received = new_app("Toys.", version=False), {}

    @app.command()
    @with_settings(config, defaults=defaults)
    def build(settings: dict, name: str = "car") -> None:
        received.update(settings, name=name)

    done = CliRunner().invoke(app, arguments)
    return done.exit_code, " ".join(done.output.split()), received


def test_a_field_is_an_option_with_its_help_choices_and_default():
    status, out, _ = run(Toy, "--help")
    assert status == 0
    assert "--color <str> What it is painted in. One of red, blue. [default: red]" in out
    assert "--wheels <int> What it stands on. [default: 4]" in out
    assert "--loud / --no-loud Make a noise. [default: no-loud]" in out
    assert "--with NAME=VALUE What else." in out


def test_a_command_gets_its_settings_and_its_own_options():
    _, _, received = run(Toy, "--wheels", "3", "--loud", "--with", "a=1", "--with", "b=2")
    assert received == {
        "color": "red", "wheels": 3, "loud": True, "extras": ["a=1", "b=2"], "name": "car",
    }  # fmt: skip


def test_without_defaults_only_what_is_named_is_a_setting():
    _, _, received = run(Toy, "--no-loud", "--name", "bus", defaults=False)
    assert received == {"loud": False, "name": "bus"}
    assert "default: red" not in run(Toy, "--help", defaults=False)[1]


def test_a_value_of_another_type_is_bad_usage():
    assert run(Toy, "--wheels", "four")[0] == 2


def test_every_rule_that_a_field_breaks_is_one_sentence():
    with pytest.raises(TuneshotError) as refused:
        Toy(color="green", wheels=2)
    assert str(refused.value) == (
        "unknown color 'green'; choose from red, blue; wheels must be 3 or more, not 2"
    )
    with pytest.raises(TuneshotError, match="3 or more, not nan"):
        Toy(wheels=float("nan"))


@pytest.mark.parametrize(
    ("config", "registry", "option"),
    [(Toy, COLORS, "--color"), (FewShotConfig, SELECTORS, "--selector"),
     (TrainConfig, ADAPTERS, "--layers")],
)  # fmt: skip
def test_a_new_entry_of_a_registry_is_offered(monkeypatch, config, registry, option):
    monkeypatch.setitem(registry, "toy_entry", next(iter(registry.values())))
    _, out, _ = run(config, "--help")
    _before, _, after = out.partition(option)
    assert "toy_entry" in after.partition(" --")[0]


@pytest.mark.parametrize("config", [TrainConfig, FewShotConfig])
def test_every_field_says_what_it_means(config):
    for field in fields(config):
        about = field.metadata["setting"]
        assert about.help.endswith("."), field.name
        assert about.choices is None or field.default in about.choices


def test_the_options_stand_where_the_command_says():
    @with_settings(Toy, defaults=True)
    def build(*, first: int = 0, settings: dict, last: int = 0) -> None: ...

    names = ["first", "color", "wheels", "loud", "extras", "last"]
    assert list(inspect.signature(build).parameters) == names
