"""What a visitor can do beside asking: commands, the settings panel, a chat's own memory."""

import asyncio
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clfcore.errors import TuneshotError
from clfcore.types import Example
from icl.batch.read import SUFFIXES
from icl.prompt.free_prompts import FREE_PROMPTS
from icl.session.environment import workers as real_workers
from icl.session.session import Model, Reply, Turn
from icl.session.settings import CHOICES, Settings
from tests.support.chat import WordSpotter, handle, make_workers
from tests.support.doubles import CountingLM, few_shot
from tests.support.lazy import lazy

commands = lazy("icl.chat.actions.commands")
uploads = lazy("icl.chat.actions.upload")
controls = lazy("icl.chat.controls")
state = lazy("icl.chat.state")

LABELS = ("ham", "spam")


def command(name, text="", chat=None, asking=None, **rest):
    chat = chat or state.Chat()
    invocation = commands.Invocation(asking or make_workers(), chat, text, None, **rest)
    return handle(commands.run_command, name, invocation)


# --- what is a command --------------------------------------------------------------------------


def test_a_command_may_be_picked_or_written():
    for name in commands.COMMANDS:
        assert commands.split_command("some text ", name) == (name, "some text")
        assert commands.split_command(f"/{name}", None) == (name, "")
        assert commands.split_command(f"/{name}  some text", None) == (name, "some text")
        assert commands.split_command(f"/{name}\nsome text", None) == (name, "some text")


@pytest.mark.parametrize(
    "text", ["see you /s", "/s", "/home/me/file", "/ teach", "//", "1/2", "/Teach x", "hi /teach"]
)
def test_other_slashes_are_messages(text):
    assert commands.split_command(text, None) == (None, text)


def test_a_mistyped_command_is_answered_with_the_commands():
    with pytest.raises(TuneshotError, match="unknown command 'teech'; choose from compare"):
        command("teech", "spam hello")


def test_the_page_offers_every_command_with_words_and_an_icon():
    assert [each["id"] for each in commands.command_list()] == list(commands.COMMANDS)
    assert all(each["description"] and each["icon"] for each in commands.command_list())


def test_help_lists_every_command():
    (text,) = command("help").messages
    assert all(f"/{name}" in text for name in commands.COMMANDS)


# --- again, or all of them ----------------------------------------------------------------------


def test_compare_asks_both_methods_about_the_last_message():
    chat = state.Chat()
    chat.turns.add(Turn("1", "win cash", Settings(), Reply(())))
    assert command("compare", chat=chat).messages == ["Both say spam."]


def test_without_a_message_there_is_nothing_to_look_back_at():
    for name in ("compare", "prompt", "why", "sweep", "table"):
        with pytest.raises(TuneshotError, match="send a message first"):
            command(name)


def test_the_table_lists_what_was_answered_oldest_first():
    chat = state.Chat()
    asking = make_workers()
    for text in ("win cash", "see you"):
        command("compare", text, chat, asking)
    (card,) = command("table", chat=chat).cards
    assert card["props"]["rows"] == [
        ["win cash", "spam", "spam"],
        ["see you", "not spam", "not spam"],
    ]


# --- teaching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "label", "text"),
    [
        ("spam win a prize", "spam", "win a prize"),
        ("ham: see you", "ham", "see you"),
        ("not spam see you", "ham", "see you"),
        ("NOT SPAM: see you", "ham", "see you"),
        ("Spam\tspam spam", "spam", "spam spam"),
    ],
)
def test_a_label_may_be_the_tasks_or_the_pages(given, label, text):
    assert commands.labelled(given, LABELS) == (label, text)


@pytest.mark.parametrize("given", ["spam", "spam  ", "spammy text", "hello there", "not", "spam:"])
def test_teaching_without_a_label_or_a_message_says_how(given):
    with pytest.raises(TuneshotError, match=r"label first \(not spam or spam\)"):
        commands.labelled(given, LABELS)


def test_what_is_taught_belongs_to_its_chat_and_task():
    seen = []

    def few_shot(settings):
        seen.append(settings.added)
        return Model("reader", WordSpotter())

    one, other = state.Chat(), state.Chat()
    asking = make_workers(few_shot=few_shot)
    sent = command("teach", "spam win a walrus", one, asking)
    command("compare", "hello", other, asking)
    assert "1 more message" in sent.messages[0]
    assert seen == [(Example("win a walrus", "spam"),), ()]
    one.panel = {"task": "sst2"}
    assert one.settings(None).added == ()


def test_when_the_language_model_is_not_convinced_it_says_so():
    unmoved = make_workers(few_shot=lambda settings: Model("reader", WordSpotter("walrus")))
    *_, last = command("teach", "ham win a walrus", asking=unmoved).messages
    assert "still says something else" in last


def test_teaching_lists_what_is_known_and_shows_how():
    chat = state.Chat()
    assert "Nothing has been taught" in command("teach", chat=chat).messages[0]
    chat.add_example("sms_spam", Example("<b>win</b>", "spam"))
    (listed,) = command("teach", chat=chat).messages
    assert r"spam\: \<b\>win\<\/b\>" in listed


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(LABELS)), max_size=12))
def test_of_a_message_the_last_label_counts(lessons):
    chat = state.Chat()
    for text, label in lessons:
        chat.add_example("sms_spam", Example(text, label))
    known = chat.settings(None).added
    assert {e.text: e.label for e in known} == dict(lessons)
    assert len(known) == len(dict(lessons))


def test_a_chat_holds_so_many_lessons_and_turns():
    chat = state.Chat()
    for number in range(state.MAX_ADDED_EXAMPLES):
        chat.add_example("sms_spam", Example(f"message {number}", "ham"))
    chat.add_example("sms_spam", Example("message 3", "spam"))  # known: no more than before
    with pytest.raises(TuneshotError, match="100 messages"):
        chat.add_example("sms_spam", Example("one more", "ham"))
    turns = [Turn(str(n), str(n), Settings(), Reply(())) for n in range(state.MAX_TURNS + 1)]
    for turn in turns:
        chat.turns.add(turn)
    assert len(chat.turns) == state.MAX_TURNS
    assert chat.turns.newest() is turns[-1]
    with pytest.raises(TuneshotError, match="not remembered"):
        chat.turns.find(turns[0].id)


def test_what_a_chat_has_learned_outlives_the_process_as_plain_json():
    chat = state.Chat(panel={"balance": "none"})
    chat.add_example("sms_spam", Example("win", "spam"))
    again = state.Chat.from_dict(json.loads(json.dumps(chat.to_dict())))
    assert (again.added, again.panel) == (chat.added, chat.panel)
    assert state.Chat.from_dict({}) == state.Chat()


# --- the panel ----------------------------------------------------------------------------------


def test_the_panel_offers_what_settings_take():
    offers = {"lm": ["one", "two"], "checkpoint": ["a", "b"]}
    widgets = {widget.id: widget for widget in controls.panel(offers)}
    assert list(widgets) == ["task", "balance", "lm", "checkpoint"]
    assert list(widgets["task"].items.values()) == list(CHOICES["task"])
    for widget in widgets.values():
        for value in widget.items.values():
            Settings.read({widget.id: value})


def test_one_model_is_nothing_to_choose_from():
    assert [widget.id for widget in controls.panel({"lm": ["one"], "checkpoint": ["a"]})] == [
        "task",
        "balance",
    ]


def test_every_free_prompt_can_be_picked():
    (picker,) = controls.form_pickers()
    assert [option.id for option in picker.options] == list(FREE_PROMPTS)


# --- files --------------------------------------------------------------------------------------


def upload(tmp_path, content, name="messages.csv", asking=None, methods=("fine_tuned", "few_shot")):
    path = tmp_path / "upload"
    path.write_text(content)
    return handle(uploads.classify_file, asking or make_workers(), path, name, methods, Settings())


def test_a_file_is_answered_with_figures_a_table_and_a_file_of_results(tmp_path):
    content = "text,label\nwin cash,spam\nwin,ham\nsee you,ham\n"
    sent = upload(
        tmp_path, content, asking=make_workers(few_shot=lambda s: Model("r", WordSpotter("cash")))
    )
    *_, figures = sent.messages
    assert r"They agree on 66\.7 \% of the messages" in figures
    table = next(c for c in sent.cards if c["name"] == "AnswersTable")["props"]
    assert table["columns"] == ["Row", "Message", "Label", "Fine-tuned", "Few-shot", "Why here"]
    assert [row[1] for row in table["rows"]] == ["win", "win cash", "see you"]
    assert [c["name"] for c in sent.cards if c["name"].endswith(".csv")] == ["messages_answers.csv"]
    assert {c["name"] for c in sent.cards} >= {"confusion fine_tuned", "confusion few_shot"}


def test_stopping_a_file_shows_what_was_answered(tmp_path):
    asked = []

    class Slow(WordSpotter):
        def predict(self, texts):
            asked.extend(texts)
            if len(asked) > 3:
                stopping.cancel()
            return super().predict(texts)

    stopping = None

    async def stopped(path):
        nonlocal stopping
        asking = make_workers(fine_tuned=lambda settings: Model("tiny", Slow()))
        job = uploads.classify_file(asking, path, "m.txt", ["fine_tuned"], Settings())
        stopping = asyncio.ensure_future(job)
        with pytest.raises(asyncio.CancelledError):
            await stopping

    path = tmp_path / "upload"
    path.write_text("\n".join(f"message {n}" for n in range(500)))
    *_, last = handle(stopped, path).messages
    assert "It was stopped after" in last
    assert len(asked) < 500


@pytest.mark.parametrize(
    ("content", "name", "complaint"),
    [
        ("\n", "empty.txt", "holds no messages"),
        ("text,label\nhello,maybe\n", "odd.csv", "the label 'maybe', and this task has not"),
        ("x", "picture.png", "no table of text"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path, content, name, complaint):
    with pytest.raises(TuneshotError, match=complaint):
        upload(tmp_path, content, name)


def test_what_is_odd_about_a_file_is_said_with_the_figures(tmp_path):
    *_, figures = upload(tmp_path, "text,label\nsee you,ham \nwin,spam\n").messages
    assert r"Note\: messages\.csv\: spaces around labels are left out\: \'ham\'\." in figures


def test_the_name_of_the_results_is_harmless(tmp_path):
    sent = upload(tmp_path, "hello\n", name="../<b>Übung 1</b>.txt")
    assert all("/" not in c["name"] and "<" not in c["name"] for c in sent.cards)


def test_uploads_accept_what_the_reader_reads():
    endings = {ending for known in uploads.ACCEPT.values() for ending in known}
    assert endings == {*SUFFIXES, ".gz", ".xls"} - {""}


# --- the real models ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("selector", "pictures"), [("topk", 2), ("votek_pool", 3), ("knn", 2)])
def test_why_draws_the_words_the_map_and_vote_ks_graph(selector, pictures):
    chat = state.Chat(panel={"selector": selector})
    sent = command("why", "Call me now, it is urgent", chat, real_workers())
    drawn = [card for card in sent.cards if card["type"] == "plotly"]
    assert len(drawn) == pictures
    assert any("direction" in text or "map" in text for text in sent.messages)


@pytest.mark.slow
def test_the_exact_prompt_and_a_sweep_are_of_the_message():
    asking, text = real_workers(), "Call me now, it is urgent"
    (prompt,) = command("prompt", text, asking=asking).messages
    assert prompt.count(text) == 1
    sent = command("sweep", text, state.Chat(panel={"k": "2"}), asking)
    assert [card["type"] for card in sent.cards] == ["plotly"]
    assert any("2 orders of the same 2" in message for message in sent.messages)


def test_a_stopped_sweep_asks_no_further_question():
    class Slow(CountingLM):
        def read(self, *args):
            loop.call_soon_threadsafe(stopping.cancel)
            while not stopping.done():
                time.sleep(0.01)
            return super().read(*args)

    lm, loop, stopping = Slow(), None, None
    asking = make_workers(few_shot=lambda settings: Model("slow", few_shot(lm)))

    async def stopped():
        nonlocal loop, stopping
        loop = asyncio.get_running_loop()
        stopping = asyncio.ensure_future(commands.sweep(asking, "win cash", Settings()))
        with pytest.raises(asyncio.CancelledError):
            await stopping

    sent = handle(stopped)
    asking.close()  # once the question under way is answered
    assert len(lm.prompts) == 1
    assert sent.messages == sent.removed


def test_a_vote_has_no_prompt_to_show():
    chat = state.Chat(panel={"selector": "knn"})
    with pytest.raises(TuneshotError, match="the examples vote"):
        command("prompt", "hello", chat, real_workers())
