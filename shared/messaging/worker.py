"""The worker of a service: take → handle → publish → confirm → ack, until it is told to stop.

The handler runs on the caller's thread, the connection on its own, so that heartbeats go on while
a model computes or a commit waits; a handler that never waits can work on the connection's thread.
A delivery is acked only after its outputs are confirmed.
"""

import gc
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from queue import Empty, Queue
from threading import Lock

from prometheus_client import Counter as Metric

from shared.backoff import jittered, pause_after
from shared.bisection import bisected
from shared.clock import utc_now
from shared.errors import Overloaded, Permanent, Retryable, unforeseen
from shared.messages import Delivery, Handler, Outgoing, Result
from shared.messaging.breaker import Breaker
from shared.messaging.connection import Broker
from shared.messaging.consumer import HOLD_SECONDS, Consumer
from shared.messaging.declared import Refuse
from shared.messaging.failures import Failures, about
from shared.messaging.retry import RetryPolicy
from shared.messaging.rights import Rights
from shared.service.lifecycle import Lifecycle
from shared.service.metrics import (
    BREAKER_OPEN,
    MESSAGE_PROCESS_DURATION,
    MESSAGES_CONSUMED,
    MESSAGES_IN_PROGRESS,
    RETRIES,
)
from shared.service.settings import Settings
from shared.topology import Topology

logger = logging.getLogger(__name__)

_FAILURES = (Permanent, Retryable)
_POLL_SECONDS = 0.1
_STORE_SECONDS = 0.5


class Worker:
    """Feeds a handler from queues until the process is told to stop."""

    def __init__(
        self,
        *,
        service: str,
        settings: Settings,
        topology: Topology,
        lifecycle: Lifecycle,
        queues: Sequence[str],
        handler: Handler,
        prefetch: int,
        max_batch: int | None,
        linger_seconds: float = 0.0,
        slow_start: bool = True,
        max_bytes: int | None = None,
        rights: Rights | None = None,
        refuse: Refuse | None = None,
        hold_seconds: float = HOLD_SECONDS,
        store: Callable[[], str | None] | None = None,
    ) -> None:
        """`max_batch` None is for a handler that waits for nothing, is done within milliseconds and
        never raises `Overloaded`: it gets what was just read, on the connection's thread.
        `linger_seconds` waits for a fuller batch; 0 takes what there is and never waits. Where
        `prefetch` messages would have more than `max_bytes`, it holds fewer, and a batch ends
        with the message that reaches them. `store` says why what every message needs is
        unavailable, None while it is not: nothing is taken before, because a message that is held
        by a process that is killed has one delivery less, and none may lose its place for an
        outage of ours."""
        self._service = service
        self._stopping = lifecycle.stopping
        self._queues = tuple(queues)
        self._handler = handler if lifecycle.spans is None else lifecycle.spans.around(handler)
        self._max_batch = max_batch or 0
        self._max_bytes = inf if max_bytes is None else max_bytes
        self._linger = linger_seconds
        self._shutdown_seconds = settings.shutdown_seconds
        self._retries = RetryPolicy(settings.retry_delays_seconds, settings.delivery_limit)
        self._breaker_lock = Lock()  # `run` and the connection's thread both ask the breaker
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_pause_seconds)
        self._failures = Failures(service, self._retries, self._breaker, utc_now)
        # No SimpleQueue: interrupted as its time is up, its `get` never returns (CPython 3.11).
        self._inbox: Queue[list[Delivery]] = Queue()
        self._waiting: deque[Delivery] = deque()
        self._overloaded: str | None = None
        self._handling = False
        self._store = store
        self._store_awaited = store is not None
        self._given_up = 0  # deliveries that could not be handled before the stop
        self._consumer = Consumer(
            queues,
            prefetch=prefetch,
            take=self._work_at_once if max_batch is None else self._inbox.put,
            slow_start=slow_start,
            max_bytes=max_bytes,
            hold_seconds=hold_seconds,
            busy=lambda: self._handling,
            paused=self._store_awaited,
        )
        self._broker = Broker(
            settings.amqp_url.get_secret_value(),
            name=service,
            topology=topology,
            consumer=self._consumer,
            rights=rights,
            refuse=refuse,
        )
        self._ok: dict[str, Metric] = {}
        self._count(queues)
        lifecycle.add_check("rabbitmq", self._broker.problem)
        lifecycle.add_check("overload", lambda: self._overloaded)
        lifecycle.add_check("handler", self._overdue)
        lifecycle.add_check("dead_letters", self._breaker.problem)

    def run(self) -> None:
        """Works until `lifecycle.stopping`, then finishes what it holds, within the deadline."""
        # Freeze start-up objects so that the collector skips them: else each batch of a million
        # small objects makes it walk all of them again (half of the time it took to read events).
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        self._broker.start()
        try:
            while not self._stopping.is_set():
                if not self._awaits_store():
                    self._work_once()
                    self._obey_breaker()
            self._drain()
        finally:
            self._broker.close()

    def add(self, topology: Topology, queues: Sequence[str] = ()) -> None:
        """Declares `topology` and takes from these queues as well; the handler must know them.

        Raises:
            Overloaded: RabbitMQ is unreachable, or a queue that may yet come; to be called again.
            ConfigurationError: a queue exists with other properties.
        """
        self._count([queue for queue in queues if queue not in self._queues])
        self._queues = tuple(dict.fromkeys((*self._queues, *queues)))
        self._broker.add(topology, queues)

    def _count(self, queues: Sequence[str]) -> None:
        """Shows these queues' metrics from 0 on: a rate does not see a counter's first value."""
        for queue in queues:
            self._ok[queue] = MESSAGES_CONSUMED.labels(queue, "ok")
            # Asked at each scrape, so that it is true of an idle worker, too.
            MESSAGES_IN_PROGRESS.labels(queue).set_function(
                partial(self._consumer.in_progress, queue)
            )
            RETRIES.labels(queue)
            for outcome in ("retried", "dead_lettered"):
                MESSAGES_CONSUMED.labels(queue, outcome)

    def busy(self) -> bool:
        """Whether it holds any delivery; a snapshot from any thread."""
        return self._consumer.unfinished() > 0

    def _drain(self) -> None:
        """Takes nothing new, finishes what is here, waits for the confirms. What is left when the
        time is up goes back to its queue when the connection closes."""
        deadline = time.monotonic() + self._shutdown_seconds * 0.8
        self._broker.pause()
        while time.monotonic() < deadline and self._broker.problem() is None:
            self._work_once()
            # Quiet is asked first: from then on the count of what we hold only goes down.
            if self._consumer.quiet and self._consumer.unfinished() <= self._given_up:
                break
        logger.info("drained", extra={"given_back": self._consumer.unfinished()})

    def _overdue(self) -> str | None:
        if self._consumer.held_back and self._overloaded is None:
            return (
                "still processing messages that RabbitMQ has requeued; consuming resumes after them"
            )
        return None

    def _awaits_store(self) -> bool:
        """Whether nothing may be taken yet; it has been waited for a moment then."""
        if self._store is None or not self._store_awaited:
            return False
        self._overloaded = self._store()
        if self._overloaded is not None:
            self._stopping.wait(_STORE_SECONDS)
            return True
        self._store_awaited = False
        self._broker.resume()
        return False

    def _work_once(self) -> None:
        if self._consumer.held_back:
            self._broker.take_held_back()
        batch = self._take()
        if batch:
            self._handling = True
            try:
                self._work(batch)
            finally:
                self._handling = False

    def _work_at_once(self, batch: list[Delivery]) -> None:
        """On the connection's thread."""
        self._work(batch)
        if not self._stopping.is_set():  # else it could resume what the drain has paused
            self._obey_breaker()

    def _work(self, batch: list[Delivery]) -> None:
        results = self._handle(batch)
        if results is not None:
            self._publish_results(batch, results)

    # -- taking ------------------------------------------------------------------------------

    def _take(self) -> list[Delivery]:
        """Up to `max_batch` deliveries of the live connection; empty when none came just now."""
        if not self._waiting:
            try:
                self._waiting.extend(self._inbox.get(timeout=_POLL_SECONDS))
            except Empty:
                return []
        self._gather(time.monotonic() + self._linger)
        generation = self._broker.generation
        batch: list[Delivery] = []
        size = 0
        while self._waiting and len(batch) < self._max_batch and size < self._max_bytes:
            delivery = self._waiting.popleft()
            if delivery.generation == generation:  # else its connection is gone: it comes again
                batch.append(delivery)
                size += len(delivery.body)
        return batch

    def _gather(self, deadline: float) -> None:
        while len(self._waiting) < self._max_batch:
            patience = deadline - time.monotonic()
            # While probing one message comes at a time, and after the stop none: do not wait.
            patient = patience > 0 and not self._consumer.probing and not self._stopping.is_set()
            try:
                self._waiting.extend(self._inbox.get(block=patient, timeout=max(patience, 0)))
            except Empty:
                return

    # -- handling ----------------------------------------------------------------------------

    def _handle(self, batch: list[Delivery]) -> list[Result] | None:
        """The results, or None when the batch was given up (its connection ended, or we stop)."""
        attempt = 0
        while True:
            started = time.perf_counter()
            try:
                results = self._checked(batch)
            except Overloaded as error:
                self._overloaded = str(error)
                pause = jittered(pause_after(attempt, 0.2, 10.0), least=0.7)
                logger.warning(
                    "dependency unavailable; retrying the batch",
                    extra={"problem": str(error), "messages": len(batch), "pause_seconds": pause},
                )
                attempt += 1
            else:
                self._overloaded = None
                taken = time.perf_counter() - started
                MESSAGE_PROCESS_DURATION.labels(batch[0].queue).observe(taken)
                return results
            if self._stopping.wait(pause):
                self._given_up += len(batch)
                return None
            if batch[0].generation != self._broker.generation:
                if self._store is not None:  # what comes again is not to be held once more
                    self._store_awaited = True
                    self._broker.pause()
                return None

    def _checked(self, batch: list[Delivery]) -> list[Result]:
        """Sets aside what kills its consumer before the handler sees it. While we are held up, we
        are who never settles: RabbitMQ takes back what is held for too long
        (https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout)."""
        if self._overloaded is not None or not any(delivery.redelivered for delivery in batch):
            return bisected(batch, self._attempt)
        counted = self._broker.takes_counted
        deadly = {
            delivery.tag: error
            for delivery in batch
            if delivery.redelivered  # else the count is somebody's copy of an old header
            and (error := self._retries.died_too_often(delivery, takes_counted=counted)) is not None
        }
        if deadly and self._store is not None and (problem := self._store()) is not None:
            raise Overloaded(problem)  # those before us may have been killed while they held it
        fit = [delivery for delivery in batch if delivery.tag not in deadly]
        handled = iter(bisected(fit, self._attempt) if fit else ())
        return [deadly[d.tag] if d.tag in deadly else next(handled) for d in batch]

    def _attempt(self, batch: Sequence[Delivery]) -> Sequence[Result] | None:
        """None where it failed and may be bisected."""
        try:
            results = self._handler.handle(batch)
        except Overloaded:
            raise
        except (Permanent, Retryable) as error:
            return [error] if len(batch) == 1 else None
        except Exception as error:
            if len(batch) == 1:
                logger.exception("a message failed", extra=about(batch[0]))
                return [Retryable(f"{unforeseen(error)}: see the log of {self._service}")]
            logger.warning("a batch failed; bisecting it", extra={"messages": len(batch)})
            return None
        if len(results) != len(batch):
            raise AssertionError(f"{len(results)} results for {len(batch)} deliveries")
        return results

    # -- publishing --------------------------------------------------------------------------

    def _publish_results(self, batch: Sequence[Delivery], results: Sequence[Result]) -> None:
        outputs: list[Sequence[Outgoing]] = []
        handled: list[str] = []
        for delivery, result in zip(batch, results, strict=True):
            if isinstance(result, _FAILURES):
                outputs.append(self._failures.outputs(delivery, result))
            else:
                self._breaker.succeeded()
                handled.append(delivery.queue)
                outputs.append(result)
        for queue, count in Counter(handled).items():
            self._ok[queue].inc(count)
        self._broker.publish_then_ack(list(zip(batch, outputs, strict=True)))

    def _obey_breaker(self) -> None:
        with self._breaker_lock:
            change = self._breaker.due(time.monotonic())
        if change is None:
            return
        for queue in self._queues:
            BREAKER_OPEN.labels(queue).set(change == "open")
        if change == "open":
            logger.error(
                "too many dead letters in a row: consuming is paused",
                extra={"queues": self._queues},
            )
            self._broker.pause()
        else:
            self._broker.resume()
