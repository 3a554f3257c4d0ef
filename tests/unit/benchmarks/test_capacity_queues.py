"""Do the closed forms and the simulation agree with each other and with what is known?"""

import random
import statistics

import pytest

from benchmarks.capacity_queues import (
    Stage,
    erlang_c,
    exponential,
    lognormal,
    mean_wait,
    poisson,
    serve,
    through,
)

COUNT = 60_000


def simulated_wait(stage: Stage, rate: float, seed: int = 3) -> float:
    """Mean seconds until the service begins, after a warm-up."""
    chance = random.Random(seed)
    arrivals = poisson(rate, COUNT, chance)
    taken = [begin for begin, _ in serve(stage, arrivals, chance)]
    waits = [begin - came for begin, came in zip(taken, arrivals, strict=True)]
    return statistics.fmean(waits[COUNT // 10 :])


def test_one_server_waits_as_the_textbook_says() -> None:
    # Given one server that is busy half of the time, I expect half of those who come to wait, and
    # to wait as long as a service takes: M/M/1.
    assert erlang_c(1, 0.5) == pytest.approx(0.5)
    assert mean_wait(1, 0.5, 1.0) == pytest.approx(1.0)
    # With services of constant length it is half of that: M/D/1.
    assert mean_wait(1, 0.5, 1.0, variation=0.0) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("servers", "load", "waiting"),
    [(2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.5541), (10, 8.0, 0.4092)],
)
def test_the_share_that_waits_is_that_of_erlangs_tables(
    servers: int, load: float, waiting: float
) -> None:
    assert erlang_c(servers, load) == pytest.approx(waiting, abs=5e-5)


def test_servers_that_cannot_keep_up_have_no_mean() -> None:
    with pytest.raises(ValueError, match="cannot do the work"):
        mean_wait(2, 3.0, 1.0)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (3, 2.1), (10, 8.0)])
def test_the_simulation_agrees_with_erlang(servers: int, load: float) -> None:
    # Given services of exponential length, I expect M/M/k exactly, but for chance.
    found = simulated_wait(Stage(servers, exponential(1.0)), load)
    assert found == pytest.approx(mean_wait(servers, load, 1.0), rel=0.12)


@pytest.mark.parametrize("variation", [0.3, 1.5])
def test_the_simulation_agrees_with_pollaczek_and_khinchine(variation: float) -> None:
    # Given one server whose services are of any length, M/G/1 is exact.
    found = simulated_wait(Stage(1, lognormal(2.0, variation)), 0.3)
    assert found == pytest.approx(mean_wait(1, 0.3, 2.0, variation), rel=0.12)


def test_several_people_who_take_now_and_then_long_wait_about_as_allen_and_cunneen_say() -> None:
    found = simulated_wait(Stage(8, lognormal(10.0, 1.0)), 0.64)
    assert found == pytest.approx(mean_wait(8, 0.64, 10.0, 1.0), rel=0.2)


def test_who_takes_all_that_waits_at_once_leaves_with_the_slowest() -> None:
    # Given three that wait and a server that takes two at once,
    stage = Stage(1, lambda _chance: 1.0, batch=2, each_time=0.5)
    taken = serve(stage, [0.0, 0.1, 0.2, 9.0], random.Random(1))
    # I expect the first alone, the next two together, and each call to cost half a second more.
    assert taken == [(0.0, 1.5), (1.5, 4.0), (1.5, 4.0), (9.0, 10.5)]
    # Through two such stages the times add up.
    assert through([stage, stage], [0.0]) == pytest.approx([3.0])
