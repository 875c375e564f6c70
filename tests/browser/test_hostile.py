"""What strangers write runs nothing in the page and asks no other machine; who is out sees so."""

from types import SimpleNamespace

import pytest
from playwright.sync_api import expect

from tests.support.pages import free_port
from tests.support.signed_in import page_of_a_class
from tests.support.visits import ANSWER

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ELSEWHERE = "http://198.51.100.9"
HOSTILE = (
    "<script>window.hacked = 1</script>",
    f'<img src="{ELSEWHERE}/a.png" onerror="window.hacked = 1">',
    f"![cash]({ELSEWHERE}/b.png) [win](javascript:window.hacked=1)",
    f'<iframe src="{ELSEWHERE}"></iframe><svg onload="window.hacked = 1">',
    r"$\href{javascript:window.hacked=1}{x} \includegraphics{" + ELSEWHERE + "/c.png}$",
    f'"><style>@import url({ELSEWHERE}/d.css)</style><a href="javascript:window.hacked=1">cash</a>',
)


def test_what_strangers_write_is_text_wherever_the_page_shows_it(visit, page):
    chat = visit(page)
    for text in HOSTILE:
        chat.send(f"/teach spam {text}")
    card = chat.send(HOSTILE[1])  # its examples are the texts before
    card.get_by_role("tab", name="Exact prompt").click()
    expect(card.get_by_test_id("prompt")).to_contain_text(HOSTILE[1])
    chat.tab.get_by_role("button", name="Why?").last.click()
    chat.pictures(2)
    chat.tab.locator("#chat-input").fill(f"/teach {HOSTILE[1]} {HOSTILE[2]}")  # an error with it
    chat.tab.locator("#chat-submit:enabled").click()
    chat.tab.wait_for_timeout(1000)
    for link in chat.tab.locator("a[href^='javascript'], a[href^='data']").all():
        raise AssertionError(link.inner_text())
    expect(chat.tab.locator(f"[src^='{ELSEWHERE}']")).to_have_count(0)
    assert chat.tab.evaluate("window.hacked") is None
    assert chat.outside == []


def test_the_open_page_of_somebody_who_is_taken_off_shows_the_login(visit, tmp_path):
    codes = tmp_path / "codes"
    codes.touch(mode=0o600)
    codes.write_text("anna correct horse\nben battery staple\n")
    port = free_port()
    environment = {"TUNESHOT_CODES": "", "TUNESHOT_CODES_FILE": str(codes)}
    with page_of_a_class(tmp_path, port, **environment):
        anna = visit(SimpleNamespace(url=f"http://127.0.0.1:{port}"), start=False)
        anna.tab.locator("input[name=email]").fill("anna")
        anna.tab.locator("input[name=password]").fill("correct horse")
        anna.tab.locator("button[type=submit]").click()
        expect(anna.tab.locator("#chat-input")).to_be_visible(timeout=ANSWER)
        codes.write_text("ben battery staple\n")
        expect(anna.tab.locator("input[name=password]")).to_be_visible(timeout=ANSWER)
        expect(anna.tab.locator("#chat-input")).to_have_count(0)
