"""The settings of a few-shot answer: checked before anything heavy is loaded."""

import subprocess
import sys
from dataclasses import replace

import pytest

from clfcore.errors import TuneshotError
from icl.cli.compare import without_votes as plan_without_votes
from icl.cli.grid import without_votes as grid_without_votes
from icl.compare.plan import Plan
from icl.few_shot import FewShot
from icl.grid.cell import cells
from icl.prompt.tasks import TASKS
from icl.selectors.table import SELECTORS
from icl.settings import FewShotConfig
from tests.support.doubles import CountingLM, HashedWords, few_shot

HEAVY = ("torch", "transformers", "sklearn", "scipy", "networkx", "sentence_transformers")


def test_settings_are_checked_without_loading_a_model_library():
    """So the command line reports a mistyped selector in under a second."""
    program = f"""
import sys
import icl.settings
icl.settings.FewShotConfig(selector="votek_two_stage", options={{"annotate": 50}})
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []


@pytest.mark.parametrize(
    ("selector", "part"), [("knn_prompting", "anchors"), ("votek_pool", "annotate")]
)
def test_more_examples_than_a_selector_chooses_from_are_refused_at_once(selector, part):
    assert FewShotConfig(selector=selector, k=3, options={part: 3}).k == 3
    with pytest.raises(TuneshotError, match=rf"chooses from {part}=3 messages, so it cannot show"):
        FewShotConfig(selector=selector, k=4, options={part: 3})


# --- what changes nothing ----------------------------------------------------------------------

OTHERS = {
    "k": 2, "balance": "at_least_one", "order": "similar_first", "orders": 2, "near": 0.6,
    "longest": 25, "chat": True, "prompt_tokens": 400, "scoring": "mean",
    "calibration": "contextual", "shares": "pool", "vote": 0.5, "voters": 2, "most_labels": 1,
}  # fmt: skip


def test_every_setting_but_names_and_seed_may_be_told_to_have_no_effect():
    names = FewShotConfig().to_dict().keys() - {"selector", "options", "seed"}
    assert OTHERS.keys() == names


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_said_to_have_no_effect_changes_no_answer(selector, name):
    usual = FewShotConfig(selector=selector)
    changed = replace(usual, **{name: OTHERS[name]})
    if name not in changed.without_effect:
        return
    texts = ["win a prize", "see you at dinner"]
    before, after = (
        few_shot(CountingLM(), **config.to_dict()).predict(texts) for config in (usual, changed)
    )
    for a, b in zip(before, after, strict=True):
        assert (a.probabilities, a.prompt) == (b.probabilities, b.prompt)


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({}, ()),
        ({"selector": "knn", "vote": 0.5, "voters": 3}, ("vote", "voters")),
        ({"selector": "knn", "k": 8, "near": 0.9}, ()),
        ({"selector": "knn", "orders": 4, "scoring": "mean"}, ("orders", "scoring")),
        ({"selector": "zero", "orders": 4}, ("orders",)),
        ({"selector": "zero", "order": "global_entropy", "k": 4}, ("k", "order")),
        ({"selector": "random", "balance": "at_least_one"}, ("balance",)),
        ({"selector": "mdl", "balance": "equal", "orders": 2}, ("balance",)),
        ({"selector": "mdl", "order": "random"}, ("order",)),
        ({"selector": "knn_prompting", "vote": 0.5, "voters": 3}, ()),
        ({"k": 1, "order": "random"}, ("order",)),
        ({"voters": 3, "shares": "pool"}, ("shares", "voters")),
        ({"k": 8, "order": "global_entropy", "vote": 0.5, "voters": 3}, ()),
        ({"calibration": "batch", "shares": "pool"}, ()),
    ],
)  # fmt: skip
def test_what_has_no_effect_beside_the_other_settings_is_known(settings, idle):
    assert FewShotConfig(**settings).without_effect == idle


# --- where labels are letters ------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"selector": "knn"}, {"selector": "knn_prompting"}, {"vote": 0.5}]
)
def test_letters_of_other_messages_choices_cannot_vote(settings):
    with pytest.raises(TuneshotError, match="has choices of its own, so another one's right let"):
        FewShot("commonsense_qa", lm=CountingLM(), embedder=HashedWords(), **settings)
    for task in TASKS:
        if task != "commonsense_qa":
            FewShotConfig(**settings).check_task(TASKS[task])


def test_a_grid_leaves_votes_out_where_labels_are_letters_and_says_so(capsys):
    task = TASKS["commonsense_qa"]
    grid = cells(["commonsense_qa", "sms_spam"], ["lm"], ["topk", "knn_prompting"])
    kept = {(cell.task, cell.selector) for cell in grid_without_votes(grid, task, task.name)}
    others = {"zero", "random", "topk"}
    assert kept == {
        *((task.name, name) for name in others),
        *(("sms_spam", name) for name in (*others, "knn", "knn_prompting")),
    }
    assert "commonsense_qa: knn, knn_prompting left out" in capsys.readouterr().err
    mixed = cells(["commonsense_qa"], ["lm"], ["topk"], vote=0.5)
    alone = cells(["commonsense_qa"], ["lm"], ["knn"], baselines=())
    for wrong in (mixed, alone):
        with pytest.raises(TuneshotError, match="has choices of its own"):
            grid_without_votes(wrong, task, task.name)


def test_a_comparison_leaves_votes_out_where_labels_are_letters_and_says_so(capsys):
    methods = ("knn", "few_shot_knn_prompting", "knn_votek", "zero", "majority")
    plan = Plan(methods=methods, budgets=(8,))
    assert plan_without_votes(plan, TASKS["sms_spam"]) is plan
    assert plan_without_votes(plan, TASKS["commonsense_qa"]).methods == ("zero", "majority")
    said = capsys.readouterr().err
    assert "knn, few_shot_knn_prompting, knn_votek left out" in " ".join(said.split())
    with pytest.raises(TuneshotError, match="a comparison needs methods"):
        plan_without_votes(Plan(methods=("knn",), budgets=(8,)), TASKS["commonsense_qa"])
