"""Where is each item that was confirmed, and how often is it there?"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shared.topology import topology
from tests.chaos.harness import Pipeline
from tests.support.amqp_client import Outsider, outsider

FINAL = ("AI_ACCEPTED", "HUMAN_ACCEPTED", "HUMAN_CORRECTED")
_CALM_SECONDS = 0.5


@dataclass
class Account:
    """What became of the items: `lost` and `doubled` hold what must not be."""

    confirmed: int
    decided: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    dead: Counter[str] = field(default_factory=Counter)  # "queue: reason"
    copies: int = 0  # of decisions that arrived more than once under one id, as they may
    seconds: float = 0.0  # until the last item had arrived

    def __str__(self) -> str:
        return (
            f"{self.confirmed} items confirmed, {self.decided} decided, "
            f"{sum(self.dead.values())} dead letters {dict(self.dead) or ''}, "
            f"{self.copies} decisions delivered again, calm after {self.seconds:.0f} s: "
            f"lost = {len(self.lost)}, duplicated = {len(self.doubled)}"
        )


def settled(pipeline: Pipeline, confirmed: Iterable[str], seconds: float) -> Account:
    """Waits until every item is at its end, or the time is up, and draws up the account."""
    wanted = set(confirmed)
    started = time.monotonic()
    decisions: dict[str, Counter[str]] = defaultdict(Counter)  # item → ids of its decisions
    dead: dict[str, list[tuple[str, str]]] = defaultdict(list)  # item → where and why
    with outsider(pipeline.broker.amqp_url) as program:
        while True:
            for message in program.drain("hitl.sentiment.accepted"):
                item = json.loads(message.body)["item"]["id"]
                decisions[item][str(message.message_id)] += 1
            _collect_dead(program, dead)
            status = dict(pipeline.rows("SELECT id, status FROM item"))
            # A logger may still hold the first events of an item that another one has closed.
            events = _events(pipeline)
            open_ = {
                item
                for item in wanted - set(dead)
                if item not in decisions
                or status.get(item) not in FINAL
                or not _expected(status[item]) <= events[item].keys()
            }
            waiting = program.ready("hitl.log") + program.ready("hitl.router")
            if (not open_ and not waiting) or time.monotonic() - started > seconds:
                break
            time.sleep(_CALM_SECONDS)
    account = Account(len(wanted), len(decisions), seconds=time.monotonic() - started)
    account.dead = Counter(f"{queue}: {why}" for found in dead.values() for queue, why in found)
    account.copies = sum(sum(ids.values()) - len(ids) for ids in decisions.values())
    account.lost = [f"{item}: {status.get(item, 'no row')}" for item in sorted(open_)]
    account.doubled = [
        f"{item}: {len(ids)} decisions" for item, ids in decisions.items() if len(ids) > 1
    ]
    account.doubled += [
        f"{item}: two dead letters" for item, found in dead.items() if len(found) > 1
    ]
    _check_log(events, wanted - set(dead), status, account)
    return account


def _events(pipeline: Pipeline) -> dict[str, Counter[str]]:
    """How many events of each kind the log has of each item."""
    events: dict[str, Counter[str]] = defaultdict(Counter)
    for item, kind, count in pipeline.rows(
        "SELECT item_id, type, count(*) FROM event GROUP BY item_id, type"
    ):
        events[item][kind] = count
    return events


def _expected(status: str | None) -> set[str]:
    """The kinds of events of an item with this end, one of each."""
    by_ai, by_human = {"item.accepted"}, {"item.review_requested", "item.reviewed"}
    return {"item.submitted", "item.scored"} | (by_ai if status == "AI_ACCEPTED" else by_human)


def _check_log(
    events: dict[str, Counter[str]], wanted: set[str], status: dict[str, str], account: Account
) -> None:
    """Each item has its events, each of them once, and they tell one story."""
    for item in wanted:
        expected, found = _expected(status.get(item)), events[item]
        account.lost += [f"{item}: no {kind}" for kind in sorted(expected) if not found[kind]]
        account.doubled += [
            f"{item}: {count} {kind}" for kind, count in found.items() if count > (kind in expected)
        ]


def _collect_dead(program: Outsider, dead: dict[str, list[tuple[str, str]]]) -> None:
    for queue in topology(["sentiment"], ()).queues:
        if not queue.name.endswith(".dlq"):
            continue
        for message in program.drain(queue.name):
            body = json.loads(message.body)
            item = body["item"]["id"] if "item" in body else body.get("id", "?")
            dead[item].append((queue.name, str(message.headers.get("x-hitl-reason", "none"))))
