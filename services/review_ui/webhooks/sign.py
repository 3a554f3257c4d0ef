"""Signs webhooks over id, time and body, so that a receiver knows they are ours.

Standard Webhooks 1.0.0: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec
"""

import base64
import hmac
import secrets
from collections.abc import Sequence

_PREFIX = "whsec_"
_SECRET_BYTES = 32  # the specification asks for 24 to 512


def new_secret() -> str:
    """A secret as the specification writes it: `whsec_` and base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature_headers(
    event_id: str, sent_at: int, body: bytes, keys: Sequence[str]
) -> dict[str, str]:
    """The three headers, signed with each of `keys`; the receiver takes any one that matches.
    `sent_at`: of this attempt, in seconds since 1970."""
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": " ".join(_signature(event_id, sent_at, body, key) for key in keys),
    }


def _signature(event_id: str, sent_at: int, body: bytes, secret: str) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    signed = b".".join((event_id.encode(), str(sent_at).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
