"""The first account of the review page, made where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from hitl.servers.home import kept_secret
from services.review_ui.auth.accounts import Accounts, everyone
from shared.clock import utc_now
from shared.storage.database import connect

FIRST_REVIEWER = "reviewer"


def nobody_has_an_account(database_url: str) -> bool:
    """Is there no account of the review page at all?"""
    with _session(database_url) as session:
        return not everyone(session)


def ensure_first_reviewer(database_url: str, password_file: Path) -> bool:
    """Makes the account `reviewer` where there is no account at all; says whether it did."""
    with _session(database_url) as session:
        if everyone(session):
            return False
        # The file first: an account whose password nobody knows helps nobody.
        password = kept_secret(password_file)
        Accounts(utc_now).create(session, FIRST_REVIEWER, "admin", password)
        return True


@contextmanager
def _session(database_url: str) -> Iterator[Session]:
    engine = connect(database_url, pool_size=1, application="hitl-prepare")
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()
