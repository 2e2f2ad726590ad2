"""A real Chromium for the tests of pages; what it asks for, and what goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

# It runs as root in CI, and must not look for updates.
OPTIONS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
]


def chromium() -> str:
    """Path of Chromium; skips the test where there is none."""
    names = ('chromium', 'chromium-browser', 'google-chrome')
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip('not run: a Chromium is needed (.ci/run installs Debian\'s package)')
    return found


@contextmanager
def started_browser() -> Iterator[Any]:
    """Starts Chromium, driven by Playwright."""
    executable = chromium()
    playwright = pytest.importorskip(
        'playwright.sync_api', reason='not run: playwright drives the browser'
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=OPTIONS)
        yield browser
        browser.close()


class Watched:
    """A page of the browser, with all that it asked for and complained about.

    Attributes:
        page: Playwright's page.
        asked: Addresses that it loaded.
        complaints: Errors of scripts, and of the console.
    """

    def __init__(self, browser: Any, **options: Any) -> None:
        # A new context remembers nothing of earlier pages.
        size = {'width': 1280, 'height': 860}
        self.context = browser.new_context(viewport=size, **options)
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on('request', lambda request: self.asked.append(request.url))
        self.page.on('pageerror', lambda error: self.complaints.append(str(error)))
        self.page.on(
            'console',
            lambda message: self.complaints.append(message.text)
            if message.type in ('error', 'warning')
            else None,
        )

    def open(self, address: Path | str) -> Any:
        """Opens a page, and waits until it says that it is ready."""
        url = address if isinstance(address, str) else (address / 'index.html').as_uri()
        self.page.goto(url)
        self.page.wait_for_selector('body[data-ready=yes]')
        return self.page

    def close(self) -> None:
        """Closes it; nothing may have gone wrong."""
        self.context.close()
        assert self.complaints == []


def wait(page: Any, condition: str, frames: int = 600) -> None:
    """Waits until an expression is true, frame by frame.

    Playwright's own ``wait_for_function`` evaluates text in the page, which the page's
    Content-Security-Policy forbids.

    Args:
        page: Playwright's page.
        condition: JavaScript.
        frames: How many frames to wait at most.
    """
    page.evaluate(
        f"""() => new Promise((done, fail) => {{
            let left = {frames};
            const look = () => {{
                if ({condition}) done();
                else if (left-- > 0) requestAnimationFrame(look);
                else fail(new Error('still not true'));
            }};
            look();
        }})"""
    )
