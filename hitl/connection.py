"""Which broker and which database does a command talk to?

AMQP_URL and DATABASE_URL where they are set, else those of the stack that runs in HITL_HOME.
"""

import os
from collections.abc import Mapping

from hitl.home import Home
from shared.errors import ConfigurationError


def amqp_url(environment: Mapping[str, str] = os.environ) -> str:
    """The broker's address.

    Raises:
        ConfigurationError: neither set nor known from a running stack.
    """
    return _address("AMQP_URL", environment)


def database_url(environment: Mapping[str, str] = os.environ) -> str:
    """The database's address.

    Raises:
        ConfigurationError: neither set nor known from a running stack.
    """
    return _address("DATABASE_URL", environment)


def _address(key: str, environment: Mapping[str, str]) -> str:
    given = environment.get(key, "").strip()
    if given:
        return given
    home = Home.from_environment(environment)
    state = home.read_state() if home.supervisor() is not None else None
    found = "" if state is None else str(getattr(state, key.lower()))
    if not found:
        raise ConfigurationError(
            f"no stack runs here ({home.path}): start one with bin/up, or set {key}"
        )
    return found
