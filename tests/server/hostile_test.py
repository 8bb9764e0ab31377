"""hlwq serve against clients that mean harm, over raw sockets. After every attack it still answers."""

import base64
import concurrent.futures
import contextlib
import json
import os
import resource
import select
import socket
import tempfile
import time
import unittest

from harness import MODEL, Server, ToolModel, main

HEADER_TIMEOUT_S = 3
BODY_TIMEOUT_S = 10
MOST_CONNECTIONS = 256
KEY = "correct-key"
NO_END = {"2": -100, "11": -100}  # the tiny model's stop ids, forbidden: answers run on
QUESTION = [{"role": "user", "content": "What is a volcano?"}]
CHAT = {"messages": QUESTION, "max_tokens": 4, "temperature": 0}
FOREVER = {"messages": QUESTION, "max_tokens": 3500, "logit_bias": NO_END, "stream": True}
CHAT_PATH = "/v1/chat/completions"


def setUpModule():
    global server, tool_model
    tool_model = ToolModel()
    server = Server(tool_model.path, "--header-timeout", HEADER_TIMEOUT_S, "--idle-timeout", HEADER_TIMEOUT_S,
                    "--body-timeout", BODY_TIMEOUT_S, "--max-connections", MOST_CONNECTIONS)


def tearDownModule():
    server.stop()
    tool_model.remove()


def connect(timeout=20):
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout)


def read_all(connection, seconds=20):
    """What comes until the server closes, or falls silent for `seconds`."""
    connection.settimeout(seconds)
    data = b""
    with contextlib.suppress(socket.timeout, ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return data


def send(data, seconds=5):
    """The answer to raw bytes, up to its close or to silence. A reset is an empty answer."""
    with connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        return read_all(connection, seconds)


def status_of(answer):
    """The status of the first answer; None when the connection was closed without one."""
    if not answer:
        return None
    version, status, *_ = answer.split(b"\r\n", 1)[0].split(b" ")
    if not version.startswith(b"HTTP/1."):
        raise AssertionError(f"no HTTP: {answer[:80]!r}")
    return int(status)


def head(method="POST", path=CHAT_PATH, *headers, host="127.0.0.1"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def post(body, *headers, path=CHAT_PATH):
    """The bytes of a well-formed POST that asks to close."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head("POST", path, "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close",
                *headers) + body


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def wait_for_close(connection, seconds):
    """Whether the server closes within `seconds`."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([connection], [], [], left)[0]:
            try:
                if not connection.recv(65536):
                    return True
            except ConnectionError:
                return True
    return False


class Hostile(unittest.TestCase):
    def tearDown(self):
        self.assertIsNone(server.process.poll(), server.errors())
        server.wait_until_idle()
        status, _, _ = server.request("GET", "/health", timeout=10)
        self.assertEqual(status, 200)
        status, answer = server.post(CHAT_PATH, CHAT)
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["choices"][0]["message"]["role"], "assistant")

    def check_error(self, status, answer):
        """An error in the API's shape, which shows nothing of the inside."""
        self.assertIn("error", answer, answer)
        for name in ("message", "type", "code"):
            self.assertIn(name, answer["error"])
        self.assertLess(len(json.dumps(answer)), 4096)
        if status == 400:
            self.assertEqual(answer["error"]["type"], "invalid_request_error")

    def refused(self, body, path=CHAT_PATH, statuses=(400, 422), seconds=10):
        """The body is refused within `seconds`."""
        start = time.monotonic()
        status, answer = server.post(path, body)
        self.assertIn(status, statuses, answer)
        self.assertLess(time.monotonic() - start, seconds)
        self.check_error(status, answer)

    def survives(self, body, path=CHAT_PATH, seconds=20):
        """The body is taken or refused, but not with a fault of the server's, and in time."""
        start = time.monotonic()
        status, answer = server.post(path, body)
        self.assertIn(status, (200, 400, 413, 422), answer)
        self.assertLess(time.monotonic() - start, seconds)
        if status != 200:
            self.check_error(status, answer)

    def raw_refused(self, data, statuses=(400,), seconds=HEADER_TIMEOUT_S + 3):
        """Raw bytes give one of these statuses or a close without an answer, never more than one answer."""
        answer = send(data, seconds)
        self.assertIn(status_of(answer), (*statuses, None), (data[:200], answer[:300]))
        self.assertLessEqual(answer.count(b"HTTP/1.1 "), 1, (data[:200], answer))


class Bodies(Hostile):
    def test_malformed_json(self):
        for body in (b"", b"{", b"}", b"[]", b"null", b"1", b'"x"', b"{]", b'{"messages":', b'{"a":1}x', b"{'a':1}",
                     b'{"messages": [],}', b'{"a":1,"a":2}', b"\xef\xbb\xbf{}", b'{"a":"\x00"}', b"\x00", b'{"a":01}',
                     b'{"a":"\\ud800"}', b'{"a":"\\x"}', b'{"a":"\n"}', b"{" * 50, b"\xff\xfe{\x00}\x00"):
            with self.subTest(body=body):
                self.refused(body)

    def test_invalid_utf8(self):
        for text in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"):
            with self.subTest(text=text):
                self.refused(b'{"messages":[{"role":"user","content":"' + text + b'"}]}')

    def test_deep_nesting(self):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            for depth in (100, 100000):
                self.refused(b'{"messages":' + opening * depth + b"1" + closing * depth + b"}")
                self.refused(opening * depth)

    def test_many_members(self):
        self.survives(b"{" + b",".join(b'"k%d":0' % i for i in range(100000)) + b"}")
        self.survives(b'{"messages":[' + b",".join([b"{}"] * 100000) + b"]}")
        self.survives(b'{"x":[' + b",".join([b"1e308"] * 200000) + b"]}")

    def test_numbers(self):
        def with_text(name, text):
            return (json.dumps(CHAT)[:-1] + f', "{name}": {text}' + "}").encode()
        base = {"messages": QUESTION}
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "min_p", "repeat_penalty"):
            for text in ("NaN", "Infinity", "-Infinity", "1e999", "-1e300", '"1"', "[]", "true"):
                with self.subTest(name=name, text=text):
                    body = (json.dumps({**base, "max_tokens": 2})[:-1] + f', "{name}": {text}' + "}").encode()
                    self.refused(body)
        for name in ("n", "seed", "top_logprobs", "top_k"):
            for text in ("1e30", "99999999999999999999999", "0.5", '"1"', "{}"):
                with self.subTest(name=name, text=text):
                    self.refused(with_text(name, text))
        for text in ("-1", "0.5", "1e30", "99999999999999999999999", "NaN", '"4"'):
            with self.subTest(max_tokens=text):
                self.refused((json.dumps(base)[:-1] + f', "max_tokens": {text}' + "}").encode())
        self.refused({**CHAT, "n": 10**9})
        self.survives({**CHAT, "max_tokens": 2**62, "stop": [" ", "e", "a", "."]})

    def test_long_lists(self):
        self.refused({**CHAT, "stop": ["x"] * 100000})
        self.survives({**CHAT, "stop": ["x" * 1000000]})
        self.survives({**CHAT, "logit_bias": {str(i): 1 for i in range(8192)}})
        self.refused({**CHAT, "logit_bias": {str(i): 1 for i in range(200000)}})
        self.survives({**CHAT, "messages": QUESTION * 50000})
        self.survives({"prompt": ["x"] * 50000, "max_tokens": 1}, path="/v1/completions")
        self.refused({"prompt": [5] * 1000000, "max_tokens": 1}, path="/v1/completions")
        self.refused({**CHAT, "tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(50000)]})

    def test_prompts_beyond_the_context(self):
        for text in ("word " * 10000, "x" * 3000000, "\u4e2d" * 500000, " " * 2000000, "\n" * 2000000, "1" * 2000000):
            self.refused({**CHAT, "messages": [{"role": "user", "content": text}]}, seconds=30)

    def test_100_mb(self):
        with connect() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(head("POST", CHAT_PATH, "Content-Type: application/json",
                                        f"Content-Length: {100 << 20}"))
                # The refusal comes before the body.
                self.assertTrue(select.select([connection], [], [], 10)[0])
                self.assertEqual(status_of(read_all(connection, 2)), 413)

    def test_100_mb_that_is_sent_anyway(self):
        with connect() as connection:
            with contextlib.suppress(ConnectionError, socket.timeout):
                connection.sendall(head("POST", CHAT_PATH, "Content-Type: application/json",
                                        f"Content-Length: {100 << 20}"))
                for _ in range(100):
                    connection.sendall(b" " * (1 << 20))

    def test_endless_chunks(self):
        with connect() as connection:
            sent = 0
            with contextlib.suppress(ConnectionError, socket.timeout):
                connection.sendall(head("POST", CHAT_PATH, "Content-Type: application/json",
                                        "Transfer-Encoding: chunked"))
                while sent < 200 << 20:
                    connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
                    sent += 1 << 20
            self.assertLess(sent, 200 << 20)

    def test_wrong_content_type(self):
        body = json.dumps(CHAT).encode()
        # A page of another site can send these without asking.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            with self.subTest(kind=kind):
                status, answer = server.post(CHAT_PATH, body, headers={"Content-Type": kind})
                self.assertIn(status, (400, 415))
                self.check_error(status, answer)
        for kind in ("application/json; charset=utf-8", "Application/JSON"):
            self.assertEqual(server.post(CHAT_PATH, body, headers={"Content-Type": kind})[0], 200)


class Schemas(Hostile):
    def format(self, schema):
        return {**CHAT, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}

    def test_exploding(self):
        doubling = {"$defs": {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)},
                    "$ref": "#/$defs/d0"}
        doubling["$defs"]["d40"] = {"type": "string"}
        nested = {"type": "string"}
        for _ in range(20):
            nested = {"type": "array", "items": nested, "minItems": 1000, "maxItems": 1000}
        merged = {"allOf": [{"anyOf": [{"properties": {f"p{i}{j}": {"type": "null"}}} for j in range(4)]}
                            for i in range(30)]}
        for schema in (
                doubling, nested, merged,
                {"$ref": "#"}, {"anyOf": [{"$ref": "#"}]}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
                {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
                {"type": "string", "minLength": 10**9, "maxLength": 10**9}, {"type": "string", "maxLength": 10**18},
                {"type": "array", "items": {}, "minItems": 10**9},
                {"type": "string", "pattern": "((((a{1000}){1000}){1000}){1000})"},
                {"type": "string", "pattern": "(a*)*b"}, {"type": "string", "pattern": "(" * 5000 + ")" * 5000},
                {"type": "string", "pattern": "(?=a)b\\1"}, {"type": "string", "pattern": "["},
                {"enum": [f"value {i}" for i in range(100000)]}, {"enum": ["x" * 1000000]},
                {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(20000)}},
                {"type": "integer", "minimum": -10**30, "maximum": 10**30},
                {"type": "integer", "minimum": 1e308}, {"$ref": "http://127.0.0.1/x"}, {"$ref": "file:///etc/passwd"},
                {"$ref": "#/$defs/" + "a/" * 10000}):
            with self.subTest(schema=json.dumps(schema)[:80]):
                self.survives(self.format(schema))

    def test_not_a_schema(self):
        for schema in (5, "x", [], {"type": 5}, {"properties": []}, {"enum": 5}, {"items": "x"}, {"required": [5]},
                       {"minLength": -1}, {"minLength": "x"}, {"pattern": 5}, {"anyOf": {}}, {"$ref": 5}):
            with self.subTest(schema=schema):
                self.refused(self.format(schema))

    def test_in_tools(self):
        deep = {"type": "string"}
        for _ in range(25):
            deep = {"type": "object", "properties": {"a": deep, "b": deep}, "required": ["a", "b"]}
            if len(json.dumps(deep)) > 500000:
                break
        tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
        self.survives({**CHAT, "tools": [tool], "tool_choice": "required"})


class Templates(Hostile):
    def test_arguments_of_the_template(self):
        deep = "x"
        for _ in range(40):
            deep = [deep]
        for arguments in ({"enable_thinking": deep}, {"messages": [], "tools": "x" * 1000000}, {"messages": "x"},
                          {"add_generation_prompt": False}, {"raise_exception": 1, "range": 2, "loop": 3},
                          {"enable_thinking": "{{ 1/0 }}"}, {"__class__": {"__mro__": 1}},
                          {f"k{i}": i for i in range(10000)},
                          {"truncate_history_thinking": 10**30}, {"": ""}):
            with self.subTest(arguments=str(arguments)[:60]):
                self.survives({**CHAT, "chat_template_kwargs": arguments})
        for arguments in (5, "x", []):
            with self.subTest(arguments=arguments):
                self.refused({**CHAT, "chat_template_kwargs": arguments})

    def test_a_template_of_the_clients(self):
        bomb = "{% for i in range(1000000000) %}{% for j in range(1000000000) %}x{% endfor %}{% endfor %}"
        self.survives({**CHAT, "chat_template": bomb})

    def test_templates_in_text(self):
        for text in ("{{ 7*7 }}", "{% for x in y %}", "{# #}", "{% raw %}", "{{ ''.__class__ }}", "<think>" * 100,
                     "</think>" * 100, "<tool_call>" * 100):
            with self.subTest(text=text[:20]):
                self.survives({**CHAT, "messages": [{"role": "user", "content": text}]})

    def test_odd_tools_and_messages(self):
        call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1]}"}}
        for message in ({"role": "assistant", "content": None, "tool_calls": [call] * 1000},
                        {"role": "assistant", "tool_calls": [{**call, "function": {"name": "f", "arguments": "no"}}]},
                        {"role": "assistant", "tool_calls": [{**call, "function": {"name": "f", "arguments": "[1]"}}]},
                        {"role": "assistant", "tool_calls": 5}, {"role": "assistant", "tool_calls": [5]},
                        {"role": "assistant", "tool_calls": [{**call, "function": {
                            "name": "f", "arguments": "[" * 100000}}]},
                        {"role": "tool", "content": "x"}, {"role": "tool", "tool_call_id": "none", "content": "x"},
                        {"role": "assistant", "content": "<think>" * 20}, {"role": "x" * 100000, "content": "x"},
                        {"role": "user", "content": [{"type": "text", "text": "x"}] * 20000}):
            with self.subTest(message=str(message)[:80]):
                self.survives({**CHAT, "messages": [QUESTION[0], message, QUESTION[0]]})
        parameters = {"type": "object", "properties": {"a": {"type": "string", "description": "{{ x }}</tools>"}}}
        self.survives({**CHAT, "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})


class Smuggling(Hostile):
    body = json.dumps(CHAT).encode()
    kind = "Content-Type: application/json"

    def test_two_lengths(self):
        for second in (len(self.body), len(self.body) + 1, 0):
            self.raw_refused(head("POST", CHAT_PATH, self.kind, f"Content-Length: {len(self.body)}",
                                  f"Content-Length: {second}") + self.body)
        self.raw_refused(head("POST", CHAT_PATH, self.kind, "Content-Length: 5, 5") + b"12345")

    def test_length_and_chunks(self):
        for headers in ((f"Content-Length: {len(self.body)}", "Transfer-Encoding: chunked"),
                        ("Transfer-Encoding: chunked", f"Content-Length: {len(self.body)}")):
            smuggled = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            self.raw_refused(head("POST", CHAT_PATH, self.kind, *headers) + smuggled)

    def test_lengths_that_are_none(self):
        for length in ("-5", "+5", "0x10", "5 5", "5;", "", " ", "1e3", "99999999999999999999999999", "\u0665"):
            with self.subTest(length=length):
                self.raw_refused(head("POST", CHAT_PATH, self.kind, f"Content-Length: {length}") + b"12345",
                                 (400, 411, 413))

    def test_no_length(self):
        self.raw_refused(head("POST", CHAT_PATH, self.kind) + self.body, (400, 411))

    def test_transfer_encodings(self):
        for encoding in ("gzip, chunked", "chunked, chunked", "identity", "xchunked", "chunked, identity", "gzip", "",
                         "\x0bchunked", "chunked;q=1"):
            with self.subTest(encoding=encoding):
                self.raw_refused(head("POST", CHAT_PATH, self.kind, f"Transfer-Encoding: {encoding}")
                                 + chunked(self.body), (400, 411, 501))
        self.raw_refused(head("POST", CHAT_PATH, self.kind, "Transfer-Encoding: chunked", "Transfer-Encoding: identity")
                         + chunked(self.body), (400, 501))

    def test_headers_that_are_none(self):
        length = f"Content-Length: {len(self.body)}"
        # Others on the way may read these as another length or another header.
        for line in ("Content-Length : 5", " Content-Length: 5", "X: a\r\n\tContent-Length: 5", "X: a\x00b",
                     "A\x00B: c", "X: a\rContent-Length: 5"):
            with self.subTest(line=line):
                self.raw_refused(head("POST", CHAT_PATH, self.kind, line, length) + self.body)
        # These cannot be read as such; they are refused or not seen.
        for line in ("NoColon", ": x", "Content\tLength: 5", "X\u00e9: 1"):
            with self.subTest(line=line):
                self.raw_refused(head("POST", CHAT_PATH, self.kind, line, length) + self.body, (200, 400))

    def test_bare_newlines(self):
        # Taken or refused, but as one request.
        answer = send(b"GET /health HTTP/1.1\nHost: 127.0.0.1\n\n")
        self.assertIn(status_of(answer), (200, 400, None))

    def test_chunks(self):
        request = head("POST", CHAT_PATH, self.kind, "Transfer-Encoding: chunked", "Connection: close")
        middle = len(self.body) // 2
        good = chunked(self.body[:middle], self.body[middle:])
        self.assertEqual(status_of(send(request + good, 30)), 200)
        with_extension = b"%X;name=value\r\n%s\r\n0\r\nTrailer: x\r\n\r\n" % (len(self.body), self.body)
        self.assertIn(status_of(send(request + with_extension, 30)), (200, 400))
        for size in (b"FFFFFFFFFFFFFFFFF", b"FFFFFFFFFFFFFFFF", b"-1", b"0x5", b"+5", b" 5", b"", b"g", b"5 5",
                     b"5;" + b"x" * 100000):
            with self.subTest(size=size[:20]):
                self.raw_refused(request + size + b"\r\nabcde\r\n0\r\n\r\n", (400, 413))
        self.raw_refused(request + b"5\r\nabcdeXX\r\n0\r\n\r\n")
        self.raw_refused(request + b"5\nabcde\n0\n\n")

    def test_a_byte_at_a_time(self):
        headers = head("POST", CHAT_PATH, self.kind, "Transfer-Encoding: chunked", "Connection: close")
        data = headers + chunked(self.body)
        with connect() as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(data)):
                connection.sendall(data[i:i + 1])
            self.assertEqual(status_of(read_all(connection, 30)), 200)

    def test_pipelining(self):
        one = head("GET", "/health")
        answer = send(one * 2 + head("GET", "/v1/models", "Connection: close"), 20)
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 3)
        chat = post(CHAT).replace(b"Connection: close\r\n", b"")
        answer = send(chat + head("GET", "/health", "Connection: close"), 20)
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 2)
        self.assertLess(answer.index(b"chat.completion"), answer.rindex(b"HTTP/1.1 200"))
        self.assertIn(status_of(send(one * 5000 + head("GET", "/health", "Connection: close"), 20)), (200, 400, None))

    def test_expect(self):
        with connect() as connection:
            connection.sendall(head("POST", CHAT_PATH, self.kind, f"Content-Length: {len(self.body)}",
                                    "Expect: 100-continue", "Connection: close"))
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 100"))
            connection.sendall(self.body)
            self.assertEqual(status_of(read_all(connection, 30)), 200)
        # No leave to send what would be refused.
        answer = send(head("POST", CHAT_PATH, self.kind, f"Content-Length: {100 << 20}", "Expect: 100-continue"))
        self.assertIn(status_of(answer), (413, 417))
        self.raw_refused(head("POST", CHAT_PATH, self.kind, f"Content-Length: {len(self.body)}", "Expect: miracles")
                         + self.body, (200, 417, 400))


class Requests(Hostile):
    def test_hosts(self):
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "",
                     "127.0.0.1@evil.example", "evil.example#127.0.0.1", "[::ffff"):
            with self.subTest(host=host):
                self.raw_refused(head("GET", "/stats", host=host), (400, 403, 421))
        for host in ("127.0.0.1", f"127.0.0.1:{server.port}", "localhost", f"localhost:{server.port}", "LOCALHOST"):
            with self.subTest(host=host):
                self.assertEqual(status_of(send(head("GET", "/health", "Connection: close", host=host))), 200)
        self.raw_refused(b"GET /health HTTP/1.1\r\n\r\n")
        self.raw_refused(head("GET", "/health", "Host: evil.example"))

    def test_methods(self):
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "GET", "BREW", "post"):
            with self.subTest(method=method):
                answer = send(head(method, CHAT_PATH, "Connection: close"))
                self.assertIn(status_of(answer), (400, 405, 501, None))
                self.assertNotIn(b"TRACE " + CHAT_PATH.encode(), answer)
        status, headers, _ = server.request("GET", CHAT_PATH)
        self.assertEqual(status, 405)
        self.assertIn("POST", headers["Allow"])
        status, headers, _ = server.request("POST", "/health", {})
        self.assertEqual(status, 405)
        status, _, body = server.request("HEAD", "/health")
        self.assertIn(status, (200, 405))
        self.assertEqual(body, b"")

    def test_paths(self):
        for path in ("/../../../../etc/passwd", "/web/../../../../etc/passwd", "/web/%2e%2e/%2e%2e/etc/passwd",
                     "/web/..%2f..%2f..%2fetc%2fpasswd", "/web/..\\..\\etc\\passwd", "/web//etc/passwd", "/%00",
                     "/web/%00",
                     "/web/index.html%00.js", "/web/", "/web", "//health", "/health/", "/v1", "/v1/", "/v1//models",
                     "/V1/models", "/v1/models/%2e%2e", "/v1/models/" + "x" * 5000, "/%zz", "/%", "/\u00e9", "*", "x",
                     "/web/.", "/web/..", "/.git/config", "/v1/chat/completions/../../../stats"):
            with self.subTest(path=path[:60]):
                answer = send(head("GET", path, "Connection: close"))
                self.assertIn(status_of(answer), (301, 308, 400, 403, 404, 405, 414, None))
                self.assertNotIn(b"root:", answer)
        self.assertEqual(status_of(send(head("GET", "/health?x=1&y=%00", "Connection: close"))), 200)
        self.assertIn(status_of(send(head("GET", "http://127.0.0.1/health", "Connection: close"))), (200, 400, 404))
        self.raw_refused(head("GET", "http://evil.example/stats"), (400, 403, 404, 421))

    def test_request_lines(self):
        for data in (b"\r\n\r\n", b"\x00" * 100, b"GET\r\n\r\n", b"GET /health\r\n\r\n",
                     b"GET /health HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
                     b"GET /health HTTP/1.1 x\r\nHost: 127.0.0.1\r\n\r\n",
                     b"GET /hea\x00lth HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\xff\xfe" * 50 + b"\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200, b"SSH-2.0-x\r\n"):
            with self.subTest(data=data[:30]):
                self.raw_refused(data, (400, 404, 408, 505))
        answer = send(b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        self.assertIn(status_of(answer), (200, 505))

    def test_long_heads(self):
        self.raw_refused(head("GET", "/" + "x" * 1000000), (400, 413, 414, 431))
        self.raw_refused(head("GET", "/health", "X: " + "x" * 1000000), (400, 413, 431))
        self.raw_refused(head("GET", "/health", *[f"X{i}: {i}" for i in range(100000)]), (400, 413, 431))
        self.raw_refused(b"G" * 1000000, (400, 413, 414, 431))

    def test_other_sites(self):
        """A page of another site may not read answers, and its preflight is not allowed."""
        status, headers, _ = server.request("GET", "/v1/models", headers={"Origin": "http://evil.example"})
        self.assertIn(status, (200, 403))
        allowed = {name.lower(): value for name, value in headers.items()}.get("access-control-allow-origin")
        self.assertIsNone(allowed)
        answer = send(head("OPTIONS", CHAT_PATH, "Origin: http://evil.example", "Access-Control-Request-Method: POST",
                           "Access-Control-Request-Headers: content-type", "Connection: close"))
        self.assertNotIn(b"access-control-allow-origin", answer.lower())

    def test_headers_of_answers(self):
        for path in ("/", "/health", "/v1/models"):
            _, headers, _ = server.request("GET", path)
            lower = {name.lower(): value for name, value in headers.items()}
            self.assertEqual(lower.get("x-content-type-options"), "nosniff", path)
        self.assertIn("default-src 'none'", {name.lower(): value for name, value in
                                             server.request("GET", "/")[1].items()}["content-security-policy"])


class Connections(Hostile):
    def test_slow_heads(self):
        with connect() as connection:
            start = time.monotonic()
            closed = False
            with contextlib.suppress(ConnectionError):
                for byte in head("GET", "/health", *["X: y"] * 50):
                    connection.sendall(bytes([byte]))
                    if wait_for_close(connection, 0.2):
                        closed = True
                        break
                    if time.monotonic() - start > HEADER_TIMEOUT_S * 4:
                        break
            self.assertTrue(closed or wait_for_close(connection, 1))
            self.assertLess(time.monotonic() - start, HEADER_TIMEOUT_S * 3)

    def test_silent_connections_are_closed(self):
        with connect() as connection:
            self.assertTrue(wait_for_close(connection, HEADER_TIMEOUT_S * 3))

    def test_slow_bodies_hold_nobody_up(self):
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(connect()) for _ in range(50)]
            for connection in slow:
                connection.sendall(head("POST", CHAT_PATH, "Content-Type: application/json", "Content-Length: 1000"))
            for _ in range(5):
                for connection in slow:
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(b" ")
                start = time.monotonic()
                self.assertEqual(server.post(CHAT_PATH, CHAT)[0], 200)
                self.assertLess(time.monotonic() - start, 10)
                time.sleep(0.2)

    def test_bodies_that_never_come_are_closed(self):
        with connect() as connection:
            connection.sendall(head("POST", CHAT_PATH, "Content-Type: application/json", "Content-Length: 1000") + b"{")
            self.assertTrue(wait_for_close(connection, BODY_TIMEOUT_S * 2))

    def running(self):
        return server.stats()["requests"]["running"]

    def wait_until_running(self, count):
        end = time.monotonic() + 20
        while self.running() < count:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_clients_that_leave_a_stream(self):
        for at_once in (1, 8):
            connections = [connect() for _ in range(at_once)]
            for connection in connections:
                connection.sendall(post(FOREVER))
            for connection in connections:
                self.assertEqual(status_of(connection.recv(4096)), 200)
            for connection in connections:
                connection.close()
            server.wait_until_idle(5)

    def test_clients_that_leave_before_the_answer(self):
        for reset in (False, True):
            connection = connect()
            connection.sendall(post({**FOREVER, "stream": False}))
            self.wait_until_running(1)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            connection.close()
            server.wait_until_idle(5)

    def test_clients_that_leave_at_once(self):
        for _ in range(100):
            with connect() as connection:
                connection.sendall(post(FOREVER))
        for length in range(0, 200, 7):
            with connect() as connection:
                connection.sendall(post(CHAT)[:length])

    def test_clients_that_do_not_read(self):
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                connection = socket.socket()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                connection.connect(("127.0.0.1", server.port))
                stack.enter_context(connection)
                connection.sendall(post({**FOREVER, "logprobs": True, "top_logprobs": 20}))
            for _ in range(5):
                start = time.monotonic()
                self.assertEqual(server.post(CHAT_PATH, CHAT)[0], 200)
                self.assertLess(time.monotonic() - start, 20)
        server.wait_until_idle(20)

    def test_thousands_of_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 3000
        if hard != resource.RLIM_INFINITY and hard < wanted + 100:
            self.skipTest(f"{hard} open files are too few")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 100), hard))
        connections = []
        try:
            for _ in range(wanted):
                try:
                    connections.append(connect(2))
                except OSError:  # refused, which is as good
                    break
            open_files = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            self.assertLess(open_files, 2 * MOST_CONNECTIONS + 100)  # some wait for their turn
        finally:
            for connection in connections:
                connection.close()

    def test_many_at_once(self):
        def attempt(_):
            return server.post(CHAT_PATH, CHAT, timeout=120)[0]
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            statuses = list(pool.map(attempt, range(300)))
        self.assertLessEqual(set(statuses), {200, 429, 503})
        self.assertGreater(statuses.count(200), 100)


class Keys(unittest.TestCase):
    def test_keys(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as file:
            file.write(KEY + "\n")
            file.flush()
            guarded = Server(MODEL, "--api-key-file", file.name)
            try:
                self.check(guarded)
            finally:
                guarded.stop()

    def check(self, guarded):
        def basic(text):
            return "Basic " + base64.b64encode(text.encode()).decode()
        paths = [("POST", CHAT_PATH, CHAT), ("GET", "/v1/models", None), ("POST", "/v1/completions", {"prompt": "x"}),
                 ("POST", "/v1/responses", {"input": "x"}), ("GET", "/stats", None)]
        for value in (None, "", "Bearer", "Bearer ", "Bearer wrong-key", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}",
                      f"Bearer {KEY.upper()}", KEY, basic("user:wrong-key"), basic(f"user:{KEY}x"), basic(KEY),
                      basic(f"{KEY}:"), "Basic", "Basic ====", "Basic \x7f" + "A" * 9000, f"Bearer {KEY} {KEY}",
                      "Bearer " + "x" * 7000):
            for method, path, body in paths:
                with self.subTest(value=(value or "")[:40], path=path):
                    headers = {} if value is None else {"Authorization": value}
                    try:
                        status, answer_headers, answer = guarded.request(method, path, body, headers)
                    except ValueError:  # http.client refuses to send it
                        continue
                    self.assertIn(status, (400, 401) if value and len(value) > 8000 else (401,))
                    self.assertNotIn(KEY.encode(), answer)
                    if status == 401:
                        self.assertIn("Bearer", answer_headers.get("WWW-Authenticate", ""))
        # The key is asked for before the body is read.
        status, _, _ = guarded.request("POST", CHAT_PATH, b"{", {})
        self.assertEqual(status, 401)
        # A browser asks its user for a name and a password: the key is the password.
        for value in (f"Bearer {KEY}", f"bearer {KEY}", basic(f"user:{KEY}"), basic(f":{KEY}")):
            self.assertEqual(guarded.request("GET", "/v1/models", headers={"Authorization": value})[0], 200, value)
        self.assertEqual(guarded.request("GET", "/health")[0], 200)
        self.assertEqual(guarded.post(CHAT_PATH, CHAT, headers={"Authorization": f"Bearer {KEY}"})[0], 200)
        self.assertNotIn(KEY, guarded.errors())


main()
