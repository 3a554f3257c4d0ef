"""Is every confirmed item exactly once where it belongs, whatever happens meanwhile?

By default one short round of the cheapest faults; with `--soak` all of them, one by one and all
together, for `--chaos-minutes`.
"""

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random, SystemRandom

import pytest

from hitl.servers.private import ServerError
from tests.chaos.faults import ALL, CHEAP, RESTARTING, Fault
from tests.chaos.harness import Pipeline, Producer, Reviewer, running
from tests.chaos.ledger import Account, settled
from tests.conftest import cannot_run

SETTLE_SECONDS = 120.0


def report(pipeline: Pipeline, rounds: int, faults: Counter[str], account: Account) -> None:
    """What the run has to say for itself, and the check."""
    print(f"\n{rounds} rounds, {sum(faults.values())} faults, {account}")
    for name, count in sorted(faults.items()):
        print(f"  {count:4} x {name}")
    print(f"  processes that ended: {dict(pipeline.ended)}")
    assert account.lost == [], account.lost[:10]
    assert account.doubled == [], account.doubled[:10]


@pytest.mark.timeout(600)  # half a minute of work; the producer alone may wait 150 s at its end
def test_nothing_is_lost_in_a_short_round_of_cheap_faults() -> None:
    seed = SystemRandom().randrange(10**6)
    random = Random(seed)
    print(f"\nseed {seed}")
    faults: Counter[str] = Counter()
    try:
        with running() as pipeline:
            producer, reviewer = Producer(pipeline, 300), Reviewer(pipeline)
            producer.start()
            reviewer.start()
            for name, fault in random.sample(sorted(CHEAP.items()), len(CHEAP)):
                producer.wait_for_a_window()
                time.sleep(random.uniform(0.05, 0.5))  # somewhere between the queues
                fault(pipeline, random)
                faults[name] += 1
            producer.stop()
            account = settled(pipeline, producer.confirmed, SETTLE_SECONDS)
            reviewer.stop()
            report(pipeline, 1, faults, account)
            assert account.dead == {}, "none of these is an item's fault"
            assert account.confirmed > 200
    except ServerError as error:
        cannot_run(str(error))


@pytest.fixture
def minutes(request: pytest.FixtureRequest) -> float:
    """How long the soak may take; without `--soak` it does not run."""
    if not request.config.getoption("--soak"):
        pytest.skip("a long run: --soak --chaos-minutes N")
    return float(request.config.getoption("--chaos-minutes"))


@pytest.mark.timeout(0)
def test_nothing_is_lost_in_many_rounds_of_all_faults(minutes: float) -> None:
    seed = SystemRandom().randrange(10**6)
    random = Random(seed)
    print(f"\nseed {seed}")
    deadline = time.monotonic() + minutes * 60
    faults: Counter[str] = Counter()
    rounds = 0
    with running() as pipeline:
        producer = Producer(pipeline, 300)
        # One alone does not get through what the producer makes of each minute.
        reviewers = [Reviewer(pipeline, name) for name in ("ada", "bob", "eve")]
        for worker in (producer, *reviewers):
            worker.start()
        checked = 0
        while time.monotonic() < deadline:
            rounds += 1
            if rounds % 4 == 0:  # all together: three at a time
                chosen = [random.sample(sorted(ALL.items()), 3)]
            else:
                chosen = [[one] for one in random.sample(sorted(ALL.items()), len(ALL))]
            for together in chosen:
                if time.monotonic() > deadline:
                    break
                producer.wait_for_a_window()
                time.sleep(random.uniform(0.05, 1.0))
                print(f"{time.strftime('%H:%M:%S')} {' + '.join(name for name, _ in together)}")
                _at_once(pipeline, random, together)
                faults.update(name for name, _ in together)
            checked = len(producer.confirmed)
            refused = sum(reviewer.at_limit for reviewer in reviewers)
            print(
                f"round {rounds}: {checked} confirmed so far, {dict(pipeline.ended)}, "
                f"{refused} claims over the limit",
                flush=True,
            )
        producer.stop()
        account = settled(pipeline, producer.confirmed, 5 * SETTLE_SECONDS)
        for reviewer in reviewers:
            reviewer.stop()
        report(pipeline, rounds, faults, account)


def _at_once(pipeline: Pipeline, random: Random, together: Sequence[tuple[str, Fault]]) -> None:
    """A server dies with the thread that started it, so those are restarted from this one."""
    with ThreadPoolExecutor() as pool:
        others = [
            pool.submit(fault, pipeline, random)
            for name, fault in together
            if name not in RESTARTING
        ]
        for name, fault in together:
            if name in RESTARTING:
                fault(pipeline, random)
        for other in others:
            other.result()
