"""Are the dashboard's numbers right, and the history's search? On a real database."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import Account, Role
from services.review_ui.reports import dashboard, history, quality, stats
from services.review_ui.reports.history import Search
from services.review_ui.tasks import lead_queue
from shared.storage.tables import ReviewDecision, ReviewTask
from tests.support.review_service import START, requested, take_in, task_id


def account(name: str, role: Role = "reviewer") -> Account:
    return Account(name=name, role=role, session_epoch=0, disabled=False)


def decided(
    session: Session,
    item: str,
    reviewer: str,
    *,
    action: str = "accept",
    label: str | None = "positive",
    minutes_ago: float = 30,
    held: float = 20,
    undone: bool = False,
    effective: bool = True,
    batch: uuid.UUID | None = None,
) -> None:
    """A decision that was made `minutes_ago`, `held` seconds after the task was handed out."""
    task = session.get_one(ReviewTask, task_id(item))
    at = START - timedelta(minutes=minutes_ago)
    if effective and not undone and action != "skip":
        task.status = "flagged" if action == "flag" else "decided"
    session.add(
        ReviewDecision(
            idempotency_key=uuid.uuid4(),
            task_id=task.id,
            reviewer=reviewer,
            action=action,
            label=label,
            lease_token=1,
            effective=effective,
            revision=1,
            ai_label_shown=not task.blind,
            assigned_at=at - timedelta(seconds=held),
            decided_at=at,
            undone_at=START if undone else None,
            batch=batch,
        )
    )


def test_work_is_counted_by_hour_reviewer_and_label(engine: Engine) -> None:
    # Given decisions of two reviewers, among them what does not count
    take_in(engine, *(requested(f"i{number}", confidence=0.62) for number in range(8)))
    take_in(engine, requested("blind", blind=True, confidence=0.99))
    with Session(engine) as session, session.begin():
        decided(session, "i0", "ada", minutes_ago=30, held=20)
        # handed out together with the one before: it took the ten seconds since that one
        decided(
            session,
            "i1",
            "ada",
            minutes_ago=30 - 10 / 60,
            held=30,
            action="correct",
            label="negative",
        )
        decided(session, "i2", "ada", minutes_ago=100, held=6)
        decided(session, "blind", "ada", minutes_ago=200, held=8)
        decided(session, "i3", "bob", action="skip", label=None)
        decided(session, "i4", "bob", action="flag", label=None)
        decided(session, "i5", "bob", undone=True)
        decided(session, "i6", "bob", effective=False)
        decided(session, "i7", "bob", minutes_ago=3_000)
    with Session(engine) as session:
        found = dashboard.read(session, since=START - timedelta(days=1))
        # I expect them where they belong
        ada, bob = found.reviewers
        assert (ada.name, ada.decided, ada.shown, ada.kept) == ("ada", 4, 3, 2)
        assert ada.seconds == pytest.approx(9.0)  # the median of 6, 8, 10 and 20
        assert ada.agreement == pytest.approx(2 / 3)
        assert (bob.decided, bob.skipped, bob.flagged, bob.agreement) == (0, 1, 1, None)
        assert [(each.name, each.decided) for each in found.labels] == [
            ("negative", 1),
            ("positive", 3),
        ]
        assert [(at.hour, work.decided) for at, work in found.hours] == [(8, 1), (10, 1), (11, 2)]
        # and the blind one not in the confidences
        assert [(each.low, each.kept, each.changed) for each in found.confidence] == [(0.6, 2, 1)]
        # and one reviewer's alone, where asked for
        alone = dashboard.read(session, since=START - timedelta(days=1), reviewer="bob")
        assert [each.name for each in alone.reviewers] == ["bob"]
        assert alone.labels == []


def test_what_was_accepted_unread_is_work_and_says_nothing_of_people(engine: Engine) -> None:
    # Given two items that Ada read, one of which the AI had wrong, and two accepted with a list
    take_in(engine, *(requested(f"i{number}", confidence=0.62) for number in range(4)))
    with Session(engine) as session, session.begin():
        decided(session, "i0", "ada", minutes_ago=40, held=20)
        decided(session, "i1", "ada", minutes_ago=30, held=10, action="correct", label="negative")
        for number in (2, 3):
            decided(session, f"i{number}", "ada", minutes_ago=20, held=0, batch=uuid.UUID(int=1))
    with Session(engine) as session:
        found = dashboard.read(session, since=START - timedelta(days=1))
        mine = stats.mine(session, "ada", START)
    # I expect all four counted as done, and the two read alone in how they were decided
    (ada,) = found.reviewers
    assert (ada.decided, ada.shown, ada.kept) == (4, 2, 1)
    assert ada.seconds == pytest.approx(15.0)
    assert [(each.kept, each.changed) for each in found.confidence] == [(1, 1)]
    assert (mine.decided, mine.agreement) == (4, 0.5)


def test_the_forecast_follows_the_last_hour(engine: Engine) -> None:
    # Given four items that came long ago and one just now, of which two were decided since
    take_in(engine, *(requested(f"i{number}") for number in range(5)))
    with Session(engine) as session, session.begin():
        for number in range(4):
            session.get_one(ReviewTask, task_id(f"i{number}")).created_at = START - timedelta(
                days=1
            )
        decided(session, "i0", "ada")
        decided(session, "i1", "ada")
    with Session(engine) as session:
        (flow,) = dashboard.flows(session, ["sentiment"], START)
        # I expect three left, and one less with every hour
        assert (flow.open, flow.decided, flow.arrived) == (3, 2.0, 1.0)
        assert flow.hours_to_drain == pytest.approx(3.0)
        # If nobody decides, I expect no promise
        (later,) = dashboard.flows(session, ["sentiment"], START + timedelta(hours=2))
        assert later.hours_to_drain is None


def test_history_finds_by_text_id_label_reviewer_and_time(engine: Engine) -> None:
    take_in(
        engine,
        requested("film-1", text="A quiet 100% film"),
        requested("film-2", text="A loud film"),
        requested("blind-3", text="A loud one", blind=True),
    )
    with Session(engine) as session, session.begin():
        decided(session, "film-1", "ada", minutes_ago=10)
        decided(session, "film-2", "bob", minutes_ago=20, action="correct", label="negative")
        decided(session, "blind-3", "ada", minutes_ago=3_000, action="accept")
    with Session(engine) as session:

        def items(who: Account, **wanted: object) -> list[str]:
            found = history.find(session, who, Search(**wanted))  # type: ignore[arg-type]
            return [each.item_id for each in found]

        lead = account("linus", "lead")
        assert items(lead) == ["film-1", "film-2", "blind-3"]
        assert items(lead, text="LOUD") == ["film-2", "blind-3"]
        assert items(lead, text="film-2") == ["film-2"]
        assert items(lead, text="100%") == ["film-1"]  # a sign, not a pattern
        assert items(lead, label="negative") == ["film-2"]
        assert items(lead, reviewer="ada", since=START - timedelta(hours=1)) == ["film-1"]
        assert items(lead, text="\0") == ["film-1", "film-2", "blind-3"]
        # Reviewers see their own, whoever they ask for
        assert items(account("ada"), reviewer="bob") == ["film-1", "blind-3"]
        assert history.labels_and_reviewers(session, account("ada")) == (["positive"], ["ada"])
        # and of what was blind, nobody learns here whether the AI agreed
        actions = [each.action for each in history.find(session, lead, Search())]
        assert actions == ["accept", "correct", "label"]


def test_what_waits_for_a_lead_says_why(engine: Engine) -> None:
    # Given a flagged item, a disputed one in a lead's hands, and one that waits for anybody
    take_in(engine, *(requested(name) for name in ("bad", "split", "plain")))

    def said(name: str, label: str | None, reason: str | None = None) -> dict[str, object]:
        known = {"key": "k", "round": "first", "note": "see page 3" if reason else None}
        return {**known, "reviewer": name, "label": label, "reason": reason}

    with Session(engine) as session, session.begin():
        bad = session.get_one(ReviewTask, task_id("bad"))
        bad.status, bad.round = "flagged", "adjudication"
        bad.answers = [said("ada", None, "private")]
        split = session.get_one(ReviewTask, task_id("split"))
        split.round, split.leased_by = "adjudication", "linus"
        split.lease_expires_at = START + timedelta(minutes=5)
        split.answers = [said("ada", "positive"), said("bob", "negative")]
        decided(session, "bad", "ada", action="flag", label=None)
    with Session(engine) as session:
        found = {each.item_id: each for each in lead_queue.waiting(session, ["sentiment"], START)}
        counted = quality.second_reviews(session, "sentiment", START - timedelta(days=1))
    # I expect the first two, each with what was said, and who has it
    assert found.keys() == {"bad", "split"}
    assert (found["bad"].why, found["split"].why) == ("flagged", "disputed")
    assert [(each.reason, each.note) for each in found["bad"].answers] == [
        ("private", "see page 3")
    ]
    assert found["bad"].since == START - timedelta(minutes=30)
    assert [each.label for each in found["split"].answers] == ["positive", "negative"]
    assert (found["bad"].held_by, found["split"].held_by) == (None, "linus")
    assert (counted.disputed, counted.flagged) == (1, 1)


def known_answers(session: Session, first: int, count: int, minutes_ago: float) -> None:
    """Gold items that ada answered, every fourth wrongly, one a minute."""
    for number in range(first, first + count):
        task = session.get_one(ReviewTask, task_id(f"k{number}"))
        decided(
            session,
            f"k{number}",
            "ada",
            label="negative" if number % 4 == 0 else "positive",
            minutes_ago=minutes_ago - number,
        )
        task.seeded_for, task.known_label = "ada", "positive"
    session.flush()
    session.query(ReviewDecision).update({"seeded": True})


def test_a_reviewers_own_accuracy_never_tells_which_item_was_known(engine: Engine) -> None:
    # Given 25 gold items that ada answered yesterday, and 15 today
    take_in(engine, *(requested(f"k{number}") for number in range(40)))

    def own(session: Session) -> tuple[int, int] | None:
        found = quality.own_accuracy(session, "sentiment", "ada", START)
        return None if found is None else (found.count, found.right)

    with Session(engine) as session, session.begin():
        known_answers(session, 0, 19, minutes_ago=20 * 60)
        # I expect nothing below a step of twenty,
        assert own(session) is None
        known_answers(session, 19, 6, minutes_ago=20 * 60)
        # then whole steps,
        assert own(session) == (20, 15)
        known_answers(session, 25, 15, minutes_ago=60)
        # and nothing of today, neither what was answered nor what is taken back
        assert own(session) == (20, 15)
        session.query(ReviewDecision).filter(ReviewDecision.task_id == task_id("k1")).update(
            {"undone_at": START}
        )
        assert own(session) == (20, 15)
        # A lead's figures are exact
        (exact,) = quality.accuracy(session, "sentiment", START - timedelta(days=2))
        assert exact.count == 39
        # and neither backlog nor another's history knows them
        (flow,) = dashboard.flows(session, ["sentiment"], START)
        assert (flow.open, flow.arrived, flow.decided) == (0, 0, 0)
        assert history.find(session, account("linus", "lead"), Search()) == []
