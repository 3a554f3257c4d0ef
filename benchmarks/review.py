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
from sqlalchemy import make_url

from benchmarks.delayed import delayed
from hitl.private_postgres import PrivatePostgres
from shared.database import migrate

PASSWORD = "a long enough password"
ROUNDS = 3
KEYS = 25
REVIEWERS = (50, 200)
BACKLOG_ROUNDS = 5
CLAIMS = 40  # of CLAIM tasks each, in a round of the backlog's comparison
CLAIM = 8
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

    def one_by_one(self) -> tuple[list[float], list[float]]:
        """Milliseconds of every one of `CLAIMS` claims and of their decisions, one at a time."""
        claims: list[float] = []
        decisions: list[float] = []
        with httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"cookie": self.cookie}, timeout=60
        ) as client:
            for _ in range(CLAIMS):
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
                    claimed = await client.post("/tasks/claim", json={"count": CLAIM})
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
    found: dict[str, float] = {}
    for people in REVIEWERS:
        _, taken, _ = asyncio.run(bench.work(people, THINKING_SECONDS, THINK_SECONDS))
        for share in (50, 95):
            milliseconds = round(quantile(taken, share / 100), 2)
            found[f"submit_{people}_reviewers_p{share}_ms"] = milliseconds
            if people == REVIEWERS[0]:
                found[f"submit_p{share}_ms"] = milliseconds
    return found


def with_backlog(empty: Bench, full: Bench, backlog: int) -> dict[str, float]:
    """The p95 of claim and decision, where hardly more waits than is taken and where `backlog`
    tasks wait. The rounds of the two alternate; medians, and the least and most of the ratios."""
    full.fill(backlog)
    found: dict[str, list[float]] = {}
    for number in range(BACKLOG_ROUNDS + 1):
        for name, bench in (("", empty), ("_backlog", full)):
            bench.fill(CLAIM * CLAIMS + CLAIM)
            claims, decisions = bench.one_by_one()
            if number:  # the first round warms
                found.setdefault(f"claim_p95{name}_ms", []).append(quantile(claims, 0.95))
                found.setdefault(f"decide_p95{name}_ms", []).append(quantile(decisions, 0.95))
    result = {name: round(statistics.median(values), 2) for name, values in found.items()}
    for what in ("claim", "decide"):
        pairs = zip(found[f"{what}_p95_backlog_ms"], found[f"{what}_p95_ms"], strict=True)
        ratios = sorted(with_it / without for with_it, without in pairs)
        name = f"{what}_p95_backlog_ratio"
        result[name] = round(statistics.median(ratios), 2)
        result[f"{name}_min"], result[f"{name}_max"] = round(ratios[0], 2), round(ratios[-1], 2)
    return result


def measure(say: Console, backlog: int) -> dict[str, float]:
    """Everything, one after the other."""
    found: dict[str, float] = {}
    with databases() as (one, other), server(one) as bench:
        bench.fill(20_000)
        asyncio.run(bench.work(4, 1.0))  # warm
        say.print("key to next item, in Chromium …")
        found |= key_to_next(bench)
        say.print("decisions a second …")
        found |= decisions_per_second(bench)
        say.print(f"{REVIEWERS} reviewers who think for {THINK_SECONDS:.0f} s …")
        found |= thinking(bench)
        say.print(f"claim and decision with {backlog:,} waiting tasks, and with hardly any …")
        with server(other) as empty:
            found |= with_backlog(empty, bench, backlog)
    return {**found, "backlog_tasks": backlog, "backlog_rounds": BACKLOG_ROUNDS}


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
