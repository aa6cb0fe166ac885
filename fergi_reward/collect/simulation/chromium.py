"""A headless Chromium of this machine, driven by the package playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fergi_reward.core.errors import FergiRewardError, MissingDependencyError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It asks nobody for anything that the page does not ask for, and gives a page in the background all of its time.
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-features=OptimizationHints,MediaRouter,CertificateTransparencyComponentUpdater",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
)


def found() -> str | None:
    """The browser's program; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium(*flags: str) -> Iterator["Browser"]:
    """A headless browser with an empty profile; it ends with the block.

    Args:
        flags: Further ones of its command line.

    Raises:
        MissingDependencyError: The package playwright is not installed.
        FergiRewardError: No Chromium is installed.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise MissingDependencyError("playwright", "a browser that a program drives", "simulate") from error
    program = found()
    if program is None:
        raise FergiRewardError(
            f"none of the programs {', '.join(NAMES)} is installed, and simulated participants need one: "
            "install Chromium (Debian: apt-get install chromium)"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*QUIET, *flags])
        try:
            yield browser
        finally:
            browser.close()
