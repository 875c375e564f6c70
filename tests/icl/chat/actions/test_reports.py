"""/report: the newest comparison in the chat."""

import json
import os

import pytest
from playwright.sync_api import expect

from clfcore.errors import TuneshotError
from icl.report.page import report_page
from tests.support.chat import handle, make_workers
from tests.support.lazy import lazy
from tests.support.summaries import make_summary

commands = lazy("icl.chat.actions.commands")
reports = lazy("icl.chat.actions.reports")
state = lazy("icl.chat.state")


def put_comparison(folder, summary=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary or make_summary()))


def report():
    invocation = commands.Invocation(make_workers(), state.Chat(), "", None)
    return handle(commands.run_command, "report", invocation)


def test_the_report_sends_the_answer_two_figures_and_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_REPORTS", str(tmp_path))
    put_comparison(tmp_path / "old", make_summary() | {"created": "2020-01-01T00:00:00"})
    os.utime(tmp_path / "old/summary.json", (1000, 1000))
    put_comparison(tmp_path / "new")
    sent = report()
    first, second, last = sent.messages
    assert first.startswith(
        r"With 1\,024 labelled messages\, take fine\-tuned\, last block \(balanced accuracy 96\.3"
    )
    assert "1 crossing marked with a diamond" in first
    assert "milliseconds for one message" in second
    assert r"SMS Spam Collection\, 200 test messages\, 2026\-11\-28" in last
    assert [(card["type"], card["name"]) for card in sent.cards] == [
        ("plotly", "crossover"), ("plotly", "cost"), ("file", reports.FILE_NAME)
    ]  # fmt: skip


def test_where_nothing_was_compared_it_says_how(monkeypatch, tmp_path):
    monkeypatch.setenv("TUNESHOT_REPORTS", str(tmp_path))
    with pytest.raises(TuneshotError, match=r"no comparison in .*; make one: tuneshot compare"):
        report()


# --- in a browser ---------------------------------------------------------------------------------


def ask_for_report(tab):
    tab.locator("#chat-input").fill("/report")
    tab.locator("#chat-submit").click()
    link = tab.locator(f"a:has-text('{reports.FILE_NAME}')")
    expect(link).to_be_visible(timeout=60_000)
    return link


@pytest.mark.browser
def test_the_page_draws_the_figures_and_hands_out_the_report(visit, page, tmp_path):
    put_comparison(page.log.parent / "runs/compare")  # the server looks below its own folder
    chat = visit(page, accept_downloads=True)
    link = ask_for_report(chat.tab)
    expect(chat.tab.get_by_text("With 1,024 labelled messages, take fine-tuned")).to_be_visible()
    chat.pictures(2)
    with chat.tab.expect_download() as coming:
        link.click()
    coming.value.save_as(tmp_path / "report.html")
    assert coming.value.suggested_filename == reports.FILE_NAME
    assert (tmp_path / "report.html").read_bytes() == report_page(make_summary())
    opened = chat.tab.context.new_page()
    opened.context.set_offline(True)
    opened.goto(f"file://{tmp_path}/report.html")
    opened.wait_for_selector("html[data-drawn]")
    expect(opened.get_by_text("With 1,024 labelled messages, take fine-tuned")).to_be_visible()


@pytest.mark.browser
@pytest.mark.slow
def test_only_who_is_signed_in_gets_the_file(visit, page_with_login):
    put_comparison(page_with_login.log.parent / "runs/compare")
    chat = visit(page_with_login, start=False)
    chat.tab.locator("input[name=email], #email, input[type=text], input[type=email]").first.fill(
        "anna"
    )
    chat.tab.locator("input[type=password]").fill("anna-code-1")
    chat.tab.keyboard.press("Enter")
    chat.wait_for_the_start()
    address = ask_for_report(chat.tab).evaluate("link => link.href")
    assert address.startswith(f"{page_with_login.url}/project/file/")
    assert chat.tab.request.get(address).body() == report_page(make_summary())
    chat.tab.context.clear_cookies()
    assert chat.tab.request.get(address).status == 401
