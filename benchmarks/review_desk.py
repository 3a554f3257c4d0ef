"""What does benchmarks/review.py measure? The web application on a Postgres of its own.

Filled as the intake fills it, worked on over HTTP as the page does it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg2
from sqlalchemy import make_url

from hitl.servers.postgres import PrivatePostgres
from shared.storage.migration import migrate

PASSWORD = "a long enough password"
CLAIM = 8  # tasks at a time, as the page claims them

# A task as the intake writes it, many times over.
_FILL = """
    INSERT INTO review_task (id, workflow, item_id, queue, priority, uncertainty, due_at, blind,
                             item, prediction, routing, traceparent, created_at)
    SELECT gen_random_uuid(), 'sentiment', %(prefix)s || n, 'default', 0, 0.2 + 0.3 * random(),
           'infinity', false,
           jsonb_build_object('id', %(prefix)s || n, 'text', 'A quiet film, number ' || n,
                              'metadata', '{}'::jsonb, 'received_at', now()),
           '{"label": "positive", "confidence": 0.7, "model_version": "bench@1", "truncated": false,
             "distribution": {"positive": 0.7, "negative": 0.3}}',
           jsonb_build_object('reasons', '[{"code": "threshold", "text": "below 0.85"}]'::jsonb,
               'policy_version', 'bench', 'threshold', 0.85, 'would_accept', false,
               'blind', false, 'queue', 'default', 'priority', 0, 'due_at', null,
               'sampling', '{"u": 0.5, "q": 0.05, "salt_version": "s", "on_panel": false}'::jsonb,
               'routed_at', now()),
           '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', now()
    FROM generate_series(1, %(count)s) AS n
"""


class Bench:
    """One served application and its database."""

    def __init__(self, url: str, database_url: str) -> None:
        self.url = url
        self.database_url = database_url
        self.cookie = ""

    def fill(self, count: int) -> None:
        """More open tasks, and statistics for the planner as autovacuum would make them."""
        connection = psycopg2.connect(self.database_url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(_FILL, {"prefix": f"{uuid4().hex[:8]}-", "count": count})
            cursor.execute("VACUUM ANALYZE review_task")
        connection.close()

    def one_by_one(self, count: int) -> tuple[list[float], list[float]]:
        """Milliseconds of each of `count` claims and of their decisions, one at a time."""
        claims: list[float] = []
        decisions: list[float] = []
        with httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"cookie": self.cookie}, timeout=60
        ) as client:
            for _ in range(count):
                begun = time.perf_counter()
                claimed = client.post("/tasks/claim", json={"count": CLAIM})
                claims.append((time.perf_counter() - begun) * 1e3)
                claimed.raise_for_status()
                for task in claimed.json()["tasks"]:
                    body = {
                        "key": str(uuid4()),
                        "lease_token": task["lease_token"],
                        "action": "accept",
                        "seconds": 1.0,
                    }
                    begun = time.perf_counter()
                    answer = client.post(f"/tasks/{task['id']}/decision", json=body)
                    decisions.append((time.perf_counter() - begun) * 1e3)
                    answer.raise_for_status()
        return claims, decisions

    def log_in(self, name: str) -> None:
        answer = httpx.post(f"{self.url}/api/v1/login", json={"name": name, "password": PASSWORD})
        answer.raise_for_status()
        self.cookie = answer.headers["set-cookie"].split(";")[0]

    async def work(
        self, people: int, seconds: float, think: float = 0.0
    ) -> tuple[list[float], float]:
        """Milliseconds of every decision, and decisions per second with the claims in between."""
        decisions: list[float] = []
        # The server closes what is idle for 5 s; a client that keeps it as long meets that moment.
        limits = httpx.Limits(max_connections=people, keepalive_expiry=3.0)
        headers = {"cookie": self.cookie}
        async with httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers=headers, limits=limits, timeout=60
        ) as client:
            started = time.perf_counter()

            async def one(number: int) -> None:
                await asyncio.sleep(think * number / people)
                while time.perf_counter() - started < seconds:
                    claimed = await client.post("/tasks/claim", json={"count": CLAIM})
                    claimed.raise_for_status()
                    for task in claimed.json()["tasks"]:
                        if time.perf_counter() - started >= seconds:
                            return
                        await asyncio.sleep(think)
                        body = {
                            "key": str(uuid4()),
                            "lease_token": task["lease_token"],
                            "action": "accept",
                            "seconds": 1.0,
                        }
                        begun = time.perf_counter()
                        answer = await client.post(f"/tasks/{task['id']}/decision", json=body)
                        answer.raise_for_status()
                        decisions.append((time.perf_counter() - begun) * 1e3)

            await asyncio.gather(*(one(number) for number in range(people)))
            return decisions, len(decisions) / (time.perf_counter() - started)


@contextmanager
def databases() -> Iterator[tuple[str, str]]:
    """The addresses of two migrated databases on one private Postgres."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        postgres = PrivatePostgres(home / "postgres", home / "postgres.log")
        postgres.start()
        try:
            postgres.wait_ready()
            one = make_url(postgres.database_url)
            other = one.set(database="other")
            urls = [url.render_as_string(hide_password=False) for url in (one, other)]
            connection = psycopg2.connect(urls[0])
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE other")
            connection.close()
            for url in urls:
                migrate(url)
            yield urls[0], urls[1]
        finally:
            postgres.stop()


@contextmanager
def server(database_url: str) -> Iterator[Bench]:
    """The application on the database, in a process of its own; the account is logged in."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.review_server"],
        env={**os.environ, "DATABASE_URL": database_url, "PYTHONPATH": "."},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("the review service did not start")
        _wait_for(url)
        bench = Bench(url, database_url)
        bench.log_in("bench")
        yield bench
    finally:
        process.terminate()
        process.wait(20)


def _wait_for(url: str) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/login", timeout=5).raise_for_status()
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
