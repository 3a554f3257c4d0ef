"""What can go wrong? Each fault is one function that hurts the running pipeline and returns.

Most take a random time or victim; what they hurt comes back by itself or by the supervisor.
"""

import time
from collections.abc import Callable, Mapping
from random import Random

import pytest

from tests.chaos.harness import HEARTBEAT_SECONDS, Pipeline
from tests.support.amqp_client import until

LONG_SECONDS = 60.0

Fault = Callable[[Pipeline, Random], None]


def kill_inference(pipeline: Pipeline, _random: Random) -> None:
    pipeline.kill("inference")


def kill_router(pipeline: Pipeline, random: Random) -> None:
    pipeline.kill(random.choice(("router", "router-2")))


def kill_logger(pipeline: Pipeline, random: Random) -> None:
    pipeline.kill(random.choice(("logger", "logger-2")))


def kill_review_ui(pipeline: Pipeline, _random: Random) -> None:
    pipeline.kill("review_ui")


def kill_and_restart_rabbitmq(pipeline: Pipeline, _random: Random) -> None:
    pipeline.restart_broker()


def restart_postgres(pipeline: Pipeline, _random: Random) -> None:
    pipeline.restart_postgres()


def kill_and_restart_postgres(pipeline: Pipeline, _random: Random) -> None:
    pipeline.restart_postgres(kill=True)


def cut_connections(pipeline: Pipeline, random: Random) -> None:
    """A few times in short order, to the one, the other, or both."""
    for _ in range(random.randint(1, 4)):
        for proxy in random.choice(
            ([pipeline.amqp_proxy], [pipeline.postgres_proxy],
             [pipeline.amqp_proxy, pipeline.postgres_proxy])
        ):  # fmt: skip
            proxy.cut()
        time.sleep(random.uniform(0, 1.5))


def slow_connections(pipeline: Pipeline, random: Random) -> None:
    pipeline.amqp_proxy.delay_seconds = random.uniform(0.05, 0.4)
    pipeline.postgres_proxy.delay_seconds = random.uniform(0.05, 0.2)
    time.sleep(3)
    pipeline.amqp_proxy.delay_seconds = pipeline.postgres_proxy.delay_seconds = 0.0


def half_open_to_rabbitmq(pipeline: Pipeline, _random: Random) -> None:
    """Nothing ever ends these connections: only the heartbeat tells."""
    pipeline.amqp_proxy.silence()
    time.sleep(3 * HEARTBEAT_SECONDS)


def half_open_to_postgres(pipeline: Pipeline, _random: Random) -> None:
    """The kernel's keepalive would end them after a minute; here after some seconds."""
    pipeline.postgres_proxy.silence()
    time.sleep(4)
    pipeline.postgres_proxy.cut()


def die_between_confirm_and_ack(pipeline: Pipeline, random: Random) -> None:
    name = random.choice(("inference", "router"))
    _die(pipeline, name, "confirm-ack", random.randint(1, 99))


def die_between_commit_and_ack(pipeline: Pipeline, random: Random) -> None:
    _die(pipeline, random.choice(("logger", "logger-2")), "commit-ack", random.randint(0, 3))


def die_between_outbox_and_publish(pipeline: Pipeline, random: Random) -> None:
    _die(pipeline, "review_ui", "outbox-publish", random.randint(0, 3))


def die_between_publish_and_mark(pipeline: Pipeline, random: Random) -> None:
    _die(pipeline, "review_ui", "publish-mark", random.randint(0, 3))


def terminate_a_service(pipeline: Pipeline, random: Random) -> None:
    name = random.choice(("inference", "router", "logger", "review_ui"))
    # One that is still starting has nothing to finish, and simply ends; and one that is yet to die
    # at a point of its work (another fault of the same moment) may come to it on the way out.
    _until(pipeline, name, lambda: pipeline.ready(name) and not pipeline.doomed(name))
    code = pipeline.terminate(name)
    assert code == 0, f"{name} ended with {code} on SIGTERM:\n{pipeline.log(name)[-3000:]}"


def _die(pipeline: Pipeline, name: str, point: str, after: int) -> None:
    """A death that never comes would be a fault that is counted and tests nothing."""
    pipeline.crash_next(name, point, after)
    _until(pipeline, name, lambda: not pipeline.doomed(name))


def _until(pipeline: Pipeline, name: str, true: Callable[[], bool]) -> None:
    try:
        until(true, seconds=LONG_SECONDS)
    except AssertionError:
        state = f"ready: {pipeline.ready(name)}, about to die: {pipeline.doomed(name)}"
        pytest.fail(f"{name} after {LONG_SECONDS} s: {state}\n{pipeline.log(name)[-3000:]}")


def fill_a_queue(pipeline: Pipeline, random: Random) -> None:
    queue = random.choice(("hitl.router", "hitl.log", "hitl.sentiment.accepted"))
    pipeline.limit_length(queue, 5)
    time.sleep(3)
    pipeline.limit_length(queue, None)


def raise_the_disk_alarm(pipeline: Pipeline, _random: Random) -> None:
    """Whoever publishes is blocked; set in the broker, so that no disk has to be filled."""
    alarm = "{resource_limit, disk, node()}"
    pipeline.rabbitmqctl(
        "eval",
        f"rabbit_alarm:set_alarm({{{alarm}, []}}), timer:sleep(3000), "
        f"rabbit_alarm:clear_alarm({alarm}).",
    )


def kill_every_channel(pipeline: Pipeline, _random: Random) -> None:
    """In the broker: an internal error there closes channels and connections with a reason."""
    pipeline.rabbitmqctl("eval", "[exit(P, kill) || P <- rabbit_channel:list()].")


CHEAP: Mapping[str, Fault] = {
    "kill -9 of inference": kill_inference,
    "kill -9 of a router": kill_router,
    "kill -9 of a logger": kill_logger,
    "connections cut": cut_connections,
    "RabbitMQ killed and restarted": kill_and_restart_rabbitmq,
    "Postgres restarted": restart_postgres,
}
# These start a server.
RESTARTING = (
    "RabbitMQ killed and restarted",
    "Postgres restarted",
    "Postgres killed and restarted",
)
ALL: Mapping[str, Fault] = {
    **CHEAP,
    "kill -9 of the review UI": kill_review_ui,
    "Postgres killed and restarted": kill_and_restart_postgres,
    "connections slowed": slow_connections,
    "connections to RabbitMQ half-open": half_open_to_rabbitmq,
    "connections to Postgres half-open": half_open_to_postgres,
    "death between confirm and ack": die_between_confirm_and_ack,
    "death between commit and ack": die_between_commit_and_ack,
    "death between outbox commit and publish": die_between_outbox_and_publish,
    "death between publish and mark": die_between_publish_and_mark,
    "SIGTERM": terminate_a_service,
    "queue full": fill_a_queue,
    "disk alarm": raise_the_disk_alarm,
    "channels killed in the broker": kill_every_channel,
}
