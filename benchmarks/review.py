"""How fast is the review page and its API?

Real Chromium, real Postgres, the whole web application in a process of its own; rounds of the
variants alternate, and the medians over the rounds are reported.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg2
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.delayed import delayed
from hitl.private_postgres import PrivatePostgres
from shared.database import migrate

PASSWORD = "a long enough password"
ROUNDS = 3
KEYS = 25
REVIEWERS = 50
THINK_SECONDS = 2.0
THINKING_SECONDS = 15.0
BACKLOG = 1_000_000

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
# From the key until the frame with the next item has been handed to the screen.
_PRESS = """
    async (rounds) => {
        const item = document.querySelector('[data-id="item"]');
        const times = [];
        while (times.length < rounds) {
            if (document.querySelector(".rv").dataset.state !== "task") {
                await new Promise((wait) => setTimeout(wait, 50));
                continue;
            }
            const before = item.textContent;
            const start = performance.now();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "a", bubbles: true }));
            while (item.textContent === before) await new Promise((wait) => setTimeout(wait, 1));
            await new Promise((painted) => requestAnimationFrame(() => {
                const channel = new MessageChannel();
                channel.port1.onmessage = painted;
                channel.port2.postMessage(null);
            }));
            times.push(performance.now() - start);
            await new Promise((wait) => setTimeout(wait, 250));
        }
        return times;
    }
"""


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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

    def log_in(self, name: str) -> None:
        answer = httpx.post(f"{self.url}/api/v1/login", json={"name": name, "password": PASSWORD})
        answer.raise_for_status()
        self.cookie = answer.headers["set-cookie"].split(";")[0]

    async def work(
        self, people: int, seconds: float, think: float = 0.0
    ) -> tuple[list[float], list[float], float]:
        """Milliseconds of every claim and decision, and decisions per second."""
        claims: list[float] = []
        decisions: list[float] = []
        limits = httpx.Limits(max_connections=people)
        headers = {"cookie": self.cookie}
        async with httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers=headers, limits=limits, timeout=60
        ) as client:
            started = time.perf_counter()

            async def one(number: int) -> None:
                await asyncio.sleep(think * number / people)
                while time.perf_counter() - started < seconds:
                    begun = time.perf_counter()
                    claimed = await client.post("/tasks/claim", json={"count": 8})
                    claimed.raise_for_status()
                    claims.append((time.perf_counter() - begun) * 1e3)
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
            return claims, decisions, len(decisions) / (time.perf_counter() - started)


@contextmanager
def server() -> Iterator[Bench]:
    """The application on a private database, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="hitl-bench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        postgres = PrivatePostgres(home / "postgres", home / "postgres.log")
        postgres.start()
        try:
            postgres.wait_ready()
            migrate(postgres.database_url)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "benchmarks.review_server"],
                env={**os.environ, "DATABASE_URL": postgres.database_url, "PYTHONPATH": "."},
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                assert process.stdout is not None
                url = process.stdout.readline().strip()
                if not url:
                    raise SystemExit("the review service did not start")
                _wait_for(url)
                yield Bench(url, postgres.database_url)
            finally:
                process.terminate()
                process.wait(20)
        finally:
            postgres.stop()


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


@contextmanager
def page_at(url: str, name: str) -> Iterator[Page]:
    """A reviewer's browser at the card."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        raise SystemExit("Chromium is not installed; bin/setup --test installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.locator("#name").fill(name)
        page.locator("#password").fill(PASSWORD)
        page.locator("button[type=submit]").click()
        page.wait_for_selector('.rv[data-state="task"]', timeout=60_000)
        yield page
        browser.close()


def key_to_next(bench: Bench) -> dict[str, float]:
    """Milliseconds from a key to the next item, without and with a round trip of 100 ms."""
    times: dict[str, list[float]] = {"": [], "_100ms": []}
    port = int(bench.url.rpartition(":")[2])
    with delayed(port, 0.1) as slow:
        urls = {"": bench.url, "_100ms": f"http://127.0.0.1:{slow}"}
        for _ in range(ROUNDS):
            for variant, url in urls.items():
                with page_at(url, "bench") as page:
                    page.evaluate(_PRESS, 3)  # warm
                    times[variant] += page.evaluate(_PRESS, KEYS)
    return {
        f"key_to_next{variant}_p{share}_ms": round(quantile(taken, share / 100), 2)
        for variant, taken in times.items()
        for share in (50, 95)
    }


def decisions_per_second(bench: Bench) -> dict[str, float]:
    """Decisions a second at 1, 4 and 8 at once; the decision's p95 alone at 1."""
    rates: dict[int, list[float]] = {1: [], 4: [], 8: []}
    for _ in range(ROUNDS):
        for people, measured in rates.items():
            measured.append(asyncio.run(bench.work(people, 3.0))[2])
    found = {f"decisions_per_s_{n}": round(statistics.median(r), 1) for n, r in rates.items()}
    return {"decisions_per_s": found["decisions_per_s_8"], **found}


def thinking(bench: Bench) -> dict[str, float]:
    """Milliseconds of a decision while many reviewers work, each thinking between decisions."""
    _, taken, _ = asyncio.run(bench.work(REVIEWERS, THINKING_SECONDS, THINK_SECONDS))
    return {
        "submit_p50_ms": round(quantile(taken, 0.5), 2),
        "submit_p95_ms": round(quantile(taken, 0.95), 2),
    }


def p95_at(bench: Bench) -> tuple[float, float]:
    """The p95 of claim and decision, as the median over the rounds."""
    rounds = [asyncio.run(bench.work(1, 4.0))[:2] for _ in range(ROUNDS)]
    return (
        statistics.median(quantile(claims, 0.95) for claims, _ in rounds),
        statistics.median(quantile(decisions, 0.95) for _, decisions in rounds),
    )


def measure(say: Console, backlog: int) -> dict[str, float]:
    """Everything, one after the other."""
    with server() as bench:
        bench.log_in("bench")
        bench.fill(20_000)
        asyncio.run(bench.work(4, 1.0))  # warm
        found: dict[str, float] = {}
        say.print("key to next item, in Chromium …")
        found |= key_to_next(bench)
        say.print("decisions a second …")
        found |= decisions_per_second(bench)
        say.print(f"{REVIEWERS} reviewers who think for {THINK_SECONDS:.0f} s …")
        found |= thinking(bench)
        say.print("claim and decision before the backlog …")
        claim_before, decide_before = p95_at(bench)
        say.print(f"a backlog of {backlog:,} tasks …")
        bench.fill(backlog)
        claim_after, decide_after = p95_at(bench)
    return {
        **found,
        "backlog_tasks": backlog,
        "claim_p95_ms": round(claim_before, 2),
        "decide_p95_ms": round(decide_before, 2),
        "claim_p95_backlog_ms": round(claim_after, 2),
        "decide_p95_backlog_ms": round(decide_after, 2),
        "claim_p95_backlog_ratio": round(claim_after / claim_before, 2),
        "decide_p95_backlog_ratio": round(decide_after / decide_before, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="bin/bench review", description=__doc__)
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--backlog", type=int, default=BACKLOG, help="tasks that wait at the end")
    given = parser.parse_args()
    say = Console(stderr=True, quiet=given.json)
    found = measure(say, given.backlog)
    if not given.json:
        table = Table("what", "value")
        for name, value in found.items():
            table.add_row(name, f"{value:,}")
        Console().print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
