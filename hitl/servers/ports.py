"""Chooses free TCP ports on 127.0.0.1, without races between stacks.

Between the choice of a port and the server's bind lie seconds, in which another stack could choose
the same. So a process claims a port first: by binding an abstract Unix socket that is named after
the port, which the kernel gives to one process and frees when that ends (unix(7)). Its scope is
that of the ports: one network namespace, all users.

Ports are chosen below the range for outgoing connections (32768 and up), so that none of these can
take one either.
"""

import os
import random
import socket

LOWEST, HIGHEST = 20_000, 32_000
# Several times what a stack needs. The oldest is released: its server runs, or never will.
MAX_CLAIMS = 64
_claims: dict[int, tuple[str, int]] = {}  # the owner, and the file descriptor of its socket


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


def claim(port: int, owner: str = "") -> bool:
    """Claims a free port for `owner` until this process ends; True if it is the owner's now."""
    if port in _claims:
        return owner == _claims[port][0] and is_free(port)
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mark.bind(f"\0hitl-port-{port}")
    except OSError:  # another process has it
        mark.close()
        return False
    if not is_free(port):
        mark.close()
        return False
    while len(_claims) >= MAX_CLAIMS:
        os.close(_claims.pop(next(iter(_claims)))[1])
    _claims[port] = (owner, mark.detach())  # open until the process ends
    return True


def free_ports(count: int, owner: str = "") -> list[int]:
    """Claims `count` free ports at random."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), HIGHEST - LOWEST):
        if port not in _claims and claim(port, owner):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} free ports between {LOWEST} and {HIGHEST}")


def last_or_free_port(last: int, owner: str) -> int:
    """Claims the port of the last run (0: none) where it is free, else another."""
    return last if last and claim(last, owner) else free_ports(1, owner)[0]


def port_from(port: int, owner: str) -> int:
    """Claims `port` itself or the next free one above it; for 0, any."""
    above = range(port, 65_536) if port else ()
    return next((one for one in above if claim(one, owner)), 0) or free_ports(1, owner)[0]
