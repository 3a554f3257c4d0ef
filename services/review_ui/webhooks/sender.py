"""Sends deliveries to their webhooks through every outage, none of them held up by another.

One thread for each webhook with something due, one delivery after the other. To take a delivery is
to put its next attempt off for `_LEASE`, in a commit of its own: whoever dies while sending leaves
it to be sent again under the same id, and no transaction stays open for a slow receiver.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from uuid import UUID

from sqlalchemy import Engine, bindparam, exists, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from services.review_ui.webhooks.post import Answer, Post
from services.review_ui.webhooks.sign import signature_headers
from shared.backoff import pause_after
from shared.chance import CHANCE
from shared.clock import Clock
from shared.errors import Overloaded
from shared.service.metrics import WEBHOOK_DELIVERIES, WEBHOOK_OLDEST_UNDELIVERED
from shared.storage.database import database_errors
from shared.storage.tables import Webhook, WebhookDelivery

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
MAX_PAUSE_SECONDS = 5.0
AT_ONCE = 8  # webhooks that are sent to
MAX_IN_A_ROW = 50  # then another webhook may have the place
MAX_REST_SECONDS = 60.0
MEASURE_EVERY_SECONDS = 15.0
_JITTER = 0.2
_LEASE = timedelta(seconds=120)  # longer than any attempt
# Built once: SQLAlchemy's `in_` leaves cycles of objects behind wherever it is written down anew,
# and twice a second that is megabytes until Python's collector runs.
_DUE = (
    select(Webhook.id)
    .where(
        Webhook.disabled_at.is_(None),
        exists().where(
            WebhookDelivery.webhook_id == Webhook.id,
            WebhookDelivery.next_attempt_at <= bindparam("now"),
        ),
        Webhook.id.not_in(bindparam("not_now", expanding=True)),
    )
    .order_by(func.random())
    .limit(bindparam("room"))
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery that is ours until the lease ends; `attempt` tells it from a later one."""

    id: int
    webhook_id: UUID
    url: str
    event_id: UUID
    body: bytes
    attempt: int
    keys: tuple[str, ...]


class Sender:
    """The loop. `retry_seconds`: the waits after the first, second, … failed attempt; after the
    last of them a delivery has failed, and waits for a person."""

    def __init__(
        self, engine: Engine, post: Post, clock: Clock, retry_seconds: Sequence[float]
    ) -> None:
        self._engine = engine
        self._post = post
        self._clock = clock
        self._retry_seconds = tuple(retry_seconds)
        self._busy: dict[UUID, threading.Thread] = {}
        self._resting: dict[UUID, float] = {}
        self._failures: dict[UUID, int] = {}
        self._stopping = threading.Event()
        self._problem: str | None = None
        self._measured_at = float("-inf")

    def problem(self) -> str | None:
        """Why nothing is sent at present; None while it is. A receiver that fails is no problem."""
        return self._problem

    def run(self, stopping: threading.Event) -> None:
        """Sends what is due until `stopping`; what is being sent then gets a moment to end."""
        self._stopping = stopping
        failures = 0
        while not stopping.wait(pause_after(failures, POLL_SECONDS, MAX_PAUSE_SECONDS)):
            failures = 0 if self._attempt() else failures + 1
        for thread in list(self._busy.values()):
            thread.join(1.0)

    def _attempt(self) -> bool:
        try:
            with database_errors():
                self.look()
        except Overloaded as error:
            self._report(str(error))
        except DBAPIError:
            logger.exception("reading the webhook deliveries failed")
            self._report("reading the webhook deliveries failed; see the log")
        else:
            self._report(None)
        return self._problem is None

    def look(self) -> None:
        """Gives each webhook with something due a thread, where there is room."""
        self._busy = {key: thread for key, thread in self._busy.items() if thread.is_alive()}
        room = AT_ONCE - len(self._busy)
        if room > 0:
            for webhook_id in self._due(room):
                thread = threading.Thread(
                    target=self._serve, args=(webhook_id,), name="webhook", daemon=True
                )
                self._busy[webhook_id] = thread
                thread.start()
        if time.monotonic() - self._measured_at >= MEASURE_EVERY_SECONDS:
            self._measured_at = time.monotonic()
            self.measure()

    def _due(self, room: int) -> list[UUID]:
        """Webhooks to serve now; in no order, so that none is always the last."""
        moment = time.monotonic()
        resting = [key for key, until in self._resting.items() if until > moment]
        given = {"now": self._clock(), "not_now": [*self._busy, *resting], "room": room}
        with self._engine.connect() as connection:
            return list(connection.execute(_DUE, given).scalars())

    def _serve(self, webhook_id: UUID) -> None:
        try:
            with database_errors():
                for _ in range(MAX_IN_A_ROW):
                    if self._stopping.is_set() or not self.send_one(webhook_id):
                        return
        except Overloaded:
            return  # the loop finds the same and says so
        except Exception:
            logger.exception("webhook thread failed", extra={"webhook_id": str(webhook_id)})

    def send_one(self, webhook_id: UUID) -> bool:
        """Sends the webhook's most urgent delivery; whether it took it, so that more may follow."""
        taken = self._take(webhook_id)
        if taken is None:
            return False
        sent_at = int(self._clock().timestamp())
        signed = signature_headers(str(taken.event_id), sent_at, taken.body, taken.keys)
        answer = self._post(
            taken.url,
            taken.body,
            {"Content-Type": "application/json", "User-Agent": "hitl-pipeline", **signed},
        )
        outcome = self._settle(taken, answer)
        WEBHOOK_DELIVERIES.labels(outcome).inc()
        if answer.error is None:
            self._failures.pop(webhook_id, None)
            return True
        logger.warning(
            "webhook delivery failed",
            extra={
                "webhook_id": str(webhook_id),
                "event_id": str(taken.event_id),
                "attempt": taken.attempt,
                "problem": answer.error,
                "outcome": outcome,
            },
        )
        # Others of the same receiver would find the same: it is left alone for a while.
        failures = self._failures[webhook_id] = self._failures.get(webhook_id, 0) + 1
        rest = pause_after(failures, POLL_SECONDS, MAX_REST_SECONDS)
        self._resting[webhook_id] = time.monotonic() + max(rest, answer.retry_after_seconds)
        return False

    def _take(self, webhook_id: UUID) -> Taken | None:
        now = self._clock()
        due = (
            select(WebhookDelivery, Webhook)
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .where(
                Webhook.id == webhook_id,
                Webhook.disabled_at.is_(None),
                WebhookDelivery.next_attempt_at <= now,
            )
            .order_by(WebhookDelivery.next_attempt_at)
            .limit(1)
            .with_for_update(of=WebhookDelivery, skip_locked=True)
        )
        with Session(self._engine) as session, session.begin():
            found = session.execute(due).first()
            if found is None:
                return None
            row, webhook = found
            row.attempts += 1
            row.last_attempt_at = now
            row.next_attempt_at = now + _LEASE
            keys = [webhook.secret]
            until = webhook.previous_until
            if webhook.previous_secret and until is not None and until > now:
                keys.append(webhook.previous_secret)
            return Taken(
                id=row.id,
                webhook_id=webhook.id,
                url=webhook.url,
                event_id=row.event_id,
                body=bytes(row.body or b""),
                attempt=row.attempts,
                keys=tuple(keys),
            )

    def _settle(self, taken: Taken, answer: Answer) -> str:
        """Writes down what came of it; the outcome's name."""
        now = self._clock()
        changes: dict[str, object] = {"last_status": answer.status, "last_error": answer.error}
        gone = answer.status == HTTPStatus.GONE
        if answer.error is None:
            outcome = "delivered"
            changes |= {"delivered_at": now, "next_attempt_at": None, "body": None}
        elif gone or taken.attempt > len(self._retry_seconds):
            outcome = "failed"
            changes |= {"failed_at": now, "next_attempt_at": None}
        else:
            outcome = "retried"
            jitter = 1 + _JITTER * CHANCE.random()
            wait = max(self._retry_seconds[taken.attempt - 1] * jitter, answer.retry_after_seconds)
            changes["next_attempt_at"] = now + timedelta(seconds=wait)
        with Session(self._engine) as session, session.begin():
            # Not where the lease has ended and somebody else has it.
            session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == taken.id, WebhookDelivery.attempts == taken.attempt)
                .values(changes)
            )
            if gone:
                session.execute(
                    update(Webhook)
                    .where(Webhook.id == taken.webhook_id, Webhook.disabled_at.is_(None))
                    .values(disabled_at=now, disabled_reason="the receiver answered 410 Gone")
                )
        return outcome

    def measure(self) -> None:
        """Sets the gauge: how long the oldest delivery that is due has waited."""
        now = self._clock()
        oldest = (
            select(func.min(WebhookDelivery.not_before))
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .where(
                Webhook.disabled_at.is_(None),
                WebhookDelivery.next_attempt_at.is_not(None),
                WebhookDelivery.not_before <= now,
            )
        )
        with self._engine.connect() as connection:
            since = connection.scalar(oldest) or now
        WEBHOOK_OLDEST_UNDELIVERED.set((now - since).total_seconds())

    def _report(self, problem: str | None) -> None:
        if problem != self._problem:
            if problem is None:
                logger.info("sending of webhooks resumed")
            else:
                logger.warning("webhooks blocked; deliveries wait", extra={"problem": problem})
        self._problem = problem
