#!/usr/bin/env python3
"""Load on a running `hlwq serve`: many streams at a time, for a while.

    bench/serve_load.py URL [--streams 64] [--seconds 120] [--prompt-tokens 64] [--max-tokens 64]
                        [--ids VOCABULARY] [--shared N] [--warm-up 10] [--pid PID] [--json]

Each stream sends one request after the other to /v1/completions and reads its answer as it comes:
random token ids (--ids), or text. Reported: requests, errors, tokens a second, time to the first
token and between tokens (median, 99th percentile), and with --pid the server's resident memory
after the warm-up and at the end. Standard library only.
"""

import argparse
import asyncio
import json
import random
import sys
import time
import urllib.parse


class Load:
    def __init__(self, options):
        self.options = options
        url = urllib.parse.urlparse(options.url)
        self.host, self.port = url.hostname, url.port or 80
        self.first, self.between = [], []
        self.requests = self.tokens = self.prompt_tokens = 0
        self.errors = {}
        self.measuring = False
        self.end = 0.0

    def body(self, rng):
        o = self.options
        if o.ids:
            shared = random.Random(0)
            prompt = [shared.randrange(100, o.ids) for _ in range(o.shared)]
            prompt += [rng.randrange(100, o.ids) for _ in range(o.prompt_tokens - o.shared)]
        else:
            words = ["ship", "city", "river", "war", "music", "north", "game", "year", "film", "tree"]
            prompt = " ".join(rng.choice(words) for _ in range(o.prompt_tokens))
        return json.dumps({"prompt": prompt, "max_tokens": o.max_tokens, "stream": True, "ignore_eos": True,
                           "temperature": 0.8, "seed": rng.randrange(1 << 30), "return_token_ids": bool(o.ids),
                           "stream_options": {"include_usage": True}}).encode()

    def failed(self, why):
        self.errors[why] = self.errors.get(why, 0) + 1

    async def one(self, rng):
        body = self.body(rng)
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            head = f"POST /v1/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            writer.write(head.encode() + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            asked = time.monotonic()
            status = (await reader.readline()).split(b" ")
            if len(status) < 2 or status[1] != b"200":
                rest = await reader.read(4096)
                return self.failed(f"status {status[1].decode() if len(status) > 1 else 'none'} {rest[-160:]!r}")
            latest, got, done = None, 0, False
            while line := await reader.readline():
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    done = True
                    break
                now = time.monotonic()
                if b'"error"' in line:
                    return self.failed(line[:160].decode(errors="replace"))
                if b'"usage"' in line and b'"choices":[]' in line:
                    usage = json.loads(line[6:])["usage"]
                    if self.measuring:
                        self.prompt_tokens += usage["prompt_tokens"]
                    got = usage["completion_tokens"]
                    continue
                if self.measuring:
                    if latest is None:
                        self.first.append(now - asked)
                    else:
                        self.between.append(now - latest)
                latest = now
            if not done:
                return self.failed("the stream was cut")
            if self.measuring:
                self.requests += 1
                self.tokens += got
        finally:
            writer.close()

    async def stream(self, number):
        rng = random.Random(number)
        while time.monotonic() < self.end:
            try:
                await self.one(rng)
            except OSError as error:
                self.failed(repr(error))
                await asyncio.sleep(0.05)

    async def run(self):
        o = self.options
        self.end = time.monotonic() + o.warm_up + o.seconds
        streams = [asyncio.create_task(self.stream(i)) for i in range(o.streams)]
        await asyncio.sleep(o.warm_up)
        warm_rss = rss(o.pid)
        self.measuring = True
        start = time.monotonic()
        await asyncio.sleep(max(0.0, self.end - time.monotonic()))
        self.measuring, seconds = False, time.monotonic() - start
        await asyncio.gather(*streams)
        return {"streams": o.streams, "seconds": round(seconds, 2), "requests": self.requests, "errors": self.errors,
                "generated_tok_s": round(self.tokens / seconds, 1),
                "steps_tok_s": round((len(self.first) + len(self.between)) / seconds, 1),
                "prompt_tok_s": round(self.prompt_tokens / seconds, 1),
                "first_token_s": quantiles(self.first), "between_tokens_s": quantiles(self.between),
                "rss_warm": warm_rss, "rss_end": rss(o.pid)}


def quantiles(values):
    if not values:
        return None
    ordered = sorted(values)
    at = lambda q: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 5)
    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": round(ordered[-1], 5)}


def rss(pid):
    if not pid:
        return None
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    for name, value in [("streams", 64), ("seconds", 120), ("prompt-tokens", 64), ("max-tokens", 64), ("ids", 0),
                        ("shared", 0), ("warm-up", 10), ("pid", 0)]:
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = asyncio.run(Load(options).run())
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))
    return 1 if result["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
