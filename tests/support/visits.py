"""A browser window on the page, and what a visitor does there."""

from dataclasses import dataclass, field

from playwright.sync_api import expect

ANSWER = 120_000  # ms; the first answer waits for the models

# Name -> what a window is opened with.
LOOKS = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"width": 390, "height": 844},
    "zoomed to 200 %": {"width": 640, "height": 360, "device_scale_factor": 2},
}

# Whatever ends outside the window, and is in no part that can be scrolled with the keyboard; and
# words of a picture that end outside the picture.
CUT_OFF = """
() => {
  const found = []
  const note = e =>
    found.push((e.className.baseVal ?? e.className) + ": " + e.textContent.trim().slice(0, 40))
  for (const e of document.querySelectorAll("body *")) {
    const { left, right, width } = e.getBoundingClientRect()
    const plot = e.closest(".js-plotly-plot")
    if (!width || e.closest(".ts-unseen, .sr-only, #js-plotly-tester")) continue
    if (plot) {
      const frame = plot.getBoundingClientRect()
      if (e.tagName === "text" && (left < frame.left - 1 || right > frame.right + 1)) note(e)
    } else if (right > innerWidth + 1 || left < -1) {
      const scrolled = e.parentElement.closest("[tabindex='0']")
      if (!scrolled || !/auto|scroll/.test(getComputedStyle(scrolled).overflowX)) note(e)
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page itself")
  return found
}
"""


@dataclass
class Visit:
    """One browser window, and what it asked of other machines (always refused) or complained of."""

    tab: object
    outside: list = field(default_factory=list)
    complaints: list = field(default_factory=list)
    blinked: bool = False

    @classmethod
    def to(cls, page, chromium, width, height, dark, **context):
        """Opens a window; ``context`` is what Playwright's ``new_context`` takes."""
        window = chromium.new_context(viewport={"width": width, "height": height}, **context)
        theme = "dark" if dark else "light"
        window.add_init_script(f"localStorage.setItem('vite-ui-theme', '{theme}')")
        visit = cls(window.new_page())

        def only_this_machine(route):
            if route.request.url.startswith((page.url, "data:", "blob:")):
                route.continue_()
            else:
                visit.outside.append(route.request.url)
                route.abort()

        visit.tab.route("**/*", only_this_machine)
        visit.tab.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.tab.goto(page.url)
        return visit

    def wait_for_the_start(self):
        expect(self.tab.locator("#starters")).to_be_visible(timeout=30_000)
        self.wait_for_pickers()

    def wait_for_pickers(self):
        pickers = self.tab.locator("#mode-picker-trigger-selector")
        expect(pickers).to_be_visible(timeout=60_000)

    def blink(self, word):
        """Of the page opened anew: its first connection breaks at an event with this word."""

        def watch(route):
            server = route.connect_to_server()
            route.on_message(lambda message: pass_on(server, message))
            server.on_message(lambda message: pass_on(route, message))

            def pass_on(other, message):
                breaks = word in str(message) and not self.blinked
                if not breaks or other is server:  # what the visitor sent is on its way
                    other.send(message)
                if breaks:
                    self.blinked = True
                    route.close()
                    server.close()

        self.tab.route_web_socket("**/ws/socket.io/**", watch)
        self.tab.reload()

    def send(self, text):
        before = self.cards.count()
        self.tab.locator("#chat-input").fill(text)
        self.tab.locator("#chat-submit").click()
        return self.next_card(before)

    def start(self, label):
        before = self.cards.count()
        self.tab.locator(f"#starter-{label.lower().replace(' ', '-')}").click()
        return self.next_card(before)

    def next_card(self, before):
        card = self.cards.nth(before)
        expect(card).to_be_visible(timeout=ANSWER)
        return card

    def pick(self, picker, option):
        self.tab.locator(f"#mode-picker-trigger-{picker}").click()
        menu = self.tab.locator(f"#mode-picker-popover-{picker}")
        menu.get_by_text(option, exact=True).click()

    def send_file(self, file):
        """Has a file classified, and waits for the table."""
        self.tab.locator("#upload-button-input").set_input_files(file)
        self.tab.locator("#chat-input").fill("/batch")
        self.tab.locator("#chat-submit:enabled").click()
        table = self.tab.get_by_test_id("answers-table")
        expect(table).to_be_visible(timeout=ANSWER)
        return table

    def open_profile(self, name):
        self.tab.locator("#chat-profiles").click()
        self.tab.locator(f'[data-test="select-item:{name}"]').click()

    def go_on_with(self, text):
        """Sends a free prompt; what the language model wrote."""
        self.tab.locator("#chat-input").fill(text)
        self.tab.locator("#chat-submit").click()
        written = self.tab.get_by_test_id("written")
        expect(written).to_be_visible(timeout=ANSWER)
        return written

    def pictures(self, count):
        """Waits for Plotly's figures."""
        expect(self.tab.locator(".js-plotly-plot .main-svg").nth(0)).to_be_visible(timeout=ANSWER)
        expect(self.tab.locator(".js-plotly-plot")).to_have_count(count, timeout=ANSWER)

    @property
    def cards(self):
        return self.tab.get_by_test_id("compare-card")
