"""The real page with the real models, in Chromium, with every other machine out of reach."""

import re
from time import sleep

import pytest
from playwright.sync_api import expect

from icl.prompt.tasks import TASKS
from tests.support.lazy import lazy
from tests.support.visits import ANSWER

chat_app = lazy("chat_app")

pytestmark = pytest.mark.browser


def label(card, method):
    return card.get_by_test_id(f"label-{method}")


# --- the main job -------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "word"), [(0, "spam"), (1, "not spam")])
def test_both_methods_are_right_about_the_lectures_messages(visit, page, number, word):
    chat, starter = visit(page), chat_app.STARTERS[number]
    card = chat.start(starter[0])
    expect(chat.tab.get_by_text(starter[1])).to_be_visible()
    expect(chat.tab.get_by_text(f"Both say {word}.")).to_be_visible()
    for method in ("fine_tuned", "few_shot"):
        expect(label(card, method)).to_have_text(word)
    sure = card.get_by_test_id("side-fine_tuned").locator("[data-chosen=true] .ts-bar-number")
    assert float(re.sub(r"[^0-9.]", "", sure.inner_text())) >= 90


def test_the_disagreement_starter_shows_two_different_labels(visit, page):
    card = visit(page).start(chat_app.STARTERS[2][0])
    labels = {label(card, method).inner_text() for method in ("fine_tuned", "few_shot")}
    assert labels == {"spam", "not spam"}


def test_the_card_shows_examples_with_similarity_and_the_exact_prompt(visit, page):
    card = visit(page).start(chat_app.STARTERS[0][0])
    examples = card.get_by_test_id("example")
    expect(examples).to_have_count(4)
    similarities = [float(t) for t in card.locator(".ts-similarity").evaluate_all(
        "spans => spans.map(span => span.lastChild.textContent)"
    )]  # fmt: skip
    assert similarities == sorted(similarities)  # most similar last
    texts = card.locator(".ts-example-text").all_inner_texts()
    card.get_by_role("tab", name="Exact prompt").click()
    prompt = card.get_by_test_id("prompt").inner_text()
    places = [prompt.find(text[:30]) for text in [*texts, chat_app.STARTERS[0][1]]]
    assert -1 not in places
    assert places == sorted(places)
    assert prompt.endswith(TASKS["sms_spam"].template.before_label)


def test_settings_change_between_turns_and_the_chat_stays(visit, page):
    chat = visit(page)
    chat.start(chat_app.STARTERS[1][0])
    chat.pick("selector", "Random")
    chat.pick("k", "k = 2")
    chat.pick("order", "Easy to hard")
    card = chat.send("Are we still on for dinner?")
    expect(chat.cards).to_have_count(2)
    few_shot = card.get_by_test_id("side-few_shot")
    for fact in ("Random", "k = 2", "Easy to hard"):
        expect(few_shot.get_by_text(fact, exact=True)).to_be_visible()
    expect(card.get_by_test_id("example")).to_have_count(2)


def test_the_pickers_work_with_the_keyboard_alone(visit, page):
    chat = visit(page)
    chat.tab.locator("#mode-picker-trigger-selector").focus()
    for key in ("Enter", "ArrowDown", "Enter"):  # from the first option to the second
        chat.tab.keyboard.press(key)
    expect(chat.tab.locator("#mode-picker-trigger-selector")).to_have_text("Random")


def test_the_tabs_of_the_card_work_with_the_keyboard_alone(visit, page):
    card = visit(page).start(chat_app.STARTERS[1][0])
    card.get_by_role("tab", name="Examples").focus()
    card.page.keyboard.press("ArrowRight")
    expect(card.get_by_test_id("prompt")).to_be_visible()


@pytest.mark.parametrize(
    ("profile", "shown", "hidden"),
    [("Fine-tuned", "fine_tuned", "few_shot"), ("Few-shot", "few_shot", "fine_tuned")],
)
def test_a_single_method_can_be_asked_alone(visit, page, profile, shown, hidden):
    chat = visit(page)
    chat.open_profile(profile)
    card = chat.send("see you at eight")
    expect(label(card, shown)).to_be_visible()
    expect(card.get_by_test_id(f"side-{hidden}")).to_have_count(0)


def test_the_guide_explains_the_card(visit, page):
    chat = visit(page)
    chat.tab.locator("#readme-button").click()
    expect(chat.tab.get_by_text("How to read the card")).to_be_visible()


# --- seeing why, steering, teaching --------------------------------------------------------------


def test_why_draws_the_words_and_the_pool(visit, page):
    chat = visit(page)
    card = chat.start(chat_app.STARTERS[2][0])
    chat.tab.get_by_role("button", name="Why?").click()
    chat.pictures(2)
    expect(chat.tab.get_by_text("left out (occlusion)")).to_be_visible()
    expect(chat.tab.get_by_text("A map of")).to_be_visible()
    widths = chat.tab.locator(".js-plotly-plot").evaluate_all("all => all.map(e => e.offsetWidth)")
    assert min(widths) > 0.9 * card.bounding_box()["width"]


def test_vote_ks_graph_is_drawn_where_there_is_a_vote(visit, page):
    chat = visit(page)
    chat.pick("selector", "Vote-k + top-k")
    chat.start(chat_app.STARTERS[0][0])
    chat.tab.get_by_role("button", name="Why?").click()
    chat.pictures(3)


def test_one_click_asks_again_with_other_numbers_and_orders(visit, page):
    chat = visit(page)
    chat.pick("k", "k = 2")
    chat.start(chat_app.STARTERS[1][0])
    chat.tab.get_by_role("button", name="Other k, other orders").click()
    chat.pictures(1)
    expect(chat.tab.get_by_text("orders of the same 2")).to_be_visible()


def test_asking_again_is_stopped_by_the_stop_button(visit, page):
    chat = visit(page)
    chat.start(chat_app.STARTERS[1][0])
    chat.tab.get_by_role("button", name="Other k, other orders").click()
    expect(chat.tab.get_by_text("Asking again with other examples")).to_be_visible()
    chat.tab.locator("#stop-button").click()
    expect(chat.tab.get_by_text("Asking again with other examples")).to_be_hidden(timeout=2_000)
    chat.send("see you at eight")
    expect(chat.tab.locator(".js-plotly-plot")).to_have_count(0)


def test_few_shot_learns_what_is_taught_and_fine_tuning_does_not(visit, page):
    chat = visit(page)
    text = "the purple heron files its taxes on the moon"
    chat.pick("k", "k = 1")
    before = chat.send(text)
    labels = {method: label(before, method).inner_text() for method in ("fine_tuned", "few_shot")}
    other = {"spam": "not spam", "not spam": "spam"}[labels["few_shot"]]
    after = chat.send(f"/teach {other} {text}")
    expect(label(after, "few_shot")).to_have_text(other)
    expect(label(after, "fine_tuned")).to_have_text(labels["fine_tuned"])


def test_fine_tuning_learns_it_too_once_it_has_been_trained(visit, page):
    chat = visit(page)
    chat.wait_for_the_start()
    before = chat.send("/teach spam Hi mum, this is my new number, can you send me some money?")
    expect(label(before, "fine_tuned")).to_have_text("not spam")
    chat.tab.locator("#chat-input").fill("/train")
    chat.tab.locator("#chat-submit:enabled").click()
    chat.pictures(1)  # the loss curve, drawn while it goes on
    after = chat.next_card(1)
    expect(label(after, "fine_tuned")).to_have_text("spam")
    expect(after.get_by_text("gpt2-mini + 1 taught")).to_be_visible()
    expect(chat.tab.get_by_text("it answers 1 of 1 taught messages as taught")).to_be_visible()
    assert chat.outside == chat.complaints == []


def test_a_training_is_stopped_by_the_stop_button_and_nothing_changes(visit, page):
    chat = visit(page)
    chat.wait_for_the_start()
    chat.send("/teach spam Hi mum, this is my new number, can you send me some money?")
    chat.tab.locator("#chat-input").fill("/train")
    chat.tab.locator("#chat-submit:enabled").click()
    chat.pictures(1)
    chat.tab.locator("#stop-button").click()
    expect(chat.tab.get_by_text("Training on 1")).to_be_hidden(timeout=5_000)
    card = chat.send("Hi mum, this is my new number")
    expect(card.get_by_text("gpt2-mini", exact=True)).to_be_visible()


def test_a_file_is_classified_and_can_be_taken_home(visit, page, tmp_path):
    chat = visit(page)
    file = tmp_path / "messages.csv"
    file.write_text("text,label\nWIN cash now call 09061701461,spam\n<b>see</b> you,ham\n")
    table = chat.send_file(file)
    expect(table.get_by_text("<b>see</b> you")).to_be_visible()
    expect(chat.tab.locator(".inline-file").last).to_contain_text("messages_answers.csv")


def test_a_file_is_stopped_by_the_stop_button_and_shows_what_is_there(visit, page, tmp_path):
    chat = visit(page)
    chat.send("see you at eight")  # the models are there
    file = tmp_path / "many.txt"
    file.write_text("".join(f"see you at {n}\n" for n in range(2_000)))
    chat.tab.locator("#upload-button-input").set_input_files(file)
    chat.tab.locator("#chat-input").fill("/batch")
    chat.tab.locator("#chat-submit:enabled").click()
    expect(chat.tab.get_by_text(re.compile(r"Of 2,000 messages: fine-tuned [1-9]"))).to_be_visible()
    chat.tab.locator("#stop-button").click()
    expect(chat.tab.get_by_text("It was stopped after")).to_be_visible(timeout=2_000)
    expect(chat.tab.get_by_test_id("answers-table")).to_be_visible()


def test_commands_compare_list_and_explain_themselves(visit, page):
    chat = visit(page)
    chat.open_profile("Fine-tuned")
    chat.send("see you at eight")
    both = chat.send("/compare")  # the last message, by both
    expect(label(both, "few_shot")).to_be_visible()
    chat.tab.locator("#chat-input").fill("/table")
    chat.tab.locator("#chat-submit:enabled").click()
    rows = chat.tab.get_by_test_id("answers-table").locator("tbody tr")
    expect(rows).to_have_text([re.compile("see you at eight.*–"), re.compile("see you at eight")])
    chat.tab.locator("#chat-input").fill("/help")
    chat.tab.locator("#chat-submit:enabled").click()
    expect(chat.tab.get_by_text("Draw what moved the answers")).to_be_visible()


def test_the_exact_prompt_can_be_asked_for_and_is_shown_as_it_is(visit, page):
    chat = visit(page)
    chat.tab.locator("#chat-input").fill("/prompt *hi* <b>you</b>")
    chat.tab.locator("#chat-submit").click()
    expect(chat.tab.locator(".ai-message code")).to_contain_text(
        "*hi* <b>you</b>\nType:", timeout=ANSWER
    )


def test_a_mistyped_command_is_answered_with_the_list(visit, page):
    chat = visit(page)
    chat.tab.locator("#chat-input").fill("/teech spam hello")
    chat.tab.locator("#chat-submit").click()
    expect(chat.tab.get_by_text("choose from compare, prompt, why")).to_be_visible()


def test_another_task_has_its_few_shot_side_and_says_what_the_other_lacks(visit, page):
    chat = visit(page)
    chat.tab.locator("#chat-settings-open-modal").click()
    chat.tab.locator("#chat-settings #task").click()
    chat.tab.get_by_role("option", name="Film reviews, two labels").click()
    chat.tab.locator("#chat-settings #confirm").click()
    card = chat.send("a fine film")
    expect(card.get_by_test_id("problem-fine_tuned")).to_contain_text("clf train")


def test_a_free_prompt_is_gone_on_with(visit, page):
    chat = visit(page)
    chat.open_profile("Free prompt")
    expect(chat.tab.locator("#mode-picker-trigger-form")).to_be_visible()
    written = chat.go_on_with("Guten Morgen!")
    assert written.inner_text().strip()
    prompt = chat.tab.get_by_test_id("prompt").inner_text()
    assert prompt.endswith(f"German: Guten Morgen!\nEnglish: {written.inner_text()}")


def test_the_lectures_questions_are_one_click_each_and_say_what_was_hoped_for(visit, page):
    chat = visit(page)
    chat.open_profile("Free prompt")
    expect(chat.tab.locator("#mode-picker-trigger-form")).to_be_visible()
    chat.go_on_with("f(g(Italian))")  # its own prompt, though translation is picked
    cards = chat.tab.get_by_test_id("free-prompt-card")
    expect(cards.first).to_contain_text("g(French) = France")
    expect(cards.first).to_contain_text(re.compile("as hoped|hoped for: Rome"))
    chat.tab.get_by_role("button", name="f(g(Norwegian))").click()
    expect(cards.nth(1)).to_contain_text("f(g(Norwegian)) =", timeout=ANSWER)


# --- odd messages, missing parts ----------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<b>WIN</b> <img src=x onerror=alert(1)> call:now",
        "# *WIN* [cash](http://example.com) `now` {text} {{label}}",
        "שלום, נתראה הערב? 🎉",
    ],
    ids=["html", "markdown and braces", "right to left and emoji"],
)
def test_a_message_is_shown_as_it_was_typed_in_the_chat_and_in_the_prompt(visit, page, text):
    chat = visit(page)
    card = chat.send(text)
    assert chat.tab.locator(".step[data-step-type=user_message]").inner_text().strip() == text
    card.get_by_role("tab", name="Exact prompt").click()
    assert text in card.get_by_test_id("prompt").inner_text()
    assert chat.tab.locator("img[src=x]").count() == 0
    assert chat.tab.locator("a[href*='example.com']").count() == 0


def test_without_a_language_model_the_other_side_answers_and_the_card_says_what_to_do(
    visit, page_without_lm
):
    chat = visit(page_without_lm)
    card = chat.start(chat_app.STARTERS[0][0])
    expect(label(card, "fine_tuned")).to_have_text("spam")
    expect(card.get_by_test_id("problem-few_shot")).to_contain_text(
        "cannot load the language model"
    )
    expect(chat.tab.get_by_text("Fine-tuned says spam; few-shot has no answer.")).to_be_visible()
    chat.pick("selector", "kNN vote")  # this one needs no language model
    expect(label(chat.send(chat_app.STARTERS[0][1]), "few_shot")).to_be_visible()


@pytest.mark.parametrize("last", ['"client_message"', '"on_message"'], ids=["sent", "begun"])
def test_an_answer_arrives_though_the_network_blinks(visit, page, last):
    chat = visit(page, start=False)
    chat.blink(last)
    chat.wait_for_the_start()
    card = chat.send("see you at eight")
    assert chat.blinked
    expect(label(card, "fine_tuned")).to_have_text("not spam")
    for button in ("Why?", "Other k, other orders"):
        expect(chat.tab.get_by_role("button", name=button)).to_have_count(1)


def test_a_message_sent_at_the_first_moment_is_answered_though_the_page_connects_twice(visit, page):
    chat = visit(page, start=False)
    chat.tab.route("**/project/settings*profile=*", lambda route: (sleep(0.5), route.continue_()))
    chat.tab.reload()
    chat.tab.evaluate(AT_ONCE)
    card = chat.next_card(0)
    expect(label(card, "fine_tuned")).to_have_text("spam")


# Clicks the first starter in the first frame in which it can be clicked.
AT_ONCE = """
() => new Promise(done => {
  const look = () => {
    const starter = document.querySelector("#starters button:enabled")
    if (starter) { starter.click(); done() } else requestAnimationFrame(look)
  }
  look()
})
"""


def test_two_browsers_at_once_each_get_their_own_answer(visit, page):
    one, two = visit(page), visit(page)
    for chat, text in ((one, chat_app.STARTERS[0][1]), (two, chat_app.STARTERS[1][1])):
        chat.tab.locator("#chat-input").fill(text)
    for chat in (one, two):
        chat.tab.locator("#chat-submit").click()
    assert label(one.next_card(0), "fine_tuned").inner_text() == "spam"
    assert label(two.next_card(0), "fine_tuned").inner_text() == "not spam"
    assert one.cards.count() == two.cards.count() == 1


# --- looks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "stacked"), [(360, True), (390, True), (1280, False)])
def test_the_sides_stand_beside_each_other_or_stack_and_nothing_overflows(
    visit, page, width, stacked
):
    chat = visit(page, width=width, height=844)
    card = chat.start(chat_app.STARTERS[1][0])
    first, second = (
        card.get_by_test_id(f"side-{method}").bounding_box()
        for method in ("fine_tuned", "few_shot")
    )
    assert (second["y"] >= first["y"] + first["height"]) == stacked
    assert second["x"] + second["width"] <= width
    assert chat.tab.evaluate("document.documentElement.scrollWidth") <= width


# WCAG 2: the ratio of luminances of every text in the card and what lies behind it.
CONTRAST = """
card => {
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, under) => {
    const a = top.length > 3 ? top[3] : 1;
    return [0, 1, 2].map(i => top[i] * a + under[i] * (1 - a));
  };
  const behind = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = c => {
    const linear = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = c.map(v => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const e of card.querySelectorAll("*")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getClientRects().length) continue;
    const back = behind(e), ink = over(parse(getComputedStyle(e).color), back);
    const [hi, lo] = [light(back), light(ink)].sort((a, b) => b - a);
    found.push([(hi + 0.05) / (lo + 0.05), e.className + ": " + e.textContent.slice(0, 30)]);
  }
  return found;
}
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_of_the_card_has_enough_contrast(visit, page, dark):
    chat = visit(page, dark=dark)
    card = chat.start(chat_app.STARTERS[0][0])
    assert ("dark" in chat.tab.locator("html").get_attribute("class")) == dark
    chat.tab.wait_for_timeout(500)  # transitions
    ratios = card.evaluate(CONTRAST)
    assert len(ratios) > 15
    assert [what for ratio, what in ratios if ratio < 4.5] == []
