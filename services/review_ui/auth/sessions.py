"""Signed session cookies, and a throttle on failed logins.

A session is a signed cookie: name, epoch, end. It is worth nothing once the account's epoch has
grown (logout, new password, disabled), so no table of sessions is needed.
"""

import secrets
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadData, URLSafeSerializer
from pydantic import BaseModel, ConfigDict, ValidationError

from services.review_ui.auth.accounts import Account
from shared.clock import Clock

COOKIE = "hitl_session"


class Ticket(BaseModel):
    """What the cookie says. `nonce` makes each login's cookie a new one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    epoch: int
    ends_at: datetime
    nonce: str


class Sessions:
    """Issues and reads session cookies; the secret is all the state there is."""

    def __init__(self, secret: str, hours: float, clock: Clock) -> None:
        self._signer = URLSafeSerializer(secret, salt="hitl-review-session")
        self._lifetime = timedelta(hours=hours)
        self._clock = clock

    @property
    def seconds(self) -> int:
        """How long a session lasts."""
        return int(self._lifetime.total_seconds())

    def issue(self, account: Account) -> str:
        """A fresh cookie value: never one that a visitor brought along."""
        ticket = Ticket(
            name=account.name,
            epoch=account.session_epoch,
            ends_at=self._clock() + self._lifetime,
            nonce=secrets.token_urlsafe(12),
        )
        signed = self._signer.dumps(ticket.model_dump(mode="json"))
        return signed.decode() if isinstance(signed, bytes) else signed

    def read(self, cookie: str | None) -> Ticket | None:
        """The ticket where signature and time are good; the epoch is still to be compared."""
        if not cookie:
            return None
        try:
            ticket = Ticket.model_validate(self._signer.loads(cookie))
        except (BadData, ValidationError):
            return None
        return ticket if ticket.ends_at > self._clock() else None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many failures within so many seconds."""

    failures: int
    seconds: float


PER_NAME = Limit(failures=5, seconds=300)
PER_ADDRESS = Limit(failures=30, seconds=300)
_REMEMBERED = 20_000


class LoginThrottle:
    """Counts failed logins by name and by address, in this process; bounded in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, str], deque[datetime]] = OrderedDict()

    def begin(self, name: str, address: str) -> int | None:
        """Counts an attempt before the password is looked at, so that many at once do not slip
        through. None: go on; else the seconds to wait."""
        now = self._clock()
        with self._lock:
            limits = (
                (("name", name.casefold()[:64]), PER_NAME),
                (("address", address), PER_ADDRESS),
            )
            for key, limit in limits:
                times = self._recent(key, limit, now)
                if len(times) >= limit.failures:
                    return max(1, int(limit.seconds - (now - times[0]).total_seconds()) + 1)
            for key, _ in limits:
                self._failures.setdefault(key, deque()).append(now)
                self._failures.move_to_end(key)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)
        return None

    def succeeded(self, name: str, address: str) -> None:
        """The password was right: the name starts afresh, the address did not fail."""
        with self._lock:
            self._failures.pop(("name", name.casefold()[:64]), None)
            times = self._failures.get(("address", address))
            if times:
                times.pop()

    def _recent(self, key: tuple[str, str], limit: Limit, now: datetime) -> deque[datetime]:
        times = self._failures.get(key, deque())
        while times and (now - times[0]).total_seconds() >= limit.seconds:
            times.popleft()
        return times
