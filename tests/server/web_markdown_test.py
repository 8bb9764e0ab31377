"""Markdown of the web chat, in a real browser: what text becomes, and that no text can do harm.

Loads src/server/web/markdown.js as it lies on disk, under the server's content security policy.
Exit code 1 and one line per failure.
"""

import functools
import http.server
import os
import sys
import threading

from harness import SOURCE
from browser import chromium

WEB = os.path.join(SOURCE, "src", "server", "web")
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"

# What the page's text becomes: heads of code blocks and accessibility attributes left out.
LOAD = """async () => {
  const { MarkdownView } = await import('/markdown.js');
  const show = (texts) => {
    const root = document.createElement('div');
    document.body.append(root);
    const view = new MarkdownView(root);
    texts.forEach((text, i) => view.update(text, i === texts.length - 1));
    return root;
  };
  window.show = show;
  window.html = (text) => show([text]).innerHTML.replace(/<div class="code-head">.*?<\\/div>/g, '')
    .replace(/ (tabindex|role|target|rel|aria-label)="[^"]*"/g, '');
  window.cuts = (text, step) => {
    const texts = [];
    for (let at = 0; at <= text.length; at += step) texts.push(text.slice(0, at));
    return [...texts, text];
  };
}"""

LOOKS = [
    ("a *b* **c** ***d*** snake_case_x ~~g~~ `h`",
     "<p>a <em>b</em> <strong>c</strong> <em><strong>d</strong></em> snake_case_x <del>g</del> <code dir=\"ltr\">h</code></p>"),
    ("2 * 3 * 4 and **unclosed", "<p>2 * 3 * 4 and **unclosed</p>"),
    ("[a](https://x.y/z(1)) [b](javascript:alert(1)) [c](data:text/html,x) [d](mailto:a@b.c) [e](/rel)",
     '<p><a href="https://x.y/z(1)">a</a> <span>b</span> <span>c</span> <a href="mailto:a@b.c">d</a> <span>e</span></p>'),
    ("![i](https://x/y.png)", '<p><a href="https://x/y.png" class="image">i</a></p>'),
    ("see https://a.b/c?d=e. &lt;b&gt; a<br>b", '<p>see <a href="https://a.b/c?d=e">https://a.b/c?d=e</a>. &lt;b&gt; a<br>b</p>'),
    ("# H1\ntext\n---\n***", "<h1>H1</h1><h2>text</h2><hr>"),
    ("- a\n  - b\n- c\n\n3. x\n4. y",
     '<ul><li><p>a</p><ul><li><p>b</p></li></ul></li><li><p>c</p></li></ul><ol start="3"><li><p>x</p></li><li><p>y</p></li></ol>'),
    ("> q\n> > r", "<blockquote><p>q</p><blockquote><p>r</p></blockquote></blockquote>"),
    ("|a|b|\n|:-:|--:|\n|1 \\| 2|`x`|\n\nz",
     '<div class="table"><table><thead><tr><th class="align-center">a</th><th class="align-right">b</th></tr></thead>'
     '<tbody><tr><td class="align-center">1 | 2</td><td class="align-right"><code dir="ltr">x</code></td></tr></tbody></table></div><p>z</p>'),
    ("~~~\n<b>\n~~~", '<div class="code" dir="ltr"><pre><code><span class="chunk">&lt;b&gt;\n</span></code></pre></div>'),
    ("\u05e9\u05dc\u05d5\u05dd", '<p dir="rtl">\u05e9\u05dc\u05d5\u05dd</p>'),
]

# (text while it grows, selector that must match, selector that must not)
GROWING = [
    ("some **bold te", "strong", None),
    ("a\n\n```py\nx = 1\n``", "pre", "p:nth-child(2)"),
    ("| a | b", "table", "p"),
    ("| a | b |\n| --", "table", "p"),
    ("text\n-", "p", "ul, h2"),
    ("[link](https://exam", "p > span", "a"),
]

HARMFUL = """<script>document.title='x'</script> <img src=x onerror="document.title='x'"> <svg onload=alert(1)>
[a](JaVaScRiPt:alert(1)) [b]( java\tscript:alert(1)) [c](vbscript:x) <javascript:alert(1)> ![d](javascript:alert(1))
[e](https://ok.example/"onmouseover="alert(1)) <iframe src=//x> [f](data:text/html;base64,x)"""

# Text that costs a careless parser its square: a growing answer must not stop the page.
COSTLY = ["*a **b ", "[", "[a](", "\\(", ">", "- ", "`a``", "<br", "&#", "a|", "_a*", "* ", "http://", "~~a", "# "]
COSTLY_CHARACTERS = 100000
COSTLY_LIMIT_MS = 10000  # hundreds are usual; what is quadratic takes minutes


class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Content-Security-Policy", POLICY)
        super().end_headers()

    def do_GET(self):
        if self.path != "/":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        return self.wfile.write(b"<!doctype html><title>markdown</title><body>")

    def log_message(self, *_):
        pass


def failures(page):
    for text, wanted in LOOKS:
        if (got := page.evaluate("(text) => html(text)", text)) != wanted:
            yield f"{text!r}\n  got    {got}\n  wanted {wanted}"
    for text in [text for text, _ in LOOKS] + ["\n\n".join(text for text, _ in LOOKS)]:
        for step in (1, 3, 7):
            same = page.evaluate("([text, step]) => show(cuts(text, step)).innerHTML === show([text]).innerHTML", [text, step])
            if not same:
                yield f"{text!r}: shown in steps of {step} characters it looks different"
    for text, there, missing in GROWING:
        found = page.evaluate("""async ([text, there, missing]) => {
          const { MarkdownView } = await import('/markdown.js');
          const root = document.createElement('div');
          new MarkdownView(root).update(text, false);
          return [root.querySelector(there) !== null, missing !== null && root.querySelector(missing) !== null];
        }""", [text, there, missing])
        if found != [True, False]:
            yield f"{text!r}, growing: {there} there: {found[0]}, {missing} there: {found[1]}"
    made = page.evaluate("""(text) => [...show([text]).querySelectorAll('*')].map((node) =>
      [node.localName, node.getAttribute('href'), node.getAttributeNames().some((name) => name.startsWith('on'))])""", HARMFUL)
    for name, href, listens in made:
        if name not in ("p", "br", "span", "a") or listens or (href and not href.startswith("https://ok.example/")):
            yield f"harmful text made <{name} href={href}>"
    if page.title() != "markdown":
        yield "harmful text ran a script"
    for piece in COSTLY:
        text = (piece * COSTLY_CHARACTERS)[:COSTLY_CHARACTERS]
        spent = page.evaluate("(text) => { const start = performance.now(); show([text, text + '.']).remove(); return performance.now() - start; }", text)
        if spent > COSTLY_LIMIT_MS:
            yield f"{piece!r} again and again: {spent:.0f} ms for {COSTLY_CHARACTERS} characters"


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=WEB))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with chromium() as browser:
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(f"uncaught: {error}"))
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.evaluate(LOAD)
        errors += failures(page)
    for error in errors:
        print(error)
    print("web_markdown_test: " + (f"{len(errors)} failures" if errors else "ok"))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
