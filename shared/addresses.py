"""Checks the address of a server: every reader must take the same part for the password.

`@`, `/`, `#`, `?` and `%` divide an address. Where one stands in a password as it is, one program
takes half of the password for the host, looks for that host, and quotes it in its error.
"""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

ESCAPES = "within a part of it write %2F for /, %40 for @, %23 for #, %3F for ?, %25 for %"
DATABASE = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
_DATABASES = ("postgresql", "postgres", "postgresql+psycopg2")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_address(url: str, schemes: Collection[str]) -> bool:
    """Whether it is one of these schemes, has a port or none, and one meaning."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    user, _, _ = parts.netloc.rpartition("@")
    return (
        parts.scheme in schemes
        and port != 0
        and "#" not in url  # also the empty fragment
        and "@" not in user + parts.path + parts.query
        and _NO_ESCAPE.search(parts.netloc + parts.path) is None
    )


def is_database(url: str) -> bool:
    """Whether it is the address of a Postgres."""
    return is_address(url, _DATABASES)
