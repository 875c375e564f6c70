"""The page in German: complete, and chosen by the browser."""

import ast
import asyncio
import importlib.util
import io
import json
import re
import string
from pathlib import Path

import pytest
from playwright.sync_api import expect
from starlette.datastructures import Headers

from icl.chat.german import TRANSLATIONS
from icl.chat.serve import PROJECT
from icl.selectors.table import SELECTORS
from icl.session.jobs import LABEL_WORDS
from icl.session.settings import PROFILES
from tests.support.chat import handle, make_workers
from tests.support.lazy import lazy

chainlit = lazy("chainlit")
chat_app = lazy("chat_app")
commands = lazy("icl.chat.actions.commands")
cards = lazy("icl.chat.cards")
controls = lazy("icl.chat.controls")
faults = lazy("icl.chat.patches.faults")
conversation = lazy("icl.chat.conversation")
languages = lazy("icl.chat.language")
state = lazy("icl.chat.state")

ENGLISH, GERMAN = "en-US", "de-DE"
MODULES = ["chat_app", *(".".join(path.relative_to(PROJECT).with_suffix("").parts)
                         for path in (PROJECT / "icl/chat").rglob("*.py")
                         if not path.stem.startswith("__"))]  # fmt: skip


# --- every wording has its German ----------------------------------------------------------------


def said_by(name: str) -> set[str]:
    """What a module gives to ``say``, as a literal or by the name of a constant."""
    module = importlib.import_module(name)
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "say":
            words = node.args[0]
            if isinstance(words, ast.Constant):
                found.add(words.value)
            elif isinstance(words, ast.Name) and words.id.isupper():
                found.add(getattr(module, words.id))
    return found


def said_by_tables() -> set[str]:
    """What reaches ``say`` out of a table."""
    pairs = (controls.ORDER_WORDS, controls.FORM_WORDS)
    offered = asyncio.run(chat_app.profiles(None, "en"))
    return {
        *(words for table in pairs for pair in table.values() for words in pair),
        *(words for each in SELECTORS.values() for words in (each.title, each.description)),
        *(title for title, _ in (*controls.PICKERS.values(), *controls.PANEL.values())),
        *controls.BALANCE_WORDS.values(),
        *controls.TASK_WORDS.values(),
        *(command.description for command in commands.COMMANDS.values()),
        *cards.TITLES.values(),
        *(title.lower() for title in cards.TITLES.values()),
        *LABEL_WORDS.values(),
        *(words for each in offered for words in (each.display_name, each.markdown_description)),
        *(starter.label for each in offered for starter in each.starters),
        *(faults.EMPTY, faults.TOO_LARGE, faults.NO_TABLE, faults.CANNOT),
    }


def test_every_wording_has_a_german_one_and_none_is_left_over():
    said = said_by_tables().union(*map(said_by, MODULES))
    assert said - set(TRANSLATIONS) == set()
    assert set(TRANSLATIONS) - said == set()


@pytest.mark.parametrize(("english", "german"), TRANSLATIONS.items(), ids=lambda words: words[:25])
def test_the_german_wording_takes_the_same_values(english, german):
    def names(text):
        return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)

    assert names(german) == names(english)
    assert german.strip()
    assert german.count("**") % 2 == 0


# --- Chainlit's words, and the guide --------------------------------------------------------------


def flat(words, path=""):
    if isinstance(words, str):
        return {path: words}
    return {k: v for name, each in words.items() for k, v in flat(each, f"{path}.{name}").items()}


def translation(folder, language):
    return flat(json.loads((folder / f"{language}.json").read_text(encoding="utf-8")))


OURS = PROJECT / ".chainlit/translations"
THEIRS = Path(importlib.util.find_spec("chainlit").origin).parent / "translations"


def test_chainlits_german_is_complete():
    english, german = (translation(OURS, language) for language in (ENGLISH, GERMAN))
    assert list(german) == list(english) == list(translation(THEIRS, ENGLISH))
    for name, words in english.items():
        assert re.findall("{{.*?}}", german[name]) == re.findall("{{.*?}}", words)


def test_what_we_say_otherwise_in_english_we_say_otherwise_in_german():
    def changed(language):
        ours, theirs = (translation(folder, language) for folder in (OURS, THEIRS))
        return {name for name in ours if ours[name] != theirs.get(name)}

    # Chainlit's German word for the guide is right already.
    assert changed(ENGLISH) - changed(GERMAN) == {".navigation.header.readme"}


def test_both_guides_have_the_same_parts():
    english, german = (
        (PROJECT / name).read_text(encoding="utf-8")
        for name in ("chainlit.md", "chainlit_de-DE.md")
    )
    assert english.count("\n## ") == german.count("\n## ")
    assert re.findall("`[^`]+`", english) == re.findall("`[^`]+`", german)
    assert english.count("\n- ") == german.count("\n- ")


# --- who gets it ----------------------------------------------------------------------------------


@pytest.fixture
def repaired_chainlit():
    importlib.import_module("icl.chat.patches.install")


@pytest.mark.usefixtures("repaired_chainlit")
@pytest.mark.parametrize(
    ("browsers", "language"),
    [("de", GERMAN), ("de-DE", GERMAN), ("de-AT", GERMAN), ("DE-ch", GERMAN), ("en-GB", ENGLISH),
     ("fr-FR", ENGLISH), ("den", ENGLISH), ("", ENGLISH), (None, ENGLISH)],
)  # fmt: skip
def test_a_browser_gets_german_if_it_asks_for_it_and_english_otherwise(browsers, language):
    assert languages.page_language(browsers) == language
    if browsers:
        assert flat(chainlit.config.config.load_translation(browsers)) == translation(
            OURS, language
        )


def test_what_has_no_german_is_shown_in_english():
    assert languages.say("entropy", GERMAN) == "entropy"
    assert languages.say("Both say {what}.", GERMAN, what="{x}") == "Beide sagen „{x}“."


@pytest.fixture
def in_german(monkeypatch):
    monkeypatch.setattr("icl.chat.language.visitor_language", lambda: GERMAN)


@pytest.mark.usefixtures("in_german")
def test_numbers_are_written_as_germans_do():
    assert cards.percent(0.5) == "50,0 %"
    assert cards.percent(1.0) == "> 99,9 %"
    assert cards.milliseconds(1234) == "1.234 ms"


@pytest.mark.usefixtures("in_german")
def test_an_answer_the_pickers_and_the_panel_are_german():
    sent = handle(
        conversation.answer, make_workers(), state.Chat(), "win cash", PROFILES["Compare"], None
    )
    assert sent.messages == ["Beide sagen „Spam“."]
    assert [side["word"] for side in sent.cards[0]["props"]["sides"]] == ["Spam", "Spam"]
    assert [picker.name for picker in controls.pickers()] == ["Auswahl", "Beispiele", "Reihenfolge"]
    assert "Spam oder nicht (SMS)" in controls.panel({})[0].items


@pytest.mark.usefixtures("in_german")
def test_a_label_may_be_taught_in_either_language():
    for given in ("kein Spam: bis später", "not spam bis später", "ham bis später"):
        assert commands.labelled(given, ("ham", "spam")) == ("ham", "bis später")


@pytest.mark.parametrize(
    ("name", "size", "german", "english"),
    [
        ("a.csv", 0, "die Datei ist leer; senden", "the file is empty; send"),
        ("a.csv", 3_000_000, "die Datei ist zu groß; senden", "the file is too large; send"),
        ("a.exe", 1, "diese Art von Datei wird nicht gelesen", "this kind of file is not read"),
    ],
)
def test_a_file_that_is_refused_is_told_in_the_language_of_the_browser(name, size, german, english):
    assert chat_app  # with all that is put into Chainlit
    said = []

    async def app(scope, receive, send):
        file = faults.server.UploadFile(
            io.BytesIO(), size=size, filename=name, headers=Headers({"content-type": "text/csv"})
        )
        try:
            faults.server.validate_file_upload(file)
        except ValueError as error:
            said.append(str(error))

    for language in ("de-AT,de;q=0.9,en;q=0.8", "de;q=0.9", "fr", ""):
        headers = [(b"accept-language", language.encode())]
        scope = {"type": "http", "headers": headers}
        asyncio.run(faults.answer_in_one_line(app)(scope, None, None))
    assert [line[: len(german)] for line in said[:2]] == [german] * 2
    assert [line[: len(english)] for line in said[2:]] == [english] * 2


@pytest.mark.browser
@pytest.mark.slow
def test_a_german_browser_gets_a_german_page(visit, page):
    chat = visit(page, locale="de-DE")
    assert chat.tab.locator("html").get_attribute("lang") == "de"
    start = chat.tab.locator("body").inner_text()
    for words in ("Vergleich", "Spam oder nicht?", "Ein Gewinn", "Ähnliche zuletzt", "Befehle"):
        assert words in start
    card = chat.send("You have won a prize, call now")
    expect(chat.tab.get_by_text("Beide sagen „Spam“.")).to_be_visible()
    expect(chat.tab.get_by_role("button", name="Warum?")).to_be_visible()
    heard = card.aria_snapshot()
    for text in card.locator(".ts-example-text").all_inner_texts():
        heard = heard.replace(text, "")
    card.get_by_role("tab", name="Genauer Prompt").click()
    heard += card.get_by_role("tabpanel").aria_snapshot().split("\n")[0]
    english = [
        words
        for words, german in TRANSLATIONS.items()
        if words.lower() not in german.lower() and re.search(rf"\b{re.escape(words)}\b", heard)
    ]
    assert english == []
    chat.tab.locator("#chat-settings-open-modal").click()
    expect(chat.tab.get_by_text("Verteilung der Labels in den Beispielen")).to_be_visible()
    chat.tab.keyboard.press("Escape")
    chat.tab.locator("#readme-button").click()
    expect(chat.tab.get_by_text("Wie man die Karte liest")).to_be_visible()
