"""Which TCP ports on 127.0.0.1 are free?

Chosen below the range that the kernel hands out to outgoing connections (32768 and up), so that
none of these can take a port between our choice and the server's bind.
"""

import random
import socket

LOWEST, HIGHEST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Can a server bind this port on 127.0.0.1, and on every address?"""
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - a probe, closed at once
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT is free, a listening one is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different free ports, at random, so that two stacks that start together differ."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} free ports between {LOWEST} and {HIGHEST}")


def next_free(port: int) -> int:
    """`port` itself, or the next free one above it."""
    while not is_free(port):
        port += 1
    return port
