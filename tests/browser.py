"""Pages in a headless Chromium, which listen for complaints."""

from contextlib import contextmanager

import pytest

from fergi_reward.collect.simulation.chromium import NAMES, chromium, found

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


@contextmanager
def started(not_here, *flags):
    """A browser for the tests of a file; without one they skip, in CI they fail."""
    pytest.importorskip("playwright", reason="playwright comes with the extra simulate")
    if found() is None:
        not_here(f"no {', '.join(NAMES)} on this machine (Debian: apt-get install chromium)")
    with chromium(*flags) as browser:
        yield browser


def new_page(browser, screen="desktop", scheme="light", **options):
    """An empty page on a screen, in a colour scheme, with a profile of its own."""
    width, height = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, is_mobile=screen == "phone", color_scheme=scheme, **options
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page


def complaints(page, own="file:"):
    """A list that fills with errors, exceptions and warnings of the page, and with what it asks of another place."""
    heard = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("console", lambda said: heard.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda asked: None if asked.url.startswith((own, "data:", "blob:")) else heard.append(asked.url))
    return heard
