#!/usr/bin/env python3
"""Prints how much memory a program takes at most when a server sends as much as it can.

Usage: tests/scripts/peak_memory.py PROGRAM [ROW ...]

Each row is a hostile server on loopback; none takes more than a minute. It needs Python 3 on Linux, and fails if a row takes
more than 256 MiB or does not end with one line.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

LIMIT = 256  # MiB
TEN_MIB = 10 << 20


def job(number, **members):
    return {"object": "fine_tuning.job", "id": f"ftjob-{number}", "status": "succeeded", **members}


def padded(number, item, size, most=10**9):
    """A job that has an array of so many items that it has about `size` bytes."""
    head = json.dumps(job(number))[:-1]
    count = min(most, (size - len(head) - 10) // (len(item) + 1))
    return head + ',"x":[' + ",".join([item] * count) + "]}"


def ids(count):
    return ["fine_tuning_job_ids=" + json.dumps([f"ftjob-{number}" for number in range(count)])]


def page(after, item, size):
    """An endless list of jobs with a status of their own."""
    start = int(after or 0) + 1
    jobs = [dict(job(number), id=str(number), status=f"{number:09}" + "s" * size) for number in range(start, start + 100)]
    return json.dumps({"object": "list", "data": jobs, "has_more": True})


# What an object with twelve members takes most of.
TWELVE = "{" + ",".join(f'"{letter}":0' for letter in "abcdefghijkl") + "}"
ONE = ["ftjob-0"]
MODEL = {"fine_tuned_model": "ft:model", "model": "base"}

# Name, arguments, and the answer to a path and a cursor.
ROWS = {
    "10 MiB of {\"\":0}": (ONE, lambda path, after: padded(0, '{"":0}', TEN_MIB - 100)),
    "8 of these": (ids(8), lambda path, after: padded(path, '{"":0}', TEN_MIB - 100)),
    "nested objects": (ONE, lambda path, after: padded(0, '{"":' * 100 + "0" + "}" * 100, TEN_MIB - 100)),
    "10 MiB of numbers": (ONE, lambda path, after: padded(0, "0", TEN_MIB - 100)),
    "8 with 490,000 values": (ids(8), lambda path, after: padded(path, "0", TEN_MIB, 490_000)),
    "99,000 objects": (ONE, lambda path, after: padded(0, '{"":0}', TEN_MIB, 99_000)),
    "objects of twelve": (ONE, lambda path, after: padded(0, TWELVE, TEN_MIB, 38_000)),
    "32 large ones beside that": (
        ids(33),
        lambda path, after: padded(0, TWELVE, TEN_MIB, 38_000) if path == "0" else padded(path, '"' + "x" * 99 + '"', TEN_MIB - 100),
    ),
    "490,000 members": (
        ONE,
        lambda path, after: json.dumps(job(0))[:-1] + "".join(f',"k{number}":0' for number in range(490_000)) + "}",
    ),
    "480,000 in a map": (
        ONE,
        lambda path, after: json.dumps(job(0))[:-1]
        + ',"metadata":{"k":"v"'
        + "".join(f',"k{number}":"v"' for number in range(480_000))
        + "}}",
    ),
    "40 of 9 MiB": (ids(40), lambda path, after: padded(path, '"' + "x" * 999 + '"', 9 << 20)),
    "escapes": (ONE, lambda path, after: padded(0, '"' + r"\u0001\"" * 100 + '"', TEN_MIB - 100)),
    "endless list": (
        ["most_recent=true", "status=running", "timeout=20s"],
        lambda path, after: page(after, job, 50_000),
    ),
    "polled again and again": (
        [*ONE, "wait=4s"],
        lambda path, after: padded(0, TWELVE, TEN_MIB, 38_000).replace("succeeded", "running"),
    ),
    "10 MiB of models": (
        [*ONE, "availability=true"],
        lambda path, after: models() if path == "models" else json.dumps(job(0, **MODEL)),
    ),
    "models beside a large job": (
        [*ONE, "availability=true"],
        lambda path, after: models() if path == "models" else padded(0, TWELVE, TEN_MIB, 38_000)[:-1] + ',"fine_tuned_model":"m"}',
    ),
    "a refusal of 10 MiB": (
        ONE,
        lambda path, after: (400, '{"error":{"message":"' + "x" * (TEN_MIB - 100) + '"}}'),
    ),
    "32 refusals": (
        ids(32),
        lambda path, after: (400, '{"error":[' + ",".join(['{"":0}'] * 1_400_000) + "]}"),
    ),
    "40 refusals of 10 MiB": (
        ids(40),
        lambda path, after: (400, '{"error":{"message":"' + "x" * (TEN_MIB - 100) + '"}}'),
    ),
    "40 that are no JSON": (
        ids(40),
        lambda path, after: '{"a":"' + r"\nx" * (TEN_MIB // 3 - 10) + '",}',
    ),
    "checkpoints": (
        [*ONE, "checkpoints=true"],
        lambda path, after: (
            '{"data":[' + ",".join(['{"id":"a","x":{"":0}}'] * 400_000) + "]}"
            if path == "checkpoints"
            else padded(0, TWELVE, TEN_MIB, 20_000)
        ),
    ),
}


def models():
    return '{"data":[' + ",".join(['{"id":"a"}'] * ((TEN_MIB - 100) // 11)) + "]}"


def serve(answer):
    """A server that gives these answers; each is made once."""
    made, lock = {}, threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path, _, query = self.path.partition("?")
            after = dict(pair.split("=") for pair in query.split("&") if pair).get("after")
            name = path.rsplit("/", 1)[1].removeprefix("ftjob-")
            with lock:
                key = (name, after)
                if key not in made:
                    made.clear() if after else None
                    made[key] = answer(name, after)
            status, body = made[key] if isinstance(made[key], tuple) else (200, made[key])
            body = body.encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # In a process of its own: what this one takes would count for the program, which it becomes.
    child = os.fork()
    if child == 0:
        server.serve_forever()
    server.server_close()
    return child, server.server_port


def run(program, arguments, port):
    """Runs the program for a minute at most. Returns its exit code, peak memory in MiB, seconds, and what it wrote."""
    environment = {"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.monotonic()
        child = subprocess.Popen([program, *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        killer = threading.Timer(60, child.kill)
        killer.start()
        _, status, usage = os.wait4(child.pid, 0)
        killer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - start
        stderr.seek(0)
        return child.returncode, usage.ru_maxrss / 1024, seconds, os.fstat(stdout.fileno()).st_size, stderr.read().decode()


def main():
    program, *names = sys.argv[1:]
    failed = False
    print(f"{'row':28} {'MiB':>6} {'s':>6} {'code':>4}  what it said")
    for name, (arguments, answer) in ROWS.items():
        if names and name not in names:
            continue
        server, port = serve(answer)
        code, peak, seconds, written, said = run(program, arguments, port)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        is_good = peak <= LIMIT and ((code == 0 and written and not said) or (code == 1 and not written and said.count("\n") == 1))
        failed |= not is_good
        said = said.strip() or f"a result of {written} bytes"
        print(f"{name:28} {peak:6.0f} {seconds:6.1f} {code:4}  {'' if is_good else 'FAILED: '}{said[:150]}", flush=True)
    sys.exit(failed)


main()
