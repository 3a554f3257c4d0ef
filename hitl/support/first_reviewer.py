"""The first account of the review page, created where there is none."""

from pathlib import Path

from sqlalchemy.orm import Session

from hitl.servers.home import kept_secret
from hitl.support.database import engine
from services.review_ui.auth.accounts import Accounts, everyone
from shared.clock import utc_now

FIRST_REVIEWER = "reviewer"


def no_account_exists(database_url: str) -> bool:
    """Has the review page no account at all?"""
    with engine("hitl-prepare", address=database_url) as database, Session(database) as session:
        return not everyone(session)


def ensure_first_reviewer(database_url: str, password_file: Path) -> bool:
    """Creates the account `reviewer` where there is no account at all; returns whether it did."""
    with (
        engine("hitl-prepare", address=database_url) as database,
        Session(database) as session,
        session.begin(),
    ):
        if everyone(session):
            return False
        # The file first: an account is of no use without its password.
        password = kept_secret(password_file)
        Accounts(utc_now).create(session, FIRST_REVIEWER, "admin", password)
        return True
