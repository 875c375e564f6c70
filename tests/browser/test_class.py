"""The page of a class, in Chromium: other models and tasks, sign-in, kept chats, votes."""

import re

import pytest
from playwright.sync_api import expect

from clfcore.data.messages import load_messages
from clfcore.weights.checkpoint import save_checkpoint
from clfcore.weights.meta import Meta
from icl.cli.tuneshot import main
from icl.prompt.tasks import TASKS
from tests.support.doubles import EXAMPLES, save_tiny_lm
from tests.support.pages import start_page
from tests.support.tiny import CFG, LABELS, tiny
from tests.support.visits import ANSWER

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FILMS = {"positive": "a fine film, and a warm one", "negative": "a dull film that never ends"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Models that answer in milliseconds, for two tasks."""
    folder = tmp_path_factory.mktemp("models")
    for name, labels in {"first": LABELS, "second": LABELS, "films": TASKS["sst2"].labels}.items():
        save_checkpoint(folder / name, tiny(), Meta(name, labels, CFG))
    for name in ("reader", "writer"):
        save_tiny_lm(folder / name)
    pool = folder / "pool.tsv"
    pool.write_text("".join(f"{e.label}\t{e.text}\n" for e in EXAMPLES))
    data = folder / "data" / "sst2"
    data.mkdir(parents=True)
    rows = [f"{text} {n}\t{label}\n" for n in range(4) for label, text in FILMS.items()]
    (data / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
    return {
        "TUNESHOT_CHECKPOINT": ",".join(str(folder / n) for n in ("first", "second", "films")),
        "TUNESHOT_LM": ",".join(str(folder / n) for n in ("reader", "writer")),
        "TUNESHOT_POOL": str(pool),
        "TUNESHOT_FOLDER": str(data.parent),
    }


@pytest.fixture(scope="module")
def page_with_choices(tmp_path_factory, environment):
    with start_page(tmp_path_factory.mktemp("choices"), **environment) as page:
        yield page


def settle(chat, **chosen):
    """Chooses in the settings panel: field -> the option's words."""
    chat.tab.locator("#chat-settings-open-modal").click()
    for field, option in chosen.items():
        chat.tab.locator(f"#chat-settings #{field}").click()
        chat.tab.get_by_role("option", name=option).click()
    chat.tab.locator("#chat-settings #confirm").click()


def models(card):
    """What answered, without the number format, which depends on the processor."""
    names = card.locator(".ts-model")
    expect(names.filter(has_not_text=re.compile(r"\S"))).to_have_count(0)  # all are drawn
    return [name.removesuffix(" in bfloat16") for name in names.all_inner_texts()]


def test_models_and_balance_change_between_turns_and_the_chat_stays(visit, page_with_choices):
    chat = visit(page_with_choices)
    assert models(chat.send("see you at eight")) == ["first", "reader"]
    settle(chat, checkpoint="second", lm="writer", balance="at least one of each label")
    card = chat.send("see you at nine")
    assert models(card) == ["second", "writer"]
    labels = card.get_by_test_id("example").locator(".ts-label").all_inner_texts()
    assert set(labels) == {"spam", "not spam"}
    expect(chat.cards).to_have_count(2)


def test_another_task_is_answered_by_both_sides_where_both_have_it(visit, page_with_choices):
    chat = visit(page_with_choices)
    settle(chat, task="Film reviews, two labels", checkpoint="films")
    card = chat.send("a warm film")
    assert models(card) == ["films", "reader"]
    for side in ("fine_tuned", "few_shot"):
        expect(card.get_by_test_id(f"label-{side}")).to_have_text(re.compile("positive|negative"))


def test_a_side_without_a_model_for_the_task_names_the_one_to_choose(visit, page_with_choices):
    chat = visit(page_with_choices)
    settle(chat, task="Film reviews, two labels")
    problem = chat.send("a warm film").get_by_test_id("problem-fine_tuned")
    expect(problem).to_have_text("first was not fine-tuned for sst2; choose films")


# --- sign-in, kept chats, votes ------------------------------------------------------------------


def sign_in(chat):
    chat.tab.locator("input[name=email]").fill("anna")
    chat.tab.locator("input[name=password]").fill("anna-code-1")
    chat.tab.locator("button[type=submit]").click()
    chat.wait_for_the_start()


def test_a_chat_is_taken_up_again_with_its_cards_pictures_votes_and_lessons(
    visit, page_with_login, tmp_path, command, monkeypatch
):
    chat = visit(page_with_login, start=False)
    sign_in(chat)
    text = "the purple heron files its taxes on the moon"
    chat.send(f"/teach spam {text}")
    chat.tab.get_by_role("button", name="It is spam").click()
    expect(chat.tab.get_by_text("Kept: it is spam.")).to_be_visible()
    chat.tab.locator(".positive-feedback-off").last.click()
    chat.tab.locator("#submit-feedback").click()
    expect(chat.tab.locator(".positive-feedback-on").last).to_be_visible()
    chat.tab.get_by_role("button", name="Why?").click()
    chat.pictures(2)

    later = visit(page_with_login, start=False)  # another day, another machine
    sign_in(later)
    later.tab.locator("#thread-history a[href*='/thread/']").first.click()
    expect(later.cards).to_have_count(1, timeout=ANSWER)
    expect(later.cards.get_by_test_id("label-fine_tuned")).to_be_visible()
    later.pictures(2)
    expect(later.tab.locator(".positive-feedback-on").last).to_be_visible()
    later.wait_for_pickers()
    later.tab.locator("#chat-input").fill("/teach")
    later.tab.locator("#chat-submit:enabled").click()
    expect(later.tab.get_by_text(f"spam: {text}")).to_be_visible()

    monkeypatch.setenv("TUNESHOT_DATA", str(page_with_login.log.parent))
    out = tmp_path / "votes.tsv"
    assert command(main, "tuneshot", "votes", "export", out)[0] == 0
    assert [(e.label, e.text) for e in load_messages(out).examples] == [("spam", text)]


def test_behind_a_proxy_its_header_opens_the_page_and_nothing_else_does(
    visit, environment, tmp_path
):
    login = {"TUNESHOT_AUTH_HEADER": "X-Forwarded-User", "TUNESHOT_DATA": str(tmp_path)}
    with start_page(tmp_path, **environment, **login) as page:
        anna = visit(page, extra_http_headers={"X-Forwarded-User": "anna"})
        anna.send("see you at eight")
        expect(anna.tab.locator("#thread-history")).to_contain_text("see you at eight")
        nobody = visit(page, start=False)
        nobody.tab.wait_for_timeout(2000)
        expect(nobody.tab.locator("#chat-input")).to_have_count(0)
