"""Can everybody use the pages? axe-core finds nothing serious, by day and by night."""

import re
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import Engine

from tests.support.answer_requests import asks
from tests.support.browser import reviewing
from tests.support.review_service import Served, requested, take_in

BAD = ("serious", "critical")


def findings(page: Page, within: str = "html", *rules: str) -> list[str]:
    """What axe-core calls serious or critical, with the first elements that it names; by all its
    rules, or by these."""
    # Half faded in, a text has half its contrast.
    page.wait_for_timeout(50)
    page.evaluate(
        """Promise.allSettled(document.getAnimations()
             .filter(each => each.effect.getComputedTiming().endTime !== Infinity)
             .map(each => each.finished)).then(() => null)"""
    )
    only = {"runOnly": list(rules)} if rules else {}
    violations = Axe().run(page, within, only).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:160]} {node['failureSummary'][:200]}"
        for each in violations
        if each["impact"] in BAD
        for node in each["nodes"][:3]
    ]


def contrast(element: Locator) -> float:
    """Of an element's text with its own ground (WCAG 2); axe-core judges no list to choose from."""
    colours = element.evaluate(
        "e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    )
    light = []
    for colour in colours:
        shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [
            each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
        ]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def closed_by_escape(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def flag_two(served: Served) -> None:
    """Somebody flags the two most urgent items."""
    with served.logged_in("bob") as client:
        for task in client.post("/api/v1/tasks/claim", json={"count": 2}).json()["tasks"]:
            flag = {
                "key": str(uuid4()),
                "lease_token": task["lease_token"],
                "action": "flag",
                "reason": "Unreadable",
            }
            client.post(f"/api/v1/tasks/{task['id']}/decision", json=flag).raise_for_status()


@pytest.mark.parametrize("flagged", [False, True], ids=["nothing-flagged", "flagged"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_has_serious_findings(
    chromium: Browser, served: Served, engine: Engine, dark: bool, flagged: bool
) -> None:
    # Given items to decide in two queues, among them a blind one, and one decision; perhaps flags
    take_in(
        engine,
        *(requested(f"i{n}", confidence=0.6, metadata={"page": n}, priority=3) for n in range(5)),
        requested("blind", blind=True),
        requested("elsewhere", queue="vip"),
    )
    if flagged:
        flag_two(served)
    found: dict[str, list[str]] = {}
    with reviewing(chromium, served, "ada", role="lead", dark=dark) as (page, _):
        page.keyboard.press("1")
        page.locator("summary").click()
        queue = page.get_by_label("Queue", exact=True)
        expect(queue).to_be_visible()
        assert contrast(queue) >= 4.5
        found["card"] = findings(page)
        page.keyboard.press("?")
        found["help"] = findings(page)
        closed_by_escape(page)
        page.keyboard.press("f")
        expect(page.get_by_role("dialog")).to_be_visible()
        found["flag"] = findings(page)
        closed_by_escape(page)
        page.goto(f"{served.url}/?label=positive")
        expect(page.locator("[data-id=chips] button")).to_be_visible()
        expect(page.locator('.rv[data-state="task"]')).to_be_visible()
        for key, name in (("/", "filter"), ("b", "batch"), ("l", "leads")):
            page.keyboard.press(key)
            expect(page.get_by_role("dialog")).to_be_visible(timeout=15_000)
            found[name] = findings(page)
            closed_by_escape(page)
        page.goto(f"{served.url}/history")
        expect(page.locator("#decisions")).to_contain_text("negative", timeout=20_000)
        if flagged:
            expect(page.locator("#for-leads")).to_contain_text("Unreadable", timeout=20_000)
        found["history"] = findings(page)
        page.goto(f"{served.url}/dashboard")
        expect(page.locator("#reviewers")).to_contain_text("ada", timeout=20_000)
        found["dashboard"] = findings(page)
        page.context.clear_cookies()
        page.goto(f"{served.url}/login")
        expect(page.get_by_role("button", name="Log in")).to_be_visible()
        found["login"] = findings(page)
    # I expect nothing that keeps anybody out
    listed = [f"{name}: {each}" for name, all_of_them in found.items() for each in all_of_them]
    assert not listed, "\n".join(listed)


def test_no_kind_of_answer_has_serious_findings(
    chromium: Browser, kinds: Served, engine: Engine
) -> None:
    # Given an item of each kind, with a prediction that says something at each place
    take_in(
        engine,
        asks("labels", "a", {"labels": ["toxic"]}, parts={"toxic": 0.8, "insult": 0.3}),
        asks("spans", "b", {"spans": [{"start": 0, "end": 5, "label": "PER"}]}, parts=[0.9]),
        asks(
            "form",
            "c",
            {"form": {"supplier": "", "total": 12, "lines": [{"what": "Pens", "amount": 2}]}},
            parts={"supplier": 0.9, "total": 0.4},
        ),
        asks("text", "d", {"text": "Dear Peter, pay."}, draft="Peter pay now"),
        asks("preference", "e", {"preferred": 1}, candidates=["Pay!", "Please pay. " * 80]),
    )
    found: dict[str, list[str]] = {}
    with reviewing(chromium, kinds, "ada", phone=True) as (page, _):
        for kind, worked_on in (
            ("labels", "2"),
            ("spans", "Tab"),
            ("form", "Enter"),
            ("text", "e"),
            ("preference", "n"),
        ):
            page.goto(f"{kinds.url}/?workflow={kind}")
            expect(page.locator(f'.rv-card[data-kind="{kind}"]')).to_be_visible(timeout=15_000)
            page.keyboard.press(worked_on)
            found[kind] = findings(page, ".rv-card")
            page.emulate_media(color_scheme="dark")
            found[f"{kind}, dark"] = findings(page, ".rv-card", "color-contrast")
            page.emulate_media(color_scheme="light")
    # I expect nothing that keeps anybody out
    listed = [f"{name}: {each}" for name, all_of_them in found.items() for each in all_of_them]
    assert not listed, "\n".join(listed)
