"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder with the golden scores: FERGI_REFERENCE, else ../shared/reference beside the repository."""
    beside = Path(__file__).parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("FERGI_REFERENCE", beside))
    if not folder.is_dir():
        reason = f"no golden scores in {folder} (FERGI_REFERENCE)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses the fixture, so that `-m "not reference"` deselects it."""
    for item in items:
        if "reference" in getattr(item, "fixturenames", ()):
            item.add_marker("reference")
