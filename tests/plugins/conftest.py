from pathlib import Path

import pytest

SITE = Path(__file__).parent / "site"
collect_ignore = ["site"]  # one of its modules cannot be imported


@pytest.fixture(autouse=True)
def somebodys_package(monkeypatch):
    """Installed as pip would leave it: a package and its entry points on the path."""
    monkeypatch.syspath_prepend(SITE)
