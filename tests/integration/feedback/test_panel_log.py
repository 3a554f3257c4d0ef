"""Does the certifier read from the log what the panel's people said, and miss nothing?"""

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.event import listens_for
from sqlalchemy.orm import Session

from hitl.ledger.erase import Erasure, erase_text
from services.feedback.certificate.panel import Matured, mature
from services.feedback.certificate.panel_log import ALL, PanelLog
from services.logger.handler import Logger
from services.router.policy import Policy
from services.router.route import Route, route
from shared.clock import utc_now
from shared.events.models import Event, Item, ItemScored, Prediction
from shared.storage.database import connect
from tests.support.amqp_client import until
from tests.support.audited_stream import reviewed
from tests.support.expected_route import routed_event
from tests.support.item_events import delivered

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SLA = timedelta(hours=72)
AUDITED = {"threshold": 0.85, "panel": {"rate": 1.0}}


class Stream:
    """Items that are all on the panel, one an hour, and what people say of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.log = Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)
        self.policy = Policy.from_mapping(AUDITED)
        self.routes: dict[str, tuple[ItemScored, Route]] = {}

    def write(self, *events: Event) -> None:
        results = self.log.handle([delivered(event) for event in events])
        assert [list(result) for result in results if isinstance(result, Sequence)] == [[]] * len(
            events
        )

    def asked(
        self,
        name: str,
        hour: float,
        *,
        text: str | None = None,
        model: str = "m1",
        confidence: float = 0.9,
        workflow: str = "sentiment",
        policy: Policy | None = None,
    ) -> tuple[Event, Event]:
        """The item was scored, and a person is asked."""
        now = START + timedelta(hours=hour)
        scored = ItemScored(
            workflow=workflow,
            occurred_at=now,
            item=Item(id=name, text=text or f"text of {name}", received_at=now),
            prediction=Prediction(
                label="positive",
                confidence=confidence,
                distribution={"positive": confidence, "negative": 1 - confidence},
                model_version=model,
            ),
        )
        chosen = route(
            policy or self.policy, workflow, scored.item, scored.prediction, "salt", "v1", now
        )
        assert chosen.route == "review"
        self.routes[name] = (scored, chosen)
        return scored, routed_event(scored, chosen, now)

    def said(
        self,
        name: str,
        label: str,
        after: float,
        *,
        revision: int = 1,
        shown: bool = False,
        settled: bool = False,
    ) -> Event:
        """A person's label, so many hours after the question."""
        scored, chosen = self.routes[name]
        when = scored.occurred_at + timedelta(hours=after)
        event = reviewed(scored, chosen, label, when, revision)
        round_ = "adjudication" if settled else "first"
        told = event.review.model_copy(update={"ai_label_shown": shown, "round": round_})
        return event.model_copy(update={"review": told})

    def mature(self, hour: float, model: str = "m1", log: PanelLog | None = None) -> Matured:
        """What counts at that hour, read afresh or by `log`."""
        reading = (log or PanelLog(self.engine, "sentiment")).read(model, START, SLA)
        return mature(reading.items, START + timedelta(hours=hour), SLA, reading.logged_until)


@pytest.fixture
def stream(engine: Engine) -> Stream:
    return Stream(engine)


def names(matured: Matured) -> list[str]:
    return [item.item_id for item in matured.items]


def test_an_audit_is_read_as_it_was_routed_and_answered(stream: Stream) -> None:
    # Given a right and a wrong answer, the second one of a score below the threshold
    stream.write(*stream.asked("a", 0), *stream.asked("b", 1, confidence=0.7))
    stream.write(stream.said("a", "positive", 1), stream.said("b", "negative", 2))
    matured = stream.mature(10)
    assert names(matured) == ["a", "b"]
    assert matured.errors.tolist() == [False, True]
    assert matured.scores.tolist() == [0.9, 0.7]
    a, b = matured.items
    assert (a.would_accept, b.would_accept) == (True, False)
    assert a.routed_at == START
    # with the number that drew it, in whose order a batch counts,
    assert [a.u, b.u] == [stream.routes[name][1].sampling.u for name in "ab"]
    assert a.resolved_at == START + timedelta(hours=1)
    assert a.text_digest is not None
    assert a.text_digest != b.text_digest


def test_what_is_not_on_the_panel_or_not_for_its_score_never_counts(stream: Stream) -> None:
    # Given an item that is reviewed for its low score only, and panel items with a rule for people,
    # a label that always goes to people, and another workflow
    plain = Policy.from_mapping({"threshold": 0.85})
    rule = {"name": "all", "when": {"min_characters": 1}, "then": "review"}
    ruled = Policy.from_mapping({**AUDITED, "rules": [rule]})
    always = Policy.from_mapping({**AUDITED, "always_review": ["positive"]})
    stream.write(*stream.asked("plain", 0, confidence=0.6, policy=plain))
    stream.write(*stream.asked("ruled", 1, policy=ruled), *stream.asked("always", 2, policy=always))
    stream.write(*stream.asked("other", 3, workflow="spam"))
    for name in ("plain", "ruled", "always", "other"):
        stream.write(stream.said(name, "negative", 1))
    assert names(stream.mature(10)) == []


def test_two_models_at_once_are_kept_apart(stream: Stream) -> None:
    stream.write(*stream.asked("a", 0), *stream.asked("b", 1, model="m2"))
    stream.write(stream.said("a", "positive", 1), stream.said("b", "negative", 1))
    assert names(stream.mature(10)) == ["a"]
    assert names(stream.mature(10, "m2")) == ["b"]
    # A model that nobody has heard of has no evidence.
    unknown = stream.mature(10, "m3")
    assert names(unknown) == []
    assert unknown.watermark is None


def test_a_skipped_or_flagged_item_stops_the_watermark_and_is_an_error_when_overdue(
    stream: Stream,
) -> None:
    # Given an item that nobody gave a label to: skips and flags are no answer
    stream.write(*stream.asked("skipped", 0), *stream.asked("b", 1))
    stream.write(stream.said("b", "positive", 1))
    early = stream.mature(10)
    assert names(early) == []
    assert early.watermark == START
    late = stream.mature(73)
    assert names(late) == ["skipped", "b"]
    assert late.errors.tolist() == [True, False]
    # If somebody answers after a month, I expect it to stay an error.
    stream.write(stream.said("skipped", "positive", 24 * 30))
    month = stream.mature(24 * 31)
    assert month.errors.tolist() == [True, False]
    assert month.overdue == 1


def test_a_reopened_decision_counts_within_the_sla_only(stream: Stream) -> None:
    stream.write(*stream.asked("a", 0), *stream.asked("b", 1), *stream.asked("c", 2))
    stream.write(*(stream.said(name, "positive", 1) for name in "abc"))
    # If a lead decides otherwise in time, too late, and without having settled anything
    stream.write(stream.said("a", "negative", 50, revision=2, shown=True, settled=True))
    stream.write(stream.said("b", "negative", 80, revision=2, shown=True, settled=True))
    stream.write(stream.said("c", "negative", 3, revision=2, shown=True))
    assert stream.mature(200).errors.tolist() == [True, False, False]


def test_answers_of_those_who_saw_the_ais_label_are_no_audit(stream: Stream) -> None:
    stream.write(*stream.asked("a", 0), stream.said("a", "positive", 1, shown=True))
    assert names(stream.mature(10)) == []
    assert stream.mature(100).errors.tolist() == [True]


def test_copies_count_once_and_an_erased_text_is_no_evidence(stream: Stream) -> None:
    # Given a text sent three times and two of its own
    for hour, name in enumerate(("a", "b", "c")):
        stream.write(*stream.asked(name, hour, text="the same"))
    stream.write(*stream.asked("d", 3), *stream.asked("e", 4))
    stream.write(*(stream.said(name, "positive", 1) for name in "abcd"))
    stream.write(stream.said("e", "negative", 1))
    log = PanelLog(stream.engine, "sentiment")
    assert names(stream.mature(10, log=log)) == ["a", "d", "e"]
    # If the first copy, a right one and a wrong one are erased, with a reader that has read them
    for name in "ade":
        with Session(stream.engine) as session, session.begin():
            erase_text(session, Erasure("sentiment", name, "grace", "asked for", utc_now()))
    # I expect the wrong one to stay, the right one to go, and the second copy in place of the first
    # (all erased texts are stored alike: that makes no copies of them),
    for reader in (log, PanelLog(stream.engine, "sentiment")):
        matured = stream.mature(10, log=reader)
        assert names(matured) == ["b", "e"]
        assert matured.errors.tolist() == [False, True]
        assert matured.erased == 2


def test_a_reader_hears_of_what_is_new_and_says_what_a_fresh_one_says(stream: Stream) -> None:
    log = PanelLog(stream.engine, "sentiment")
    assert names(stream.mature(0, log=log)) == []
    for hour in range(6):
        name = f"item-{hour}"
        stream.write(*stream.asked(name, hour))
        if hour % 2:
            stream.write(stream.said(name, "positive", 1), stream.said(f"item-{hour - 1}", "no", 2))
        assert stream.mature(hour + 3, log=log) is not None
        with_log, fresh = stream.mature(hour + 3, log=log), stream.mature(hour + 3)
        assert with_log.items == fresh.items
        assert with_log.errors.tolist() == fresh.errors.tolist()
    assert len(stream.mature(30, log=log).items) == 6
    # What came before an epoch is forgotten, and read again where somebody asks for it.
    later = log.read("m1", START + timedelta(hours=3), SLA).items
    assert sorted(item.item_id for item in later) == ["item-3", "item-4", "item-5"]
    assert len(log.read("m1", START, SLA).items) == 6


@pytest.fixture
def patient(database_url: str) -> Iterator[Engine]:
    """Connections that wait for a lock for as long as the test takes on a busy machine."""
    engine = connect(database_url, pool_size=1)

    @listens_for(engine, "connect")
    def wait_longer(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '120s'; SET statement_timeout = '120s'")
        connection.commit()

    yield engine
    engine.dispose()


def test_an_event_that_is_committed_after_later_ones_is_not_missed(
    stream: Stream, engine: Engine, patient: Engine
) -> None:
    # Given two loggers, the first of which has its numbers and cannot commit yet: the row of its
    # item is locked
    slow, fast = stream.asked("slow", 0), stream.asked("fast", 1)
    stream.write(slow[0], fast[0])
    log = PanelLog(engine, "sentiment")
    log.read("m1", START, SLA)
    with engine.connect() as holder:
        holder.execute(text("SELECT 1 FROM item WHERE id = 'slow' FOR UPDATE"))
        late = threading.Thread(target=Stream(patient).write, args=(slow[1],))
        late.start()
        until(lambda: blocked(engine), what="that the slow logger waits")
        # If the second one commits, and the certifier looks
        stream.write(fast[1], stream.said("fast", "positive", 1))
        first = log.read("m1", START, SLA).items
        assert [item.item_id for item in first] == ["fast"]
        holder.rollback()
    late.join()
    # I expect the slow one at the next look, although its number is lower.
    with engine.connect() as connection:
        query = "SELECT item_id FROM event WHERE type = 'item.review_requested' ORDER BY seq"
        assert connection.execute(text(query)).scalars().all() == ["slow", "fast"]
    second = log.read("m1", START, SLA).items
    assert sorted(item.item_id for item in second) == ["fast", "slow"]


def blocked(engine: Engine) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.connect() as connection:
        return bool(connection.scalar(text(query)))


def test_an_answer_that_is_logged_before_its_question_is_kept(stream: Stream) -> None:
    asked = stream.asked("a", 0)
    log = PanelLog(stream.engine, "sentiment")
    stream.write(asked[0], stream.said("a", "negative", 1))
    assert names(stream.mature(10, log=log)) == []
    stream.write(asked[1])
    assert stream.mature(10, log=log).errors.tolist() == [True]


def test_another_sla_is_another_reading(stream: Stream) -> None:
    # Given an answer after 30 hours, and a reader that has read it under 72
    stream.write(*stream.asked("a", 0), stream.said("a", "positive", 30))
    log = PanelLog(stream.engine, "sentiment")
    assert log.read("m1", START, SLA).items[0].label == "positive"
    stream.write(stream.said("a", "negative", 40, revision=2, shown=True, settled=True))
    assert log.read("m1", START, SLA).items[0].label == "negative"
    # If the file now asks for an answer within 35, I expect the one that came in time.
    assert log.read("m1", START, timedelta(hours=35)).items[0].label == "positive"


def test_a_replayed_event_changes_nothing(stream: Stream) -> None:
    events = [*stream.asked("a", 0), stream.said("a", "negative", 1)]
    stream.write(*events)
    stream.write(*events, *events)
    assert stream.mature(10).errors.tolist() == [True]


def test_the_panel_is_found_by_its_index(stream: Stream, engine: Engine) -> None:
    # Given a log in which most events are not of the panel
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO event (event_id, type, version, workflow, item_id, occurred_at,"
                " source, data) SELECT gen_random_uuid(), 'item.scored', 1, 'sentiment',"
                " 'x' || n, now(), 'test', '{}' FROM generate_series(1, 20000) n"
            )
        )
    stream.write(*stream.asked("a", 0))
    with engine.connect() as connection:
        connection.execute(text("ANALYZE event"))
        plan = connection.execute(
            text(f"EXPLAIN {ALL.text}"), {"workflow": "sentiment", "since": START}
        ).scalars()
        assert "event_panel" in "\n".join(plan)


def test_nothing_is_read_as_nothing(engine: Engine) -> None:
    reading = PanelLog(engine, "sentiment").read(str(uuid4()), START, SLA)
    assert reading.items == []
    assert reading.logged_until is None
