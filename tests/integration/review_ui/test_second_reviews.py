"""Is what people disagree about settled, by the right people, and heard of once?"""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from hitl.stack.status import counts
from services.feedback.certificate.workload import for_leads
from services.review_ui.reports import quality
from services.review_ui.tasks import claim
from services.review_ui.tasks.asked import predicted_brief
from services.review_ui.tasks.decide import Decided, Refused
from services.review_ui.tasks.rounds import drawn
from shared.service.lifecycle import Lifecycle
from shared.storage.tables import ReviewDecision
from shared.workflows.files import ReviewRules
from tests.support.review_data import UNDO_SECONDS, ReviewRoom, lease_of
from tests.support.review_service import (
    START,
    TurnedClock,
    make_test_context,
    requested,
    serving,
    take_in,
)

EVERYTHING = ReviewRules(second_review_share=1.0)
NOTHING = ReviewRules(second_review_share=0.0)


def room(engine: Engine, review: ReviewRules) -> ReviewRoom:
    return ReviewRoom(engine, review, leads=["lea"])


# -- who is asked ----------------------------------------------------------------------------


def test_two_who_agree_make_one_event_and_only_then(engine: Engine) -> None:
    # Given an item that is checked
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    # If Ada answers, I expect nothing to leave, and nothing for her to do
    people.answer("ada", "negative")
    assert people.published_at_last() == []
    assert people.claim("ada") == []
    # and if Bob says the same, one event, of the second round
    people.answer("bob", "negative")
    (event,) = people.published_at_last()
    assert (event.decision.label, event.decision.reviewer) == ("negative", "bob")
    assert (event.review.round, event.review.revision) == ("second", 1)
    assert people.claim("cy") == people.claim("lea") == []


def test_an_item_that_is_not_drawn_is_final_at_once(engine: Engine) -> None:
    people = room(engine, NOTHING)
    take_in(engine, requested("i1"))
    people.answer("ada", "negative")
    (event,) = people.published_at_last()
    assert event.review.round == "first"


def test_the_share_is_drawn_by_the_items_id(engine: Engine) -> None:
    # Given 60 items, of which a third is checked
    people = room(engine, ReviewRules(second_review_share=1 / 3))
    ids = [f"i{number}" for number in range(60)]
    take_in(engine, *(requested(each) for each in ids))
    # If one person answers all
    for task in [*people.claim("ada", 50), *people.claim("ada", 50)]:
        people.decide("ada", task, "positive")
    # I expect exactly those that the hash names to wait for somebody else
    waiting = {task.item_id for task in people.claim("bob", 50)}
    assert waiting == {each for each in ids if drawn("sentiment", each, 1 / 3)}
    assert 5 < len(waiting) < 40


def test_a_dispute_goes_to_a_lead_who_sees_both_answers(engine: Engine) -> None:
    # Given two people who do not agree
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    (task,) = people.claim("ada")
    people.decide("ada", task, "negative", note="the last line")
    people.answer("bob", "positive")
    # I expect no event, and nothing for reviewers
    assert people.published_at_last() == []
    assert people.claim("cy") == []
    # If a lead claims, I expect both answers in view
    (disputed,) = people.claim("lea")
    answers = people.seen(disputed, "lea").answers
    assert [(each.reviewer, each.label, each.note) for each in answers] == [
        ("ada", "negative", "the last line"),
        ("bob", "positive", None),
    ]
    # and only in the lead's
    assert people.seen(disputed, "ada").answers == []
    # and the lead's word to be final
    people.decide("lea", disputed, "positive")
    (event,) = people.published_at_last()
    assert (event.decision.label, event.review.round) == ("positive", "adjudication")


def test_a_dispute_that_waits_for_a_lead_is_told_with_its_age(engine: Engine) -> None:
    # Given two items, of which people disagree about one
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"), requested("i2"))
    people.answer("ada", "negative")
    people.answer("ada", "negative")
    url = engine.url.render_as_string(hide_password=False)
    assert counts(url).for_leads == {"waiting": 0, "since": None}
    people.answer("bob", "positive")
    # I expect `hitl status` to say how many wait for a lead, and since that answer,
    told = counts(url).for_leads
    assert told == {"waiting": 1, "since": people.clock.now.isoformat()}
    # and the certifier to show it for this workflow only.
    later = people.clock.now + timedelta(hours=5)
    with Session(engine) as session:
        assert for_leads(session, "sentiment", later) == (1, 5 * 3_600.0)
        assert for_leads(session, "topics", later) == (0, 0.0)
    # If a lead settles it, I expect nothing to wait
    people.answer("lea", "positive")
    assert counts(url).for_leads == {"waiting": 0, "since": None}


def test_who_answered_does_not_settle_unless_they_take_it_up(engine: Engine) -> None:
    # Given a lead who gave the first of two answers that differ
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    people.answer("lea", "negative")
    people.answer("bob", "positive")
    # I expect it not to come to them by itself, but to be there for the asking
    assert people.claim("lea") == []
    task = people.reopen("lea", people.task("i1").id)
    assert isinstance(people.decide("lea", task, "negative"), Decided)
    (event,) = people.published_at_last()
    assert event.review.round == "adjudication"


def test_a_lead_gets_disputes_before_anything_else(engine: Engine) -> None:
    # Given a dispute among urgent items
    people = room(engine, EVERYTHING)
    take_in(engine, requested("dispute"))
    people.answer("ada", "negative")
    people.answer("bob", "positive")
    urgent = START + timedelta(minutes=1)
    take_in(engine, *(requested(f"i{n}", due_at=urgent) for n in range(3)))
    assert {task.item_id for task in people.claim("lea", 1)} == {"dispute"}
    assert len(people.claim("lea", 5)) == 3


# -- blind -----------------------------------------------------------------------------------


def test_a_blind_answer_unlike_the_ais_is_checked_blind(engine: Engine) -> None:
    # Given an audit item where the AI says positive
    people = room(engine, NOTHING)
    take_in(engine, requested("i1", blind=True, label="positive"))
    people.answer("ada", "negative")
    assert people.published_at_last() == []
    # If a second person gets it, I expect neither the AI's label nor the first answer in view
    (task,) = people.claim("bob")
    seen = people.seen(task, "bob")
    assert (seen.blind, seen.suggestion, seen.answers, seen.status) == (True, None, [], "open")
    assert (seen.revision, seen.queue) == (0, None)
    with pytest.raises(Refused) as refused:
        people.decide("bob", task, None, action="accept")
    assert refused.value.code == "blind"
    # and where they differ, a lead who sees everything, and may accept
    people.decide("bob", task, "positive")
    people.clock.turn(UNDO_SECONDS)
    (disputed,) = people.claim("lea")
    assert people.seen(disputed, "bob").suggestion is None
    settling = people.seen(disputed, "lea")
    assert settling.suggestion is not None
    assert len(settling.answers) == 2
    people.decide("lea", disputed, None, action="accept")
    (event,) = people.published_at_last()
    assert (event.review.round, event.review.ai_label_shown) == ("adjudication", True)
    assert [row.ai_label_shown for row in people.rows(ReviewDecision)] == [False, False, True]


@pytest.mark.parametrize("mine", ["positive", "negative"])
def test_nothing_tells_the_first_reviewer_whether_the_ai_agreed(engine: Engine, mine: str) -> None:
    # Given my answer to an audit item, like the AI's or unlike it, so that somebody else is asked
    people = room(engine, NOTHING)
    take_in(engine, requested("i1", blind=True, label="positive"))
    key = people.answer("ada", mine)
    # I expect nobody to get it as long as I can take it back, and then to get it back myself
    assert people.claim("bob") == []
    undone = people.undo("ada", key)
    assert undone.task is not None
    assert not undone.published
    people.decide("ada", undone.task, mine, key=(key := uuid4()))
    # If I look again late, or take it back late, when somebody else may have it
    people.clock.turn(60)
    people.publish()
    assert (people.claim("bob") == []) is (mine == "positive")
    seen = people.seen(people.task("i1"), "ada")
    with pytest.raises(Refused) as refused:
        people.undo("ada", key)
    # I expect the same either way
    assert (seen.status, seen.revision, seen.suggestion) == ("decided", 0, None)
    assert (seen.lease_token, seen.lease_expires_at) == (0, None)
    assert refused.value.code == "undo_over"
    # and, for whoever looks at what comes next, the item not to be there a second time
    with Session(engine) as session:
        coming = claim.upcoming(
            session, "cy", workflow="sentiment", now=people.clock() + timedelta(hours=1), limit=9
        )
    assert coming == []


def test_a_blind_item_like_the_ais_is_not_asked_twice_and_the_check_can_be_switched_off(
    engine: Engine,
) -> None:
    people = room(engine, NOTHING)
    take_in(engine, requested("i1", blind=True, label="positive"))
    people.answer("ada", "positive")
    assert len(people.published_at_last()) == 1
    people.review = ReviewRules(adjudicate_panel_disagreements=False)
    take_in(engine, requested("i2", blind=True, label="positive"))
    people.answer("ada", "negative")
    assert len(people.published_at_last()) == 1


# -- flags -----------------------------------------------------------------------------------


def test_a_flagged_task_goes_to_a_lead_with_its_reason(engine: Engine) -> None:
    people = room(engine, NOTHING)
    take_in(engine, requested("i1", blind=True))
    (task,) = people.claim("ada")
    people.decide("ada", task, None, action="flag")
    # I expect no reviewer to get it, nor the one who flagged it to learn more from it
    assert people.claim("bob") == []
    assert people.seen(people.task("i1"), "ada").suggestion is None
    (flagged,) = people.claim("lea")
    (answer,) = people.seen(flagged, "lea").answers
    assert (answer.reviewer, answer.label, answer.reason) == ("ada", None, "odd")
    people.decide("lea", flagged, "negative")
    (event,) = people.published_at_last()
    assert event.review.round == "adjudication"


def test_a_lead_decides_a_flagged_audit_blind_unless_somebody_has_answered_it(
    engine: Engine,
) -> None:
    # Given two audits that were flagged, the second one by whom the first answer did not convince
    people = room(engine, NOTHING)
    for name in ("i1", "i2"):
        take_in(engine, requested(name, blind=True))
    unlike = next(iter({"positive", "negative"} - {predicted_brief(people.task("i2"))}))
    one, two = sorted(people.claim("ada", 2), key=lambda task: task.item_id)
    people.decide("ada", one, None, action="flag")
    people.decide("ada", two, unlike)
    people.clock.turn(UNDO_SECONDS)
    (two,) = people.claim("bob")
    people.decide("bob", two, None, action="flag")
    one, two = sorted(people.claim("lea", 2), key=lambda task: task.item_id)
    # I expect the lead to see why, but not the AI's label, where nobody has said anything blind:
    # an audit would count what its only answer was told,
    seen = people.seen(one, "lea")
    assert (seen.suggestion, seen.blind) == (None, True)
    assert [(each.label, each.reason) for each in seen.answers] == [(None, "odd")]
    with pytest.raises(Refused, match="give an answer yourself"):
        people.decide("lea", one, None, action="accept")
    # and to settle a disagreement with all of it in view.
    assert people.seen(two, "lea").suggestion is not None
    people.decide("lea", one, "negative")
    people.decide("lea", two, "negative")
    told = {event.item.id: event.review for event in people.published_at_last()}
    assert {name: review.ai_label_shown for name, review in told.items()} == {
        "i1": False,
        "i2": True,
    }
    assert {review.round for review in told.values()} == {"adjudication"}


# -- undoing ---------------------------------------------------------------------------------


def test_a_first_answer_can_be_taken_back_until_somebody_has_answered_after_it(
    engine: Engine,
) -> None:
    # Given a first answer that a second person is looking at
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    adas = people.answer("ada", "negative")
    (bobs,) = people.claim("bob")
    # If it is taken back, I expect Bob undisturbed, and his to be the first answer now
    undone = people.undo("ada", adas)
    assert (undone.task, undone.published) == (None, False)
    bob_first = people.decide("bob", bobs, "positive")
    assert isinstance(bob_first, Decided)
    assert bob_first.row.round == "first"
    # and Ada's turn to be the second
    people.answer("ada", "positive")
    (event,) = people.published_at_last()
    assert (event.review.round, event.decision.reviewer) == ("second", "ada")
    # and nobody to take back what somebody else has answered after them
    with pytest.raises(Refused) as refused:
        people.undo("bob", bob_first.row.idempotency_key)
    assert refused.value.code == "decided_since"


def test_a_second_answer_taken_back_leaves_the_first(engine: Engine) -> None:
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    people.answer("ada", "negative")
    bobs = people.answer("bob", "negative")
    # If the answer that made it final is taken back in time
    undone = people.undo("bob", bobs)
    assert undone.task is not None
    assert people.published_at_last() == []
    # I expect the round to be asked again, and a dispute to be possible now
    people.decide("bob", undone.task, "positive")
    assert people.task("i1").round == "adjudication"
    assert people.claim("cy") == []


def test_a_second_answer_taken_back_after_it_left_makes_a_new_revision(engine: Engine) -> None:
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    people.answer("ada", "negative")
    bobs = people.answer("bob", "negative")
    (first,) = people.published_at_last()
    undone = people.undo("bob", bobs)
    assert undone.published
    assert undone.task is not None
    people.decide("bob", undone.task, "negative")
    (second,) = people.published_at_last()
    assert [event.review.revision for event in (first, second)] == [1, 2]
    assert first.event_id != second.event_id


def test_a_dispute_cannot_be_taken_back_once_a_lead_has_seen_it(engine: Engine) -> None:
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    people.answer("ada", "negative")
    bobs = people.answer("bob", "positive")
    # Given a lead who looked and went away
    (disputed,) = people.claim("lea")
    assert people.release("lea", [lease_of(disputed)]) == 1
    # If Bob takes his answer back, I expect a no: the lead could answer in his round
    with pytest.raises(Refused) as refused:
        people.undo("bob", bobs)
    assert refused.value.code == "decided_since"


def test_a_skip_taken_back_brings_no_item_that_has_gone_on_to_others(engine: Engine) -> None:
    # Given an item that Ada skipped, and answered when it came back for want of anything else
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    (task,) = people.claim("ada")
    skipped = uuid4()
    people.decide("ada", task, None, "skip", key=skipped)
    people.answer("ada", "negative")
    # If she takes the skip back, I expect her not to get the item for its second answer
    assert people.undo("ada", skipped).task is None
    # nor, when it was disputed, who is no lead to settle it
    (task,) = people.claim("bob")
    skipped = uuid4()
    people.decide("bob", task, None, "skip", key=skipped)
    people.answer("cy", "positive")
    undone = people.undo("bob", skipped)
    assert undone.task is None
    assert people.undo("bob", skipped).task is None
    (disputed,) = people.claim("lea")
    assert disputed.round == "adjudication"


def test_an_adjudication_can_be_taken_back(engine: Engine) -> None:
    people = room(engine, EVERYTHING)
    take_in(engine, requested("i1"))
    people.answer("ada", "negative")
    people.answer("bob", "positive")
    leas = people.answer("lea", "positive")
    undone = people.undo("lea", leas)
    assert undone.task is not None
    assert len(people.seen(undone.task, "lea").answers) == 2
    people.decide("lea", undone.task, "negative")
    (event,) = people.published_at_last()
    assert (event.decision.label, event.review.revision) == ("negative", 1)


# -- reopening -------------------------------------------------------------------------------


def test_a_lead_reopens_what_was_decided_and_the_new_answer_is_a_new_revision(
    engine: Engine,
) -> None:
    people = room(engine, NOTHING)
    take_in(engine, requested("i1"))
    adas = people.answer("ada", "negative")
    (first,) = people.published_at_last()
    task = people.reopen("lea", people.task("i1").id)
    # I expect the author to have lost it, and reviewers not to get it
    with pytest.raises(Refused) as refused:
        people.undo("ada", adas)
    assert refused.value.code == "decided_since"
    people.decide("lea", task, "positive")
    (second,) = people.published_at_last()
    assert (first.review.revision, second.review.revision) == (1, 2)
    assert second.review.round == "adjudication"


def test_what_is_open_or_in_hand_is_not_reopened(engine: Engine) -> None:
    people = ReviewRoom(engine, EVERYTHING, leads=["lea", "lou"])
    take_in(engine, requested("i1"))
    task_id = people.task("i1").id
    with pytest.raises(Refused) as refused:
        people.reopen("lea", task_id)
    assert refused.value.code == "still_open"
    (task,) = people.claim("ada")
    with pytest.raises(Refused) as refused:
        people.reopen("lea", task_id)
    assert refused.value.code == "in_hand"
    people.decide("ada", task, "negative")
    people.answer("bob", "positive")
    people.claim("lou")
    with pytest.raises(Refused) as refused:
        people.reopen("lea", task_id)
    assert refused.value.code == "in_hand"


# -- what the dashboard shows ----------------------------------------------------------------


def test_agreement_counts_what_was_drawn_and_not_what_was_checked_for_differing(
    engine: Engine,
) -> None:
    # Given three drawn items (two agreed on), and an audit item checked because it differed
    people = room(engine, EVERYTHING)
    take_in(engine, *(requested(f"i{n}") for n in range(3)))
    for reviewer, labels in (
        ("ada", {"i0": "positive", "i1": "negative", "i2": "negative"}),
        ("bob", {"i0": "positive", "i1": "negative", "i2": "positive"}),
    ):
        for task in people.claim(reviewer, 3):
            people.decide(reviewer, task, labels[task.item_id])
    people.review = NOTHING
    take_in(engine, requested("audit", blind=True, label="positive"))
    people.answer("ada", "negative")
    people.clock.turn(UNDO_SECONDS)
    people.answer("bob", "positive")
    with Session(engine) as session:
        agreed = quality.agreement(session, "sentiment", START)
        rounds = quality.second_reviews(session, "sentiment", START)
        with_ai = quality.with_ai(session, "sentiment", START)
    # I expect 2 of 3; by chance (1/3)(2/3) + (2/3)(1/3) = 4/9, so kappa (2/3 - 4/9) / (5/9);
    # alpha 1 - 5 * 2 / (2 * 3 * 3)
    assert agreed.items == 3
    assert agreed.percent == pytest.approx(2 / 3)
    assert agreed.kappa == pytest.approx(0.4)
    assert agreed.alpha == pytest.approx(1 - 10 / 18)
    assert (rounds.items, rounds.second, rounds.adjudicated) == (4, 4, 0)
    # and of the first answers, one of three like the AI's in its sight, none of one without
    assert with_ai.shown is not None
    assert with_ai.blind is not None
    assert (with_ai.shown_count, with_ai.blind_count) == (3, 1)
    assert with_ai.shown.rate == pytest.approx(1 / 3)
    assert with_ai.blind.rate == 0


# -- over HTTP -------------------------------------------------------------------------------


def test_only_leads_reopen_and_see_how_good_the_work_is(engine: Engine) -> None:
    # Given a decided item on a running service
    clock = TurnedClock()
    take_in(engine, requested("i1"))
    with (
        serving(make_test_context(engine, clock, Lifecycle()), clock) as served,
        served.logged_in("ada") as ada,
        served.logged_in("lea", "lead") as lea,
    ):
        (task,) = ada.post("/api/v1/tasks/claim", json={}).json()["tasks"]
        path = f"/api/v1/tasks/{task['id']}"
        too_early = lea.post(f"{path}/reopen")
        decision = {"key": str(uuid4()), "lease_token": task["lease_token"], "action": "accept"}
        assert ada.post(f"{path}/decision", json=decision).status_code == 200
        # If a reviewer asks for what is the leads', I expect a no
        for refused in (
            ada.post(f"{path}/reopen"),
            ada.get("/api/v1/quality", params={"workflow": "sentiment"}),
        ):
            assert refused.status_code == 403
            assert refused.json()["error"]["code"] == "role_required"
        # If a lead does, I expect the task with the answer so far, and the figures
        assert (too_early.status_code, too_early.json()["error"]["code"]) == (409, "in_hand")
        reopened = lea.post(f"{path}/reopen").json()
        figures = lea.get("/api/v1/quality", params={"workflow": "sentiment"}).json()
    assert [each["reviewer"] for each in reopened["answers"]] == ["ada"]
    assert figures["second_reviews"]["items"] == 1
    assert figures["with_ai"]["shown_count"] == 1
    assert figures["agreement"]["kappa"] is None
