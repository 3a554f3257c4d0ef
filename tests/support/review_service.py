"""The review service: requests for review, a clock to turn, and the application, served."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx
import uvicorn
from argon2 import PasswordHasher
from pydantic import JsonValue
from sqlalchemy import Engine

from services.inference.highlights import words
from services.review_ui.api.context import RequestContext
from services.review_ui.api.submit import Publish
from services.review_ui.app import make_app
from services.review_ui.auth.accounts import Accounts, Role
from services.review_ui.auth.sessions import LoginThrottle, Sessions
from services.review_ui.reports.stats import Backlog
from services.review_ui.tasks.intake import Intake
from shared.errors import Overloaded
from shared.events.envelope import encode
from shared.events.models import (
    Event,
    Item,
    ItemExplained,
    ItemReviewRequested,
    Prediction,
    RouteReason,
    Routing,
    Sampling,
    WordWeight,
    derive_id,
)
from shared.messages import Delivery, Outgoing
from shared.service.lifecycle import Lifecycle, respond
from shared.topology import review_queue
from shared.workflows.files import Workflow
from tests.support.item_events import deliver

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PASSWORD = "a long enough password"
# Fast on purpose; the strength of the real one is argon2-cffi's default.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SENTIMENT = Workflow(
    name="sentiment", labels=("negative", "positive"), guideline="Judge the writer's feeling."
)


@dataclass
class TurnedClock:
    """A clock that stands until it is turned."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def task_id(item_id: str, workflow: str = "sentiment") -> object:
    """The task's id, as the intake derives it."""
    return derive_id("task", workflow, item_id)


def requested(
    item_id: str,
    *,
    text: str = "a film of two halves",
    workflow: str = "sentiment",
    confidence: float = 0.7,
    label: str = "positive",
    blind: bool = False,
    queue: str = "default",
    priority: int = 0,
    due_at: datetime | None = None,
    metadata: dict[str, JsonValue] | None = None,
    reason: str = "confidence 70 % is under 85 %",
) -> ItemReviewRequested:
    """A request for review, as the router would send it."""
    other = "negative" if label == "positive" else "positive"
    return ItemReviewRequested(
        workflow=workflow,
        occurred_at=START,
        item=Item(id=item_id, text=text, metadata=metadata or {}, received_at=START),
        prediction=Prediction(
            label=label,
            confidence=confidence,
            distribution={label: confidence, other: round(1 - confidence, 6)},
            model_version="test@1",
        ),
        routing=Routing(
            reasons=(RouteReason(code="panel" if blind else "threshold", text=reason),),
            policy_version="policy-1",
            threshold=0.85,
            sampling=Sampling(u=0.01, q=0.05, salt_version="s1", on_panel=blind),
            would_accept=blind,
            blind=blind,
            queue=queue,
            priority=priority,
            due_at=due_at,
            routed_at=START,
        ),
    )


def delivered(event: Event) -> Delivery:
    """The event as the review queue brings it."""
    message = encode(event, source="router", traceparent=TRACEPARENT)
    return deliver(message, review_queue(event.workflow))


def take_in(engine: Engine, *events: Event, clock: TurnedClock | None = None) -> None:
    """Makes a task of each request."""
    results = Intake(engine, clock or TurnedClock()).handle([delivered(event) for event in events])
    assert results == [()] * len(events)


def weigh(engine: Engine, item_id: str, text: str, weights: Mapping[str, float]) -> None:
    """What inference would say of the item's words; those without a weight count for nothing."""
    places = words(text)
    assert places is not None
    event = ItemExplained(
        workflow="sentiment",
        occurred_at=START,
        explained_item_id=item_id,
        label="positive",
        model_version="test@1",
        words=tuple(
            WordWeight(start=start, end=end, weight=weights.get(text[start:end], 0.0))
            for start, end in places
        ),
    )
    assert Intake(engine, TurnedClock()).handle([delivered(event)]) == [()]


@dataclass
class Served:
    """The application on a port of its own."""

    url: str
    context: RequestContext
    clock: TurnedClock
    lifecycle: Lifecycle = field(default_factory=Lifecycle)

    def register(self, name: str, role: Role = "reviewer", password: str = PASSWORD) -> None:
        with self.context.transaction() as session:
            self.context.accounts.create(session, name, role, password)

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        """A client that is not logged in."""
        with httpx.Client(base_url=self.url, timeout=20) as client:
            yield client

    @contextmanager
    def logged_in(self, name: str, role: Role = "reviewer") -> Iterator[httpx.Client]:
        """A client of a new reviewer."""
        self.register(name, role)
        with self.visitor() as client:
            answer = client.post("/api/v1/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            yield client


def no_broker(messages: Sequence[Outgoing], _seconds: float) -> None:
    """Where no broker is, nothing is published."""
    if messages:
        raise Overloaded("no broker here")


def make_test_context(
    engine: Engine,
    clock: TurnedClock,
    lifecycle: Lifecycle,
    workflows: Mapping[str, Workflow] | None = None,
    publish: Publish | None = None,
    *,
    webhook_private: bool = False,
) -> RequestContext:
    """With a quick password hasher and the default times; without `publish` no broker."""
    served = workflows or {"sentiment": SENTIMENT}
    return RequestContext(
        engine=engine,
        clock=clock,
        workflows=served,
        accounts=Accounts(clock, QUICK_HASHER),
        sessions=Sessions("a secret of the tests", hours=12, clock=clock),
        throttle=LoginThrottle(clock),
        backlog=Backlog(engine, served),
        respond=lambda path: respond(lifecycle, path),
        publish=publish or no_broker,
        lease_seconds=300,
        undo_seconds=5,
        max_body_bytes=100_000,
        max_held_tasks=100,
        webhook_private=webhook_private,
    )


@contextmanager
def serving(context: RequestContext, clock: TurnedClock, port: int = 0) -> Iterator[Served]:
    """Serves the whole application on 127.0.0.1 for the length of the block."""
    # On a thread of its own: where Playwright drives a browser, this one runs an event loop.
    with ThreadPoolExecutor(1) as elsewhere:
        app = elsewhere.submit(make_app, context).result()
    bound = socket.socket(proto=socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.listen()  # who comes before the server runs waits instead of being refused
    config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
    thread.start()
    try:
        with httpx.Client() as client:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            client.get(f"{url}/healthz", timeout=20).raise_for_status()
        yield Served(url, context, clock)
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
