"""Work beside the scoring, at the lowest priority, on a thread of its own."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

NICE = 19
STOP_SECONDS = 5.0


@contextmanager
def in_background(name: str, work: Callable[[], None], stopping: threading.Event) -> Iterator[None]:
    """Runs `work` for the length of the block; it must end soon after `stopping`."""

    def run() -> None:
        # On Linux a priority belongs to a thread, whatever the call is named (setpriority(2)).
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        torch.set_num_threads(1)
        work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(STOP_SECONDS)
