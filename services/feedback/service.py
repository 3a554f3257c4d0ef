"""The certifier's loop: looks at every change and every ten seconds, publishes what changed.

Where a look at a workflow fails, its last route stays until it expires; all others go on.
"""

import logging
import threading
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from services.feedback.certificate.certifier import WorkflowCertifier
from services.feedback.certificate.leader import Leader
from services.router.policy import Policy
from shared.errors import Overloaded
from shared.events.live_policy import LivePolicy, LiveRoute, encode_policy
from shared.messaging.connection import Broker
from shared.service.metrics import CERTIFICATE_LEASE, CERTIFIER_LEADS
from shared.storage.database import database_errors
from shared.workflows.files import WorkflowFile

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
HEARTBEAT_SECONDS = 10.0
PAUSE_AFTER_LOOK = 4.0  # times the length of the look
PUBLISH_SECONDS = 5.0
_HEIGHT = text("SELECT coalesce(max(height), 0) FROM ledger_block")


class Policies:
    """The policy of each workflow: the last good one that its file has had. They are taken on
    another thread than they are looked at."""

    def __init__(self, directory: Path) -> None:
        self.of: dict[str, Policy] = {}
        self._directory = directory
        self._taken = threading.Event()

    def take(self, content: WorkflowFile) -> None:
        """Uses the policy in this file from now on.

        Raises:
            ConfigurationError: lists what is wrong with it; the one before stays.
        """
        name = content.workflow.name
        self.of[name] = Policy.of_file(content, self._directory / f"{name}.toml")
        self._taken.set()

    def changed(self) -> bool:
        """Whether one was taken since this was asked before."""
        taken = self._taken.is_set()
        self._taken.clear()
        return taken


class Feedback:
    """The certifier of all workflows, where it leads."""

    def __init__(
        self,
        engine: Engine,
        broker: Broker,
        policies: Policies,
        *,
        lease: timedelta,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._engine = engine
        self._broker = broker
        self._policies = policies
        self._lease = lease
        self._heartbeat = heartbeat_seconds
        self._leader = Leader(engine)
        self._certifiers: dict[str, WorkflowCertifier] = {}
        self._routes: dict[str, LiveRoute] = {}
        self._published: dict[str, object] = {}  # what routers must hear of at once
        self._leading = False
        self._height = -1
        self._looked_at = self._published_at = self._resumes_at = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; what fails is logged and retried."""
        with closing(self._leader):
            while not stopping.is_set():
                try:
                    self.turn()
                except Overloaded as error:
                    logger.warning(
                        "certifier look postponed: a server is unreachable",
                        extra={"problem": str(error)},
                    )
                except Exception:
                    logger.exception("certifier look failed")
                stopping.wait(LOOK_SECONDS)
        self._follow()

    def turn(self) -> None:
        """One second's work.

        Raises:
            Overloaded: Postgres or RabbitMQ is unreachable.
        """
        try:
            now = self._leader.leads()
        except Overloaded:
            self._follow()
            raise
        changed = self._policies.changed()
        if now is None:
            self._follow()
            return
        if not self._leading:
            self._lead()
        CERTIFIER_LEADS.set(1)
        CERTIFICATE_LEASE.set(self._lease.total_seconds())
        clock = time.monotonic()
        if clock < self._resumes_at and not changed:
            return
        with database_errors(), self._engine.connect() as connection:
            height = int(connection.scalar(_HEIGHT) or 0)
        due = clock - self._looked_at >= self._heartbeat
        if changed or due or height != self._height:
            self._look(now)
            self._height, self._looked_at = height, clock
            ended = time.monotonic()
            self._resumes_at = ended + PAUSE_AFTER_LOOK * (ended - clock)
        urgent = {name: _urgent_part(route) for name, route in self._routes.items()}
        if urgent != self._published or clock - self._published_at >= self._heartbeat:
            self._publish()
            self._published = urgent

    def _look(self, now: datetime) -> None:
        for name, policy in tuple(self._policies.of.items()):
            if name not in self._certifiers:
                self._certifiers[name] = WorkflowCertifier(self._engine, name, self._lease)
            try:
                self._routes[name] = self._certifiers[name].look(policy, now)
            except Overloaded:
                raise
            except Exception:
                logger.exception("looking at a workflow failed", extra={"workflow": name})

    def _publish(self) -> None:
        # Asked again: a look may have taken long, and somebody else may lead by now.
        now = self._leader.leads()
        if now is None or not self._routes:
            return
        version = int(now.timestamp() * 1_000_000)
        policy = LivePolicy(version=version, issued_at=now, workflows=self._routes)
        self._broker.publish([encode_policy(policy)], PUBLISH_SECONDS)
        self._published_at = time.monotonic()

    def _lead(self) -> None:
        logger.info("this certifier leads")
        self._leading = True
        self._routes, self._published, self._height = {}, {}, -1
        self._looked_at = self._published_at = self._resumes_at = 0.0

    def _follow(self) -> None:
        CERTIFIER_LEADS.set(0)
        if self._leading:
            logger.info("this certifier no longer leads")
        for certifier in self._certifiers.values():
            certifier.forget()
        self._leading, self._certifiers, self._routes = False, {}, {}


def _urgent_part(route: LiveRoute) -> object:
    """What routers must hear of at once; the rest can wait for the next heartbeat."""
    return route.model_dump(exclude={"valid_until", "watermark", "reason"})
