import json
from pathlib import Path

import pytest

from clfcore.errors import TuneshotError
from icl.recipe import Recipe
from icl.settings import FewShotConfig

RECIPE = Recipe(
    "toy",
    ("ham", "spam"),
    FewShotConfig(selector="mmr", options={"relevance": 0.5}, k=8, chat=True),
    "tiny",
    "words",
    {"summary": "on 40 labelled messages"},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "recipe.json"


def test_what_is_written_is_read_again(path):
    RECIPE.write(path)
    assert Recipe.read(path) == RECIPE


def test_settings_that_are_not_named_are_the_usual_ones(path):
    path.write_text('{"task": "toy", "labels": ["a", "b"], "settings": {"k": 2}}')
    assert Recipe.read(path).settings == FewShotConfig(k=2)


def test_a_recipe_is_for_its_labels_in_any_order_and_no_others():
    RECIPE.check_labels(("spam", "ham"))
    with pytest.raises(TuneshotError, match=r"the recipe is for ham, spam .*not for eggs, ham"):
        RECIPE.check_labels(("ham", "eggs"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_recipe_that_an_editor_has_saved_in_its_way_is_read(path, encoding):
    RECIPE.write(path)
    path.write_text(path.read_text(), encoding=encoding)
    assert Recipe.read(path) == RECIPE


WRONG = {
    "not JSON": ("{", "it is not JSON"),
    "not text": (b"\xff\xfe", "it is not JSON"),
    "too deep": ("[" * 100_000, "it is not JSON"),
    "a list": ("[1]", "it must be an object with keys"),
    "no settings": ('{"task": "toy", "labels": []}', "missing key 'settings'"),
    "an unknown key": ({"seed": 1}, "unknown key 'seed'"),
    "an unknown setting": ({"settings": {"kk": 1}}, "unknown key 'kk'"),
    "an unknown selector": ({"settings": {"selector": "best"}}, "unknown selector 'best'"),
    "an unhashable selector": ({"settings": {"selector": []}}, "selector must be a text"),
    "an unknown option": ({"settings": {"options": {"x": 1}}}, "topk has no option 'x'"),
    "a text for a number": ({"settings": {"k": "4"}}, 'k must be a whole number, not "4"'),
    "a truth for a number": ({"settings": {"k": True}}, "k must be a whole number, not true"),
    "a number for a truth": ({"settings": {"chat": 1}}, "chat must be true or false or null"),
    "a text for an option": (
        {"settings": {"selector": "mmr", "options": {"relevance": "x"}}},
        "relevance must be a number",
    ),
    "not a number": ('{"task": "t", "labels": [], "settings": {"near": NaN}}', "near must be"),
    "a number that is too small": ({"settings": {"k": -1}}, "k must be 0 or more"),
    "labels that are no texts": ({"labels": [1]}, "labels must be a list of texts"),
    "a task that is no text": ({"task": 1}, "task must be a text"),
    "a basis that is no object": ({"basis": 3}, "basis must be an object"),
}


@pytest.mark.parametrize(("content", "complaint"), WRONG.values(), ids=WRONG)
def test_what_is_no_recipe_is_refused_in_one_line(path, content, complaint):
    if isinstance(content, dict):
        content = json.dumps({"task": "toy", "labels": ["a", "b"], "settings": {}, **content})
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TuneshotError) as error:
        Recipe.read(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_missing_is_said_with_what_makes_it(path):
    with pytest.raises(TuneshotError, match=r"cannot read .*; icl tune --out .* makes it"):
        Recipe.read(path)


def test_a_device_without_end_is_no_recipe():
    with pytest.raises(TuneshotError, match="/dev/zero is no recipe: it is not JSON"):
        Recipe.read(Path("/dev/zero"))


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(TuneshotError, match=r"is a folder; name the recipe in it"):
        Recipe.read(tmp_path)


def test_a_recipe_that_cannot_be_written_leaves_the_old_one(path):
    RECIPE.write(path)
    broken = Recipe("toy", ("a",), FewShotConfig(), basis={"summary": object()})
    with pytest.raises(TypeError):
        broken.write(path)
    assert Recipe.read(path) == RECIPE
    assert list(path.parent.iterdir()) == [path]
