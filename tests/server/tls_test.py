"""hlwq serve over TLS."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from harness import MODEL, SKIPPED, Server, main

if shutil.which("openssl") is None:
    print("skipped: no openssl to make a certificate with")
    sys.exit(SKIPPED)

CHAT = {"messages": [{"role": "user", "content": "What is a volcano?"}], "max_tokens": 8, "temperature": 0}


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.certificate, cls.key = (os.path.join(cls.folder.name, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", cls.key,
                        "-out", cls.certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                       check=True, capture_output=True)
        cls.server = Server(MODEL, "--tls-cert", cls.certificate, "--tls-key", cls.key)
        cls.trust = ssl.create_default_context(cafile=cls.certificate)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def request(self, method, path, body=None):
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=60, context=self.trust)
        try:
            headers = {"Content-Type": "application/json"} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def test_it_answers(self):
        self.assertEqual(self.request("GET", "/health")[0], 200)
        status, whole = self.request("POST", "/v1/chat/completions", CHAT)
        self.assertEqual(status, 200)
        wanted = json.loads(whole)["choices"][0]["message"]["content"]
        status, stream = self.request("POST", "/v1/chat/completions", {**CHAT, "stream": True})
        chunks = [json.loads(line[6:]) for line in stream.decode().split("\n\n") if line.startswith("data: {")]
        self.assertEqual("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks), wanted)

    def test_others_are_closed(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as plain:
            plain.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            self.assertNotIn(b"HTTP/1.1 200", plain.recv(4096))
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as silent:
            start = time.monotonic()
            self.assertEqual(self.request("GET", "/health")[0], 200, "while another says nothing")
            self.assertEqual(silent.recv(1), b"")
            self.assertLess(time.monotonic() - start, 15)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=20) as connection:
            with self.assertRaises((ssl.SSLError, OSError)):
                old.wrap_socket(connection)
        self.assertEqual(self.request("GET", "/health")[0], 200)

    def test_files_that_do_not_fit(self):
        with self.assertRaisesRegex(RuntimeError, "not the key of the certificate"):
            Server(MODEL, "--tls-cert", self.certificate, "--tls-key", self.certificate)


main()
