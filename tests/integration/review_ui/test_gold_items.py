"""Do gold items measure each reviewer, without anybody seeing which they are?"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from hitl.__main__ import app
from services.review_ui.auth.accounts import Account
from services.review_ui.reports import quality
from services.review_ui.reports.items import ItemView, look_up
from services.review_ui.reports.stats import Backlog
from services.review_ui.tasks import gold
from services.review_ui.tasks.decide import Decided, Refused
from services.review_ui.tasks.gold import GoldError, GoldLine
from shared.formats.json_lines import lines_of, numbered
from shared.storage.database import connect
from shared.storage.tables import KnownItem, Outbox, ReviewTask
from shared.workflows.files import ReviewRules
from tests.support.review_data import LABELS, LEASE_SECONDS, ReviewRoom
from tests.support.review_service import SENTIMENT, START, requested, take_in

ALWAYS = ReviewRules(seeded_share=1.0)
NEVER = ReviewRules(seeded_share=0.0)


def know(engine: Engine, *known: GoldLine) -> None:
    with Session(engine) as session, session.begin():
        assert gold.add(session, "sentiment", known, START) == len(known)


def line(item_id: str, label: str = "positive", **more: object) -> GoldLine:
    given = {"id": item_id, "text": f"text of {item_id}", "label": label, **more}
    return GoldLine.model_validate(given)


def test_each_reviewer_gets_each_known_item_once_and_the_real_ones_after(engine: Engine) -> None:
    # Given two gold items and one real one, where every claim is drawn
    people = ReviewRoom(engine, ALWAYS)
    know(engine, line("k1"), line("k2"))
    take_in(engine, requested("real"))
    # If two people work until nothing is left
    got: dict[str, list[str]] = {"ada": [], "bob": []}
    for _ in range(3):
        for reviewer, items in got.items():
            for task in people.claim(reviewer):
                people.decide(reviewer, task, "positive")
                items.append(task.item_id)
    # I expect each to have had both gold items, and one of them the real one
    assert {frozenset(items) - {"real"} for items in got.values()} == {frozenset({"k1", "k2"})}
    assert sorted(got["ada"] + got["bob"]).count("real") == 1
    # and only the real one to be heard of
    assert [event.item.id for event in people.published_at_last()] == ["real"]
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Outbox)) == 1


def test_a_share_of_the_claims_is_known_items(engine: Engine) -> None:
    # Given 400 real items, a fifth of the claims gold ones
    people = ReviewRoom(engine, ReviewRules(seeded_share=0.2))
    know(engine, *(line(f"k{n}") for n in range(200)))
    take_in(engine, *(requested(f"i{n}") for n in range(400)))
    # If they are claimed ten at a time
    handed = [people.claim("ada", 10) for _ in range(30)]
    assert {len(each) for each in handed} == {10}
    known = sum(task.seeded_for == "ada" for each in handed for task in each)
    # I expect 60 of 300 (within five standard deviations), and none of a share of 0
    assert abs(known - 60) < 5 * (300 * 0.2 * 0.8) ** 0.5
    people.review = NEVER
    assert not any(task.seeded_for for task in people.claim("bob", 50))


def test_a_known_item_looks_like_its_neighbour(engine: Engine) -> None:
    # Given one with an opinion of the AI, one without, and one that needed nobody
    people = ReviewRoom(engine, ALWAYS)
    know(
        engine,
        line("k1", distribution={"negative": 0.4, "positive": 0.6}, metadata={"channel": "mail"}),
        line("k2"),
        line("k3", distribution={"negative": 0.01, "positive": 0.99}),
    )
    take_in(engine, *(requested(f"i{n}", queue="support", priority=3) for n in range(3)))
    shown, hidden, sure = people.claim("ada", 3)
    # If they are shown beside a real one
    people.review = NEVER
    real = people.seen(people.claim("bob")[0], "bob")
    one, two, three = (people.seen(task, "ada") for task in (shown, hidden, sure))
    # I expect the same queue, urgency, labels and threshold, and a reason in the router's words
    assert one.suggestion is not None
    assert real.suggestion is not None
    assert (one.queue, one.priority, one.labels) == (real.queue, real.priority, real.labels)
    assert (one.due_at, one.received_at) == (real.due_at, real.received_at)
    assert one.suggestion.threshold == real.suggestion.threshold
    assert one.suggestion.model_version == real.suggestion.model_version
    assert one.suggestion.label == "positive"
    assert [reason.text for reason in one.reasons] == ["confidence 0.60 is below 0.85"]
    assert one.metadata == {"channel": "mail"}
    # and blind like an audit item where the AI's opinion would not have brought it here
    assert (two.blind, three.blind) == (True, True)
    assert (two.suggestion, two.labels) == (None, list(LABELS))
    for seen in (one, two, three):
        assert set(seen.model_dump()) == set(real.model_dump())
        assert "known" not in seen.model_dump_json()
        assert "seed" not in seen.model_dump_json()


def test_a_known_item_just_below_the_threshold_says_so_as_the_router_would(engine: Engine) -> None:
    # Given one that two decimals would put at the threshold itself
    people = ReviewRoom(engine, ALWAYS)
    know(engine, line("k1", distribution={"negative": 0.1504, "positive": 0.8496}))
    take_in(engine, requested("i1"))
    (shown,) = people.claim("ada", 1)
    # If it is shown, I expect as many decimals as the router gives: else it could be told apart
    reasons = [reason.text for reason in people.seen(shown, "ada").reasons]
    assert reasons == ["confidence 0.8496 is below 0.8500"]


def test_taking_back_an_answer_about_a_known_item_looks_like_any_other(engine: Engine) -> None:
    people = ReviewRoom(engine, ALWAYS)
    know(engine, line("k1", distribution={"negative": 0.4, "positive": 0.6}))
    take_in(engine, requested("real"))
    # If it is taken back in time, and again late
    undone = people.undo("ada", people.answer("ada", "negative"))
    assert undone.task is not None
    assert not undone.published
    decided = people.decide("ada", undone.task, "negative")
    assert isinstance(decided, Decided)
    last = decided.row.idempotency_key
    people.clock.turn(60)
    late = people.undo("ada", last)
    # I expect the answers that a real item would give
    assert late.published
    assert late.task is not None
    people.decide("ada", late.task, "positive")
    # and only the answer that stands to be measured
    (measured,) = accuracies(engine)
    assert (measured.count, measured.right) == (1, 1)


def accuracies(engine: Engine) -> list[quality.Accuracy]:
    with Session(engine) as session:
        return quality.accuracy(session, "sentiment", START)


def test_who_looks_a_known_item_up_finds_what_any_other_item_has(engine: Engine) -> None:
    # Given a gold item with the AI's opinion and one without, and a reviewer who has both
    people = ReviewRoom(engine, ALWAYS)
    know(engine, line("k1", distribution={"negative": 0.4, "positive": 0.6}), line("k2"))
    take_in(engine, requested("r1"), requested("r2"))
    ada = Account(name="ada", role="reviewer", disabled=False, session_epoch=0)
    people.claim("ada", 2)

    def found(account: Account, item_id: str) -> ItemView | None:
        with Session(engine) as session:
            return look_up(session, account, "sentiment", item_id, people.clock())

    # If they look them up, I expect an item in review, the one without opinion blind
    seen, blind = found(ada, "k1"), found(ada, "k2")
    assert seen is not None
    assert blind is not None
    for each in (seen, blind):
        assert each.status == "HUMAN_REVIEW"
        assert [event.type for event in each.events] == ["item.scored", "item.review_requested"]
        assert each.text
        assert "known" not in each.model_dump_json()
    assert (seen.hidden, seen.ai_label, seen.events[0].data is None) == (False, "positive", False)
    assert (blind.hidden, blind.ai_label, blind.events[0].data) == (True, None, None)
    # and nobody else to find them
    bob = Account(name="bob", role="reviewer", disabled=False, session_epoch=0)
    assert found(bob, "k1") is None
    # and an answer to be there once it can no longer be undone
    with Session(engine) as session:
        task = session.scalars(
            select(ReviewTask).where(ReviewTask.seeded_for == "ada", ReviewTask.item_id == "k1")
        ).one()
    people.decide("ada", task, "negative", note="a hunch")
    early = found(ada, "k1")
    people.clock.turn(60)
    late = found(ada, "k1")
    assert early is not None
    assert late is not None
    assert (early.status, late.status) == ("HUMAN_REVIEW", "HUMAN_CORRECTED")
    assert (late.final_label, late.events[-1].type) == ("negative", "item.reviewed")
    # told with what the log keeps of any: a note is not among it.
    assert "a hunch" not in late.model_dump_json() and late.events[-1].data is not None


def test_the_accuracy_of_each_reviewer_is_measured(engine: Engine) -> None:
    # Given ten gold items; if Ada is right eight times and Bob always
    people = ReviewRoom(engine, ALWAYS)
    know(engine, *(line(f"k{n}", "positive" if n % 2 else "negative") for n in range(10)))
    take_in(engine, *(requested(f"i{n}") for n in range(20)))
    truth = {f"k{n}": LABELS[n % 2] for n in range(10)}
    wrong = {"negative": "positive", "positive": "negative"}
    for task in people.claim("ada", 10):
        right = truth[task.item_id]
        people.decide("ada", task, wrong[right] if task.item_id in ("k3", "k4") else right)
    for task in people.claim("bob", 10):
        people.decide("bob", task, truth[task.item_id])
    # I expect just that, with Wilson's intervals
    ada, bob = accuracies(engine)
    assert (ada.reviewer, ada.count, ada.right) == ("ada", 10, 8)
    assert (bob.reviewer, bob.count, bob.right) == ("bob", 10, 10)
    assert ada.interval is not None
    assert ada.interval.low == pytest.approx(0.4902, abs=1e-4)
    assert ada.interval.high == pytest.approx(0.9433, abs=1e-4)


def test_what_a_reviewer_let_go_comes_back_to_them_and_counts_nowhere_as_waiting(
    engine: Engine,
) -> None:
    people = ReviewRoom(engine, ALWAYS, leads=["lea"])
    know(engine, line("k1"))
    take_in(engine, requested("real"))
    (known,) = people.claim("ada")
    # Given a gold item that ran out in Ada's hands
    people.clock.turn(LEASE_SECONDS)
    people.review = NEVER
    assert [task.item_id for task in people.claim("bob", 5)] == ["real"]
    counted = Backlog(engine, ["sentiment"]).read(people.clock()).queues
    assert [(queue.open, queue.leased) for queue in counted] == [(1, 1)]
    # If one of her next claims is drawn, I expect the same one
    people.review = ALWAYS
    take_in(engine, requested("other"))
    (again,) = people.claim("ada")
    assert (again.id, again.lease_token) == (known.id, known.lease_token + 1)
    # and a flag on it to stay with it: no lead settles what is known
    people.decide("ada", again, None, action="flag")
    people.review = NEVER
    assert [task.item_id for task in people.claim("lea", 5)] == ["other"]
    with pytest.raises(Refused):
        people.reopen("lea", again.id)


def test_a_known_item_and_a_real_one_may_have_the_same_id(engine: Engine) -> None:
    people = ReviewRoom(engine, ALWAYS)
    know(engine, line("same"))
    take_in(engine, requested("same"), requested("other"))
    people.claim("ada", 2)
    take_in(engine, requested("same"))
    with Session(engine) as session:
        kinds = session.execute(
            select(ReviewTask.item_id, ReviewTask.seeded_for).order_by(ReviewTask.item_id)
        ).all()
    assert sorted(map(str, kinds)) == ["('other', None)", "('same', 'ada')", "('same', None)"]


def test_two_tabs_of_one_reviewer_never_hold_the_same_known_item(engine: Engine) -> None:
    # Given few gold items and many claims of one person at once
    people = ReviewRoom(engine, ALWAYS)
    know(engine, *(line(f"k{n}") for n in range(5)))
    take_in(engine, *(requested(f"i{n}") for n in range(60)))
    with ThreadPoolExecutor(8) as pool:
        handed = [
            task for got in pool.map(lambda _: people.claim("ada", 4), range(8)) for task in got
        ]
    # I expect no task twice
    assert len({task.id for task in handed}) == len(handed) == 32
    assert sum(task.seeded_for is not None for task in handed) <= 5


# -- the file --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "line 1: the line: "),
        (b'\n{"id": "a", "text": "t"}', "line 2: label: Field required"),
        (b'{"id": "a", "text": "", "label": "positive"}', "line 1: text: "),
        (b'{"id": "a", "text": "t", "label": "ironic"}', "label 'ironic' is none of negative"),
        (b'{"id": "a", "text": "\\u0000", "label": "positive"}', "NUL"),
        (
            b'{"id": "a", "text": "t", "label": "positive", "distribution": {"positive": 0.5}}',
            "sum to 1",
        ),
        (b'{"id": "a", "text": "t", "label": "positive", "lable": 1}', "lable"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(content: bytes, problem: str) -> None:
    with pytest.raises(GoldError) as refused:
        gold.read(numbered(lines_of(content)), SENTIMENT)
    assert problem in str(refused.value)


def test_a_backslash_that_only_looks_like_nul_is_kept() -> None:
    content = rb'{"id": "a", "text": "\\u0000", "label": "positive"}'
    (known,) = gold.read(numbered([content]), SENTIMENT)
    assert known.text == r"\u0000"


def test_the_command_adds_a_file_once(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a file and a database
    file = tmp_path / "known.jsonl"
    file.write_text(
        "\n".join(json.dumps({"id": f"k{n}", "text": "t", "label": "positive"}) for n in range(3))
    )
    monkeypatch.setenv("DATABASE_URL", database_url)
    # If it is imported twice
    once, twice = (CliRunner().invoke(app, ["seed", str(file)]) for _ in range(2))
    # I expect three items, and to be told that they are not handed out yet
    assert "3 gold items added" in once.output
    assert "seeded_share is 0" in once.output
    assert "0 gold items added; 3 existed already" in twice.output
    engine = connect(database_url)
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(KnownItem)) == 3
    engine.dispose()
    # and a wrong file to change nothing
    file.write_text('{"id": "k9", "text": "t", "label": "odd"}')
    wrong = CliRunner().invoke(app, ["seed", str(file)])
    assert wrong.exit_code == 1
    assert "label 'odd' is none of" in wrong.output
