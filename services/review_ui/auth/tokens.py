"""API tokens: which programs may call the API, and for what.

A bearer token is 256 random bits; only their SHA-256 is stored (nothing to guess, so no slow hash
is needed) and the first characters, so that people can tell tokens apart.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.review_ui.auth.accounts import NAME, Account, Role, add_named
from shared.errors import HitlError
from shared.storage.tables import ApiToken
from shared.suggestions import did_you_mean

Scope = Literal[
    "items:write", "items:read", "tasks:read", "tasks:write", "stats:read", "export", "webhooks"
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
BEGINNING = "hitl_"  # for secret scanners, and for people who find one
_SHOWN_CHARACTERS = len(BEGINNING) + 6
_USE_NOTED_EVERY = timedelta(minutes=1)


class TokenError(HitlError):
    """The token cannot be made or revoked like this; the text says why."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; never the token itself."""

    name: str
    prefix: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    workflows: frozenset[str] | None  # None: all

    def account(self) -> Account:
        """The program as the rest of the service sees it. No person's name has a colon.

        Blind items stay blind for it as for a reviewer, unless it may export what leads may see.
        """
        role: Role = "lead" if "export" in self.scopes else "reviewer"
        return Account(
            name=f"token:{self.name}", role=role, session_epoch=0, workflows=self.workflows
        )


def create(
    session: Session,
    name: str,
    scopes: Collection[str],
    *,
    now: datetime,
    lifetime: timedelta | None,
    workflows: Collection[str] = (),
) -> str:
    """A new token, to be shown once; `lifetime` None: good until it is revoked. For these workflows
    only, where any are named.

    Raises:
        TokenError: the name is taken or not usable, or a scope is unknown, or there is none, or it
            cannot be limited.
    """
    if not NAME.fullmatch(name):
        raise TokenError(f"{name!r}: a name has 1 to 64 letters, digits or . _ @ + -")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        wrong = f"no such scope: {', '.join(unknown)}" if unknown else "a token needs a scope"
        raise TokenError(f"{wrong}; the scopes are {', '.join(SCOPES)}")
    if workflows and "webhooks" in scopes:
        raise TokenError("webhooks are of all workflows: a token for them cannot be limited")
    secret = BEGINNING + secrets.token_urlsafe(32)
    row = ApiToken(
        name=name,
        prefix=secret[:_SHOWN_CHARACTERS],
        hash=_hash(secret),
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
        workflows=sorted(set(workflows)) or None,
    )
    taken = TokenError(f"token {name!r} already exists; a name is used only once")
    add_named(session, row, taken)
    return secret


def revoke(session: Session, name: str, now: datetime) -> None:
    """The token opens nothing from now on.

    Raises:
        TokenError: there is none of this name.
    """
    row = session.scalar(select(ApiToken).where(ApiToken.name == name).with_for_update())
    if row is None:
        meant = did_you_mean(name, session.scalars(select(ApiToken.name)))
        raise TokenError(f"there is no token {name!r}{meant}")
    row.revoked_at = row.revoked_at or now


def everything(session: Session) -> Sequence[Token]:
    """All tokens by name, those revoked and expired too."""
    return [_token(row) for row in session.scalars(select(ApiToken).order_by(ApiToken.name))]


def find(session: Session, secret: str, now: datetime) -> Token | None:
    """The token, where it is good now; its use is noted, to the minute."""
    row = session.scalar(select(ApiToken).where(ApiToken.hash == _hash(secret)))
    if row is None or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= now:
        return None
    if row.last_used_at is None or row.last_used_at <= now - _USE_NOTED_EVERY:
        row.last_used_at = now
    return _token(row)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _token(row: ApiToken) -> Token:
    return Token(
        name=row.name,
        prefix=row.prefix,
        scopes=frozenset(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        workflows=None if row.workflows is None else frozenset(row.workflows),
    )
