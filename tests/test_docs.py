"""What README and docs point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TO_BE_WRITTEN = re.compile(r"NAME|HOST")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = re.compile(r"(?<![\w/.])(?:training|eval|configs|docs|tests|fergi_reward)/[\w/]*\w\.(?:py|yaml|txt|md|png)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    missing += [name for name in OURS.findall(text) if not TO_BE_WRITTEN.search(name) and not (ROOT / name).exists()]
    assert not missing
