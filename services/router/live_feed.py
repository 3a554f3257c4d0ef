"""The live policy: what the certifier says now, heard from `hitl.policy` without a database.

A message that is invalid, of the future or older than the last one changes nothing: the last good
one stays, and runs out by itself (`valid_until`). A stream that is missing is asked for again.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from pydantic import ValidationError

from shared.clock import Clock, utc_now
from shared.errors import Overloaded, problems_of
from shared.events.live_policy import LivePolicy, LiveRoute
from shared.messaging.session import Session, follow_stream
from shared.service.metrics import LIVE_POLICY_REFUSED, LIVE_POLICY_VERSION
from shared.topology import policy_stream

logger = logging.getLogger(__name__)
STOP_SECONDS = 5.0
RETRY_SECONDS = (
    0.5  # a router must follow within two seconds, also after the broker was unreachable
)
# Two clocks may differ by so much. What was said by a clock that had jumped ahead further would
# stand above all that is said once it is right, an alarm as well, and its lease would last as long.
MAX_AHEAD = timedelta(minutes=1)


class LiveFeed:
    """The newest live policy; `route` may be asked from any thread."""

    def __init__(self, amqp_url: str, clock: Clock = utc_now) -> None:
        self._amqp_url = amqp_url
        self._clock = clock
        self._routes: Mapping[str, LiveRoute] = {}
        self._version = -1
        self._issued_at: datetime | None = None
        self._heard = threading.Event()
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._stopping = threading.Event()
        self._problem = ""
        LIVE_POLICY_REFUSED.set(0)

    def route(self, workflow: str) -> LiveRoute | None:
        """What was last heard of this workflow; None where nothing was, or where our clock has been
        set back since, to before it was said."""
        return None if self._is_ahead(self._issued_at) else self._routes.get(workflow)

    @contextmanager
    def listening(self, wait_seconds: float) -> Iterator[None]:
        """Listens on a thread of its own for the length of the block, which begins when something
        was heard, after `wait_seconds` at the latest."""
        thread = threading.Thread(target=self._watch, name="live-policy", daemon=True)
        thread.start()
        try:
            self._heard.wait(wait_seconds)
            yield
        finally:
            self._stopping.set()
            with self._lock:
                if self._session is not None:
                    self._session.stop()
            thread.join(STOP_SECONDS)

    def _watch(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._session = follow_stream(policy_stream(), self.take, "live-policy")
                if self._stopping.is_set():
                    return
            try:
                self._session.run(self._amqp_url)
            except Overloaded as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    logger.warning("live policy stream unavailable", extra={"problem": str(error)})
            except Exception:
                # Whatever it was, the routing goes on, and so must the watch.
                logger.exception("following the live policy failed")
            self._stopping.wait(RETRY_SECONDS)

    def take(self, body: bytes) -> None:
        """One message of the stream."""
        self._problem = ""
        try:
            policy = LivePolicy.model_validate_json(body)
        except ValidationError as error:
            self._refuse(problems_of(error, "body"))
            return
        if self._is_ahead(policy.issued_at):
            self._refuse(f"issued at {policy.issued_at:%c}, in the future: are the clocks in sync?")
            return
        if policy.version < self._version and not self._is_ahead(self._issued_at):
            return  # of a leader that did not know yet that another leads
        LIVE_POLICY_REFUSED.set(0)
        LIVE_POLICY_VERSION.set(policy.version)
        before = self._routes
        self._routes, self._version = policy.workflows, policy.version
        self._issued_at = policy.issued_at
        self._heard.set()
        for name, live in policy.workflows.items():
            if _gist(before.get(name)) != _gist(live):
                said = live.model_dump(include={"state", "threshold", "certificate_version"})
                logger.info("live policy in use", extra={"workflow": name, **said})

    def _is_ahead(self, issued_at: datetime | None) -> bool:
        return issued_at is not None and issued_at > self._clock() + MAX_AHEAD

    def _refuse(self, problem: str) -> None:
        LIVE_POLICY_REFUSED.set(1)
        logger.error(
            "live policy rejected; keeping the last good one", extra={"problem": problem[:500]}
        )


def _gist(live: LiveRoute | None) -> object:
    """What is worth a line in the log when it changes."""
    return live and (live.state, live.threshold, live.panel_rate, live.certificate_version)
