"""A database that was worked with: rows of every table, made by the product's own code (the
logger, the intake, people at work, the certifier)."""

import json
from uuid import uuid4

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from hitl.ledger.erase import Erasure, erase_text
from services.feedback.certificate import epochs
from services.logger.handler import Logger
from services.review_ui.auth import tokens
from services.review_ui.auth.accounts import Accounts, Role
from services.review_ui.tasks import claim, gold
from services.review_ui.tasks.filters import EVERYTHING
from services.review_ui.tasks.intake import Intake
from services.review_ui.webhooks import store as webhook_store
from shared.clock import utc_now
from shared.events.models import Event, ItemExplained, WordWeight
from shared.formats.json_lines import Line
from shared.messages import Delivery
from shared.storage.tables import Certificate
from shared.workflows.files import ReviewRules, Workflow
from tests.support import answer_events, review_service
from tests.support.answer_events import LABELS, AnswerJourney, Said
from tests.support.item_events import Journey, delivered, submitted
from tests.support.review_data import ReviewRoom
from tests.support.review_service import QUICK_HASHER, TurnedClock, requested


def logger_on(engine: Engine) -> Logger:
    """A logger without a broker."""
    return Logger(engine, workflows=["sentiment"], max_body_bytes=1 << 20, clock=utc_now)


def log(engine: Engine, *deliveries: Delivery | Event) -> None:
    """What the logger does with these, in one batch."""
    batch = [each if isinstance(each, Delivery) else delivered(each) for each in deliveries]
    assert list(logger_on(engine).handle(batch)) == [()] * len(batch)


def fill(engine: Engine) -> ReviewRoom:
    """Rows of every table, in as many states as there are; the room in which people go on."""
    _events(engine)
    _accounts(engine)
    room = ReviewRoom(engine, ReviewRules(second_review_share=0.0, seeded_share=1.0), ["lea"])
    _certifier(engine, room.clock)
    _reviews(engine, room)
    return room


def fill_answers(engine: Engine) -> None:
    """Of every kind but `label`, in a workflow of its name: items and tasks that were accepted,
    corrected, skipped and left alone, with and without a prediction, and a gold item in hand."""
    for kind, said in answer_events.KINDS.items():
        machine = AnswerJourney(f"{kind} by machine", kind)
        log(engine, machine.scored(), machine.accepted())
        for name, answer in (("agreed", None), ("other", said.other)):
            journey = AnswerJourney(f"{kind} {name}", kind)
            log(engine, journey.scored(), journey.review_requested())
            answer_events.take_in(engine, journey)
            answer_events.decide(engine, "ann", kind, answer)
            log(engine, journey.answered(answer or said.predicted))
        left = [AnswerJourney(f"{kind} open", kind)]
        left.append(AnswerJourney(f"{kind} unpredicted", kind, predicted=False))
        log(engine, *(event for each in left for event in (each.scored(), each.review_requested())))
        answer_events.take_in(engine, *left)
        _gold_of(engine, said)


def tables(engine: Engine) -> dict[str, int]:
    """How many rows each table has."""
    names = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in connection.execute(names).scalars()
        }


def _events(engine: Engine) -> None:
    people, machine, erased = Journey("people"), Journey("machine"), Journey("erased")
    log(engine, submitted("people"), submitted("only submitted"), *people.everything())
    log(engine, machine.scored(), machine.accepted(), Journey("scored").scored())
    log(engine, Journey("failed").failed("hitl.sentiment.inference", "schema"))
    log(engine, erased.scored(), erased.accepted(), Journey("erased failure").failed("hitl.router"))
    for name in ("erased", "erased failure"):
        with Session(engine) as session, session.begin():
            erase_text(session, Erasure("sentiment", name, "admin", "asked to", utc_now()))


def _accounts(engine: Engine) -> None:
    clock = TurnedClock()
    with Session(engine) as session, session.begin():
        people: dict[str, Role] = {"ann": "reviewer", "ben": "reviewer", "lea": "lead"}
        for name, role in people.items():
            Accounts(clock, QUICK_HASHER).create(session, name, role, "long enough")
        for name, only in (("program", ()), ("limited", ("sentiment",))):
            tokens.create(session, name, ["items:read"], now=clock(), lifetime=None, workflows=only)
        webhook_store.create(session, "https://example.org/", None, ["item.reviewed"], clock())
        known = gold.GoldLine(
            id="known", text="a known film", label="positive", distribution={"positive": 1.0}
        )
        gold.add(session, "sentiment", [known], clock())


def _reviews(engine: Engine, room: ReviewRoom) -> None:
    """One of each: blind, decided and published, decided and undoable, undone, flagged, skipped,
    claimed, open; and the gold item, answered."""
    names = ("first", "second", "flagged", "skipped", "undone", "open", "also open")
    wanted = [requested(name, confidence=0.6 + place / 50) for place, name in enumerate(names)]
    wanted.append(requested("blind", blind=True))
    explained = ItemExplained(
        workflow="sentiment",
        occurred_at=room.clock(),
        explained_item_id="open",
        label="positive",
        model_version="test@1",
        words=(WordWeight(start=0, end=1, weight=0.5),),
    )
    log(engine, *wanted, explained)
    Intake(engine, room.clock).handle(
        [review_service.delivered(event) for event in (*wanted, explained)]
    )
    room.review = ReviewRules(seeded_share=0.0)
    tasks = {task.item_id: task for task in room.claim("ann", count=6)}
    first, second, third, fourth, fifth, _ = tasks.values()
    room.decide("ann", first, "negative", note="not at all")
    log(engine, *room.published_at_last())
    room.decide("ann", second, "positive", "accept")
    room.decide("ann", third, None, "flag")
    room.decide("ann", fourth, None, "skip")
    key = uuid4()
    room.decide("ann", fifth, "negative", key=key)
    room.undo("ann", key)
    room.review = ReviewRules(seeded_share=1.0)
    for task in room.claim("ben", count=2):
        if task.seeded_for is not None:
            room.decide("ben", task, "positive")


def _gold_of(engine: Engine, said: Said) -> None:
    """A gold item, in hand."""
    flow = Workflow(
        name=said.kind,
        answer=said.kind,
        labels=LABELS.get(said.kind, ()),
        model="none",
        schema={"type": "object"} if said.kind == "form" else None,
        review=ReviewRules(seeded_share=1.0),
    )
    action = said.asked.get("action")
    asked = said.asked | ({"action": action.model_dump()} if action else {})
    row = {"id": "known", "text": answer_events.SECRET, "answer": said.predicted, **asked}
    now = utc_now()
    with Session(engine) as session, session.begin():
        gold.add(session, flow.name, gold.read([Line(1, json.dumps(row).encode())], flow), now)
        claimed = claim.claim(
            session, "ann", workflows=[flow.name], count=1, now=now, lease_seconds=60.0,
            wanted=EVERYTHING, lead=False,
        )  # fmt: skip
        (task,) = gold.mix_in(
            session, "ann", claimed, {flow.name: flow}, now=now, lease_seconds=60.0
        )
        assert task.seeded_for == "ann"


def _certifier(engine: Engine, clock: TurnedClock) -> None:
    with Session(engine) as session, session.begin():
        epoch = epochs.begin(session, "sentiment", "test@1", "population", clock())
        epochs.end(session, epoch, "new_model", "another came", clock())
        epochs.begin(session, "sentiment", "test@2", "population", clock())
        session.add(
            Certificate(
                id=uuid4(),
                workflow="sentiment",
                model_version="test@1",
                threshold=0.85,
                alpha=0.05,
                delta=0.1,
                labels=400,
                errors=3,
                upper_bound=0.02,
                epoch=str(epoch.id),
                watermark=clock(),
                issued_at=clock(),
                evidence={},
            )
        )
