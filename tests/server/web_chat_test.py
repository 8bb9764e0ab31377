"""The web chat of a running `hlwq serve`, in a real Chromium.

With the environment variable HLWQ_SCREENSHOTS=DIR it also writes the documentation's pictures there.
"""

import os
import re
import shutil
import tempfile
import unittest

from harness import Server, ToolModel, main
from browser import ChatPage, Error, chromium, expect

QUESTION = "What is a volcano?"
GREEDY = {"temperature": "0", "max_tokens": "24", "thinking": "off"}
CONTEXT = 16384  # room for answers that last longer than a busy machine's pauses
NO_END = {"2": -100, "11": -100}  # the tiny model's stop ids, forbidden: answers run on
KEY = "a-key-of-the-test"
REFUSED = r"error: Failed to load resource"  # what Chromium says about every answer that is an error

HOSTILE = """<img src=x onerror="hacked('img')"><script>hacked('script')</script><svg onload="hacked('svg')"></svg>
<iframe srcdoc="<script>parent.hacked('frame')</script>"></iframe> [link](javascript:hacked('link'))
![picture](https://elsewhere.example/p.png) <style>body { display: none }</style> <form action=//elsewhere.example>

```html
<script>hacked('code')</script>
```
</code></pre></div><script>hacked('closed')</script>"""
WIDE = "https://example.com/" + "long" * 80 + "\n\n```\n" + "x = 1; " * 60 + "\n```\n\n| " + " | ".join(
    f"column {i}" for i in range(20)) + " |\n|" + "---|" * 20 + "\n"


def setUpModule():
    global browser, opened, tool_model, server
    tool_model = ToolModel()
    unittest.addModuleCleanup(tool_model.remove)
    server = Server(tool_model.path, "--context", CONTEXT)
    unittest.addModuleCleanup(server.stop)
    opened = chromium()
    browser = opened.__enter__()
    unittest.addModuleCleanup(opened.__exit__, None, None, None)


def answer_of(messages, **options):
    """The message that the API answers with, greedily."""
    status, answer = server.post("/v1/chat/completions", {"messages": messages, "temperature": 0, **options})
    assert status == 200, answer
    return answer["choices"][0]["message"]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def plain(text):
    return " ".join(text.split())


class WebTest(unittest.TestCase):
    allowed = None  # pattern of console messages that the test provokes

    def open(self, settings=GREEDY, url=None, storage=None, **options):
        self.chat = ChatPage(browser, url or server.url, {"hlwq.settings": settings, **(storage or {})}, **options)
        self.page, self.at = self.chat.page, self.chat.at
        self.addCleanup(self.chat.close)
        return self.chat

    def open_endless(self, **options):
        """A page whose answers do not end by themselves: its requests are sent on with NO_END."""
        chat = self.open({"temperature": "0", "thinking": "off"}, **options)
        self.page.route("**/v1/chat/completions", lambda route: route.continue_(
            post_data={**route.request.post_data_json, "logit_bias": NO_END}))
        return chat

    def open_chat(self, messages, **options):
        """Opens the page with a conversation that it finds in its storage."""
        return self.open(storage={"hlwq.chats": [{"id": "kept", "title": "Kept chat", "updated": 1}],
                                  "hlwq.chat.kept": {"title": "", "messages": messages}, "hlwq.current": "kept"}, **options)

    def tearDown(self):
        complaints = [line for line in self.chat.complaints if not (self.allowed and re.match(self.allowed, line))]
        self.assertEqual(complaints, [])


class Answers(WebTest):
    def test_it_streams(self):
        chat = self.open_endless()
        expect(self.at("welcome")).to_be_visible()
        self.page.evaluate("""() => {
          window.lengths = new Set();
          new MutationObserver(() => {
            const text = document.querySelector('[data-state="live"] [data-testid="answer"]')?.textContent ?? '';
            if (text !== '') lengths.add(text.length);
          }).observe(document.getElementById('turns'), { subtree: true, childList: true, characterData: true });
        }""")
        chat.type_and_send(QUESTION)
        expect(self.at("stop")).to_be_visible()
        expect(self.at("send")).to_be_hidden()
        expect(self.at("input")).to_have_value("")
        expect(chat.messages("user")).to_have_text(QUESTION)
        expect(self.at("chat")).to_have_class("live")
        chat.wait_until("lengths.size > 3")
        expect(chat.messages("assistant")).to_have_attribute("data-state", "live")
        expect(self.at("answer-stats")).to_have_text(re.compile(r"^[\d,]+ tokens · [\d,.]+ tok/s$"))
        self.at("stop").click()
        chat.wait_for_answer()
        expect(self.at("stop")).to_be_hidden()
        expect(self.at("send")).to_be_disabled()
        expect(self.at("welcome")).to_have_count(0)
        expect(self.at("chat")).not_to_have_class("live")

    def test_reasoning_is_folded(self):
        chat = self.open({**GREEDY, "thinking": "on"})
        kept = chat.ask(QUESTION)
        wanted = answer_of([user(QUESTION)], max_tokens=24, chat_template_kwargs={"enable_thinking": True})
        self.assertEqual(kept["reasoning"], wanted["reasoning_content"])
        block = self.at("reasoning")
        expect(block.locator("summary")).to_have_text(re.compile(r"^Thought for [\d.]+ s$"))
        expect(block.locator(".markdown")).to_be_hidden()
        block.locator("summary").click()
        expect(block.locator(".markdown")).to_have_text(plain(kept["reasoning"]))
        # The chip below the message box turns it off.
        expect(self.at("think")).to_have_attribute("aria-pressed", "true")
        self.at("think").click()
        expect(self.at("think")).to_have_attribute("aria-pressed", "false")
        kept = chat.ask("And again?")
        self.assertNotIn("reasoning", kept)
        self.assertTrue(kept["content"])

    def test_stop(self):
        chat = self.open_endless()
        before = server.wait_until_idle()["tokens"]["generated"]
        chat.type_and_send(QUESTION)
        expect(self.at("answer")).to_have_text(re.compile(r"\w{2}"))
        self.at("stop").click()
        chat.wait_for_answer()
        expect(self.at("answer-stats")).to_have_text(re.compile("^Stopped · "))
        self.assertLess(server.wait_until_idle()["tokens"]["generated"] - before, CONTEXT * 0.9)
        kept = chat.kept()[-1]
        self.assertEqual(kept["finish"], "stopped")
        self.assertTrue(kept["content"])
        chat.type_and_send("Go on")
        expect(chat.messages("assistant")).to_have_count(2)
        self.at("stop").click()
        chat.wait_for_answer()

    def test_regenerate(self):
        chat = self.open()
        chat.ask(QUESTION)
        self.at("settings").click()
        self.at("set-max_tokens").fill("9")
        self.at("settings-done").click()
        self.at("regenerate").click()
        wanted = answer_of([user(QUESTION)], max_tokens=9, chat_template_kwargs={"enable_thinking": False})["content"]
        # No rate where all tokens came at once.
        expect(self.at("answer-stats")).to_have_text(re.compile(
            r"^Cut off at the token limit · 9 tokens · ([\d,.]+ tok/s · )?first after [\d,.]+ m?s · prompt \d+"))
        expect(self.at("context")).to_have_text(re.compile(r"^\d+ of 16,384 tokens$"))
        self.assertEqual([each["content"] for each in chat.kept()], [QUESTION, wanted])
        expect(chat.messages("assistant")).to_have_count(1)

    def test_edit_and_resend(self):
        chat = self.open()
        chat.ask("Hello")
        chat.ask("List")
        self.at("edit").first.click()
        expect(self.at("edit-text")).to_have_value("Hello")
        self.at("edit-text").fill(QUESTION)
        self.at("edit-send").click()
        expect(chat.messages("user")).to_have_text([QUESTION])
        chat.wait_for_answer()
        wanted = answer_of([user(QUESTION)], max_tokens=24, chat_template_kwargs={"enable_thinking": False})["content"]
        self.assertEqual([each["content"] for each in chat.kept()], [QUESTION, wanted])

    def test_settings_reach_the_model(self):
        chat = self.open({})
        self.at("settings").click()
        expect(self.at("set-temperature")).to_have_attribute("placeholder", "0.8")  # the model's own
        self.at("set-temperature").fill("hot")
        expect(self.at("set-temperature")).to_have_attribute("aria-invalid", "true")
        self.at("set-temperature").fill("0")
        expect(self.at("set-temperature")).not_to_have_attribute("aria-invalid", "true")
        self.at("set-max_tokens").fill("20")
        self.at("set-system").fill("You know all about rocks.")
        self.page.get_by_label("Think before answering").select_option("off")
        self.at("settings-done").click()
        options = {"max_tokens": 20, "chat_template_kwargs": {"enable_thinking": False}}
        history = [{"role": "system", "content": "You know all about rocks."}]
        for question in (QUESTION, "And an island?"):  # the second with the first and its answer before it
            history.append(user(question))
            wanted = answer_of(history, **options)["content"]
            kept = chat.ask(question)
            self.assertEqual(kept["content"], wanted)
            expect(self.at("answer").last).to_have_text(plain(wanted))
            history.append(assistant(wanted))
        self.page.reload()
        self.at("settings").click()
        expect(self.at("set-max_tokens")).to_have_value("20")
        self.at("settings-reset").click()
        expect(self.at("set-max_tokens")).to_have_value("")

    def test_text_does_not_become_markup(self):
        guard = "window.harm = []; window.hacked = (what) => harm.push(what);" \
                "addEventListener('securitypolicyviolation', (event) => harm.push(event.violatedDirective));"
        chat = self.open_chat([user(HOSTILE), {**assistant(HOSTILE), "reasoning": HOSTILE}],
                              settings={**GREEDY, "system": HOSTILE})
        self.page.add_init_script(guard)
        self.page.reload()
        self.at("reasoning").locator("summary").click()
        chat.ask(HOSTILE)
        self.page.reload()
        expect(chat.messages("user")).to_have_count(2)
        self.assertEqual(plain(chat.messages("user").last.inner_text()), plain(HOSTILE))
        self.assertEqual(self.page.evaluate("harm"), [])
        self.assertEqual(self.page.locator("#turns :is(script, img, iframe, style, form, [onload], [onerror])").count(), 0)
        self.assertEqual(self.page.locator('a[href^="javascript:"]').count(), 0)
        # The policy is there, and this test would have seen it work.
        self.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"hacked()\">')")
        chat.wait_until("harm.length > 0")
        self.assertEqual(self.page.evaluate("harm"), ["script-src-attr"])
        self.allowed = "error: .*Content Security Policy"


class Chats(WebTest):
    def test_reload_keeps_the_chat(self):
        chat = self.open()
        chat.ask(QUESTION)
        chat.ask("And an island?")
        shown, kept = self.page.locator("#turns").inner_text(), chat.kept()
        self.page.reload()
        expect(chat.messages("assistant")).to_have_count(2)
        self.assertEqual(self.page.locator("#turns").inner_text(), shown)
        self.assertEqual(chat.kept(), kept)

    def test_new_rename_delete(self):
        chat = self.open()
        chat.ask(QUESTION)
        self.at("new-chat").click()
        expect(self.at("welcome")).to_be_visible()
        expect(self.at("input")).to_be_focused()
        chat.ask("Hello")
        expect(self.at("chat")).to_have_text(["Hello", QUESTION])  # the newest first
        self.page.get_by_role("button", name=QUESTION, exact=True).click()
        expect(chat.messages("user")).to_have_text(QUESTION)
        self.at("rename-chat").nth(1).click()
        self.at("rename-input").fill("Volcanoes")
        self.at("rename-input").press("Enter")
        expect(self.at("chat")).to_have_text(["Hello", "Volcanoes"])
        self.at("delete-chat").nth(1).click()
        expect(self.at("chat")).to_have_text(["Hello"])
        expect(self.at("welcome")).to_be_visible()
        self.at("toast").get_by_role("button", name="Undo").click()
        expect(chat.messages("user")).to_have_text(QUESTION)
        self.at("delete").first.click()  # the question, and with it its answer
        expect(self.at("welcome")).to_be_visible()
        self.page.reload()
        expect(self.at("chat")).to_have_count(2)

    def test_broken_storage(self):
        self.open(storage={"hlwq.chats": [{"id": "a"}, 7, None, {"id": "b", "title": 5}], "hlwq.chat.a": {"messages": "none"},
                           "hlwq.current": "a", "hlwq.panel": "yes"}, settings=[1])
        self.chat.ask("Hello")


class Looks(WebTest):
    def test_dark_and_light(self):
        self.open(color_scheme="dark")
        back = lambda: self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = back()
        self.at("theme-toggle").click()
        light = back()
        self.assertEqual((dark, light), ("rgb(24, 25, 27)", "rgb(253, 253, 252)"))
        self.page.reload()
        self.assertEqual(back(), light)
        self.at("theme-toggle").click()
        self.assertEqual(back(), dark)

    def test_phone(self):
        chat = self.open_chat([user(WIDE), {**assistant(WIDE), "reasoning": WIDE}],
                              viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
        self.at("reasoning").locator("summary").tap()
        self.assertEqual(chat.wide(), [])
        self.at("settings").tap()
        self.assertEqual(chat.wide(), [])
        self.at("settings-done").tap()
        self.at("panel-toggle").tap()
        expect(self.at("host-memory")).to_have_text(re.compile("MB$"))
        self.assertEqual(chat.wide(), [])
        self.page.get_by_label("Close the live panel").tap()
        self.at("sidebar-toggle").tap()
        expect(self.at("chats")).to_be_visible()
        self.assertEqual(chat.wide(), [])
        self.at("new-chat").tap()
        expect(self.at("chats")).to_be_hidden()
        chat.ask(QUESTION)
        self.assertEqual(chat.wide(), [])

    def test_keyboard_alone(self):
        chat = self.open_endless()
        press = self.page.keyboard.press
        expect(self.at("input")).to_be_focused()
        self.page.keyboard.type("one")
        press("Shift+Enter")
        self.page.keyboard.type("two")
        press("Enter")
        expect(chat.messages("user")).to_have_text("one\ntwo")
        expect(self.at("answer")).to_have_text(re.compile(r"\w{2}"))
        press("Escape")
        chat.wait_for_answer()
        expect(self.at("answer-stats")).to_have_text(re.compile("^Stopped · "))
        order = []
        for _ in range(40):
            press("Tab")
            order.append(self.page.evaluate("document.activeElement.dataset.testid ?? document.activeElement.className"))
            if order[-1] == "input":
                break
        order.remove("sidebar-open")  # the body, between the page's end and its beginning
        self.assertEqual(order, [
            "think", "skip", "new-chat", "chat", "rename-chat", "delete-chat", "export-md", "export-json",
            "sidebar-toggle", "panel-toggle", "settings", "theme-toggle",
            "copy", "edit", "delete", "copy", "regenerate", "delete", "input"])
        self.at("settings").focus()
        press("Enter")
        expect(self.at("settings-dialog")).to_be_visible()
        press("Escape")
        expect(self.at("settings-dialog")).to_be_hidden()
        expect(self.at("settings")).to_be_focused()
        self.at("edit").focus()
        press("Enter")
        expect(self.at("edit-text")).to_be_focused()
        press("Escape")
        expect(self.at("edit")).to_be_focused()
        press("Control+Shift+O")
        expect(self.at("welcome")).to_be_visible()
        expect(self.at("input")).to_be_focused()


class TheServer(WebTest):
    def test_panel_agrees_with_stats(self):
        chat = self.open()
        chat.ask(QUESTION)
        chat.ask(QUESTION)
        stats = server.wait_until_idle()
        finished = stats["requests"]["finished"]
        self.page.route("**/stats", lambda route: route.fulfill(json=stats))  # it stands still, to be compared
        self.at("panel-toggle").click()
        expect(self.at("finished")).to_have_text(f"{finished:,}")
        expect(self.at("running")).to_have_text(f"0 of {stats['sequences']['total']}")
        expect(self.at("waiting")).to_have_text("0")
        expect(self.at("vram")).to_be_hidden()
        expect(self.at("experts")).to_be_hidden()
        kv, prefix = stats["kv"], stats["prefix_cache"]
        expect(self.at("kv")).to_contain_text(
            f"{kv['pages_used']:,} of {kv['pages_total']:,} pages, {kv['page_tokens']} tokens each")
        expect(self.at("prefix")).to_contain_text(
            f"{prefix['tokens_reused']:,} tokens reused, {prefix['hits']:,} of {prefix['hits'] + prefix['misses']:,} prompts found")
        expect(self.at("prompt-rate")).to_have_text(f"{stats['rates']['prompt_tok_s']:.0f}")
        expect(self.at("decode-rate")).to_have_text(f"{stats['rates']['decode_tok_s']:.1f}")
        # And with the server itself.
        self.page.unroute("**/stats")
        answer_of([user(QUESTION)], max_tokens=1)
        expect(self.at("finished")).to_have_text(f"{finished + 1:,}")

    def test_prompt_beyond_the_context(self):
        self.allowed = REFUSED
        chat = self.open()
        chat.type_and_send("word " * 17000)
        chat.wait_for_answer("error")
        expect(self.at("error")).to_contain_text(re.compile(r"the prompt has 17,?\d+ tokens, the context holds 16,?384"))
        expect(self.at("error")).to_contain_text("context_length_exceeded")
        self.at("retry").click()
        chat.wait_for_answer("error")
        self.at("edit").click()
        self.at("edit-text").fill(QUESTION)
        self.at("edit-send").click()
        chat.wait_for_answer()
        expect(self.at("error")).to_have_count(0)

    def test_server_goes_and_comes_back(self):
        self.allowed = REFUSED
        mortal = Server(tool_model.path, "--context", CONTEXT)
        chat = self.open_endless(url=mortal.url)
        chat.type_and_send(QUESTION)
        expect(self.at("answer")).to_have_text(re.compile(r"\w{2}"))
        mortal.process.kill()
        mortal.process.wait()
        shutil.rmtree(mortal.folder)
        chat.wait_for_answer("error")
        expect(self.at("error")).to_contain_text("connection to the server was lost")
        self.assertTrue(chat.kept()[-1]["content"])  # what had come stays
        self.at("retry").click()
        expect(self.at("error")).to_contain_text("cannot be reached")
        self.at("panel-toggle").click()
        expect(self.page.get_by_text("no connection")).to_be_visible()
        mortal = Server(tool_model.path, "--context", CONTEXT, port=mortal.port)
        try:
            self.at("retry").click()
            expect(self.at("answer")).to_have_text(re.compile(r"\w{2}"))
            self.at("stop").click()
            chat.wait_for_answer()
            expect(self.page.get_by_text("no connection")).to_have_count(0)
        finally:
            mortal.stop()

    def test_key(self):
        self.allowed = REFUSED
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write(KEY + "\n")
            keys.flush()
            guarded = Server(tool_model.path, "--api-key-file", keys.name)
        self.addCleanup(guarded.stop)
        stranger = browser.new_context()
        self.addCleanup(stranger.close)
        page = stranger.new_page()
        for path in ("/", "/web/app.js", "/stats"):
            self.assertEqual(page.request.get(guarded.url + path).status, 401)
        with self.assertRaisesRegex(Error, "ERR_INVALID_AUTH_CREDENTIALS"):  # asked for a password, it has none
            page.goto(guarded.url)
        chat = self.open(url=guarded.url, http_credentials={"username": "any", "password": KEY})
        self.assertTrue(chat.ask(QUESTION)["content"])
        self.at("panel-toggle").click()
        expect(self.at("finished")).to_have_text("1")


@unittest.skipUnless("HLWQ_SCREENSHOTS" in os.environ, "HLWQ_SCREENSHOTS says no folder")
class Screenshots(unittest.TestCase):
    def test_screenshots(self):
        from web_screenshots import take_screenshots  # wants Pillow, which the other tests do without
        take_screenshots(browser, server.url, os.environ["HLWQ_SCREENSHOTS"])


if __name__ == "__main__":
    main()
