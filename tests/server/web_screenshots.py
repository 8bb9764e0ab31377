"""Pictures of the web chat for the documentation.

The conversation and the server's figures are given here, through the page's own storage and in place
of /stats; all else is the page as it is. Measured, see bench/NOTES.md: Nemotron-3-Nano-30B's shapes
on one H200 with `--vram 7.6GB` hold 7.55 GB and give 160 tok/s, 35 % of the experts are found on the
GPU and the CPU multiplies three quarters of the others. The single layers' rates lie where such
runs' did, from 21 to 39 %; counts of requests and the prefix cache are examples.
"""

import io
import json
import os

from PIL import Image

from browser import ChatPage, expect

MOST_BYTES = 80_000
IDLE_S, ANSWERING_S = 22, 38  # the minute that the panel's curve shows
MODEL = "nemotron-3-nano-30b"
TOK_S = 160
EXPERTS_A_TOKEN = 6
EXPERT_BYTES = 6_530_000
CPU_SHARE = 67 / 89  # of the misses
HIT_RATES = [.21, .26, .29, .31, .33, .34, .36, .37, .38, .38, .39, .39, .38, .39, .38, .39, .38, .37, .37, .36, .37, .36, .35]

QUESTION = "How do I find duplicate files with Python?"
REASONING = """Files of different sizes cannot be equal, so group by size first. Only groups of two or more have to be
read; a hash of the first few kilobytes splits most of those, a hash of the whole file settles the rest."""
ANSWER = """Compare what is cheap **first**:

| Step | Reads | Leaves |
| --- | --- | --- |
| By size | nothing | files with a twin |
| By hash | those files | duplicates |

```python
def groups(paths, key):
    found = defaultdict(list)
    for path in paths:
        found[key(path)].append(path)
    return [group for group in found.values() if len(group) > 1]

for same_size in groups(files, lambda path: path.stat().st_size):
    for duplicates in groups(same_size, sha256_of):
        print(*duplicates)
```"""

CHATS = [("shown", "Duplicate files"), ("b", "Mamba-2 next to attention"), ("c", "Sorting algorithms in a table"),
         ("d", "A weekend in the mountains"), ("e", "SQL: rows without a match")]


def conversation():
    answer = {"role": "assistant", "content": ANSWER, "reasoning": REASONING, "thought_s": .4, "finish": "stop", "tokens": 241,
              "tok_s": TOK_S, "first_s": .2, "usage": {"prompt_tokens": 26, "completion_tokens": 241, "cached_tokens": 0}}
    return {"hlwq.chats": [{"id": id, "title": title, "updated": len(CHATS) - i} for i, (id, title) in enumerate(CHATS)],
            "hlwq.chat.shown": {"title": "", "messages": [{"role": "user", "content": QUESTION}, answer]},
            "hlwq.current": "shown"}


def stats_at(second, real):
    """/stats `second` seconds into the picture's minute, in the shape of the real server's."""
    answering = max(0, second - IDLE_S)
    tokens = 40_000 + TOK_S * answering  # generated since the start
    asked = tokens * EXPERTS_A_TOKEN
    experts = []
    for layer, rate in enumerate(HIT_RATES):
        hits = round(asked * rate)
        misses = asked - hits
        on_cpu = round(misses * CPU_SHARE)
        experts.append({"layer": layer, "hits": hits, "misses": misses, "on_cpu": on_cpu, "in_place": 0,
                        "bytes": (misses - on_cpu) * EXPERT_BYTES})
    given = {
        "model": {"id": MODEL, "device": "cuda", "backend": "NVIDIA H200", "context": 8192, "layers": 52,
                  "weight_bytes": 20_600_000_000},
        "uptime_s": 2880,
        "requests": {"running": 1 if answering else 0, "waiting": 0, "finished": 104},
        "rates": {"prompt_tok_s": 0, "decode_tok_s": TOK_S if answering else 0},
        "sequences": {"total": 8},
        "kv": {"pages_used": 8 if answering else 0, "pages_total": 1024, "page_tokens": 64, "bytes_total": 402_653_184},
        "memory": {"device_total": 150_000_000_000, "device_free": 142_450_000_000, "device_allocated": 7_010_000_000,
                   "host_resident": 21_900_000_000},
        "prefix_cache": {"bytes": 412_000_000, "limit_bytes": 1 << 30, "hits": 71, "misses": 33, "tokens_reused": 58_112},
    }
    merged = {**real, "experts": experts}
    for name, value in given.items():
        merged[name] = {**real[name], **value} if isinstance(value, dict) else value
    return merged


class Shots:
    def __init__(self, browser, url, folder):
        self.browser, self.url, self.folder = browser, url, folder

    def take(self, name, theme, panel, **options):
        chat = ChatPage(self.browser, self.url, {**conversation(), "hlwq.panel": False}, color_scheme=theme, **options)
        try:
            self._show_a_minute(chat, panel)
            self._write(name, chat.page.screenshot(animations="disabled", caret="hide"))
        finally:
            chat.close()

    def _show_a_minute(self, chat, panel):
        page, polls = chat.page, 0

        def figures(route):
            nonlocal polls
            polls += 1
            route.fulfill(json=stats_at(polls, real))

        real = json.loads(page.request.get(self.url + "/stats").text())
        page.clock.install()
        page.route("**/stats", figures)
        page.reload()
        expect(chat.at("model-name")).to_have_text(MODEL)
        if panel:
            polls = 0
            chat.at("panel-toggle").click()
            while polls < IDLE_S + ANSWERING_S:
                page.clock.run_for(100)
            expect(chat.at("hit-rate")).to_contain_text("%")
            chat.at("heat-strip").get_by_role("button").nth(3).hover()
        page.locator("#scroller").evaluate("(scroller) => { scroller.scrollTop = 0; }")
        page.mouse.move(0, 0)
        chat.at("input").focus()

    def _write(self, name, png):
        path = os.path.join(self.folder, name)
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        picture.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
        if os.path.getsize(path) > MOST_BYTES:
            raise AssertionError(f"{path} has {os.path.getsize(path)} bytes, {MOST_BYTES} are the most")


def take_screenshots(browser, url, folder):
    os.makedirs(folder, exist_ok=True)
    shots = Shots(browser, url, folder)
    shots.take("chat-light.png", "light", panel=True)
    shots.take("chat-dark.png", "dark", panel=True)
    shots.take("chat-phone.png", "light", panel=False, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
