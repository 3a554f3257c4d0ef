"""How long from a key until the next item can be seen? Measured inside the page, in Chromium.

The same for every page: real keys, and from the last one's event until the frame with another
item's text has been handed to the screen.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page, sync_playwright

from benchmarks.review_desk import PASSWORD

PAUSE_MS = 250  # between the items: the page may fetch ahead, as it may while somebody reads
_WATCH = """
    ([selector, last]) => {
        const text = () => document.querySelector(selector)?.textContent;
        const before = text();
        window.benchmarkNext = new Promise((found, failed) => {
            setTimeout(() => failed(new Error("no next item within 30 s")), 30000);
            const pressed = (event) => {
                if (event.key !== last) return;
                removeEventListener("keydown", pressed, true);
                const start = performance.now();
                const observer = new MutationObserver(() => {
                    const now = text();
                    if (!now || now === before) return;
                    observer.disconnect();
                    requestAnimationFrame(() => {
                        const channel = new MessageChannel();
                        channel.port1.onmessage = () => found(performance.now() - start);
                        channel.port2.postMessage(null);
                    });
                });
                const all = { attributes: true, characterData: true, childList: true };
                observer.observe(document, { ...all, subtree: true });
            };
            addEventListener("keydown", pressed, true);
        });
    }
"""


@dataclass(frozen=True)
class Stream:
    """A page that shows one item after the other."""

    url: str
    item: str  # a selector of the text, which matches nothing while no item can be decided
    keys: Sequence[str]  # that decide; the time counts from the last
    account: str | None = None  # where a form asks for it
    headers: Mapping[str, str] = field(default_factory=dict)


def key_times(stream: Stream, count: int, warm: int = 3) -> list[float]:
    """Milliseconds from the key to the next item, for `count` items after `warm` others.

    Raises:
        playwright.sync_api.Error: no next item within 30 s.
    """
    with page_at(stream) as page:
        return [_press(page, stream) for _ in range(warm + count)][warm:]


def _press(page: Page, stream: Stream) -> float:
    page.wait_for_selector(stream.item)
    page.wait_for_timeout(PAUSE_MS)
    page.evaluate(_WATCH, [stream.item, stream.keys[-1].rpartition("+")[2]])
    for key in stream.keys:
        page.keyboard.press(key)
    return float(page.evaluate("() => window.benchmarkNext"))


@contextmanager
def page_at(stream: Stream) -> Iterator[Page]:
    """A browser of its own that can reach the stream's machine and no other."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if program is None:
        raise SystemExit("Chromium is not installed; bin/setup --test installs it.")
    only = f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {urlsplit(stream.url).hostname}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", only])
        try:
            context = browser.new_context(extra_http_headers=dict(stream.headers))
            page = context.new_page()
            page.goto(stream.url)
            if stream.account is not None:
                page.locator("#name").fill(stream.account)
                page.locator("#password").fill(PASSWORD)
                page.locator("button[type=submit]").click()
            page.wait_for_selector(stream.item, timeout=60_000)
            yield page
        finally:
            browser.close()
