"""Is the ledger whole? Asked at the start and once a day; the answer is at /metrics.

For the alerts LedgerNotWhole and LedgerNotVerified. deploy/cron/verify-ledger does the asking, as
on a machine with a node exporter; here its file is shown by this process.
"""

import os
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EVERY_SECONDS = 86_400.0
AGAIN_SECONDS = 600.0  # where it could not be checked
NOT_WHOLE = 1  # verify-ledger's exit code: the answer is known, and bad


def verify(script: Path, answer: Path) -> float:
    """Ask once; how long to wait until the next time."""
    command = [str(script), str(answer), sys.executable, "-m", "hitl", "audit", "verify"]
    code = subprocess.run(command).returncode
    return EVERY_SECONDS if code in (0, NOT_WHOLE) else AGAIN_SECONDS


def pages(answer: Path) -> type[BaseHTTPRequestHandler]:
    """`/metrics`: what the file says, nothing before the first answer; `/readyz`: always."""

    class Pages(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            known = self.path in ("/metrics", "/readyz")
            body = answer.read_bytes() if self.path == "/metrics" and answer.exists() else b""
            self.send_response(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A line a scrape would bury what verify-ledger says."""

    return Pages


def main() -> None:
    """audit.py PORT VERIFY-LEDGER FILE.prom"""
    port, script, answer = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    server = ThreadingHTTPServer((os.environ["HITL_HTTP_HOST"], port), pages(answer))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while True:
        time.sleep(verify(script, answer))


if __name__ == "__main__":
    main()
