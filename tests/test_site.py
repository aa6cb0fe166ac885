"""`make docs`: a site with what its pages point to, every option and public name, and nothing of another host."""

import importlib
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from fergi_reward.cli.app import make_app
from fergi_reward.cli.train import add_trainers
from tests.browser import complaints, new_page, started
from tests.command_line import commands

ROOT = Path(__file__).parents[1]
LOADED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=\"?((?:https?:)?//[^\" >]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, from a strict build: a warning would end it."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "docs/site/mkdocs.yml"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--site-dir", folder], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if not line.startswith("INFO"))
    return folder


def test_every_option_of_every_command_is_explained(site):
    add_trainers([])
    app = make_app()
    for name, command in commands(app).items():
        if name == "train prompt_grpo":  # its options are TRL's
            continue
        page = (site / "commands" / f"{name.split()[0]}.html").read_text(encoding="utf-8")
        section = page.split(f"fergi-reward {name} ", 1)[1]
        spelled = [(f"<code[^>]*>--{option.rstrip('_').replace('_', '-')}", option) for option in command.options]
        missing = [option for flag, option in spelled if not re.search(f"{flag}|{option.upper()}", section)]
        assert missing == [] and f">fergi-reward {name} [OPTIONS]" in page, name


def test_every_public_name_is_described(site):
    for page in (site / "python").glob("*.html"):
        text = unescape(page.read_text(encoding="utf-8"))
        for name in importlib.import_module(page.stem).__all__:
            assert re.search(rf'id="[\w.]+\.{name}"', text) or f">{name}</code></a>" in text, (page.name, name)


def test_nothing_is_loaded_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    loaded = {(page.name, found) for page in pages for found in LOADED.findall(page.read_text(encoding="utf-8"))}
    styles = {(style.name, "url") for style in site.rglob("*.css") if re.search(r"url\(.?https?:", style.read_text())}
    assert loaded | styles == set()


@pytest.fixture(scope="module")
def browser(not_here):
    with started(not_here) as running:
        yield running


def test_a_page_that_is_opened_from_a_folder_can_be_searched(site, browser):
    page = new_page(browser)
    heard = complaints(page)
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").press_sequentially("lip corner puller")
    page.locator(".md-search-result__link", has_text="What AU4 is").first.click()
    page.wait_for_url("**/EXPLANATION.html*")
    assert heard == []


@pytest.mark.parametrize("name", ["index", "RESULTS", "TRAINING", "commands/train", "python/fergi_reward.reactions"])
def test_a_page_is_no_wider_than_a_phone(name, site, browser):
    page = new_page(browser, "phone", "dark")
    page.goto((site / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"
