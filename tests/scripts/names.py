#!/usr/bin/env python3
"""Names and addresses as the system's own resolver and routes give them: a name server that is dead, or that never answers
for IPv6; an address that the system refuses; one whose server stays silent in TLS.

Usage: names.py PROGRAM, as root on Linux, with unshare, ip, mount, and openssl. It changes nothing outside a network and
mount namespace of its own, which ends with it. Takes about a minute.
"""

import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

A, AAAA = 1, 28
DEAD, WORKING, HALF_DEAD = "127.0.0.53", "127.0.0.54", "127.0.0.55"
PORT = 8443
# What each name has, by the type of the query.
ADDRESSES = {
    "good.test": {A: ["127.0.0.1"], AAAA: []},
    "refused.test": {A: ["127.0.0.1"], AAAA: ["2001:db8:1::1"]},  # EACCES
    "invalid.test": {A: ["127.0.0.1"], AAAA: ["2001:db8:2::1"]},  # EINVAL
    "silent.test": {A: ["127.0.0.1"], AAAA: ["::1"]},
}


def run(*command):
    subprocess.run(command, check=True, capture_output=True)


def answer(query, types):
    """The answer to a DNS query (RFC 1035), or none if it is of another type."""
    labels, position = [], 12
    while query[position]:
        labels.append(query[position + 1 : position + 1 + query[position]].decode())
        position += 1 + query[position]
    question = query[12 : position + 5]
    (kind,) = struct.unpack(">H", query[position + 1 : position + 3])
    if kind not in types:
        return None
    addresses = ADDRESSES.get(".".join(labels), {}).get(kind, [])
    family = socket.AF_INET if kind == A else socket.AF_INET6
    records = b""
    for data in (socket.inet_pton(family, address) for address in addresses):
        records += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
    return query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0) + question + records


def serve_names(host, types):
    """A name server; without types a dead one, which the system knows of but which never answers."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((host, 53))

    def serve():
        while True:
            query, client = server.recvfrom(512)
            if reply := answer(query, types):
                server.sendto(reply, client)

    threading.Thread(target=serve, daemon=True).start()


class Api(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        job = {"object": "fine_tuning.job", "id": self.path.rsplit("/", 1)[1], "status": "succeeded"}
        body = json.dumps(job).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve_api(folder):
    names = ",".join(f"DNS:{name}" for name in ADDRESSES)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
        f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE",
        "-keyout", f"{folder}/key", "-out", f"{folder}/certificate")  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/certificate", f"{folder}/key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Api)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The system accepts, and nobody answers.
    silent = socket.create_server(("::1", PORT), family=socket.AF_INET6)
    return silent


def read(program, folder, name, servers, arguments):
    """Runs the program, and says how it ended and how long it took."""
    with open(f"{folder}/resolv.conf", "w") as file:
        file.writelines(f"nameserver {server}\n" for server in servers)
    environment = {
        "OPENAI_API_KEY": "not-a-real-key",
        "OPENAI_BASE_URL": f"https://{name}:{PORT}/v1",
        "SSL_CERT_FILE": f"{folder}/certificate",
    }
    start = time.monotonic()
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr.strip(), time.monotonic() - start


def main():
    if len(sys.argv) != 2 or os.geteuid() != 0:
        sys.exit(__doc__)
    if "IN_NAMESPACE" not in os.environ:
        os.environ["IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-n", "-m", sys.executable, *sys.argv])
    run("ip", "link", "set", "lo", "up")
    run("ip", "-6", "address", "add", "2001:db8::1/128", "dev", "lo")
    run("ip", "-6", "route", "add", "2001:db8::/32", "dev", "lo")
    # For TCP alone: the C library asks the routes for UDP, and puts addresses last that have none.
    run("ip", "-6", "rule", "add", "to", "2001:db8:1::/48", "ipproto", "tcp", "prohibit")
    run("ip", "-6", "rule", "add", "to", "2001:db8:2::/48", "ipproto", "tcp", "blackhole")
    folder = tempfile.mkdtemp()
    open(f"{folder}/resolv.conf", "w").close()
    run("mount", "--bind", f"{folder}/resolv.conf", "/etc/resolv.conf")
    serve_names(DEAD, ())
    serve_names(HALF_DEAD, (A,))
    serve_names(WORKING, (A, AAAA))
    silent = serve_api(folder)
    ids = "fine_tuning_job_ids=" + json.dumps([f"ftjob-{number}" for number in range(20)])
    failures = 0
    for what, name, servers, arguments in [
        ("a name server that works", "good.test", [WORKING], ["ftjob-1"]),
        ("the first name server is dead", "good.test", [DEAD, WORKING], ["ftjob-1"]),
        ("the same, 20 jobs", "good.test", [DEAD, WORKING], [ids]),
        ("no answer for IPv6", "good.test", [HALF_DEAD], ["ftjob-1"]),
        ("the same, 20 jobs", "good.test", [HALF_DEAD], [ids]),
        ("an address that is refused (EACCES)", "refused.test", [WORKING], ["ftjob-1"]),
        ("an address that is invalid (EINVAL)", "invalid.test", [WORKING], ["ftjob-1"]),
        ("an address that is silent in TLS", "silent.test", [WORKING], ["ftjob-1"]),
        ("the same, 20 jobs", "silent.test", [WORKING], [ids]),
    ]:
        status, line, took = read(sys.argv[1], folder, name, servers, arguments)
        failures += status != 0
        print(f"{what}: {'read' if status == 0 else line} after {took:.1f} s", flush=True)
    silent.close()
    sys.exit(failures != 0)


if __name__ == "__main__":
    main()
