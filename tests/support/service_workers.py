"""Services without processes: their handlers on real workers, in threads, and what these count."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from shared.messages import Handler
from shared.messaging.worker import Worker
from shared.service.lifecycle import Lifecycle
from shared.service.metrics import MESSAGES_PUBLISHED
from shared.service.settings import Settings
from shared.topology import topology

TOPOLOGY = topology(["sentiment"], Settings().retry_delays_seconds)


def answers(outcome: str) -> float:
    """How often the broker has answered a publish of this process so: confirmed, returned, …"""
    return sum(
        sample.value
        for metric in MESSAGES_PUBLISHED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["outcome"] == outcome
    )


@contextmanager
def working(amqp_url: str, handlers: Sequence[tuple[str, Handler]]) -> Iterator[list[Lifecycle]]:
    """A worker for each queue and its handler."""
    lifecycles, threads = [], []
    settings = Settings.from_environment({"AMQP_URL": amqp_url})
    for queue, handler in handlers:
        lifecycle = Lifecycle()
        worker = Worker(
            service="test", settings=settings, topology=TOPOLOGY, lifecycle=lifecycle,
            queues=[queue], handler=handler, prefetch=100, max_batch=50,
        )  # fmt: skip
        lifecycles.append(lifecycle)
        threads.append(threading.Thread(target=worker.run))
        threads[-1].start()
    try:
        yield lifecycles
    finally:
        for lifecycle in lifecycles:
            lifecycle.stopping.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
