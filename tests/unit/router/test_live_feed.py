"""Which message of the certifier does a router go by, when clocks are wrong?"""

from datetime import UTC, datetime, timedelta

from services.router.live_feed import LiveFeed
from shared.events.live_policy import LivePolicy, encode_policy
from tests.unit.router.test_certified_policy import live

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


class Heard:
    """A feed whose clock, and that of the certifier, a test may turn."""

    def __init__(self) -> None:
        self.now = NOW
        self.feed = LiveFeed("amqp://nowhere", clock=lambda: self.now)

    def say(self, at: datetime, *, certified: bool) -> None:
        """What a certifier says whose clock shows `at`."""
        until = at + timedelta(hours=1)
        alarm = {"state": "alarm", "threshold": None, "certified_threshold": None}
        route = live(valid_until=until, **({} if certified else alarm))
        version = int(at.timestamp() * 1_000_000)
        policy = LivePolicy(version=version, issued_at=at, workflows={"sentiment": route})
        self.feed.take(encode_policy(policy).body)

    @property
    def state(self) -> str | None:
        route = self.feed.route("sentiment")
        return None if route is None else route.state


def test_a_certificate_from_the_future_is_not_believed_and_hides_no_alarm() -> None:
    # Given a certifier whose clock jumps a day ahead and is set right again
    heard = Heard()
    heard.say(NOW, certified=True)
    heard.say(NOW + DAY, certified=True)
    assert heard.state == "certified"
    # If it then raises the alarm / I expect the router to hear it: the version of a day ahead
    # must not stand above it, nor its lease last a day.
    heard.say(NOW + SECOND, certified=False)
    assert heard.state == "alarm"


def test_where_all_clocks_jumped_together_what_was_said_meanwhile_ends_with_it() -> None:
    # Given a machine whose only clock jumps a day ahead, and a certificate of that day
    heard = Heard()
    heard.now = NOW + DAY
    heard.say(NOW + DAY, certified=True)
    assert heard.state == "certified"
    # If the clock is set right / I expect everything at people until the certifier speaks again,
    heard.now = NOW
    assert heard.state is None
    # and what it says then to count.
    heard.say(NOW, certified=True)
    assert heard.state == "certified"
    heard.say(NOW + SECOND, certified=False)
    assert heard.state == "alarm"


def test_clocks_that_differ_by_seconds_and_old_leaders_are_as_ever() -> None:
    # Given a certifier that is half a minute ahead
    heard = Heard()
    heard.say(NOW + 30 * SECOND, certified=True)
    assert heard.state == "certified"
    # If an old leader repeats what it thought / I expect that nobody listens.
    heard.say(NOW, certified=False)
    assert heard.state == "certified"
