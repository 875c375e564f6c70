"""A visitor of the page has another site open, too: in Chromium, with names of its own."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.conftest import CHROMIUM
from tests.support.class_server import class_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CODE = "anna-code-1"
NAMES = ["--allowed-host", "class.test"]

# What a page of another site tries; what it gets: whether it could read an answer, whether a
# socket opened.
ATTACK = """
async url => {
  const body = JSON.stringify({texts: ["win"]})
  const json = {"Content-Type": "application/json"}
  const tried = {
    "a read": () => fetch(url + "/user", {credentials: "include"}),
    "a simple request": () =>
      fetch(url + "/logout", {method: "POST", mode: "no-cors", credentials: "include"}),
    "a form": () => fetch(url + "/login", {method: "POST", mode: "no-cors",
      body: new URLSearchParams({username: "anna", password: "anna-code-1"})}),
    "JSON": () => fetch(url + "/api/classify", {method: "POST", headers: json, body}),
    "JSON as text": () => fetch(url + "/api/classify", {method: "POST", mode: "no-cors", body}),
    "another method": () => fetch(url + "/project/thread", {method: "DELETE", headers: json, body}),
    "long polling": () => fetch(url + "/ws/socket.io/?EIO=4&transport=polling",
      {mode: "no-cors", credentials: "include"}),
    "a socket": () => new Promise((open, fail) => {
      const address = url.replace("http", "ws") + "/ws/socket.io/?EIO=4&transport=websocket"
      const socket = new WebSocket(address)
      socket.onmessage = event => open({type: "opened " + event.data})
      socket.onerror = () => fail(new TypeError("refused"))
    }),
  }
  const results = {}
  for (const [name, attempt] of Object.entries(tried)) {
    results[name] = await attempt().then(answer => answer.type, error => "refused")
  }
  return results
}
"""
# Where a page may send without asking, it learns nothing, and the server refused it: by the origin,
# or, of what a browser asks without saying where from, as there is no such thing.
OPAQUE = dict.fromkeys(("a simple request", "a form", "JSON as text", "long polling"), "opaque")


class Elsewhere(BaseHTTPRequestHandler):
    """Another site."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another site</title>")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def elsewhere():
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def page_of_a_class(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    with class_server(folder, *NAMES, TUNESHOT_CODES=f"anna:{CODE}") as page:
        yield page


@pytest.fixture(scope="module")
def resolving():
    """A browser that finds every name below .test on this machine."""
    if not CHROMIUM.exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    rules = "--host-resolver-rules=MAP *.test 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", rules]
        )
        yield browser
        browser.close()


@pytest.fixture
def tab(resolving):
    """An empty tab that remembers the statuses of what it asked for."""
    with contextlib.closing(resolving.new_context()) as context:
        tab = context.new_page()
        tab.statuses = {}
        tab.on("response", lambda r: tab.statuses.setdefault(r.url, []).append(r.status))
        yield tab


def at(page, name):
    """A running page's address under another name."""
    return page.url.replace("127.0.0.1", name)


def sign_in(tab, url):
    tab.goto(url)
    tab.locator("input[name=email]").fill("anna")
    tab.locator("input[name=password]").fill(CODE)
    tab.locator("button[type=submit]").click()
    tab.locator("#chat-input").wait_for(timeout=60_000)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "class.test"])
def test_the_page_opens_and_answers_under_each_of_its_names(tab, page_of_a_class, name):
    sign_in(tab, at(page_of_a_class, name))
    tab.locator("#chat-input").fill("win cash")
    tab.locator("#chat-submit:enabled").click(timeout=60_000)
    tab.get_by_text("Both say spam.").wait_for(timeout=60_000)


@pytest.mark.parametrize("name", ["evil.test", "www.class.test", "class.test.evil.test"])
def test_under_any_other_name_there_is_nothing_to_see(tab, page_of_a_class, name):
    url = at(page_of_a_class, name)
    for path in ("/", "/project/settings", "/api/openapi.json", "/public/tuneshot.css"):
        assert tab.goto(url + path).status == 403
    assert tab.locator("#root").count() == 0
    assert tab.evaluate(ATTACK, url)["a socket"] == "refused"


@pytest.mark.parametrize(
    ("name", "stranger"),
    [
        ("127.0.0.1", "evil.test"),
        ("127.0.0.1", "127.0.0.1"),  # another program of this machine
        ("class.test", "other.class.test"),
        ("class.test", "class.test"),
    ],
)
def test_a_page_of_another_site_gets_nothing_done_also_for_who_is_signed_in(
    tab, page_of_a_class, elsewhere, name, stranger
):
    """Siblings and other ports are other sites, too, though a browser sends them the cookies."""
    url = at(page_of_a_class, name)
    sign_in(tab, url)
    tab.goto(f"http://{stranger}:{elsewhere}/")
    tab.statuses.clear()
    results = tab.evaluate(ATTACK, url)
    assert results == dict.fromkeys(results, "refused") | OPAQUE
    (polling,) = (tab.statuses.pop(u) for u in list(tab.statuses) if u.endswith("polling"))
    assert (polling, set().union(*tab.statuses.values())) == ([400], {403})
    tab.goto(url)  # still signed in
    tab.locator("#chat-input").wait_for(timeout=60_000)


def test_no_other_site_shows_the_page_in_a_frame(tab, page_of_a_class, elsewhere):
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(f"http://evil.test:{elsewhere}/")
    tab.evaluate("url => { document.body.innerHTML = `<iframe src='${url}'></iframe>` }",
                 page_of_a_class.url)  # fmt: skip
    tab.wait_for_timeout(2000)
    assert any("frame-ancestors 'self'" in line for line in said)
    assert tab.frames[1].locator("#root").count() == 0


def test_what_strangers_tried_does_not_fill_the_log(page_of_a_class):
    lines = page_of_a_class.log.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["Tuneshot:", "Invalid"]  # long polling, once
