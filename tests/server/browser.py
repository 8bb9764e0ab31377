"""Chromium for the tests beside this file. Without it, or without playwright, they are skipped."""

import contextlib
import json
import re
import shutil
import sys

from harness import SKIPPED

try:
    from playwright.sync_api import Error, expect, sync_playwright
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(SKIPPED)

PATIENCE_MS = 60_000  # what a busy machine may take for a second's work
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    print("skipped: no chromium")
    sys.exit(SKIPPED)
expect.set_options(timeout=PATIENCE_MS)


@contextlib.contextmanager
def chromium():
    # Tests may run as root, where Chromium's own sandbox refuses to start.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class ChatPage:
    """The web chat in a fresh browser profile. `complaints` are the console's, and requests to elsewhere.

    storage: values that the page finds in localStorage. options: of playwright's new_context.
    """

    def __init__(self, browser, url, storage=None, **options):
        items = [{"name": name, "value": json.dumps(value)} for name, value in (storage or {}).items()]
        self.context = browser.new_context(
            storage_state={"cookies": [], "origins": [{"origin": url, "localStorage": items}]},
            **{"viewport": {"width": 1280, "height": 800}, **options})
        self.url = url
        self.complaints = []
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("request", self._asked)
        self.page.on("dialog", self._dialog)
        self.page.goto(url)
        expect(self.at("model-name")).not_to_have_text("hlwq")

    def _heard(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request):
        if not re.match(re.escape(self.url) + "/|data:|blob:", request.url):
            self.complaints.append(f"asked for {request.url}")

    def _dialog(self, dialog):
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def at(self, testid):
        return self.page.get_by_test_id(testid)

    def messages(self, role):
        return self.page.locator(f'[data-testid="message"][data-role="{role}"]')

    def type_and_send(self, text):
        self.at("input").fill(text)
        self.at("send").click()

    def wait_for_answer(self, state="done"):
        """Waits until the last answer has ended so."""
        expect(self.messages("assistant").last).to_have_attribute("data-state", state)

    def wait_until(self, condition):
        """Waits for a JavaScript condition. Playwright's own way evaluates strings, which the page's policy forbids."""
        self.page.evaluate(f"""(patience) => new Promise((resolve, reject) => {{
          const end = performance.now() + patience;
          const look = () => ({condition}) ? resolve() : performance.now() > end ? reject(new Error('still not')) : setTimeout(look, 20);
          look();
        }})""", PATIENCE_MS)

    def ask(self, text):
        """Sends the message and waits for the answer; the answer as it is kept."""
        answers = self.messages("assistant").count()
        self.type_and_send(text)
        expect(self.messages("assistant")).to_have_count(answers + 1)
        self.wait_for_answer()
        return self.kept()[-1]

    def kept(self):
        """The messages of the open chat, out of localStorage."""
        return self.page.evaluate("""() => {
          const id = JSON.parse(localStorage.getItem('hlwq.current'));
          return JSON.parse(localStorage.getItem('hlwq.chat.' + id)).messages;
        }""")

    def wide(self):
        """Visible elements that reach out of the window sideways, outside of boxes that scroll themselves."""
        return self.page.evaluate("""() => {
          const scrolls = (node) => node && node.id !== 'scroller' && node !== document.body
            && (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(node).overflowX) || scrolls(node.parentElement));
          return [document.documentElement, document.body, ...document.querySelectorAll('#scroller, #panel, dialog')]
            .filter((node) => node.scrollWidth > node.clientWidth).map((node) => `${node.localName}#${node.id} scrolls`)
            .concat([...document.querySelectorAll('body *')]
              .filter((node) => node.checkVisibility() && !node.matches('.skip, .hidden-text') && !scrolls(node.parentElement)
                && (node.getBoundingClientRect().right > innerWidth + 0.5 || node.getBoundingClientRect().left < -0.5))
              .map((node) => `${node.localName}.${node.className} is outside`));
        }""")

    def close(self):
        self.context.close()
