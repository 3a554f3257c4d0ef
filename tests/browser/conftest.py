"""The browser that the tests drive, and the review service that it talks to."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine

from shared.clock import utc_now
from shared.service.lifecycle import Lifecycle
from tests.conftest import cannot_run
from tests.support.answer_requests import workflows_of_all_kinds
from tests.support.review_service import Served, TurnedClock, make_test_context, serving

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class RunningClock(TurnedClock):
    """The wall clock: a browser has no other."""

    def __call__(self):  # type: ignore[no-untyped-def]
        return utc_now()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, driven by Playwright."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        cannot_run("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def served(engine: Engine) -> Iterator[Served]:
    clock = RunningClock()
    with serving(make_test_context(engine, clock, Lifecycle()), clock) as served:
        yield served


@pytest.fixture
def kinds(engine: Engine) -> Iterator[Served]:
    """The service with a workflow of every kind."""
    clock = RunningClock()
    context = make_test_context(engine, clock, Lifecycle(), workflows_of_all_kinds())
    with serving(context, clock) as served:
        yield served
