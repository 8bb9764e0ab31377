"""Runs `hlwq serve` for the tests beside this file.

Each test file is called as `NAME_test.py BINARY SOURCE_DIR TEST_DATA`.
"""

import glob
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

BINARY, SOURCE, DATA = (os.path.abspath(path) for path in sys.argv[1:4])
MODEL = os.path.join(SOURCE, "models", "tiny-nemotron-h")
SKIPPED = 77  # the exit code that says so to ctest
START_S = 120
STOP_S = 30


class ToolModel:
    """The tiny model with Nemotron-3-Nano's chat template, which knows tools and thinking. Made of links."""

    TEMPLATE = "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.jinja"

    def __init__(self):
        found = glob.glob(os.path.join(DATA, "**", self.TEMPLATE), recursive=True)
        if not found:
            raise FileNotFoundError(f"{self.TEMPLATE} is not under {DATA}")
        self.path = tempfile.mkdtemp(prefix="hlwq-tool-model-")
        for name in os.listdir(MODEL):
            os.symlink(os.path.join(MODEL, name), os.path.join(self.path, name))
        shutil.copy(found[0], os.path.join(self.path, "chat_template.jinja"))

    def remove(self):
        shutil.rmtree(self.path)


class Server:
    """A running server. `stop` must be called; it checks that the server ends well."""

    def __init__(self, model=MODEL, *flags, port=0):
        self.folder = tempfile.mkdtemp(prefix="hlwq-server-")
        port_file = os.path.join(self.folder, "port")
        self.process = subprocess.Popen(
            [BINARY, "serve", model, "--host", "127.0.0.1", "--port", str(port), "--port-file", port_file,
             "--drain-timeout", "5", *map(str, flags)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.log = []
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()
        try:
            self.port = self._wait_for_port(port_file)
        except Exception:
            self.process.kill()
            self.process.wait()
            shutil.rmtree(self.folder)
            raise
        self.url = f"http://127.0.0.1:{self.port}"

    def _wait_for_port(self, port_file):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"hlwq serve ended with {self.process.returncode}: {self.errors()}")
            if os.path.exists(port_file):
                with open(port_file, encoding="ascii") as file:
                    text = file.read().strip()
                if text:
                    return int(text)
            time.sleep(0.05)
        raise TimeoutError(f"no port after {START_S} s: {self.errors()}")

    def errors(self):
        return b"".join(self.log).decode(errors="replace")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still there {STOP_S} s after SIGTERM: {self.errors()}") from None
        finally:
            shutil.rmtree(self.folder)
        if code != 0:
            raise AssertionError(f"hlwq serve ended with {code}: {self.errors()}")

    def request(self, method, path, body=None, headers=None, timeout=60):
        """(status, headers, body) on a connection of its own. A body that is not bytes is sent as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def post(self, path, body, **options):
        """(status, JSON) of a POST."""
        status, _, answer = self.request("POST", path, body, **options)
        return status, json.loads(answer)

    def stats(self):
        status, _, body = self.request("GET", "/stats")
        if status != 200:
            raise AssertionError(f"/stats says {status}: {body!r}")
        return json.loads(body)

    def wait_until_idle(self, seconds=20):
        """Waits until no request runs or waits; the last /stats."""
        end = time.monotonic() + seconds
        while True:
            stats = self.stats()
            if stats["requests"]["running"] == 0 and stats["requests"]["waiting"] == 0:
                return stats
            if time.monotonic() > end:
                raise AssertionError(f"still busy after {seconds} s: {stats['requests']}")
            time.sleep(0.1)


def main():
    unittest.main(argv=sys.argv[:1])
