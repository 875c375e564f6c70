"""The page for everybody: axe-core's rules, the keyboard alone, a screen reader, small windows."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.support.lazy import lazy
from tests.support.visits import CUT_OFF, LOOKS

chat_app = lazy("chat_app")

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# What stays of Chainlit's own: (rule, element) -> why.
NOT_OURS = {
    ("aria-hidden-focus", "#root"): "an open list hides the page behind it and keeps the focus; "
    "axe-core does not see that the focus cannot get out",
}


class Inspector:
    """Looks at one view after the other, and remembers what is wrong."""

    def __init__(self, visit):
        self.tab = visit.tab
        self.axe = Axe()
        self.findings = []

    def look(self, view):
        self.tab.wait_for_timeout(600)  # transitions: a colour half way has no contrast
        for rule in self.axe.run(self.tab).response["violations"]:
            for node in rule["nodes"]:
                where = " ".join(map(str, node["target"]))
                grave = rule["impact"] in ("serious", "critical")
                if grave and (rule["id"], where) not in NOT_OURS:
                    self.findings.append(f"{view}: {rule['id']} at {where}: {node['html'][:200]}")
        self.findings += [f"{view}: cut off: {what}" for what in self.tab.evaluate(CUT_OFF)]


@pytest.mark.parametrize(
    ("look", "locale"), [*((look, "en-US") for look in LOOKS), ("phone", "de-DE")]
)
def test_no_view_breaks_a_serious_rule_or_is_cut_off(visit, page, tmp_path, look, locale):
    chat = visit(page, locale=locale, **LOOKS[look])
    tab, inspector = chat.tab, Inspector(chat)
    inspector.look("start")
    card = chat.send(chat_app.STARTERS[2][1])
    inspector.look("card, examples")
    card.get_by_role("tab").nth(1).click()
    inspector.look("card, prompt")
    tab.locator("#mode-picker-trigger-selector").click()
    inspector.look("picker")
    tab.keyboard.press("Escape")
    expect(tab.locator("#mode-picker-popover-selector")).to_have_count(0)
    expect(tab.locator("#mode-picker-trigger-selector")).to_be_focused()  # which may scroll
    tab.locator("button:has(> .lucide-search)").click()
    chat.pictures(2)
    inspector.look("why")
    tab.locator("button:has(> .lucide-chart-line)").click()
    chat.pictures(3)
    inspector.look("sweep")
    file = tmp_path / "messages.csv"
    file.write_text("text,label\nWIN cash now call 09061701461,spam\nsee you,ham\n")
    chat.send_file(file)
    inspector.look("batch")
    tab.locator("#command-button").click()
    inspector.look("commands")
    tab.keyboard.press("Escape")
    tab.locator("#chat-settings-open-modal").click()
    inspector.look("settings")
    tab.keyboard.press("Escape")
    tab.locator("#readme-button").click()
    inspector.look("guide")
    tab.keyboard.press("Escape")
    tab.locator("#chat-profiles").click()
    inspector.look("profiles")
    tab.locator('[data-test="select-item:Free prompt"]').click()
    inspector.look("another chat?")
    tab.locator("#confirm").click()
    expect(tab.locator("#mode-picker-trigger-form")).to_be_visible()
    chat.go_on_with("Guten Morgen!")
    inspector.look("free prompt")
    assert inspector.findings == []


@pytest.mark.parametrize("look", LOOKS)
def test_the_sign_in_page_breaks_no_serious_rule_and_is_not_cut_off(visit, page_with_login, look):
    chat = visit(page_with_login, start=False, **LOOKS[look])
    expect(chat.tab.locator("input[type=password]")).to_be_visible(timeout=30_000)
    inspector = Inspector(chat)
    inspector.look("sign-in")
    assert inspector.findings == []


# --- the keyboard alone --------------------------------------------------------------------------


# The box around the message field stands for it.
OUTLINED = """
element => [element, element.closest("#message-composer")].filter(Boolean).some(e => {
  const { outlineStyle, outlineWidth } = getComputedStyle(e)
  return outlineStyle === "solid" && outlineWidth !== "0px"
})
"""


class Keyboard:
    """A visitor without a mouse."""

    def __init__(self, visit):
        self.tab = visit.tab

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)

    def go_to(self, selector, key="Tab"):
        """Presses Tab until the focus is there, and sees where it is."""
        target = self.tab.locator(selector).last
        for _ in range(60):
            if target.evaluate("element => element === document.activeElement"):
                break
            self.press(key)
        expect(target).to_be_focused()
        assert target.evaluate(OUTLINED), f"{selector} does not show that it has the focus"


def test_everything_can_be_done_with_the_keyboard_alone(visit, page):
    chat = visit(page)
    tab, keyboard = chat.tab, Keyboard(chat)
    for picker, name in (("selector", "Random"), ("k", "k = 2"), ("order", "Similar first")):
        keyboard.go_to(f"#mode-picker-trigger-{picker}")
        keyboard.press("Enter", "ArrowDown", "Enter")
        expect(tab.locator(f"#mode-picker-trigger-{picker}")).to_have_text(name)
    keyboard.go_to("#chat-settings-open-modal", "Shift+Tab")
    keyboard.press("Enter")
    expect(tab.get_by_role("dialog").locator(":focus")).to_have_count(1)
    keyboard.press("Escape")
    expect(tab.locator("#chat-settings")).to_have_count(0)
    keyboard.go_to("#chat-input", "Shift+Tab")
    tab.keyboard.type(chat_app.STARTERS[1][1])
    keyboard.press("Enter")
    card = chat.next_card(0)

    keyboard.go_to("[role=tab][data-state=active]", "Shift+Tab")
    keyboard.press("ArrowRight")
    expect(card.get_by_test_id("prompt")).to_be_visible()
    keyboard.go_to("[data-testid=prompt]")
    keyboard.go_to("button:has(> .lucide-search)")
    keyboard.press("Enter")
    chat.pictures(2)
    keyboard.go_to("button:has(> .lucide-chart-line)")
    keyboard.press("Enter")
    chat.pictures(3)

    keyboard.go_to("#command-button")
    keyboard.press("Enter")
    expect(tab.get_by_text("List the commands")).to_be_visible()
    keyboard.press("Escape")
    keyboard.go_to("#readme-button")
    keyboard.press("Enter")
    expect(tab.get_by_text("How to read the card")).to_be_visible()
    keyboard.press("Escape")
    # First a new chat: Chainlit's question whether to leave this one lets no Tab through.
    keyboard.go_to("#new-chat-button")
    keyboard.press("Enter")
    expect(chat.cards).to_have_count(0)
    keyboard.go_to("#chat-profiles")
    keyboard.press("Enter")
    expect(tab.get_by_role("option", name="Compare")).to_be_focused()
    keyboard.press("ArrowDown")
    expect(tab.get_by_role("option", name="Fine-tuned")).to_be_focused()
    keyboard.press("Enter")
    expect(tab.locator("#chat-profiles")).to_have_text("Fine-tuned")


# --- a screen reader -----------------------------------------------------------------------------


def test_a_screen_reader_hears_the_verdict_the_card_and_the_page_language(visit, page):
    chat = visit(page)
    card = chat.start(chat_app.STARTERS[0][0])
    expect(chat.tab.get_by_text("Both say spam.")).to_be_visible()
    heard = card.aria_snapshot()
    for said in (
        'region "Fine-tuned"',
        'heading "Few-shot"',
        'list "Probabilities"',
        "listitem: not spam",
        'list "Time, price and settings"',
        'tablist "What the few-shot answer was made of"',
        'tab "Exact prompt"',
        "similarity 0.",
    ):
        assert said in heard
    assert chat.tab.locator("html").get_attribute("lang") == "en"


def test_every_picture_has_a_text_that_says_what_is_seen(visit, page):
    chat = visit(page)
    chat.start(chat_app.STARTERS[2][0])
    chat.tab.get_by_role("button", name="Why?").click()
    chat.pictures(2)
    chat.tab.get_by_role("button", name="Other k, other orders").click()
    chat.pictures(3)
    for name in ("words that moved the answer", "A map of", "by the number of examples"):
        picture = chat.tab.get_by_role("img", name=name)
        expect(picture).to_have_count(1)
        said = picture.get_attribute("aria-label")
        expect(chat.tab.locator(".ai-message").get_by_text(said)).to_be_visible()
