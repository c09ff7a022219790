"""How near the program comes to the rate limit of a real server, with how many rejections: nginx with `limit_req` and no
`burst`, which accepts one request in each interval and sends no Retry-After. Takes about four minutes.

Usage: rate_limit.py PROGRAM. Needs nginx (Debian: nginx-light).
"""

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

# Runs that start together, jobs of each, the limit in requests a second, and the seconds they may take: the goal.
CASES = [(1, 300, 50, 10), (1, 1000, 200, 8), (5, 200, 50, 50)]

CONFIGURATION = """
daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  log_format status $status; access_log access.log status; default_type application/json;
  limit_req_zone $server_name zone=limit:1m rate={rate}r/s;
  server {{
    listen 127.0.0.1:{port}; server_name limited; keepalive_requests 100000;
    limit_req zone=limit; limit_req_status {status};
    location ~ ^/v1/fine_tuning/jobs/(?<id>[^/]+)$ {{ try_files /none @job; }}
    location @job {{ return 200 '{{"object":"fine_tuning.job","id":"$id","status":"succeeded"}}'; }}
  }}
}}
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def measure(program, runs, jobs, rate, status):
    """Returns how long the runs took, in seconds, how often they were rejected, and how many failed."""
    port = free_port()
    query = json.dumps({"fine_tuning_job_ids": json.dumps([f"ftjob-{n}" for n in range(jobs)]), "timeout": "2m"})
    environment = {"OPENAI_API_KEY": "not-a-real-key", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "nginx.conf").write_text(CONFIGURATION.format(rate=rate, port=port, status=status))
        (folder / "query").write_text(query)
        nginx = subprocess.Popen(["nginx", "-p", folder, "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
        try:
            while not (folder / "nginx.pid").exists() and nginx.poll() is None:
                time.sleep(0.05)
            start = time.monotonic()
            running = []
            for _ in range(runs):
                with (folder / "query").open() as stdin:
                    running.append(subprocess.Popen([program], env=environment, stdin=stdin, stdout=subprocess.DEVNULL))
            failed = sum(process.wait(timeout=150) != 0 for process in running)
            took = time.monotonic() - start
        finally:
            nginx.terminate()
            nginx.wait()
        statuses = (folder / "access.log").read_text().split()
    return took, statuses.count(str(status)), failed


def main():
    if len(sys.argv) != 2 or not shutil.which("nginx"):
        sys.exit(__doc__)
    print("| status | runs | jobs | limit | time | jobs a second | of the limit's own time | rejections | goal |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for status in (429, 503):
        for runs, jobs, rate, goal in CASES:
            took, rejections, failed = measure(sys.argv[1], runs, jobs, rate, status)
            total = runs * jobs
            is_met = failed == 0 and took <= goal and (runs > 1 or rejections * 3 <= total)
            print(
                f"| {status} | {runs} | {jobs} | {rate}/s | {took:.1f} s | {total / took:.0f} | {took * rate / total:.2f} "
                f"| {rejections} | {goal} s: {'met' if is_met else f'missed, {failed} runs failed'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
