"""Reviewers' accounts and their passwords.

Passwords as argon2id hashes (RFC 9106). An unknown name takes as long as a wrong password.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from psycopg2.errors import UniqueViolation
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.clock import Clock
from shared.errors import HitlError
from shared.storage.tables import Base, Reviewer
from shared.suggestions import did_you_mean

Role = Literal["reviewer", "lead", "admin"]
NAME = re.compile(r"[\w.@+-]{1,64}")
MAX_PASSWORD_CHARACTERS = 1_000


class AccountError(HitlError):
    """The account cannot be made or changed like this; the text says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who is calling, as the rest of the service sees it."""

    name: str
    role: Role
    session_epoch: int
    disabled: bool = False
    workflows: frozenset[str] | None = None

    @property
    def is_lead(self) -> bool:
        """Whether they may see and settle what others decided: leads and admins."""
        return self.role != "reviewer"

    def sees(self, workflow: str) -> bool:
        """Whether they may see this workflow's items; `workflows` None: all."""
        return self.workflows is None or workflow in self.workflows


class Accounts:
    """The reviewer table. Sessions passed in are committed by the caller."""

    def __init__(self, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._decoy_hash = self._hasher.hash("an unknown name takes as long as a wrong password")

    def create(
        self,
        session: Session,
        name: str,
        role: Role,
        password: str,
        workflows: Sequence[str] = (),
    ) -> Account:
        """A new account; for these workflows only, where any are named.

        Raises:
            AccountError: the name is taken or not usable, the password is empty, or a lead or an
                admin is to be limited.
        """
        if not NAME.fullmatch(name):
            raise AccountError(f"{name!r}: a name has 1 to 64 letters, digits or . _ @ + -")
        row = Reviewer(name=name, role=role, password_hash=self._hash(password))
        _limit(row, workflows)
        add_named(session, row, AccountError(f"account {name!r} already exists"))
        return _account(row)

    def verify(self, session: Session, name: str, password: str) -> Account | None:
        """The account where the password is right and the account is not disabled; else None."""
        row = session.scalar(select(Reviewer).where(Reviewer.name == name))
        try:
            self._hasher.verify(
                self._decoy_hash if row is None else row.password_hash,
                password[:MAX_PASSWORD_CHARACTERS],
            )
        except (VerificationError, InvalidHashError):
            return None
        if row is None or row.disabled_at is not None:
            return None
        if self._hasher.check_needs_rehash(row.password_hash):
            row.password_hash = self._hash(password)
        return _account(row)

    def set_password(self, session: Session, name: str, password: str) -> None:
        """A new password, which ends every open session of the account.

        Raises:
            AccountError: there is no such account, or the password is empty or too long.
        """
        row = self._row(session, name)
        row.password_hash = self._hash(password)
        row.session_epoch += 1

    def disable(self, session: Session, name: str) -> None:
        """No login from now on, and every open session ends. Decisions stay.

        Raises:
            AccountError: there is no such account.
        """
        row = self._row(session, name)
        row.disabled_at = row.disabled_at or self._clock()
        row.session_epoch += 1

    def limit(self, session: Session, name: str, workflows: Sequence[str]) -> None:
        """Only these workflows from now on; none named: all.

        Raises:
            AccountError: there is no such account, or it is a lead's or an admin's.
        """
        _limit(self._row(session, name), workflows)

    def _row(self, session: Session, name: str) -> Reviewer:
        row = session.scalar(select(Reviewer).where(Reviewer.name == name).with_for_update())
        if row is None:
            meant = did_you_mean(name, session.scalars(select(Reviewer.name)))
            raise AccountError(f"there is no account {name!r}{meant}")
        return row

    def _hash(self, password: str) -> str:
        if not password:
            raise AccountError("the password must not be empty")
        if len(password) > MAX_PASSWORD_CHARACTERS:
            raise AccountError(f"a password has at most {MAX_PASSWORD_CHARACTERS} characters")
        return self._hasher.hash(password)


def add_named(session: Session, row: Base, taken: HitlError) -> None:
    """Adds a row whose name must be new; raises `taken` where it is not."""
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        raise taken from None


def find(session: Session, name: str) -> Account | None:
    """The account of this name, disabled or not."""
    row = session.scalar(select(Reviewer).where(Reviewer.name == name))
    return None if row is None else _account(row)


def everyone(session: Session) -> Sequence[Account]:
    """All accounts by name."""
    return [_account(row) for row in session.scalars(select(Reviewer).order_by(Reviewer.name))]


def end_sessions(session: Session, name: str) -> None:
    """Ends every open session of the account."""
    session.execute(
        update(Reviewer)
        .where(Reviewer.name == name)
        .values(session_epoch=Reviewer.session_epoch + 1)
    )


def _limit(row: Reviewer, workflows: Sequence[str]) -> None:
    if workflows and row.role != "reviewer":
        raise AccountError(f"a {row.role} sees every workflow: only a reviewer can be limited")
    row.workflows = sorted(set(workflows)) or None


def _account(row: Reviewer) -> Account:
    return Account(
        name=row.name,
        role=cast(Role, row.role),  # the table's CHECK allows no other
        session_epoch=row.session_epoch or 0,
        disabled=row.disabled_at is not None,
        workflows=None if row.workflows is None else frozenset(row.workflows),
    )
