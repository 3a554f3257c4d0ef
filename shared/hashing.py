"""Numbers in [0, 1) drawn by hash: the same for the same words on every machine and for ever.

What was drawn once is on record, held out or trained on, so neither of the two functions may ever
give another number (tests/unit/shared/test_hashing.py).
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache


def hash01(salt: str | None, *parts: str) -> float:
    """53 bits of BLAKE2b (RFC 7693) over the parts, each with its length in front, so that no two
    lists collide. With a salt it is keyed: uniform noise to whoever lacks the salt. None: no key,
    and anybody can compute the number."""
    hashed = _begun(salt, *parts[:1]).copy()
    hashed.update(_framed(parts[1:]))
    return (int.from_bytes(hashed.digest(), "big") >> 11) / (1 << 53)


def place01(salt: str, text: str) -> float:
    """64 bits of SHA-256 over `salt:text`, for parts of a data set. No secret: the salt tells one
    division from another."""
    digest = hashlib.sha256(f"{salt}:{text}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def salt_version(salt: str) -> str:
    """Which salt was it? Eight hex digits that do not reveal it; empty for no salt."""
    return hashlib.blake2b(b"version", digest_size=4, key=_key(salt)).hexdigest() if salt else ""


def _framed(parts: Sequence[str]) -> bytes:
    return "".join([f"{len(part)}:{part}" for part in parts]).encode("utf-8", "surrogatepass")


@lru_cache(maxsize=256)  # the salt and the workflow are the same for many items
def _begun(salt: str | None, *parts: str) -> hashlib.blake2b:
    return hashlib.blake2b(_framed(parts), digest_size=8, key=_key(salt))


@lru_cache(maxsize=4)
def _key(salt: str | None) -> bytes:
    # Hashed, because BLAKE2b takes keys of at most 64 bytes.
    return b"" if salt is None else hashlib.sha256(salt.encode()).digest()
