"""Settings that were chosen, in the faces of the few-shot side: ``FewShot`` and scikit-learn's."""

from functools import partial

import pytest
import sklearn.base

from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.estimator import FewShotClassifier
from icl.few_shot import FewShot
from icl.recipe import Recipe
from icl.settings import FewShotConfig
from icl.tuning.tune import tune
from tests.support.doubles import EXAMPLES, TASK, CountingLM, HashedWords, make_pool

WORDS = {"spam": ("prize", "cash", "win", "free"), "ham": ("dinner", "milk", "train", "mum")}
MANY = [Example(f"{WORDS[label][n % 4]} number{n}", label) for n in range(20) for label in WORDS]
POOL = make_pool([e.text for e in MANY], [e.label for e in MANY])
RECIPE = Recipe(
    "toy", ("spam", "ham"), FewShotConfig(selector="mmr", options={"relevance": 0.9}, k=2)
)


def few_shot(**more):
    return FewShot(TASK, lm=CountingLM(), embedder=HashedWords(), **more)


def test_a_recipe_or_its_file_sets_everything(tmp_path):
    RECIPE.write(tmp_path / "r.json")
    for recipe in (RECIPE, tmp_path / "r.json", str(tmp_path / "r.json")):
        assert few_shot(tune=recipe).config == RECIPE.settings
    (answer,) = few_shot(tune=RECIPE).fit(EXAMPLES).predict(["win a prize"])
    assert len(answer.demonstrations) == 2


def test_what_is_given_beside_a_recipe_wins():
    assert few_shot(tune=RECIPE, k=4).config.k == 4
    other = few_shot(selector="topk", tune=RECIPE).config
    assert (other.selector, other.options, other.k) == ("topk", {}, 2)


def test_a_recipe_for_other_labels_is_refused_at_once():
    with pytest.raises(TuneshotError, match="the recipe is for a, b"):
        few_shot(tune=Recipe("toy", ("a", "b"), FewShotConfig()))


def test_fit_chooses_the_settings_by_the_pool():
    chooses = few_shot(tune=tune, k=3).fit(POOL)
    assert chooses.tuned.recipe.settings == chooses.config != FewShotConfig(k=3)
    assert chooses.tuned.tried[0]["settings"]["k"] == 3, "the settings that are given come first"
    assert chooses.predict(["win cash"])[0].label == "spam"
    assert few_shot(k=3).fit(POOL).tuned is None


def test_each_fit_chooses_anew():
    chooses = few_shot(tune=tune).fit(POOL)
    chosen = chooses.config
    few = chooses.fit(make_pool([e.text for e in MANY[:8]], [e.label for e in MANY[:8]]))
    assert few.config == FewShotConfig() != chosen
    assert few.lm is not None
    assert chooses.fit(POOL).config == chosen


def test_the_number_of_reads_can_be_limited():
    lm = CountingLM()
    FewShot(TASK, lm=lm, embedder=HashedWords(), tune=partial(tune, reads=50)).fit(POOL)
    assert len(lm.prompts) <= 50 + 1 + 32, "and what the chosen settings read first"


def test_scikit_learns_classifier_tunes_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESHOT_CACHE", str(tmp_path))
    texts, labels = [e.text for e in MANY], [e.label for e in MANY]
    made = FewShotClassifier(TASK, lm=CountingLM(), embedder=HashedWords(), tune=True, reads=60)
    again = sklearn.base.clone(made)
    assert (again.tune, again.reads) == (True, 60)
    fitted = again.fit(texts, labels)
    assert fitted.few_shot_.tuned.recipe.basis["reads"] <= 60
    assert fitted.score(texts, labels) > 0.9
    assert again.k == made.k, "parameters stay as they were given"
