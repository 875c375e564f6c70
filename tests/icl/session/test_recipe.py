"""A recipe on the page: the settings of a visitor who has chosen nothing."""

import pytest

from clfcore.errors import TuneshotError
from icl.chat.state import Chat
from icl.recipe import Recipe
from icl.session.open import open_session
from icl.session.settings import Settings
from icl.settings import FewShotConfig

TUNED = FewShotConfig(
    selector="mmr", options={"relevance": 0.9}, k=3, balance="none", calibration="batch", vote=0.25
)
RECIPE = Recipe("sms_spam", ("ham", "spam"), TUNED)
USUAL = Settings.of_recipe(RECIPE)


def test_a_recipe_is_used_where_nothing_is_chosen(tmp_path):
    RECIPE.write(tmp_path / "recipe.json")
    usual = open_session(recipe=tmp_path / "recipe.json").usual
    assert usual == USUAL
    settings = Chat(usual=usual).settings(None)
    assert (settings.selector, settings.options, settings.k) == ("mmr", {"relevance": 0.9}, 3)
    assert (settings.calibration, settings.vote) == ("batch", 0.25)


def test_what_a_visitor_chooses_wins():
    settings = Chat(usual=USUAL).settings({"k": "8"})
    assert (settings.selector, settings.options, settings.k) == ("mmr", {"relevance": 0.9}, 8)
    other = Chat(usual=USUAL).settings({"selector": "topk"})
    assert (other.selector, other.options, other.vote) == ("topk", {}, 0.25)


def test_another_task_has_nothing_of_it():
    assert Chat(usual=USUAL).settings({"task": "sst2"}) == Settings(task="sst2")


def test_a_program_that_chooses_nothing_gets_it_too():
    assert USUAL.with_choices({}) == USUAL
    assert USUAL.with_choices({"k": 1}).calibration == "batch"


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        (Recipe("mine", ("a", "b"), TUNED), "unknown task of a recipe 'mine'"),
        (Recipe("sms_spam", ("a", "b"), TUNED), "the recipe is for a, b"),
        (
            Recipe("sms_spam", ("ham", "spam"), FewShotConfig(selector="knn_prompting")),
            "unknown selector 'knn_prompting'; choose from",
        ),
        (Recipe("sms_spam", ("ham", "spam"), FewShotConfig(k=100)), "k must be a number from 0"),
    ],
)
def test_a_recipe_that_is_not_for_the_page_is_refused_when_it_starts(tmp_path, recipe, complaint):
    recipe.write(tmp_path / "recipe.json")
    with pytest.raises(TuneshotError, match=complaint):
        open_session(recipe=tmp_path / "recipe.json")
